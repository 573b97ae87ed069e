//! Out as lines of JSON, and in again.

use std::io::{self, BufReader, Read, Write};

use kapell_core::id::Digest;
use kapell_engine::port::journal::Journal;
use kapell_store::{ExportError, ImportError, ImportErrorKind, Scope, Store, Transferred};

use crate::common::{Chain, append, open, rows};

fn export(store: &Store, artifacts: &[Digest]) -> String {
    let mut out = Vec::new();
    store.export(&[], artifacts, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

fn import(store: &Store, text: &str) -> Result<Transferred, ImportError> {
    store.import(&mut text.as_bytes())
}

/// Two runs, one with a body that is no array of lines, and two artifacts.
fn sample(store: &Store) -> (String, [Chain; 2]) {
    let mut chains = [Chain::new(1), Chain::new(2)];
    append(store, chains[0].next(3)).unwrap();
    let mut odd = chains[1].next(2);
    for (row, body) in odd.rows.iter_mut().zip(["[1, 2]\n", "no JSON at all"]) {
        row.body = body.to_owned();
    }
    odd.rows[0].hash = odd.rows[0].seal();
    odd.rows[1].prev = odd.rows[0].hash;
    odd.rows[1].hash = odd.rows[1].seal();
    chains[1].hash = odd.rows[1].hash;
    append(store, odd).unwrap();
    let text = store.keep("the plan\n".as_bytes()).unwrap();
    let bytes = store.keep(&[0, 255, 128]).unwrap();
    (export(store, &[text, bytes]), chains)
}

#[test]
fn an_export_can_be_read_and_imports_to_the_same_bytes() {
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let (one, two) = (open(dirs[0].path()), open(dirs[1].path()));
    let (text, chains) = sample(&one);
    let lines: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 1 + 2 + 5 + 1);
    assert_eq!(lines[1]["text"], "the plan\n");
    assert_eq!(lines[2]["hex"], "00ff80");
    let decisions: Vec<_> = lines[3..8].iter().collect();
    assert!(decisions.iter().any(|line| line["events"][0]["task_submitted"]["task"] == 2));
    assert!(decisions.iter().any(|line| line["body"] == "no JSON at all"));

    assert_eq!(import(&two, &text).unwrap(), Transferred { decisions: 5, artifacts: 2 });
    for chain in chains {
        assert_eq!(rows(&two, chain.run, 0), rows(&one, chain.run, 0));
    }
    assert_eq!(two.kept(Digest::of(b"the plan\n")).unwrap().unwrap(), b"the plan\n");
    two.verify(Scope::All, &[]).unwrap();
    // Once more changes nothing, and what is new is added.
    assert_eq!(import(&two, &text).unwrap().decisions, 0);
    let mut chain = chains[0];
    append(&one, chain.next(2)).unwrap();
    assert_eq!(import(&two, &export(&one, &[])).unwrap().decisions, 2);
    assert_eq!(rows(&two, chain.run, 0), rows(&one, chain.run, 0));
    two.verify(Scope::All, &[]).unwrap();
}

#[test]
fn what_was_imported_can_be_appended_to() {
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let (one, two) = (open(dirs[0].path()), open(dirs[1].path()));
    let mut other = Chain::new(9);
    append(&two, other.next(1)).unwrap();
    let (text, mut chains) = sample(&one);
    import(&two, &text).unwrap();
    append(&two, other.next(1)).unwrap();
    append(&two, chains[0].next(1)).unwrap();
    two.verify(Scope::All, &[]).unwrap();
    // Now the two stores have different futures for this run.
    let mut late = Chain { n: kapell_core::journal::Version(3), ..chains[0] };
    late.hash = rows(&one, late.run, 2)[0].hash;
    let mut next = late.next(1);
    next.rows[0].cause = "tick".to_owned();
    next.rows[0].hash = next.rows[0].seal();
    append(&one, next).unwrap();
    let error = import(&two, &export(&one, &[])).unwrap_err();
    assert!(error.to_string().contains("holds another decision 4"), "{error}");
}

#[test]
fn every_cut_and_every_changed_byte_is_refused_with_its_line() {
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let (one, two) = (open(dirs[0].path()), open(dirs[1].path()));
    let (text, _) = sample(&one);
    for end in (0..text.len() - 1).step_by(7) {
        let error = import(&two, &text[..text.floor_char_boundary(end)]).unwrap_err();
        assert!(error.line >= 1 && error.line <= 9 + 1, "{error}");
    }
    let bytes = text.clone().into_bytes();
    for at in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 1;
        // Some changes say the same in another way (`a` for `A` in a digest); none may say something else.
        if two.import(&mut &changed[..]).is_ok() {
            assert_eq!(export(&two, &[]).lines().count(), 7, "byte {at}");
            for run in two.runs().unwrap() {
                assert_eq!(rows(&two, run.run, 0), rows(&one, run.run, 0), "byte {at}");
            }
        }
    }
    let lines: Vec<_> = text.lines().collect();
    for (what, wrong) in [
        ("begin like an export", "{}\n".to_owned()),
        ("begin like an export", "{\"kapell\":\"x\",\"format\":1}\n".to_owned()),
        ("newer kapell: format 2", "{\"kapell\":\"journal\",\"format\":2}\n".to_owned()),
        ("lines are missing", format!("{}\n{}\n", lines[0], lines[8])),
        ("behind the end", format!("{text}{}\n", lines[8])),
        ("not hexadecimal", format!("{}\n{}\n", lines[0], lines[2].replace("00ff80", "zz"))),
        ("either `text` or `hex`", format!("{}\n{}\n", lines[0], lines[2].replace("hex", "hax"))),
        ("does not have its hash", format!("{}\n{}\n", lines[0], lines[2].replace("00ff80", "00ff81"))),
    ] {
        let error = import(&two, &wrong).unwrap_err();
        assert!(error.to_string().contains(what), "{error}");
    }
}

