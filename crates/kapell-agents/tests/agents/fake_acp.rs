//! An agent that speaks the Agent Client Protocol, and does what its prompt says: the first word names the case.

use std::{
    fs,
    io::{BufRead, Write},
    sync::{Arc, atomic::AtomicBool},
};

use serde_json::{Value, json};

/// What it says and hears.
struct Fake<R, W> {
    lines: std::io::Lines<R>,
    out: W,
    numbers: u64,
}

/// Works until its input ends.
///
/// One that `queues` takes a prompt while it works on one, and says so.
pub(crate) fn work(input: impl BufRead, out: impl Write, queues: bool) -> Option<()> {
    // It shall hear that it is cancelled, and not just die of it.
    signal_hook::flag::register(signal_hook::consts::SIGTERM, Arc::new(AtomicBool::new(false))).ok()?;
    let mut fake = Fake { lines: input.lines(), out, numbers: 0 };
    loop {
        let message = fake.hear()?;
        let (id, params) = (&message["id"], &message["params"]);
        match message["method"].as_str()? {
            "initialize" => {
                let files = &params["clientCapabilities"]["fs"]["readTextFile"];
                let version = if files == false { 1 } else { 0 };
                let meta = json!({ "claudeCode": { "promptQueueing": queues } });
                let can = json!({ "loadSession": true, "_meta": meta });
                fake.answer(id, &json!({ "protocolVersion": version, "agentCapabilities": can }))?;
            }
            "session/new" => {
                let modes = json!({ "currentModeId": "careful", "availableModes": [{ "id": "careful" }, { "id": "bold" }] });
                let servers = params["mcpServers"].as_array().map_or(0, Vec::len);
                fs::write("session.txt", format!("{} {servers}", params["cwd"].as_str()?)).ok()?;
                fake.answer(id, &json!({ "sessionId": "s-1", "modes": modes }))?;
            }
            "session/load" if params["sessionId"] == "s-1" => {
                let servers = params["mcpServers"].as_array().map_or(0, Vec::len);
                fs::write("session.txt", format!("{} {servers} of s-1", params["cwd"].as_str()?)).ok()?;
                fake.say("This was said before.")?;
                fake.update(json!({ "sessionUpdate": "tool_call", "toolCallId": "old", "kind": "execute" }))?;
                fake.answer(id, &Value::Null)?;
            }
            "session/load" => fake.fail(id, -32002, "Resource not found")?,
            "session/set_mode" => {
                fs::write("mode.txt", params["modeId"].as_str()?).ok()?;
                fake.answer(id, &json!({}))?;
            }
            "session/prompt" => {
                let text = params["prompt"][0]["text"].as_str()?.to_owned();
                fake.prompt(id, text.split_whitespace().next().unwrap_or_default())?;
            }
            _ => {}
        }
    }
}

impl<R: BufRead, W: Write> Fake<R, W> {
    fn hear(&mut self) -> Option<Value> {
        serde_json::from_str(&self.lines.next()?.ok()?).ok()
    }

    fn send(&mut self, message: &Value) -> Option<()> {
        writeln!(self.out, "{message}").ok()?;
        self.out.flush().ok()
    }

    fn answer(&mut self, id: &Value, result: &Value) -> Option<()> {
        self.send(&json!({ "jsonrpc": "2.0", "id": id, "result": result }))
    }

    fn fail(&mut self, id: &Value, code: i32, message: &str) -> Option<()> {
        let error = json!({ "code": code, "message": message, "data": { "details": "more" } });
        self.send(&json!({ "jsonrpc": "2.0", "id": id, "error": error }))
    }

    fn update(&mut self, update: Value) -> Option<()> {
        let params = json!({ "sessionId": "s-1", "update": update });
        self.send(&json!({ "jsonrpc": "2.0", "method": "session/update", "params": params }))
    }

    fn say(&mut self, text: &str) -> Option<()> {
        let content = json!({ "type": "text", "text": text });
        self.update(json!({ "sessionUpdate": "agent_message_chunk", "content": content }))
    }

    /// Calls a tool, with permission; tells whether it was given.
    fn tool(&mut self, command: &str) -> Option<bool> {
        self.numbers += 1;
        let id = format!("call-{}", self.numbers);
        let call = json!({ "toolCallId": id, "title": "Run", "kind": "execute", "rawInput": { "command": command } });
        let mut begun = call.clone();
        begun["sessionUpdate"] = json!("tool_call");
        self.update(begun)?;
        let options = json!([
            { "optionId": "once", "name": "Allow once", "kind": "allow_once" },
            { "optionId": "no", "name": "Reject", "kind": "reject_once" },
        ]);
        let params = json!({ "sessionId": "s-1", "toolCall": call, "options": options });
        self.send(&json!({ "jsonrpc": "2.0", "id": "ask", "method": "session/request_permission", "params": params }))?;
        let outcome = loop {
            let message = self.hear()?;
            if message["id"] == "ask" {
                break message["result"]["outcome"].clone();
            }
        };
        let may = outcome["optionId"] == "once";
        if may {
            std::process::Command::new("sh").args(["-c", command]).status().ok()?;
        }
        let status = if may { "completed" } else { "failed" };
        self.update(json!({ "sessionUpdate": "tool_call_update", "toolCallId": id, "status": status }))?;
        Some(may)
    }

