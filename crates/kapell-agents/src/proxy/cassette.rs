//! What was said, kept and played back. A cassette is a file of JSON lines: what it is of, and then an exchange a line,
//! without secrets.

mod pieces; // a directory that came in pieces

use std::{
    collections::BTreeSet,
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
    sync::Mutex,
};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::redact::Secret;

use crate::lock::lock;

/// The version of the format.
const VERSION: u32 = 1;

/// What a recording is of.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Label {
    /// The version of the format: 1.
    #[serde(rename = "cassette")]
    pub version: u32,
    /// The run that was recorded.
    pub run: String,
    /// The digest of its plan.
    pub plan: String,
}

impl Label {
    /// Makes the label of a recording.
    #[must_use]
    pub fn new(run: String, plan: String) -> Self {
        Self { version: VERSION, run, plan }
    }
}

/// One request and its reply.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exchange {
    /// Number of the task within its run.
    pub task: u32,
    /// Number of the attempt.
    pub attempt: u32,
    /// The directory in which the attempt worked; empty if that is not known, as in older recordings.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub workspace: String,
    /// The upstream's name.
    pub upstream: String,
    /// The path behind it, without its query.
    pub path: String,
    /// What was sent, with secrets taken out.
    pub request: String,
    /// The status of the reply.
    pub status: u16,
    /// The type of its content.
    pub content_type: String,
    /// What came back, with secrets taken out.
    pub reply: String,
    /// Whether it came whole.
    pub whole: bool,
}

impl Exchange {
    /// Returns its reply as it is for an attempt that works in another directory: models name files by their whole paths.
    pub(super) fn reply_in(&self, workspace: &str) -> String {
        match self.workspace.is_empty() || workspace.is_empty() || self.workspace == workspace {
            true => self.reply.clone(),
            false => pieces::replace(&self.reply, &self.workspace, workspace),
        }
    }

    /// Returns what a request has in common with the same one of another day: the place, the model, how long the
    /// conversation is, and which tools are offered. Dates, ids and directories in its words differ.
    fn shape(&self) -> Option<Shape<'_>> {
        let body: Value = serde_json::from_str(&self.request).ok()?;
        let length = |key: &str| body[key].as_array().map(Vec::len);
        let turns = length("messages").or_else(|| length("input")).or_else(|| length("contents"));
        let tools = body["tools"].as_array().into_iter().flatten();
        let name = |tool: &Value| {
            let name = tool["name"].as_str().or_else(|| tool["function"]["name"].as_str());
            // Gemini declares all of them as one tool.
            name.map_or_else(
                || tool["functionDeclarations"].as_array().map_or(0, Vec::len).to_string(),
                str::to_owned,
            )
        };
        let tools = tools.map(name).collect();
        let model = body["model"].as_str().unwrap_or_default().to_owned();
        Some(Shape { upstream: &self.upstream, path: &self.path, model, turns, tools })
    }
}

/// See [`Exchange::shape`].
#[derive(Debug, PartialEq, Eq)]
struct Shape<'a> {
    upstream: &'a str,
    path: &'a str,
    model: String,
    turns: Option<usize>,
    tools: Vec<String>,
}

/// A recording to be made.
#[derive(Debug, Clone)]
pub struct Blank {
    /// Its file. What stands there already is kept.
    pub path: PathBuf,
    /// What it is of.
    pub label: Label,
    /// What is kept out of it, besides the keys of providers.
    pub secrets: Vec<Secret>,
}

/// A recording that is made.
#[derive(Debug)]
pub(super) struct Recorder {
    file: Mutex<fs::File>,
    pub(super) secrets: Vec<Secret>,
}

impl Recorder {
    /// Opens a file to add to; only its owner can read it.
    pub(super) fn open(blank: &Blank) -> io::Result<Self> {
        use std::os::unix::fs::OpenOptionsExt;
        blank.path.parent().map_or(Ok(()), fs::create_dir_all)?;
        let mut file = fs::OpenOptions::new().create(true).append(true).mode(0o600).open(&blank.path)?;
        if file.metadata()?.len() == 0 {
            file.write_all(&line(&blank.label)?)?;
        }
        Ok(Self { file: Mutex::new(file), secrets: blank.secrets.clone() })
    }

    pub(super) fn keep(&self, exchange: &Exchange) {
        let Ok(line) = line(exchange) else { return };
        // A recording with a hole is found out when it is played: what is asked then has no answer.
        let _ = lock(&self.file).write_all(&line);
    }
}

fn line(value: &impl Serialize) -> io::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    Ok(line)
}

/// A recording to be played.
#[derive(Debug)]
pub struct Cassette {
    label: Label,
    exchanges: Vec<Exchange>,
    used: Mutex<Vec<bool>>,
}

/// Why a recording cannot be played.
#[derive(Debug, thiserror::Error)]
pub enum CassetteError {
    /// It cannot be read.
    #[error("failed to read a recording: {0}")]
    Io(#[from] io::Error),
    /// It does not begin as one.
    #[error("the first line is not that of a recording")]
    NoLabel,
    /// A line is no exchange.
    #[error("line {line} of the recording is no exchange: {source}")]
    Line {
        /// Which, from 1.
        line: usize,
        /// Why.
        source: serde_json::Error,
    },
    /// It was made by a newer kapell.
    #[error("the recording has version {found}, and {VERSION} is the newest known")]
    Version {
        /// Its version.
        found: u32,
    },
}

impl Cassette {
    /// Reads a recording.
    ///
    /// # Errors
    ///
    /// Fails if it cannot be read or is none.
    pub fn read(path: &Path) -> Result<Self, CassetteError> {
        let text = fs::read_to_string(path)?;
        let mut lines = text.lines();
        let label: Option<Label> = lines.next().and_then(|line| serde_json::from_str(line).ok());
        let label = label.ok_or(CassetteError::NoLabel)?;
        if label.version > VERSION {
            return Err(CassetteError::Version { found: label.version });
        }
        let exchange = |(index, line)| {
            serde_json::from_str(line).map_err(|source| CassetteError::Line { line: index + 2, source })
        };
        let exchanges = lines.enumerate().map(exchange).collect::<Result<Vec<Exchange>, _>>()?;
        let used = Mutex::new(vec![false; exchanges.len()]);
        Ok(Self { label, exchanges, used })
    }

