//! `kapell task`: an agent's end of the socket.

use std::{
    ffi::OsString,
    io::{self, BufRead, BufReader, Read, Write},
    os::unix::net::UnixStream,
    path::Path,
};

use super::{OUTPUT, Reply, Request, SOCKET, TOKEN, Wish, server::append_output};
use crate::supervise::MARKER;

/// A reply is at most this long, in bytes.
const REPLY_BYTES_MAX: u64 = 4 << 20;

/// Why nothing came of it.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// It is not asked for as it should be.
    #[error("{0}")]
    Usage(String),
    /// It is asked for outside of a task.
    #[error("this is not within a task: {0} is not set")]
    Outside(&'static str),
    /// kapell cannot be reached.
    #[error("kapell cannot be reached: {0}")]
    Unreachable(#[source] io::Error),
    /// kapell went away before it replied.
    #[error("kapell went away before it replied")]
    Gone,
    /// kapell refuses.
    #[error("{0}")]
    Refused(String),
}

impl ClientError {
    /// Says what the caller can do about it.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Usage(_) => {
                "kapell task output NAME=VALUE | progress FRACTION [TEXT] | note TEXT | ask QUESTION [--choice TEXT]... \
                 | brief [NAME | --list] | outputs [TASK] | handoff [--to AGENT] NOTE"
            }
            Self::Outside(_) => "call it from a command or agent that kapell runs",
            Self::Unreachable(_) => "outputs can also be written to the file that KAPELL_OUTPUT names",
            Self::Gone => "ask again: kapell answers when it is there",
            Self::Refused(_) => "see `kapell task --help`",
        }
    }
}

/// Reads the arguments after `kapell task`.
///
/// # Errors
///
/// Fails with [`ClientError::Usage`] if they are none, or not UTF-8.
pub fn parse(arguments: &[OsString]) -> Result<Wish, ClientError> {
    let usage = |text: &str| ClientError::Usage(text.to_owned());
    let words: Vec<&str> = arguments
        .iter()
        .map(|argument| argument.to_str())
        .collect::<Option<_>>()
        .ok_or_else(|| usage("an argument is not UTF-8"))?;
    match words.as_slice() {
        ["output", pair] => {
            let (name, value) = pair.split_once('=').ok_or_else(|| usage("an output is NAME=VALUE"))?;
            Ok(Wish::Output { name: name.to_owned(), value: value.to_owned() })
        }
        ["progress", fraction, text @ ..] => {
            let fraction = fraction.parse().map_err(|_| usage("progress is a number from 0 to 1"))?;
            Ok(Wish::Progress { fraction, text: text.join(" ") })
        }
        ["note", text @ ..] if !text.is_empty() => Ok(Wish::Note { text: text.join(" ") }),
        ["brief"] => Ok(Wish::Brief { section: None }),
        ["brief", "--list"] => Ok(Wish::Sections),
        ["brief", name] => Ok(Wish::Brief { section: Some((*name).to_owned()) }),
        ["outputs", task] => Ok(Wish::Brief { section: Some(format!("outputs:{task}")) }),
        ["handoff", "--to", to, note @ ..] if !note.is_empty() => {
            Ok(Wish::HandOff { to: Some((*to).to_owned()), note: note.join(" ") })
        }
        ["handoff", note @ ..] if !note.is_empty() && note[0] != "--to" => {
            Ok(Wish::HandOff { to: None, note: note.join(" ") })
        }
        ["ask", question, choices @ ..] => {
            let (pairs, rest) = choices.as_chunks::<2>();
            if !rest.is_empty() || pairs.iter().any(|[flag, _]| *flag != "--choice") {
                return Err(usage("choices are given as `--choice TEXT`"));
            }
            let choices = pairs.iter().map(|[_, choice]| (*choice).to_owned()).collect();
            Ok(Wish::Ask { question: (*question).to_owned(), choices })
        }
        _ => Err(usage("it is not clear what to say")),
    }
}

/// Says to kapell what `arguments` ask for; returns the answer if a person was asked. `env` looks up variables.
///
/// Where there is no socket, an output is written to the file for outputs.
///
/// # Errors
///
/// Fails as [`ClientError`] lists.
pub fn run(
    arguments: &[OsString],
    env: impl Fn(&str) -> Option<OsString>,
) -> Result<Option<String>, ClientError> {
    tell(parse(arguments)?, env)
}

/// Says it to kapell, as [`run`] does.
pub(crate) fn tell(
    wish: Wish,
    env: impl Fn(&str) -> Option<OsString>,
) -> Result<Option<String>, ClientError> {
    wish.check().map_err(ClientError::Usage)?;
    match (env(SOCKET), &wish) {
        (Some(socket), _) => {
            let get =
                |name| env(name).and_then(|value| value.into_string().ok()).ok_or(ClientError::Outside(name));
            ask(Path::new(&socket), &Request { attempt: get(MARKER)?, token: get(TOKEN)?, wish })
        }
        (None, Wish::Output { name, value }) => {
            let path = env(OUTPUT).ok_or(ClientError::Outside(OUTPUT))?;
            append_output(Path::new(&path), name, value).map_err(ClientError::Refused)?;
            Ok(None)
        }
        (None, _) => Err(ClientError::Outside(SOCKET)),
    }
}

