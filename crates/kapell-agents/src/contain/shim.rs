//! The last step before an attempt's own program: kapell once more, inside the level.
//!
//! `__contain [--cgroup DIR] [--read PATH | --write PATH]... [--relay PORT SOCKET]... -- PROGRAM ARGUMENT...`

use std::{
    ffi::{OsStr, OsString},
    io,
    os::unix::process::{CommandExt, ExitStatusExt},
    path::Path,
    process::{Command, ExitCode},
    sync::{Arc, atomic::AtomicBool},
};

use crate::supervise::cgroup::Cgroup;

/// What is to be done before the program starts.
#[derive(Debug, Default, PartialEq, Eq)]
struct Orders {
    readable: Vec<OsString>,
    writable: Vec<OsString>,
    relays: Vec<(u16, OsString)>,
    cgroup: Option<OsString>,
    argv: Vec<OsString>,
}

impl Orders {
    fn parse(args: &[OsString]) -> Option<Self> {
        let (mut orders, mut args) = (Self::default(), args.iter().cloned());
        loop {
            match args.next()?.to_str()? {
                "--cgroup" => orders.cgroup = Some(args.next()?),
                "--read" => orders.readable.push(args.next()?),
                "--write" => orders.writable.push(args.next()?),
                "--relay" => orders.relays.push((args.next()?.to_str()?.parse().ok()?, args.next()?)),
                "--" => break,
                _ => return None,
            }
        }
        orders.argv = args.collect();
        (!orders.argv.is_empty()).then_some(orders)
    }
}

/// The exit code of a shell that cannot start a program.
const CANNOT_START: u8 = 126;

/// Carries out the orders and becomes the program.
///
/// To be called by the binary before it does anything else, if its first argument is [`super::ARGUMENT`]. What goes
/// wrong is returned to be printed: the attempt's output is the only place where it can be said.
///
/// # Errors
///
/// Fails if an order cannot be carried out; then the program has not been started.
pub fn main(args: &[OsString]) -> Result<ExitCode, String> {
    let orders = Orders::parse(args).ok_or("kapell: it was started inside a sandbox with wrong arguments")?;
    // bubblewrap was started to take no notice of SIGTERM, and that is inherited. A signal that is caught is set back
    // to what it usually does when another program is started.
    let ended = Arc::new(AtomicBool::new(false));
    signal_hook::flag::register(signal_hook::consts::SIGTERM, ended)
        .map_err(|error| format!("kapell: signals cannot be set up: {error}"))?;
    run(&orders).map_err(|error| {
        format!("kapell: cannot start {} in its sandbox: {error}", Path::new(&orders.argv[0]).display())
    })
}

fn run(orders: &Orders) -> io::Result<ExitCode> {
    // First: what restricts itself cannot reach it any more, and so never leaves it.
    if let Some(dir) = &orders.cgroup {
        Cgroup::at(dir).enter()?;
    }
    restrict(orders)?;
    let mut command = Command::new(&orders.argv[0]);
    command.args(&orders.argv[1..]);
    if orders.relays.is_empty() {
        return Err(command.exec());
    }
    for (port, socket) in &orders.relays {
        super::relay::open(*port, Path::new(socket))?;
    }
    let status = command.status()?;
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    Ok(ExitCode::from(code.and_then(|code| u8::try_from(code).ok()).unwrap_or(CANNOT_START)))
}

#[cfg(target_os = "linux")]
fn restrict(orders: &Orders) -> io::Result<()> {
    let has_rules = [&orders.readable, &orders.writable].iter().any(|paths| !paths.is_empty());
    if has_rules {
        super::files::restrict(&orders.readable, &orders.writable).map_err(io::Error::other)?;
        super::files::drop_capabilities()?;
    }
    Ok(())
}

#[cfg(not(target_os = "linux"))]
fn restrict(orders: &Orders) -> io::Result<()> {
    match orders.readable.is_empty() && orders.writable.is_empty() {
        true => Ok(()),
        false => Err(io::ErrorKind::Unsupported.into()),
    }
}

/// Writes the arguments that [`main`] understands.
pub(super) fn arguments(
    readable: &[&OsStr],
    writable: &[&OsStr],
    relays: &[(u16, &OsStr)],
    cgroup: Option<&OsStr>,
) -> Vec<OsString> {
    let mut args: Vec<OsString> = vec![super::ARGUMENT.into()];
    args.extend(cgroup.into_iter().flat_map(|dir| ["--cgroup".into(), dir.to_owned()]));
    for (flag, paths) in [("--read", readable), ("--write", writable)] {
        args.extend(paths.iter().flat_map(|&path| [flag.into(), path.to_owned()]));
    }
    for (port, socket) in relays {
        args.extend(["--relay".into(), port.to_string().into(), (*socket).to_owned()]);
    }
    args.push("--".into());
    args
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_are_read_as_they_are_written() {
        let mut args = arguments(
            &["/usr", "--"].map(OsStr::new),
            &[OsStr::new("/w")],
            &[(4711, OsStr::new("/s")), (3128, OsStr::new("/h"))],
            Some(OsStr::new("/g")),
        );
        args.extend(["/bin/echo", "--read", "x"].map(OsString::from));
        let orders = Orders::parse(&args[1..]).unwrap();
        let os = |texts: &[&str]| texts.iter().map(OsString::from).collect::<Vec<_>>();
        assert_eq!((orders.readable, orders.writable), (os(&["/usr", "--"]), os(&["/w"])));
        assert_eq!(orders.relays, [(4711, "/s".into()), (3128, "/h".into())]);
        assert_eq!(orders.cgroup, Some("/g".into()));
        assert_eq!(orders.argv, os(&["/bin/echo", "--read", "x"]));
        assert_eq!(Orders::parse(&os(&["--"])), None);
        assert_eq!(Orders::parse(&os(&["--relay", "x", "/s", "--", "a"])), None);
    }
}
