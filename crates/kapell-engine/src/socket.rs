//! Sockets that are there only when somebody listens.

use std::{
    fs, io,
    os::unix::{fs::PermissionsExt, net::UnixListener},
    path::Path,
};

/// What the name of a socket ends with as long as nobody listens yet.
pub const UNFINISHED: &str = "new";

/// Listens on a socket at `path`, which only its owner can open.
///
/// It appears under its name when somebody listens, so that whoever is refused there knows that its process is gone. One that was
/// left there is replaced.
///
/// # Errors
///
/// Fails as the file system does.
pub fn listen(path: &Path) -> io::Result<UnixListener> {
    let mut unfinished = path.as_os_str().to_owned();
    unfinished.push(format!(".{UNFINISHED}"));
    let unfinished = Path::new(&unfinished);
    match fs::remove_file(unfinished) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(unfinished)?;
    fs::set_permissions(unfinished, fs::Permissions::from_mode(0o600))?;
    fs::rename(unfinished, path)?;
    Ok(listener)
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn one_that_was_left_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("1.sock");
        drop(listen(&path).unwrap());
        assert_eq!(UnixStream::connect(&path).unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
        let listener = listen(&path).unwrap();
        let _client = UnixStream::connect(&path).unwrap();
        listener.accept().unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
