//! May it? The seat belt first, then what the workflow says, then a person.

use std::path::Path;

use serde_json::json;

use super::{
    Permissions,
    v1::{Kind, Wish, described, tool},
};
use crate::seat_belt;

/// What becomes of a request for permission.
#[derive(Debug, PartialEq)]
pub(super) enum Decision {
    Allow,
    /// Why not.
    Deny(String),
    /// A person is asked this, and can answer so.
    Ask {
        question: String,
        choices: Vec<String>,
    },
}

/// Decides as far as that can be decided without a person.
pub(super) fn decide(wish: &Wish, permissions: Permissions, workspace: &Path) -> Decision {
    let call = &wish.call;
    let mut input = call["rawInput"].clone();
    for location in call["locations"].as_array().into_iter().flatten() {
        if input["path"].is_null() && (input.is_object() || input.is_null()) {
            input["path"] = location["path"].clone();
        }
    }
    // Some give a command as a list of words.
    if let Some(words) = input["command"].as_array() {
        let words: Vec<&str> = words.iter().filter_map(|word| word.as_str()).collect();
        input["command"] = json!(words.join(" "));
    }
    // Gemini CLI tells a command in the title alone.
    if input["command"].is_null() && call["kind"] == "execute" && (input.is_object() || input.is_null()) {
        input["command"] = call["title"].clone();
    }
    if let Err(why) = seat_belt::judge(&json!({ "tool_input": input, "cwd": workspace }), workspace) {
        return Decision::Deny(why);
    }
    match permissions {
        Permissions::Allow => Decision::Allow,
        Permissions::Deny => {
            Decision::Deny("the workflow lets it do nothing that it has to ask for".to_owned())
        }
        Permissions::Ask => Decision::Ask {
            question: format!("May it use `{}`: {}", tool(call), described(call)),
            choices: wish.options.iter().map(|(_, name, _)| name.clone()).collect(),
        },
    }
}

/// Returns the option that an answer means.
pub(super) fn chosen<'a>(wish: &'a Wish, answer: &str) -> Option<&'a (String, String, Kind)> {
    let answer = answer.trim();
    let is_named =
        |(id, name, _): &&(String, String, Kind)| id == answer || name.eq_ignore_ascii_case(answer);
    wish.options.iter().find(is_named).or_else(|| {
        let kind = match answer.to_ascii_lowercase().as_str() {
            "yes" | "y" | "allow" => Kind::Allow,
            _ => Kind::Reject,
        };
        wish.options.iter().find(|(.., of)| *of == kind)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wish(call: serde_json::Value) -> Wish {
        let options = json!([
            { "optionId": "a", "name": "Allow once", "kind": "allow_once" },
            { "optionId": "b", "name": "Always", "kind": "allow_always" },
            { "optionId": "r", "name": "No", "kind": "reject_once" },
        ]);
        Wish::of(&json!({ "toolCall": call, "options": options }))
    }

    #[test]
    fn what_harms_is_denied_whatever_the_workflow_says() {
        for call in [
            json!({ "rawInput": { "command": "rm -rf ~" } }),
            json!({ "rawInput": { "command": ["rm", "-rf", "/"] } }),
            json!({ "locations": [{ "path": "/h/u/.ssh/id_rsa" }] }),
            json!({ "kind": "execute", "title": "touch marker; rm -rf /var/tmp/precious" }),
            json!({ "kind": "execute", "title": "git push --force origin main [in /ws] (Push)", "rawInput": {} }),
        ] {
            for permissions in [Permissions::Allow, Permissions::Ask] {
                let decision = decide(&wish(call.clone()), permissions, Path::new("/ws"));
                assert!(matches!(decision, Decision::Deny(_)), "{call} {decision:?}");
            }
        }
        let told =
            wish(json!({ "kind": "execute", "title": "make test [current working directory /ws] (Run it)" }));
        assert_eq!(decide(&told, Permissions::Allow, Path::new("/ws")), Decision::Allow);
        let fine = wish(json!({ "kind": "execute", "rawInput": { "command": "make" } }));
        assert_eq!(decide(&fine, Permissions::Allow, Path::new("/ws")), Decision::Allow);
        assert!(matches!(decide(&fine, Permissions::Deny, Path::new("/ws")), Decision::Deny(_)));
        let Decision::Ask { question, choices } = decide(&fine, Permissions::Ask, Path::new("/ws")) else {
            panic!("nobody is asked")
        };
        assert_eq!(question, "May it use `execute`: make");
        // What holds for this once stands before what holds for good.
        assert_eq!(choices, ["Allow once", "No", "Always"]);
    }

    #[test]
    fn answers_are_understood_and_what_is_not_is_a_no() {
        let wish = wish(json!({}));
        for (answer, expected) in
            [("Always", "b"), ("allow once", "a"), ("r", "r"), ("yes", "a"), ("no", "r"), ("what?", "r")]
        {
            assert_eq!(chosen(&wish, answer).unwrap().0, expected, "{answer}");
        }
    }
}
