//! What an audit came to, kept for the next one.
//!
//! One file for each directory and set of options, named by a digest of everything that an audit depends on: the program,
//! the options, the text of every file and the path of every other one. What was not written whole, or by another
//! program, is as if it were not there.
//!
//! Beside the digest of the texts stands one of what the file system says of the files: while that is the same, they need
//! not be read. As in git's index, a file that changed just before it was looked at is not trusted to show a change.

use std::{
    env,
    fmt::Write as _,
    fs,
    io::Read as _,
    mem,
    os::unix::fs::MetadataExt as _,
    path::PathBuf,
    thread::{self, JoinHandle},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use kapell_core::id::Digest;
use kapell_lint::{discover::Seen, files::Files, fix::Patch};
use kapell_view::audit::{AuditView, Census};
use serde::{Deserialize, Serialize};

use super::{ground::Ground, judge::proposes};
use crate::{args::ImproveArgs, site};

/// What is kept.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Judged {
    /// The audit, without what other tools found.
    pub(super) view: AuditView,
    /// The safe fixes.
    pub(super) patch: Patch,
    /// The ten deliverables by path, if they were asked for and written already.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) deliverables: Option<Vec<(String, String)>>,
}

/// Where it is kept.
#[derive(Debug)]
pub(super) struct Slot {
    path: PathBuf,
}

/// What is kept and still to come: read beside whatever else is done meanwhile, unless it is short.
#[derive(Debug)]
pub(super) enum Coming {
    Short(fs::File),
    Long(JoinHandle<Option<Kept>>),
}

impl Coming {
    /// To start a thread takes longer than to read this many bytes.
    const SHORT: u64 = 64 * 1024;

    /// Waits for it. Nothing if it is not whole.
    pub(super) fn kept(self) -> Option<Kept> {
        match self {
            Self::Short(file) => read(file),
            Self::Long(thread) => thread.join().ok()?,
        }
    }
}

/// What an audit depends on, as far as it is known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Key {
    /// A digest of the texts.
    pub(super) state: Option<String>,
    /// A digest of what the file system says of the files.
    pub(super) stamp: Option<String>,
}

/// What was kept of an audit.
#[derive(Debug)]
pub(super) struct Kept {
    key: Key,
    /// All but the inventory.
    pub(super) judged: Judged,
    /// How many assets there are.
    pub(super) census: Census,
    /// The inventory as it was written; most of what is kept, and seldom asked.
    inventory: Vec<u8>,
}

impl Kept {
    /// Tells whether it is of the same files.
    pub(super) fn fits(&self, key: &Key) -> bool {
        let same = |one: &Option<String>, two: &Option<String>| one.is_some() && one == two;
        same(&self.key.state, &key.state) || same(&self.key.stamp, &key.stamp)
    }

    /// Tells whether the file system says something else of the files, though they are the same.
    pub(super) fn is_stale(&self, key: &Key) -> bool {
        key.stamp.is_some() && self.key.stamp != key.stamp
    }

    /// Puts the inventory into the audit. Nothing if it cannot be read.
    pub(super) fn with_inventory(mut self) -> Option<Self> {
        self.judged.view.inventory = serde_json::from_slice(&self.inventory).ok()?;
        Some(self)
    }
}

impl Slot {
    /// Finds the place for an audit, unless it shall not be kept, or there is no place.
    pub(super) fn of(ground: &Ground, args: &ImproveArgs) -> Option<Self> {
        if args.write_baseline.is_some() || args.out.is_some() {
            return None;
        }
        let asked = asked(args)?;
        let (top, below) = (fs::canonicalize(&ground.top).ok()?, &ground.below);
        let slot = Digest::of(format!("{}\n{below}\n{asked}", top.display()).as_bytes()).to_string();
        let path = site::user_cache()?.join("kapell/audits").join(&slot[..32]);
        Some(Self { path })
    }

    /// Begins to read what was kept, if there is something.
    pub(super) fn fetch(&self) -> Option<Coming> {
        let file = fs::File::open(&self.path).ok()?;
        if file.metadata().ok()?.len() < Coming::SHORT {
            return Some(Coming::Short(file));
        }
        thread::Builder::new().spawn(move || read(file)).ok().map(Coming::Long)
    }

