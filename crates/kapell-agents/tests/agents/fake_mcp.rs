//! An MCP server that does what the name of the tool says.

use serde_json::{Value, json};

/// What is to be said to a request; nothing if it wants no answer.
pub(crate) fn answer(request: &Value) -> Option<Value> {
    let id = request.get("id")?;
    let error = |code: i32, message: &str| json!({ "jsonrpc": "2.0", "id": id, "error": { "code": code, "message": message } });
    let params = &request["params"];
    let text = |text: &str| json!([{ "type": "text", "text": text }]);
    let result = match request["method"].as_str()? {
        "initialize" => json!({
            "protocolVersion": "2025-11-25", "capabilities": { "tools": {} },
            "serverInfo": { "name": "fake", "version": "1" },
        }),
        "tools/call" => match params["name"].as_str()? {
            "add" => {
                let sum = params["arguments"]["a"].as_i64()? + params["arguments"]["b"].as_i64()?;
                json!({ "content": text("added"), "structuredContent": { "sum": sum } })
            }
            "fail" => json!({ "content": text("status 429: too many"), "isError": true }),
            "broken" => return Some(error(-32603, "a fuse has blown")),
            "die" => std::process::exit(3),
            "hang" => loop {
                std::thread::park();
            },
            // What a server must not get.
            "env" => {
                let set = ["KAPELL_TOKEN", "KAPELL_SOCKET", "KAPELL_OUTPUT"];
                let set: Vec<_> = set.iter().filter(|name| std::env::var_os(name).is_some()).collect();
                json!({ "content": text(&format!("{set:?} {}", std::env::var("MINE").unwrap_or_default())) })
            }
            other => return Some(error(-32602, &format!("there is no tool {other}"))),
        },
        method => return Some(error(-32601, &format!("there is no {method}"))),
    };
    Some(json!({ "jsonrpc": "2.0", "id": id, "result": result }))
}
