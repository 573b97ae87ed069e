//! Moves objects from one repository to another, checking what comes from a stranger.

use std::{
    ffi::OsString,
    io::Write,
    os::unix::ffi::{OsStrExt, OsStringExt},
    path::Path,
    process::Stdio,
};

use kapell_core::id::Oid;

use super::{
    error::{Error, ErrorKind, Result, printable},
    own_repo::OwnRepo,
    process::Call,
};

/// From how many objects on a pack is kept whole, as git's `transfer.unpackLimit` has it.
const KEEP_PACK_FROM: u32 = 100;

impl OwnRepo {
    /// Takes the objects of `tip` that `base` does not have out of a stranger's object directory.
    ///
    /// They are re-hashed and checked (`fsck`) on the way in, so that afterwards they are ours.
    /// The caller has made sure that `from` is a plain directory that borrows from nobody else.
    pub(crate) fn import(&self, from: &Path, tip: Oid, base: Oid, limit: u64) -> Result<u32> {
        let pack = pack_objects(self, tip, Some(base)).env("GIT_ALTERNATE_OBJECT_DIRECTORIES", quote(from));
        self.carry_over(&pack, |count| {
            let call = if count < KEEP_PACK_FROM {
                self.call("unpack-objects").args(["-q", "--strict"])
            } else {
                self.call("index-pack").args(["--stdin", "--strict"])
            };
            call.arg(format!("--max-input-size={limit}"))
        })
    }

    /// Writes the objects of `tip` that `base` does not have into this repository, also those that it can borrow.
    pub(crate) fn copy_in(&self, tip: Oid, base: Oid) -> Result<u32> {
        // Unpacked, those that are found elsewhere would be left out.
        self.carry_over(&pack_objects(self, tip, Some(base)), |_| self.call("index-pack").arg("--stdin"))
    }

    /// Brings the objects of `tip` that `base` does not have into the user's repository.
    ///
    /// No configuration of the user's is read: the objects go into their directory under ours.
    /// `shared` is the value of the user's `core.sharedRepository`.
    pub(crate) fn export(&self, tip: Oid, base: Option<Oid>, shared: Option<&str>) -> Result<u32> {
        let pack = pack_objects(self, tip, base);
        self.carry_over(&pack, |count| {
            let call = if count < KEEP_PACK_FROM {
                self.call("unpack-objects").arg("-q")
            } else {
                self.call("index-pack").arg("--stdin")
            };
            let call = call.env("GIT_OBJECT_DIRECTORY", self.borrowed_dir());
            match shared {
                Some(mode) => call.set(format!("core.sharedRepository={mode}")),
                None => call,
            }
        })
    }

    /// Pipes a pack from `pack` into what `consumer` makes for its number of objects.
    fn carry_over<'h>(&'h self, pack: &Call<'h>, consumer: impl FnOnce(u32) -> Call<'h>) -> Result<u32> {
        let mut producer = pack.spawn(Stdio::piped())?;
        if let Some(mut stdin) = producer.0.stdin.take() {
            // If it ended early its exit code says why.
            let _ = stdin.write_all(pack.input_bytes());
        }
        let mut header = [0; 12];
        pack.read_exact(&mut producer, &mut header)?;
        if &header[..4] != b"PACK" {
            return Err(pack.collect(producer)?.error());
        }
        let word =
            |at: usize| u32::from_be_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
        let (version, count) = (word(4), word(8));
        if count == 0 {
            pack.collect(producer)?;
            return Ok(0);
        }
        let consumer = consumer(count).arg(format!("--pack_header={version},{count}"));
        let rest = producer.0.stdout.take().map_or_else(Stdio::null, Stdio::from);
        let taken = consumer.collect(consumer.spawn(rest)?)?;
        let made = pack.collect(producer)?;
        // Whoever refuses what comes ends early, and the one that still writes is ended for that: by the signal for a
        // broken pipe.
        if !taken.ok() && (made.ok() || made.was_ended()) {
            let failure = taken.failure();
            return Err(Error::new("take over objects", ErrorKind::BadObjects(failure)));
        }
        if !made.ok() {
            return Err(made.error());
        }
        Ok(count)
    }
}

fn pack_objects(repo: &OwnRepo, tip: Oid, base: Option<Oid>) -> Call<'_> {
    let mut revisions = format!("{tip}\n");
    if let Some(base) = base {
        revisions.push_str(&format!("^{base}\n"));
    }
    let call = repo.call("pack-objects").args(["--revs", "--stdout", "-q", "--delta-base-offset"]);
    call.set("pack.threads=1").input(revisions)
}

/// Quotes a path for a list that is separated by colons, as git reads it back.
fn quote(path: &Path) -> OsString {
    let bytes = path.as_os_str().as_bytes();
    if !bytes.contains(&b':') && !bytes.starts_with(b"\"") {
        return path.as_os_str().to_owned();
    }
    let mut quoted = vec![b'"'];
    for &byte in bytes {
        match byte {
            b'"' | b'\\' => quoted.extend([b'\\', byte]),
            b'\n' => quoted.extend(b"\\n"),
            _ => quoted.push(byte),
        }
    }
    quoted.push(b'"');
    OsString::from_vec(quoted)
}

/// Shows paths of git for a message.
pub(crate) fn shown(paths: impl IntoIterator<Item = impl AsRef<[u8]>>) -> Vec<String> {
    paths.into_iter().map(|path| printable(path.as_ref())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_survive_a_list_of_paths() {
        assert_eq!(quote(Path::new("/a/b")), OsString::from("/a/b"));
        assert_eq!(quote(Path::new("/a:b\"c")), OsString::from("\"/a:b\\\"c\""));
    }
}