    /// Keeps it for the next time. That it cannot be kept is no reason to fail.
    pub(super) fn save(&self, key: &Key, judged: &mut Judged) {
        let census = judged.view.inventory.census();
        let inventory = mem::take(&mut judged.view.inventory);
        let told = serde_json::to_vec(&(&census, &*judged));
        let listed = serde_json::to_vec(&inventory);
        judged.view.inventory = inventory;
        let (Ok(told), Ok(listed)) = (told, listed) else { return };
        let Some(parent) = self.path.parent() else { return };
        let beside = self.path.with_extension(std::process::id().to_string());
        let text = [head(key, &told, &listed).as_bytes(), &told, b"\n", &listed].concat();
        let written = fs::create_dir_all(parent)
            .and_then(|()| fs::write(&beside, text))
            .and_then(|()| fs::rename(&beside, &self.path));
        if written.is_err() {
            let _ = fs::remove_file(&beside);
        }
    }
}

/// Returns the first line: what it depends on, and the digests of the rest.
fn head(key: &Key, told: &[u8], listed: &[u8]) -> String {
    let word = |digest: &Option<String>| digest.clone().unwrap_or_else(|| "-".to_owned());
    format!("{} {} {} {}\n", word(&key.state), word(&key.stamp), Digest::of(told), Digest::of(listed))
}

/// Returns what a file holds, if it is whole.
fn read(mut file: fs::File) -> Option<Kept> {
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).ok()?;
    let mut lines = bytes.splitn(3, |&byte| byte == b'\n');
    let (first, told, listed) = (lines.next()?, lines.next()?, lines.next()?);
    let mut words = str::from_utf8(first).ok()?.split(' ');
    let mut word = || words.next().map(|word| (word != "-").then(|| word.to_owned()));
    let key = Key { state: word()?, stamp: word()? };
    if head(&key, told, listed).as_bytes().strip_suffix(b"\n") != Some(first) {
        return None;
    }
    let (census, judged) = serde_json::from_slice(told).ok()?;
    Some(Kept { key, judged, census, inventory: listed.to_vec() })
}

/// How long a file must have been as it is to be trusted to show a change: more than the clocks of file systems are coarse.
const SETTLED: Duration = Duration::from_secs(2);

/// Returns a digest of what the file system says of the files that count and of the options, if that shows any change of
/// them.
pub(super) fn stamp(args: &ImproveArgs, seen: &Seen, now: SystemTime) -> Option<String> {
    let settled =
        i128::try_from(now.checked_sub(SETTLED)?.duration_since(UNIX_EPOCH).ok()?.as_nanos()).ok()?;
    let mut text = format!("{}\n{}\n", program()?, asked(args)?);
    for (path, file) in seen.wanted() {
        let about = fs::symlink_metadata(file).ok()?;
        let changed = i128::from(about.ctime()) * 1_000_000_000 + i128::from(about.ctime_nsec());
        if changed >= settled {
            return None;
        }
        let (device, inode, bytes) = (about.dev(), about.ino(), about.len());
        let written = (about.mtime(), about.mtime_nsec());
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{device} {inode} {bytes} {written:?} {changed} {path}");
    }
    for other in seen.others() {
        text.push_str(other);
        text.push('\n');
    }
    Some(Digest::of(text.as_bytes()).to_string())
}

/// Returns a digest of everything that an audit depends on, if all of it can be read.
pub(super) fn state(args: &ImproveArgs, files: &Files) -> Option<String> {
    let mut text = format!("{}\n{}\n", program()?, asked(args)?);
    for (_, file) in files.iter() {
        text.push_str(&format!("{} {}\n", Digest::of(file.text.as_bytes()), file.path));
    }
    for other in files.others() {
        text.push_str(other);
        text.push('\n');
    }
    Some(Digest::of(text.as_bytes()).to_string())
}

/// Writes down all options that change what is found, with the content of the files that they name.
fn asked(args: &ImproveArgs) -> Option<String> {
    let ImproveArgs { depth, scope, focus, output, rule, timings, baseline, part, .. } = args;
    let (proposes, below) = (proposes(args), &part.below);
    let mut asked = format!("{depth:?} {scope:?} {focus:?} {output:?} {proposes} {rule:?} {below:?}");
    for (name, path) in [("timings", timings), ("baseline", baseline)] {
        let Some(path) = path else { continue };
        asked.push_str(&format!(" {name} {}", Digest::of(&fs::read(path).ok()?)));
    }
    Some(asked)
}