/// Sends one request and waits for its reply.
///
/// # Errors
///
/// Fails as [`ClientError`] lists.
pub fn ask(socket: &Path, request: &Request) -> Result<Option<String>, ClientError> {
    let mut stream = UnixStream::connect(socket).map_err(ClientError::Unreachable)?;
    let mut line = serde_json::to_vec(request).map_err(|error| ClientError::Usage(error.to_string()))?;
    line.push(b'\n');
    // A request that is refused for its length is not read to its end; the reply says so.
    let _ = stream.write_all(&line);
    let mut reply = String::new();
    BufReader::new(stream.take(REPLY_BYTES_MAX)).read_line(&mut reply).map_err(|_| ClientError::Gone)?;
    match serde_json::from_str(&reply) {
        Ok(Reply::Done) => Ok(None),
        Ok(Reply::Answer { text }) => Ok(Some(text)),
        Ok(Reply::Refused { why }) => Err(ClientError::Refused(why)),
        Err(_) => Err(ClientError::Gone),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(words: &[&str]) -> String {
        let arguments: Vec<_> = words.iter().map(OsString::from).collect();
        parse(&arguments).map_or_else(|error| error.to_string(), |wish| format!("{wish:?}"))
    }

    #[test]
    fn arguments_are_read() {
        for (words, expected) in [
            (&["output", "a=b=c"][..], r#"Output { name: "a", value: "b=c" }"#),
            (&["output", "a"], "an output is NAME=VALUE"),
            (&["progress", "0.5", "half", "way"], r#"Progress { fraction: 0.5, text: "half way" }"#),
            (&["progress", "half"], "progress is a number from 0 to 1"),
            (&["note", "x"], r#"Note { text: "x" }"#),
            (&["note"], "it is not clear what to say"),
            (
                &["ask", "q?", "--choice", "a", "--choice", "--b"],
                r#"Ask { question: "q?", choices: ["a", "--b"] }"#,
            ),
            (&["ask", "q?", "--choice"], "choices are given as `--choice TEXT`"),
            (&["brief"], "Brief { section: None }"),
            (&["brief", "--list"], "Sections"),
            (&["brief", "diff:a"], r#"Brief { section: Some("diff:a") }"#),
            (&["outputs", "a"], r#"Brief { section: Some("outputs:a") }"#),
            (&["handoff", "half", "done"], r#"HandOff { to: None, note: "half done" }"#),
            (&["handoff", "--to", "b", "go on"], r#"HandOff { to: Some("b"), note: "go on" }"#),
            (&["handoff", "--to", "b"], "it is not clear what to say"),
            (&[], "it is not clear what to say"),
        ] {
            assert_eq!(parsed(words), expected);
        }
    }

    #[test]
    fn arguments_that_are_no_text_are_refused() {
        use std::os::unix::ffi::OsStringExt;
        let argument = OsString::from_vec(b"a=\xff".to_vec());
        let error = parse(&["output".into(), argument]).unwrap_err();
        assert_eq!(error.to_string(), "an argument is not UTF-8");
    }

    #[test]
    fn numbers_and_sizes_are_checked() {
        let checked = |words: &[&str]| {
            let arguments: Vec<_> = words.iter().map(OsString::from).collect();
            run(&arguments, |_| None).unwrap_err().to_string()
        };
        assert_eq!(checked(&["progress", "NaN"]), "progress is a number from 0 to 1");
        assert_eq!(checked(&["progress", "1.5"]), "progress is a number from 0 to 1");
        assert_eq!(checked(&["ask", " "]), "the question is empty");
        assert_eq!(checked(&["note", &"x".repeat(17_000)]), "the text is longer than 16384 bytes");
        assert_eq!(checked(&["note", "x"]), "this is not within a task: KAPELL_SOCKET is not set");
        assert_eq!(checked(&["output", "a=b"]), "this is not within a task: KAPELL_OUTPUT is not set");
    }

    #[test]
    fn without_a_socket_outputs_go_to_their_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("outputs");
        let env = |name: &str| (name == OUTPUT).then(|| path.clone().into_os_string());
        // Whoever wrote this has not ended the line.
        std::fs::write(&path, "c=1\nd<<END\n1\nEND").unwrap();
        run(&["output".into(), "a=one\ntwo".into()], env).unwrap();
        run(&["output".into(), "b=".into()], env).unwrap();
        assert!(run(&["output".into(), "1=".into()], env).is_err());
        let outputs = crate::protocol::outputs::read(&path).unwrap();
        let outputs: Vec<_> = outputs.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(outputs, [("a", "one\ntwo"), ("b", ""), ("c", "1"), ("d", "1")]);
    }
}
