//! A conversation, kept in the home of its task so that a later attempt goes on in it.
//!
//! The first line says what it is of; each further one holds what was added before the model was asked again. So what
//! is kept always ends where it is the model's turn, and a line that was cut off is one that nobody misses.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Api, Spec};

/// What a conversation is of. Another API words it in another way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Label {
    session: String,
    api: Api,
}

/// A conversation on its way into a file.
#[derive(Debug)]
pub(super) struct Kept {
    /// Its name.
    pub(super) session: String,
    /// Nothing is kept any more once it could not be written.
    file: Option<File>,
    /// How much of it is in the file.
    saved: usize,
}

impl Kept {
    /// Begins a conversation, in the place of an older one, or goes on in the one that `spec` names; returns what was
    /// said in it.
    ///
    /// # Errors
    ///
    /// Says, in words, why that one cannot be gone on with.
    pub(super) fn open(spec: &Spec, name: String) -> Result<(Self, Vec<Value>), String> {
        let Some(session) = &spec.resume else {
            let label = Label { session: name.clone(), api: spec.api };
            return Ok((Self { session: name, file: begin(&spec.kept, &label).ok(), saved: 0 }, Vec::new()));
        };
        let text = fs::read_to_string(&spec.kept).map_err(|error| error.to_string())?;
        let history = read(&text, &Label { session: session.clone(), api: spec.api })?;
        // What was cut off is in the way of what comes next.
        let whole = text.rfind('\n').map_or(0, |end| end + 1);
        let file = OpenOptions::new().append(true).open(&spec.kept);
        let file = file.and_then(|file| file.set_len(whole as u64).map(|()| file)).ok();
        Ok((Self { session: session.clone(), file, saved: history.len() }, history))
    }

    /// Keeps what is new of the conversation. Where that fails, a later attempt begins anew.
    pub(super) fn save(&mut self, history: &[Value]) {
        let new = history.get(self.saved..).unwrap_or_default();
        if !new.is_empty() && self.file.as_mut().is_some_and(|file| write(file, &new).is_err()) {
            self.file = None;
        }
        self.saved = history.len();
    }
}

fn begin(path: &Path, label: &Label) -> io::Result<File> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    write(&mut file, label)?;
    Ok(file)
}

fn write(file: &mut File, value: &impl Serialize) -> io::Result<()> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    file.write_all(&line)
}

fn read(text: &str, label: &Label) -> Result<Vec<Value>, String> {
    let mut lines = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
    let first = lines.next().and_then(|line| serde_json::from_str::<Label>(line).ok());
    if first.as_ref() != Some(label) {
        return Err("another conversation is kept there".to_owned());
    }
    let more = lines.map(serde_json::from_str::<Vec<Value>>).collect::<Result<Vec<_>, _>>();
    Ok(more.map_err(|error| error.to_string())?.concat())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_was_said_is_there_again_up_to_where_it_was_cut_off() {
        let label = Label { session: "s".to_owned(), api: Api::Chat };
        let (one, two) = (json!({"role": "user"}), json!({"role": "assistant"}));
        let text = format!("{}\n[{one}]\n[{two},{one}]\n[{two}", serde_json::to_string(&label).unwrap());
        assert_eq!(read(&text, &label).unwrap(), [one.clone(), two, one]);
        let other = Label { session: "t".to_owned(), ..label.clone() };
        assert!(read(&text, &other).is_err());
        assert!(read(&text, &Label { api: Api::Messages, ..label.clone() }).is_err());
        assert!(read("", &label).is_err());
    }
}
