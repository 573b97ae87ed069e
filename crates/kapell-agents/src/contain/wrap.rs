//! A command becomes a contained one: the same process, behind a program that builds the level around it.

use std::{
    ffi::{OsStr, OsString},
    fs, io,
    path::{Path, PathBuf},
};

use super::{
    choose::Chosen,
    level::{Level, Network},
    room::Room,
    shim, surroundings,
};
use crate::{
    private, protocol,
    supervise::{OUTPUTS_FILE, Spec, cgroup::Cgroup},
};

/// Below the HOME of an attempt: its files for a while, where it has no `/tmp` of its own.
const TMP: &str = "tmp";

/// Where kapell itself stands inside.
const PROGRAM_INSIDE: &str = "/run/kapell/program";

/// The port inside that leads to the hosts on a list; the usual one of such proxies.
const HOSTS_PORT: u16 = 3128;

/// The variables by which programs are told of a proxy. Some heed the one spelling, some the other.
const PROXY_VARIABLES: [&str; 4] = ["HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"];
/// Without this Node.js does not heed them by itself.
const NODE_HEEDS_THEM: (&str, &str) = ("NODE_USE_ENV_PROXY", "1");

/// Ends of attempts begin with SIGTERM for all their processes. bubblewrap would die of it at once and take all with
/// it, before they could put things in order: it is started so that it does not notice.
const UNMOVED_BY_TERM: &str = "trap '' TERM; exec \"$@\"";

/// How one attempt is contained.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contained {
    pub(super) chosen: Chosen,
    pub(super) room: Room,
    /// kapell's own program, by its path.
    pub(super) program: PathBuf,
    /// bubblewrap, if it was found.
    pub(super) bubblewrap: Option<PathBuf>,
    /// Where control groups can be made, if they can.
    pub(super) groups: Option<PathBuf>,
}

/// A path that an attempt may reach.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Opening {
    path: PathBuf,
    writable: bool,
}

impl Contained {
    /// Returns level and network.
    #[must_use]
    pub fn chosen(&self) -> &Chosen {
        &self.chosen
    }

    /// Returns what the attempt may touch, to add to it.
    pub fn room_mut(&mut self) -> &mut Room {
        &mut self.room
    }

    /// Changes `spec` so that its command runs contained, with its workspace as its directory.
    ///
    /// # Errors
    ///
    /// Fails if the attempt's HOME or file of outputs cannot be made, or kapell's own program is no longer there.
    pub fn wrap(&self, spec: &mut Spec) -> io::Result<()> {
        if self.chosen.level == Level::Nothing || spec.argv.is_empty() {
            return Ok(());
        }
        let tmp = match self.chosen.level {
            Level::Namespaces => PathBuf::from("/tmp"),
            _ => self.room.home.join(TMP),
        };
        private::dir(&self.room.home)?;
        let openings = self.openings(spec)?;
        surroundings::move_home(&mut spec.env, &self.room.home, &tmp);
        if matches!(self.chosen.network, Network::Nothing | Network::ModelOnly) {
            surroundings::fetch_once(&mut spec.env);
        }
        if matches!(self.chosen.network, Network::AllowList(_)) {
            // Not a network without a way out in its place: whoever asked for it waits for these hosts.
            self.room
                .hosts
                .as_ref()
                .ok_or_else(|| io::Error::other("there is no way to the hosts on its list"))?;
            self.show_hosts(&mut spec.env);
        }
        let prefix = match self.chosen.level {
            Level::Namespaces => self.bubblewrap(spec, &openings)?,
            Level::Files => {
                private::dir_below(&self.room.home, Path::new(TMP))?;
                let group = self.groups.as_ref().map(|parent| Cgroup::of(parent, &spec.marker));
                spec.cgroup = group.map(|group| group.dir().as_os_str().to_owned());
                self.landlock(spec, &openings)
            }
            Level::Supervised | Level::Nothing => {
                private::dir_below(&self.room.home, Path::new(TMP))?;
                return Ok(());
            }
        };
        spec.argv.splice(0..0, prefix);
        Ok(())
    }

    /// Returns what can be reached besides the system, the inner after the outer.
    fn openings(&self, spec: &Spec) -> io::Result<Vec<Opening>> {
        let dir = Path::new(&spec.dir);
        let outputs = dir.join(OUTPUTS_FILE);
        // A file can only be let in if it is there.
        fs::OpenOptions::new().create(true).append(true).open(&outputs)?;
        let socket = spec.env.iter().rfind(|(name, _)| name == protocol::SOCKET).map(|(_, path)| path.into());
        // Only what kapell has found out itself is let in: the workspace, and the variables that a workflow sets, are in the
        // hands of whoever is to be held.
        // A name alone would be looked for where kapell itself was started.
        let program = spec.argv.first().map(Path::new).filter(|program| program.is_absolute());
        let around = program.and_then(surroundings::root_of_program);
        // The file itself: a link into /proc means another one inside.
        let program = program.and_then(|program| fs::canonicalize(program).ok());
        let readable = around.into_iter().chain(self.room.readable.clone());
        let readable = readable.filter(|dir| !self.room.holds_users(dir));
        // Agents that are commands speak to kapell through its own program.
        let own = [dir.to_path_buf(), self.program.clone()].into_iter().chain(program);
        let readable = readable.chain(own).map(|path| Opening { path, writable: false });
        let writable = [PathBuf::from(&spec.cwd), self.room.home.clone(), outputs].into_iter();
        let writable = writable
            .chain(socket)
            .chain(self.room.writable.clone())
            .map(|path| Opening { path, writable: true });
        let mut openings: Vec<_> = readable.chain(writable).filter(|opening| opening.path.exists()).collect();
        openings.sort_by_key(|opening| (opening.path.components().count(), opening.writable));
        openings.dedup();
        Ok(openings)
    }

