//! Sockets that are there only when somebody listens.

use std::{
    fs, io,
    os::unix::{fs::PermissionsExt, net::UnixListener},
    path::Path,
    sync::Arc,
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
    for _ in 1..TRIES {
        match try_to_listen(path) {
            // Whoever sweeps took it for one that was left, before anybody listened.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            done => return done,
        }
    }
    try_to_listen(path)
}

/// How often a socket is made that others sweep away.
const TRIES: usize = 3;

fn try_to_listen(path: &Path) -> io::Result<UnixListener> {
    // No longer than `path`, of which the kernel takes little more than a hundred bytes.
    let unfinished = &path.with_file_name(unfinished_name(path));
    match fs::remove_file(unfinished) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(unfinished)?;
    fs::set_permissions(unfinished, fs::Permissions::from_mode(0o600))?;
    fs::rename(unfinished, path)?;
    Ok(listener)
}

/// Returns what the socket at `path` is called as long as nobody listens: what its ending would be stands for that, so that two sockets
/// of one process do not share it.
fn unfinished_name(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let (stem, ending) = name.rsplit_once('.').unwrap_or((&name, ""));
    let first: String = ending.chars().take(1).collect();
    format!("{stem}{first}.{UNFINISHED}")
}

/// Counts whom a listener serves at a time. Whoever accepts connections is the only one who takes seats.
#[derive(Debug)]
pub struct Seats {
    taken: Arc<()>,
    most: usize,
}

/// A place among those who are served; it is free again when this is dropped.
#[derive(Debug)]
pub struct Seat(#[expect(dead_code, reason = "it is only counted")] Arc<()>);

impl Seats {
    /// Makes so many places.
    #[must_use]
    pub fn new(most: usize) -> Self {
        Self { taken: Arc::default(), most }
    }

    /// Takes a place; `None` if all are taken.
    #[must_use]
    pub fn take(&self) -> Option<Seat> {
        (Arc::strong_count(&self.taken) <= self.most).then(|| Seat(self.taken.clone()))
    }
}

#[cfg(test)]
mod tests {
    use std::{
        os::unix::net::UnixStream,
        time::{Duration, Instant},
    };

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

    #[test]
    fn one_at_the_longest_path_that_the_kernel_takes_can_be_made() {
        let dir = tempfile::tempdir().unwrap();
        for (ending, others) in
            [("sock", "agents"), ("agents", "proxy"), ("proxy", "hosts"), ("hosts", "sock")]
        {
            let stem = "1".repeat(
                102 - dir.path().as_os_str().len() - ending.len()
                    + if cfg!(target_os = "linux") { 3 } else { 0 },
            );
            let path = dir.path().join(format!("{stem}.{ending}"));
            let _listener = listen(&path).unwrap();
            UnixStream::connect(&path).unwrap();
            assert_ne!(unfinished_name(&path), unfinished_name(&path.with_extension(others)));
        }
    }

    #[test]
    fn one_that_is_swept_away_before_it_is_finished_is_made_again() {
        let dir = tempfile::tempdir().unwrap();
        let (path, unfinished) = (dir.path().join("1.sock"), dir.path().join("1s.new"));
        let end = Instant::now() + Duration::from_secs(30);
        let swept = std::thread::spawn(move || {
            while Instant::now() < end {
                if fs::remove_file(&unfinished).is_ok() {
                    return true;
                }
            }
            false
        });
        while !swept.is_finished() {
            listen(&path).unwrap();
        }
        assert!(swept.join().unwrap(), "it was never there to be swept");
        listen(&path).unwrap();
        let error = listen(&dir.path().join("nowhere/1.sock")).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn a_seat_is_free_again_once_its_guest_is_gone() {
        let seats = Seats::new(2);
        let (one, _two) = (seats.take().unwrap(), seats.take().unwrap());
        assert!(seats.take().is_none());
        drop(one);
        let _three = seats.take().unwrap();
        assert!(seats.take().is_none());
    }
}
