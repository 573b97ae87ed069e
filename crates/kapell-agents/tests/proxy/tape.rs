//! Recordings.

use std::{fs, path::Path, sync::Arc};

use kapell_agents::proxy::{
    Allowance, Secret, Spent, Tape,
    cassette::{Blank, Cassette, Label},
};
use kapell_mock::{How, Mock, Scenario, Turn};

use crate::rig::{REAL_KEY, Reply, Rig, WAYS, ask, flat_prices, key};

fn session(rig: &Rig) -> Vec<Reply> {
    let (one, two) = (rig.admit(1, Allowance::default()), rig.admit(2, Allowance::default()));
    let mut replies = Vec::new();
    for way in &WAYS {
        replies.push(ask(&one, way, "mock:a canary-of-the-user", true));
        replies.push(ask(&two, way, "mock:b", true));
    }
    replies
}

/// A recording that keeps one secret of the user out.
fn blank(dir: &Path) -> Blank {
    let label = Label::new("a-run".to_owned(), "of-a-plan".to_owned());
    let secrets = vec![Secret::new("canary-of-the-user".to_owned())];
    Blank { path: dir.join("tapes/tape"), label, secrets }
}

/// The body, whose chunks may be others each time.
fn body(reply: &Reply) -> String {
    let lines = reply.text.split_once("\r\n\r\n").map_or("", |(_, body)| body).lines();
    lines.filter(|line| line.starts_with("data:") || line.starts_with('{')).collect()
}

#[test]
fn a_recording_plays_without_anybody_being_asked() {
    let mock = Mock::start().unwrap();
    mock.play("a", Scenario::of([Turn::Say("hello".to_owned())]));
    mock.play("b", Scenario::of([Turn::Say("good bye".to_owned())]).failing(1, 1, How::status(500)));
    let rig = Rig::with(&mock.url(), flat_prices(), |config, dir| {
        config.tape = Tape::Record(blank(dir));
    });
    let recorded = session(&rig);
    let tape = rig.dir.path().join("tapes/tape");
    let text = fs::read_to_string(&tape).unwrap();
    assert!(!text.contains(REAL_KEY) && !text.contains("canary") && text.contains("[redacted]"));
    assert_eq!(
        std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&tape).unwrap().permissions()) & 0o077,
        0
    );
    let cassette = Arc::new(Cassette::read(&tape).unwrap());
    assert_eq!((cassette.len(), cassette.left()), (recorded.len(), recorded.len()));
    assert_eq!(*cassette.label(), blank(rig.dir.path()).label);
    drop((mock, rig));

    let rig = Rig::with("http://127.0.0.1:1", flat_prices(), |config, _| {
        config.tape = Tape::Play(cassette.clone())
    });
    let played = session(&rig);
    for (one, two) in recorded.iter().zip(&played) {
        assert_eq!((one.status, body(one)), (two.status, body(two)));
    }
    assert_eq!(rig.proxy.dismiss(key(1)), Some(Spent::default()));
    assert_eq!(cassette.left(), 0);
    // There is nothing more on it.
    assert!(session(&rig).iter().all(|reply| reply.status == 402));
}

#[test]
fn a_reply_that_broke_off_breaks_off_again() {
    let mock = Mock::start().unwrap();
    mock.play("a", Scenario::of([Turn::Say("hello".to_owned())]).failing(0, 1, How::Cut));
    let rig = Rig::with(&mock.url(), flat_prices(), |config, dir| config.tape = Tape::Record(blank(dir)));
    let asked = |rig: &Rig| ask(&rig.admit(1, Allowance::default()), &WAYS[0], "mock:a", true);
    let recorded = asked(&rig);
    rig.booked();
    let cassette = Arc::new(Cassette::read(&rig.dir.path().join("tapes/tape")).unwrap());
    drop((mock, rig));
    let rig = Rig::with("http://127.0.0.1:1", flat_prices(), |config, _| config.tape = Tape::Play(cassette));
    let played = asked(&rig);
    // A reply in chunks that is whole ends with an empty one.
    for reply in [&recorded, &played] {
        assert!(reply.status == 200 && !reply.text.ends_with("0\r\n\r\n"), "{}", reply.text);
    }
    assert!(body(&recorded).starts_with(&body(&played)) || body(&played).starts_with(&body(&recorded)));
}

#[test]
fn what_is_no_recording_is_not_played() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tape");
    let label = r#"{"cassette": 1, "run": "r", "plan": "p"}"#;
    for (text, expected) in [
        (String::new(), "the first line"),
        ("{}\n".to_owned(), "the first line"),
        (format!("{label}\n{{}}\n"), "line 2"),
        (label.replace('1', "2"), "version 2"),
    ] {
        fs::write(&path, text).unwrap();
        assert!(Cassette::read(&path).unwrap_err().to_string().contains(expected), "{expected}");
    }
    assert!(Cassette::read(&dir.path().join("none")).is_err());
}