    fn bubblewrap(&self, spec: &Spec, openings: &[Opening]) -> io::Result<Vec<OsString>> {
        let bubblewrap = self.bubblewrap.as_ref().ok_or(io::ErrorKind::NotFound)?;
        if !self.program.is_file() {
            let message =
                format!("{} is not there any more: it was updated meanwhile", self.program.display());
            return Err(io::Error::new(io::ErrorKind::NotFound, message));
        }
        let mut args: Vec<OsString> =
            ["/bin/sh", "-c", UNMOVED_BY_TERM, "kapell-contain"].map(OsString::from).into();
        args.push(bubblewrap.into());
        let mut add = |words: &[&OsStr]| args.extend(words.iter().map(|&word| word.to_owned()));
        let word = OsStr::new;
        add(&["--unshare-user", "--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try"]
            .map(word));
        add(&["--die-with-parent", "--cap-drop", "ALL", "--proc", "/proc", "--dev", "/dev"].map(word));
        add(&["--tmpfs", "/tmp", "--tmpfs", "/var/tmp", "--dir", "/run"].map(word));
        if self.chosen.network != Network::Open {
            add(&[word("--unshare-net")]);
        }
        for dir in surroundings::SYSTEM {
            match fs::read_link(dir) {
                Ok(target) => add(&[word("--symlink"), target.as_os_str(), word(dir)]),
                Err(_) => add(&["--ro-bind-try", dir, dir].map(word)),
            }
        }
        for path in surroundings::MASKED.iter().map(Path::new) {
            match fs::metadata(path) {
                Ok(meta) if meta.is_dir() => add(&[word("--tmpfs"), path.as_os_str()]),
                Ok(_) => add(&[word("--ro-bind"), word("/dev/null"), path.as_os_str()]),
                Err(_) => {}
            }
        }
        add(&[word("--ro-bind"), self.program.as_os_str(), word(PROGRAM_INSIDE)]);
        for Opening { path, writable } in openings.iter().filter(|opening| !is_system(&opening.path)) {
            let how = if *writable { "--bind" } else { "--ro-bind" };
            add(&[word(how), path.as_os_str(), path.as_os_str()]);
        }
        for path in &self.room.hidden {
            match path.is_dir() {
                true => add(&[word("--tmpfs"), path.as_os_str()]),
                false => add(&[word("--ro-bind"), word("/dev/null"), path.as_os_str()]),
            }
        }
        let relays = self.relays();
        for (_, socket) in &relays {
            add(&[word("--bind"), socket, socket]);
        }
        add(&[word("--chdir"), &spec.cwd, word("--"), word(PROGRAM_INSIDE)]);
        args.extend(shim::arguments(&[], &[], &relays, None));
        Ok(args)
    }

    /// Returns the ways out of a network of its own: ports inside, and the sockets that they lead to.
    fn relays(&self) -> Vec<(u16, &OsStr)> {
        let room = &self.room;
        let model = || room.proxy.as_ref().map(|door| (door.port, door.socket.as_os_str()));
        let hosts = || room.hosts.as_ref().map(|socket| (self.hosts_port(), socket.as_os_str()));
        match self.chosen.network {
            Network::ModelOnly => model().into_iter().collect(),
            Network::AllowList(_) => model().into_iter().chain(hosts()).collect(),
            Network::Nothing | Network::Open => Vec::new(),
        }
    }

    /// The port inside that leads to the hosts on a list.
    fn hosts_port(&self) -> u16 {
        let is_taken = self.room.proxy.as_ref().is_some_and(|door| door.port == HOSTS_PORT);
        if is_taken { HOSTS_PORT + 1 } else { HOSTS_PORT }
    }

    /// Tells programs by which way they reach the hosts on a list.
    fn show_hosts(&self, env: &mut Vec<(OsString, OsString)>) {
        let way = format!("http://127.0.0.1:{}", self.hosts_port());
        let here = "localhost,127.0.0.1,::1";
        let told = PROXY_VARIABLES.into_iter().map(|name| (name, way.as_str()));
        for (name, value) in
            told.chain(["NO_PROXY", "no_proxy"].map(|name| (name, here))).chain([NODE_HEEDS_THEM])
        {
            env.retain(|(known, _)| known != name);
            env.push((name.into(), value.into()));
        }
    }

    fn landlock(&self, spec: &Spec, openings: &[Opening]) -> Vec<OsString> {
        let of = |wanted: bool| {
            let chosen = openings.iter().filter(move |opening| opening.writable == wanted);
            chosen.map(|opening| opening.path.as_os_str())
        };
        let system = surroundings::SYSTEM.iter().chain(&["/proc"]).map(OsStr::new);
        let readable: Vec<&OsStr> = system.chain(of(false)).chain([self.program.as_os_str()]).collect();
        let writable: Vec<&OsStr> = surroundings::DEVICES.iter().map(OsStr::new).chain(of(true)).collect();
        let mut args = vec![self.program.clone().into()];
        args.extend(shim::arguments(&readable, &writable, &[], spec.cgroup.as_deref()));
        args
    }
}

/// Tells whether `path` is there anyway.
fn is_system(path: &Path) -> bool {
    surroundings::SYSTEM.iter().any(|dir| path.starts_with(dir))
}
