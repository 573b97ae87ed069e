//! Servers that a repository names in its `.mcp.json`, for those who trust it.

use std::{fs, path::Path};

use serde_json::Value;

use super::{Reach, Server, Servers};

/// The file, from the top of a repository.
const FILE: &str = ".mcp.json";

/// Reads which servers the repository at `top` brings along. Whether it is trusted is for the caller to know.
///
/// Left out is what Claude Code alone understands: a server that names variables (`${...}`), one that is reached in
/// another way than by a program or streamable HTTP, and one whose name is more than letters, digits, `-` and `_`.
#[must_use]
pub fn brought(top: &Path) -> Servers {
    let text = fs::read(top.join(FILE)).unwrap_or_default();
    let value: Value = serde_json::from_slice(&text).unwrap_or_default();
    let listed = value["mcpServers"].as_object().into_iter().flatten();
    listed
        .filter(|(name, _)| is_plain(name))
        .filter_map(|(name, value)| Some((name.clone(), one(value)?)))
        .collect()
}

fn is_plain(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

fn one(value: &Value) -> Option<Server> {
    if value.to_string().contains("${") {
        return None;
    }
    let pairs = |name: &str| value[name].as_object().into_iter().flatten();
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let reach = match (value["command"].as_str(), value["url"].as_str(), value["type"].as_str()) {
        (Some(command), None, None | Some("stdio")) => {
            let args = value["args"].as_array().into_iter().flatten().filter_map(text);
            Reach::Program(std::iter::once(command.to_owned()).chain(args).collect())
        }
        (None, Some(url), Some("http" | "streamable-http")) => Reach::Url(url.to_owned()),
        _ => return None,
    };
    Some(Server {
        reach,
        env: pairs("env").filter_map(|(name, value)| Some((name.into(), text(value)?.into()))).collect(),
        headers: pairs("headers").filter_map(|(name, value)| Some((name.clone(), text(value)?))).collect(),
        timeout: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_passed_on_is_read_and_all_else_is_left_out() {
        let dir = tempfile::tempdir().unwrap();
        assert!(brought(dir.path()).is_empty());
        let text = r#"{"mcpServers": {
            "files": {"command": "npx", "args": ["-y", "files"], "env": {"LOG": "warn"}},
            "tickets": {"type": "http", "url": "https://example.org/mcp", "headers": {"X-Team": "core"}},
            "secret": {"command": "x", "env": {"TOKEN": "${TOKEN}"}},
            "old": {"type": "sse", "url": "https://example.org/sse"},
            "both": {"command": "x", "url": "y"},
            "strange name": {"command": "x"}, "neither": {}, "text": "x"}}"#;
        fs::write(dir.path().join(FILE), text).unwrap();
        let servers = brought(dir.path());
        assert_eq!(servers.keys().collect::<Vec<_>>(), ["files", "tickets"]);
        assert_eq!(servers["files"].reach, Reach::Program(vec!["npx".into(), "-y".into(), "files".into()]));
        assert_eq!(servers["files"].env, [("LOG".into(), "warn".into())]);
        assert_eq!(servers["tickets"].reach, Reach::Url("https://example.org/mcp".to_owned()));
        assert_eq!(servers["tickets"].headers["X-Team"], "core");
    }
}