    fn prompt(&mut self, id: &Value, case: &str) -> Option<()> {
        let end = |reason: &str| json!({ "stopReason": reason });
        match case {
            "fix" => {
                self.say("I will ")?;
                self.say("fix it.")?;
                let may = self.tool("echo fixed >fixed.txt")?;
                // Something of an editor, something unknown, something that is no message at all.
                self.update(json!({ "sessionUpdate": "plan", "entries": [] }))?;
                self.update(json!({ "sessionUpdate": "of_next_year" }))?;
                writeln!(self.out, "a line of somebody's log").ok()?;
                let files = json!({ "sessionId": "s-1", "path": "x" });
                self.send(
                    &json!({ "jsonrpc": "2.0", "id": 7, "method": "fs/read_text_file", "params": files }),
                )?;
                let refused = self.hear()?;
                let cost = json!({ "amount": 0.25, "currency": "USD" });
                self.update(json!({ "sessionUpdate": "usage_update", "used": 1, "size": 2, "cost": cost }))?;
                self.say(if may { "It is fixed." } else { "I am done." })?;
                let usage = json!({
                    "totalTokens": 17, "inputTokens": 7, "outputTokens": 5, "cachedReadTokens": 3, "cachedWriteTokens": 2,
                });
                let reason = if refused["error"]["code"] == -32601 { "end_turn" } else { "refusal" };
                self.answer(id, &json!({ "stopReason": reason, "usage": usage }))
            }
            "harm" => {
                let may = self.tool("rm -rf /")?;
                self.say(if may { "Gone." } else { "All is well." })?;
                self.answer(id, &end("end_turn"))
            }
            // It spends four fifths of a dollar, and goes on until it is told something.
            "spends" => {
                let cost =
                    |amount: f64| json!({ "sessionUpdate": "usage_update", "cost": { "amount": amount } });
                let usage = |output: u64| json!({ "inputTokens": 1, "outputTokens": output });
                self.update(cost(0.5))?;
                self.update(cost(0.85))?;
                let heard = self.hear()?;
                fs::write("heard.txt", heard["method"].as_str()?).ok()?;
                let mut last = heard.clone();
                if heard["method"] == "session/cancel" {
                    // It asks once more for something, and is answered that it is cancelled.
                    if self.tool("echo late >late.txt")? {
                        return None;
                    }
                    self.answer(id, &json!({ "stopReason": "cancelled", "usage": usage(2) }))?;
                    last = self.hear()?;
                } else {
                    self.answer(id, &json!({ "stopReason": "end_turn", "usage": usage(2) }))?;
                }
                fs::write("word.txt", last["params"]["prompt"][0]["text"].as_str()?).ok()?;
                self.say("I come to an end.")?;
                self.answer(&last["id"], &json!({ "stopReason": "end_turn", "usage": usage(3) }))
            }
            "heedless" => {
                let cost = json!({ "sessionUpdate": "usage_update", "cost": { "amount": 0.85 } });
                self.update(cost)?;
                loop {
                    self.hear()?;
                }
            }
            "hang" => {
                fs::write("begun.txt", "").ok()?;
                loop {
                    if self.hear()?["method"] == "session/cancel" {
                        fs::write("cancelled.txt", "").ok()?;
                        return self.answer(id, &end("cancelled"));
                    }
                }
            }
            "deaf" => loop {
                self.hear()?;
            },
            "many" => loop {
                self.numbers += 1;
                let call = json!({ "sessionUpdate": "tool_call", "toolCallId": self.numbers.to_string(), "kind": "read" });
                self.update(call)?;
                if self.numbers > 20 {
                    return self.answer(id, &end("end_turn"));
                }
            },
            // It says more than anybody reads, and comes to a proper end.
            "chatters" => {
                let piece = "a word and another ".repeat(4 << 10);
                for _ in 0..200 {
                    self.say(&piece)?;
                }
                self.answer(id, &end("end_turn"))
            }
            // It writes, and calls no tool.
            "writes" => {
                for _ in 0..9 {
                    self.say("word ")?;
                }
                self.answer(id, &end("end_turn"))
            }
            "dies" => {
                std::io::stderr().write_all(b"a warning\nno module `coder`\n").ok()?;
                std::process::exit(1)
            }
            "busy" => self.fail(id, -32603, "API Error: 429 rate_limit_error, try again in 90s"),
            "quota" => self.fail(id, -32603, "You have reached your usage limit"),
            "broken" => self.fail(id, -32603, "Internal error"),
            "login" => self.fail(id, -32000, "Authentication required: authentication_error"),
            "wrong" => self.fail(id, -32602, "Invalid params"),
            reason => self.answer(id, &end(reason)),
        }
    }
}
