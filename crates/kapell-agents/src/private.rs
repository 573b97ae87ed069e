//! Files for their owner alone, also where an agent has been before.
//!
//! The HOME of an agent is kept between attempts and processes, and kapell, which is not contained, writes settings into
//! it. Whatever the agent has put there meanwhile is replaced and never followed: a link could lead to any file of the
//! user's.

use std::{
    ffi::OsStr,
    fs, io,
    io::Write,
    os::{
        fd::OwnedFd,
        unix::fs::{OpenOptionsExt, PermissionsExt},
    },
    path::{Component, Path},
};

use rustix::{
    fs::{AtFlags, Mode, OFlags},
    io::Errno,
};

/// Makes a directory that nobody else can enter, where no agent writes.
pub(crate) fn dir(path: &Path) -> io::Result<()> {
    fs::create_dir_all(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o700))
}

/// Writes a file that nobody else can read, where no agent writes.
pub(crate) fn write(path: &Path, text: impl AsRef<[u8]>) -> io::Result<()> {
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(text.as_ref())
}

/// Makes the directories `below` a home that an agent may have had before, and opens the last of them.
pub(crate) fn dir_below(home: &Path, below: &Path) -> io::Result<OwnedFd> {
    dir(home)?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut at = rustix::fs::open(home, flags, Mode::empty())?;
    for part in below.components() {
        let Component::Normal(name) = part else { return Err(io::ErrorKind::InvalidInput.into()) };
        let open = || rustix::fs::openat(&at, name, flags, Mode::empty());
        let next = match open() {
            Ok(next) => next,
            Err(error) => {
                // A link, or a file: what stands in the way goes.
                if error != Errno::NOENT {
                    rustix::fs::unlinkat(&at, name, AtFlags::empty())?;
                }
                rustix::fs::mkdirat(&at, name, Mode::RWXU)?;
                open()?
            }
        };
        rustix::fs::fchmod(&next, Mode::RWXU)?;
        at = next;
    }
    Ok(at)
}

/// Writes the file at `path` below a home that an agent may have had before.
pub(crate) fn write_below(home: &Path, path: &Path, text: &str) -> io::Result<()> {
    let (dir, name) = (dir_below(home, parent(path))?, name(path)?);
    let fresh = OsStr::new(".kapell-new");
    remove(&dir, fresh)?;
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = rustix::fs::openat(&dir, fresh, flags, Mode::RUSR | Mode::WUSR)?;
    fs::File::from(file).write_all(text.as_bytes())?;
    // This replaces a link instead of following it.
    Ok(rustix::fs::renameat(&dir, fresh, &dir, name)?)
}

/// Makes a link to `target` at `path` below such a home, unless something is there.
pub(crate) fn link_below(home: &Path, path: &Path, target: &Path) -> io::Result<()> {
    let dir = dir_below(home, parent(path))?;
    match rustix::fs::symlinkat(target, &dir, name(path)?) {
        Err(error) if error != Errno::EXIST => Err(error.into()),
        _ => Ok(()),
    }
}

fn remove(dir: &OwnedFd, name: &OsStr) -> io::Result<()> {
    match rustix::fs::unlinkat(dir, name, AtFlags::empty()) {
        Err(error) if error != Errno::NOENT => Err(error.into()),
        _ => Ok(()),
    }
}

fn parent(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new(""))
}

fn name(path: &Path) -> io::Result<&OsStr> {
    path.file_name().ok_or_else(|| io::ErrorKind::InvalidInput.into())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn what_an_agent_left_is_replaced_and_never_followed() {
        let dir = tempfile::tempdir().unwrap();
        let (home, user) = (dir.path().join("home"), dir.path().join("user"));
        fs::create_dir_all(&home).unwrap();
        fs::create_dir_all(&user).unwrap();
        fs::set_permissions(&user, fs::Permissions::from_mode(0o755)).unwrap();
        fs::write(user.join("bashrc"), "canary").unwrap();
        let path = Path::new(".codex/config.toml");
        write_below(&home, path, "first").unwrap();
        // The file is a link, then its directory, then what it is made from.
        fs::remove_file(home.join(path)).unwrap();
        symlink(user.join("bashrc"), home.join(path)).unwrap();
        symlink(user.join("bashrc"), home.join(".codex/.kapell-new")).unwrap();
        write_below(&home, path, "second").unwrap();
        assert_eq!(fs::read_to_string(home.join(path)).unwrap(), "second");
        fs::remove_dir_all(home.join(".codex")).unwrap();
        symlink(&user, home.join(".codex")).unwrap();
        write_below(&home, path, "third").unwrap();
        link_below(&home, Path::new(".codex/auth.json"), &user.join("auth.json")).unwrap();
        assert_eq!(fs::read_to_string(home.join(path)).unwrap(), "third");
        assert_eq!((mode(&home.join(".codex")), mode(&home.join(path))), (0o700, 0o600));
        assert_eq!(fs::read_link(home.join(".codex/auth.json")).unwrap(), user.join("auth.json"));
        let left: Vec<_> = fs::read_dir(&user).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!((left, mode(&user)), (vec!["bashrc".into()], 0o755));
        assert_eq!(fs::read_to_string(user.join("bashrc")).unwrap(), "canary");
        assert!(write_below(&home, Path::new("../user/bashrc"), "").is_err());
    }
}