#[test]
fn an_artifact_that_is_not_there_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let error = open(dir.path()).export(&[], &[Digest::ZERO], &mut Vec::new()).unwrap_err();
    assert!(error.to_string().starts_with("there is no artifact 0000"));
}

/// Takes `left` bytes, or gives them, and is broken then.
struct Breaks<'a> {
    text: &'a [u8],
    left: usize,
}

impl Write for Breaks<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.left = self.left.checked_sub(bytes.len()).ok_or(io::ErrorKind::BrokenPipe)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Read for Breaks<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let some = into.len().min(self.left);
        if some == 0 {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        self.left -= some;
        self.text.read(&mut into[..some])
    }
}

#[test]
fn a_pipe_that_breaks_is_said_and_nothing_of_it_is_taken_in() {
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let (one, two) = (open(dirs[0].path()), open(dirs[1].path()));
    let (text, _) = sample(&one);
    for left in (0..text.len() - 1).step_by(97) {
        let error = one.export(&[], &[], &mut Breaks { text: b"", left: left % 700 }).unwrap_err();
        assert!(matches!(error, ExportError::Write(_)), "{error}");
        let mut input = BufReader::new(Breaks { text: text.as_bytes(), left });
        let error = two.import(&mut input).unwrap_err();
        assert!(matches!(*error.kind, ImportErrorKind::Read(_)), "{left}: {error}");
        assert_eq!(two.runs().unwrap(), []);
    }
}

#[test]
fn decisions_that_are_no_chain_are_refused_with_their_line() {
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let (one, two) = (open(dirs[0].path()), open(dirs[1].path()));
    let (text, _) = sample(&one);
    let lines: Vec<&str> = text.lines().collect();
    let first = lines.iter().position(|line| line.contains("\"events\"")).unwrap();
    let without = |what: &str| lines[first].replace(what, "\"other\"");
    for (wrong, at, what) in [
        ([lines[0], lines[first + 1]], 2, "decision 2"),
        ([lines[0], &without("\"events\"")], 2, "either `events` or `body`"),
        ([lines[0], &lines[first].replace("\"n\":1,", "\"n\":9,")], 2, "does not have its hash"),
        ([lines[0], "\u{0}"], 2, "not a line of an export"),
    ] {
        let error = import(&two, &wrong.join("\n")).unwrap_err();
        assert!(error.line == at && error.to_string().contains(what), "{what}: {error}");
        assert_eq!(two.runs().unwrap(), []);
    }
    let error = two.import(&mut &b"{\"kapell\":\"journal\",\"format\":1}\n\xff\n"[..]).unwrap_err();
    assert!(matches!(*error.kind, ImportErrorKind::Syntax(_)), "{error}");
}