    /// Returns what it is of.
    #[must_use]
    pub fn label(&self) -> &Label {
        &self.label
    }

    /// Returns how many exchanges it holds.
    #[must_use]
    pub fn len(&self) -> usize {
        self.exchanges.len()
    }

    /// Tells whether it holds none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.exchanges.is_empty()
    }

    /// Returns how many exchanges nobody has asked for yet.
    #[must_use]
    pub fn left(&self) -> usize {
        lock(&self.used).iter().filter(|used| !**used).count()
    }

    /// Returns the upstreams that were asked.
    #[must_use]
    pub fn upstreams(&self) -> BTreeSet<&str> {
        self.exchanges.iter().map(|exchange| exchange.upstream.as_str()).collect()
    }

    /// Takes the answer to a request of an attempt: the one that was given to the same words, or else the next one to a
    /// request of the same shape.
    pub(super) fn take(&self, asked: &Exchange) -> Option<&Exchange> {
        let mut used = lock(&self.used);
        let of = |exchange: &Exchange| (exchange.task, exchange.attempt);
        let left = |index: &usize| !used[*index] && of(&self.exchanges[*index]) == of(asked);
        let left: Vec<usize> = (0..self.exchanges.len()).filter(left).collect();
        let same_words = |index: &&usize| {
            let kept = &self.exchanges[**index];
            kept.upstream == asked.upstream && kept.path == asked.path && kept.request == asked.request
        };
        let shape = asked.shape();
        let same_shape = |index: &&usize| shape.is_some() && self.exchanges[**index].shape() == shape;
        let index = *left.iter().find(same_words).or_else(|| left.iter().find(same_shape))?;
        used[index] = true;
        Some(&self.exchanges[index])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exchange(request: &str, reply: &str) -> Exchange {
        Exchange {
            task: 1,
            attempt: 1,
            workspace: String::new(),
            upstream: "u".to_owned(),
            path: "/v1/messages".to_owned(),
            request: request.to_owned(),
            status: 200,
            content_type: String::new(),
            reply: reply.to_owned(),
            whole: true,
        }
    }

    fn cassette(exchanges: Vec<Exchange>) -> Cassette {
        let used = Mutex::new(vec![false; exchanges.len()]);
        Cassette { label: Label::default(), exchanges, used }
    }

    #[test]
    fn a_reply_names_the_directory_in_which_its_attempt_works() {
        let kept = |workspace: &str| {
            let exchange = exchange("", r#"{"path":"/w/clone-2/tree/a.sh"}"#);
            Exchange { workspace: workspace.to_owned(), ..exchange }
        };
        assert_eq!(
            kept("/w/clone-2/tree").reply_in("/w/clone-10/tree"),
            r#"{"path":"/w/clone-10/tree/a.sh"}"#
        );
        for (then, now) in [("", "/w/clone-10/tree"), ("/w/clone-2/tree", "")] {
            assert_eq!(kept(then).reply_in(now), kept("").reply, "{then} {now}");
        }
        let pieces = |path: &str, rest: &str| {
            let event = |piece: &str| format!("data: {{\"delta\":{{\"text\":\"{piece}\"}}}}\n\n");
            event(path) + &event(rest)
        };
        let split = Exchange { reply: pieces("/w/clone", "-2/tree/a.sh"), ..kept("/w/clone-2/tree") };
        assert_eq!(split.reply_in("/w/clone-10/tree"), pieces("/w/clone-10/tree", "/a.sh"));
        // Recordings of before say nothing of it.
        let line = serde_json::to_string(&kept("")).unwrap();
        assert!(!line.contains("workspace"), "{line}");
        assert_eq!(serde_json::from_str::<Exchange>(&line).unwrap(), kept(""));
    }

    #[test]
    fn an_answer_is_given_to_the_same_words_or_the_same_shape_and_to_nothing_else() {
        let (one, two) = (
            r#"{"model":"m","messages":[{"content":"at ten"}]}"#,
            r#"{"model":"m","messages":[{"content":"at ten"},{},{}]}"#,
        );
        let cassette = cassette(vec![exchange(one, "a"), exchange(one, "b"), exchange(two, "c")]);
        let take = |request: &str| cassette.take(&exchange(request, "")).map(|kept| kept.reply.as_str());
        assert_eq!(take(r#"{"model":"m","messages":[{"content":"at noon"},{},{}]}"#), Some("c"));
        assert_eq!(take(one), Some("a"));
        for other in [
            r#"{"model":"other","messages":[{}]}"#,
            r#"{"model":"m","messages":[{},{}]}"#,
            r#"{"model":"m","messages":[{}],"tools":[{"name":"t"}]}"#,
            "{",
        ] {
            assert_eq!(take(other), None, "{other}");
        }
        let mut elsewhere = exchange(one, "");
        elsewhere.attempt = 2;
        assert_eq!(cassette.take(&elsewhere), None);
        assert_eq!(cassette.left(), 1);
        assert_eq!((take(one), take(one), cassette.left()), (Some("b"), None, 0));
    }
}