/// Names the program, and with it the rules: its version, and since that stands still while it is written, its file.
fn program() -> Option<String> {
    let about = fs::metadata(env::current_exe().ok()?).ok()?;
    let changed = about.modified().ok()?.duration_since(UNIX_EPOCH).ok()?.as_nanos();
    Some(format!("{} {} {changed}", env!("CARGO_PKG_VERSION"), about.len()))
}

#[cfg(test)]
mod tests {
    use kapell_lint::discover::Bounds;

    use super::*;

    fn judged() -> Judged {
        let view = serde_json::json!({
            "version": 1, "inventory": {"assets": [], "edges": []}, "findings": [], "suppressed": 3, "unread": [],
        });
        Judged { view: serde_json::from_value(view).unwrap(), patch: Patch::default(), deliverables: None }
    }

    fn key(state: &str, stamp: Option<&str>) -> Key {
        Key { state: Some(state.to_owned()), stamp: stamp.map(str::to_owned) }
    }

    #[test]
    fn what_is_not_whole_or_of_another_key_is_not_there() {
        let dir = tempfile::tempdir().unwrap();
        let slot = Slot { path: dir.path().join("below/slot") };
        let load = |key: &Key| {
            let kept = slot.fetch().and_then(Coming::kept).filter(|kept| kept.fits(key))?;
            Some(kept.with_inventory()?.judged.view.suppressed)
        };
        assert_eq!(load(&key("a", None)), None);
        slot.save(&key("a", Some("s")), &mut judged());
        assert_eq!(load(&key("a", None)), Some(3));
        assert_eq!(load(&key("b", Some("s"))), Some(3), "the files were not read");
        assert_eq!(load(&key("b", None)), None);
        let whole = fs::read(&slot.path).unwrap();
        for cut in [whole.len() - 1, 70, 3, 0] {
            fs::write(&slot.path, &whole[..cut]).unwrap();
            assert_eq!(load(&key("a", None)), None, "{cut}");
        }
        let mut bent = whole;
        *bent.last_mut().unwrap() ^= 1;
        fs::write(&slot.path, bent).unwrap();
        assert_eq!(load(&key("a", None)), None);
        slot.save(&key("a", None), &mut judged());
        assert_eq!(load(&Key::default()), None, "what is not known is not the same");
        assert_eq!(fs::read_dir(dir.path().join("below")).unwrap().count(), 1);
    }

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        args: ImproveArgs,
    }

    fn args(words: &[&str]) -> ImproveArgs {
        <Line as clap::Parser>::parse_from([&["improve"], words].concat()).args
    }

    #[test]
    fn a_file_given_for_one_option_is_not_taken_for_another() {
        let dir = tempfile::tempdir().unwrap();
        let [one, two] = ["one", "two"].map(|name| {
            let path = dir.path().join(name);
            fs::write(&path, name).unwrap();
            path.display().to_string()
        });
        let options: [&[&str]; 7] = [
            &[],
            &["--timings", &one],
            &["--baseline", &one],
            &["--timings", &two],
            &["--timings", &one, "--baseline", &two],
            &["--timings", &two, "--baseline", &one],
            &["--rule", "no-timeout"],
        ];
        let asked: std::collections::BTreeSet<_> =
            options.iter().map(|words| asked(&args(words)).unwrap()).collect();
        assert_eq!(asked.len(), options.len());
    }

    #[test]
    fn a_stamp_shows_every_change_and_is_none_for_what_changed_just_now() {
        let args = args(&[]);
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.md");
        let stamp_at = |now| {
            let seen = Seen::below(dir.path(), &|path| path.ends_with(".md"), Bounds::default()).unwrap();
            stamp(&args, &seen, now)
        };
        let later = SystemTime::now() + SETTLED * 2;
        let mut known = vec![stamp_at(later)];
        for text in ["one", "two", "three"] {
            fs::write(&path, text).unwrap();
            assert_eq!(stamp_at(SystemTime::now()), None);
            let again = [stamp_at(later), stamp_at(later)];
            assert!(again[0] == again[1] && again[0].is_some());
            // Clocks of file systems are coarse: the same length may be written in the same tick.
            if text != "two" {
                assert!(!known.contains(&again[0]), "{text}");
            }
            known.extend(again);
        }
        fs::write(dir.path().join("other"), "").unwrap();
        assert!(!known.contains(&stamp_at(later)));
    }
}
