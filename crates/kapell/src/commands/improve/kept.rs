//! What an audit came to, kept for the next one.
//!
//! One file for each directory and set of options, named by a digest of everything that an audit depends on: the program,
//! the options, the text of every file and the path of every other one. What was not written whole, or by another
//! program, is as if it were not there.

use std::{
    env, fs,
    io::Read as _,
    path::{Path, PathBuf},
    thread::{self, JoinHandle},
    time::UNIX_EPOCH,
};

use kapell_core::id::Digest;
use kapell_lint::{files::Files, fix::Patch};
use kapell_view::audit::AuditView;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::judge::proposes;
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

/// What is being read, beside whatever else is done meanwhile.
pub(super) type Coming<T> = JoinHandle<Option<(String, T)>>;

impl Slot {
    /// Finds the place for an audit, unless it shall not be kept, or there is no place.
    pub(super) fn of(root: &Path, args: &ImproveArgs) -> Option<Self> {
        if args.write_baseline.is_some() || args.out.is_some() {
            return None;
        }
        let asked = asked(args)?;
        let root = fs::canonicalize(root).ok()?;
        let slot = Digest::of(format!("{}\n{asked}", root.display()).as_bytes()).to_string();
        let path = site::user_cache()?.join("kapell/audits").join(&slot[..32]);
        Some(Self { path })
    }

    /// Begins to read what was kept, if there is something.
    pub(super) fn fetch<T: DeserializeOwned + Send + 'static>(&self) -> Option<Coming<T>> {
        let file = fs::File::open(&self.path).ok()?;
        thread::Builder::new().spawn(move || read(file)).ok()
    }

    /// Keeps it for the next time. That it cannot be kept is no reason to fail.
    pub(super) fn save(&self, key: &str, value: &impl Serialize) {
        let Ok(body) = serde_json::to_vec(value) else { return };
        let Some(parent) = self.path.parent() else { return };
        let beside = self.path.with_extension(std::process::id().to_string());
        let text = [head(key, &body).as_bytes(), &body].concat();
        let written = fs::create_dir_all(parent)
            .and_then(|()| fs::write(&beside, text))
            .and_then(|()| fs::rename(&beside, &self.path));
        if written.is_err() {
            let _ = fs::remove_file(&beside);
        }
    }
}

/// Returns what came, if it is of the same key.
pub(super) fn arrived<T>(coming: Coming<T>, key: &str) -> Option<T> {
    let (known, value) = coming.join().ok()??;
    (known == key).then_some(value)
}

/// Returns the first line: what it depends on, and the digest of the rest.
fn head(key: &str, body: &[u8]) -> String {
    format!("{key} {}\n", Digest::of(body))
}

/// Returns what a file holds, and what that depends on, if it is whole.
fn read<T: DeserializeOwned>(mut file: fs::File) -> Option<(String, T)> {
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).ok()?;
    let end = bytes.iter().position(|&byte| byte == b'\n')? + 1;
    let (first, body) = bytes.split_at(end);
    let key = str::from_utf8(first).ok()?.split(' ').next()?.to_owned();
    (first == head(&key, body).as_bytes())
        .then(|| serde_json::from_slice(body).ok())?
        .map(|value| (key, value))
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
    let ImproveArgs { depth, scope, focus, output, rule, timings, baseline, .. } = args;
    let mut asked = format!("{depth:?} {scope:?} {focus:?} {output:?} {} {rule:?}", proposes(args));
    for path in [timings, baseline].into_iter().flatten() {
        asked.push_str(&format!(" {}", Digest::of(&fs::read(path).ok()?)));
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
    use super::*;

    #[test]
    fn what_is_not_whole_or_of_another_key_is_not_there() {
        let dir = tempfile::tempdir().unwrap();
        let slot = Slot { path: dir.path().join("below/slot") };
        let load = |key: &str| slot.fetch::<Vec<u32>>().and_then(|coming| arrived(coming, key));
        assert_eq!(load("a"), None);
        slot.save("a", &vec![1_u32, 2]);
        assert_eq!(load("a"), Some(vec![1_u32, 2]));
        assert_eq!(load("b"), None);
        let whole = fs::read(&slot.path).unwrap();
        for cut in [whole.len() - 1, 70, 3, 0] {
            fs::write(&slot.path, &whole[..cut]).unwrap();
            assert_eq!(load("a"), None, "{cut}");
        }
        let mut bent = whole;
        *bent.last_mut().unwrap() ^= 1;
        fs::write(&slot.path, bent).unwrap();
        assert_eq!(load("a"), None);
        assert_eq!(fs::read_dir(dir.path().join("below")).unwrap().count(), 1);
    }
}
