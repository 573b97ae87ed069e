//! The way out of a network of one's own: connections to a port of the loopback interface go on to a Unix socket.

use std::{
    io,
    net::{Ipv4Addr, Shutdown, TcpListener, TcpStream},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    thread,
};

/// Opens the port and serves it from threads of its own, for as long as the process lives.
pub(super) fn open(port: u16, socket: &Path) -> io::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
    let socket = socket.to_owned();
    thread::Builder::new().name("relay".to_owned()).spawn(move || serve(&listener, &socket))?;
    Ok(())
}

fn serve(listener: &TcpListener, socket: &Path) {
    for stream in listener.incoming().flatten() {
        let socket = socket.to_owned();
        // Without another thread the connection is closed, which its client sees.
        let _ = thread::Builder::new().spawn(move || pass(stream, socket));
    }
}

fn pass(inside: TcpStream, socket: PathBuf) {
    if let (Ok(outside), _) = (UnixStream::connect(socket), inside.set_nodelay(true)) {
        join(inside, outside);
    }
}

/// Passes on what comes, both ways, until both have ended.
pub(super) fn join(one: TcpStream, other: UnixStream) {
    let (Ok(mut from), Ok(mut to)) = (one.try_clone(), other.try_clone()) else { return };
    let there = thread::Builder::new().spawn(move || {
        let _ = io::copy(&mut from, &mut to);
        let _ = to.shutdown(Shutdown::Write);
    });
    let (mut from, mut to) = (other, one);
    let _ = io::copy(&mut from, &mut to);
    let _ = to.shutdown(Shutdown::Write);
    if let Ok(there) = there {
        let _ = there.join();
    }
}
