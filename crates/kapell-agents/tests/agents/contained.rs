//! Hostile commands in every level that this machine has, and what is refused where one is missing.

use std::{
    ffi::{OsStr, OsString},
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    sync::OnceLock,
    thread,
};

use kapell_agents::{
    contain::{Containment, Level, Network, ProxyDoor, Room, Wish},
    drivers::{
        Ending, Exit, Work,
        client::{Client, Order, Settings},
    },
    supervise::output_path,
};

use crate::{
    evil::DEAF,
    rig::{HELPER, Rig, is_alive, key, pids_in},
};

/// The levels as they are here.
fn here() -> &'static Containment {
    static HERE: OnceLock<Containment> = OnceLock::new();
    HERE.get_or_init(|| find("/usr/bin:/bin"))
}

fn find(search_path: &str) -> Containment {
    let scratch = tempfile::tempdir().unwrap();
    Containment::find(Path::new(HELPER), OsStr::new(search_path), scratch.path())
}

/// Every level from `least` up that works here; a machine without bubblewrap or Landlock still tests the others.
fn levels(least: Level) -> impl Iterator<Item = Level> {
    Level::ALL.into_iter().filter(move |level| *level >= least && here().has(*level).is_ok())
}

/// A user with something to lose, and an attempt beside it.
struct House {
    rig: Rig,
    outside: tempfile::TempDir,
}

impl House {
    fn new() -> Self {
        let outside = tempfile::tempdir().unwrap();
        fs::create_dir_all(outside.path().join("home/.ssh")).unwrap();
        fs::write(outside.path().join("home/.ssh/id"), "canary").unwrap();
        Self { rig: Rig::new(), outside }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.outside.path().join(name)
    }

    fn room(&self) -> Room {
        Room { home: self.rig.dir.path().join("own-home"), ..Room::default() }
    }

    /// Runs `script` at `level`; returns how it ended and what it printed.
    fn run(&self, level: Level, network: Network, room: Room, script: &str) -> (Exit, String) {
        self.run_with(level, network, room, script, &[])
    }

    /// Does the same with variables besides.
    fn run_with(
        &self,
        level: Level,
        network: Network,
        room: Room,
        script: &str,
        env: &[(OsString, OsString)],
    ) -> (Exit, String) {
        let key = key(1);
        let mut job = self.rig.job(key, script);
        job.cwd = self.rig.dir.path().join("workspace");
        fs::create_dir_all(&job.cwd).unwrap();
        job.env.extend([
            ("HOME".into(), self.path("home").into()),
            ("USERS".into(), self.path("home").into()),
            ("OUTSIDE".into(), self.outside.path().into()),
            ("STARTER".into(), std::process::id().to_string().into()),
        ]);
        job.env.extend(env.iter().cloned());
        let granted = Wish { level: Some(level), network: Some(network) };
        job.contained = Some(here().contain(granted, Wish::default(), room).unwrap());
        let dir = job.dir.clone();
        self.rig.crew.start(key, job).unwrap();
        let exit = self.rig.finished(key);
        let printed = fs::read_to_string(output_path(&dir)).unwrap_or_default();
        (exit, printed)
    }

    /// Runs `script` as if it were Codex, in a home that others have had before.
    fn run_client(&self, level: Level, script: &str) -> Exit {
        let program = self.rig.dir.path().join("programs/codex");
        fs::create_dir_all(program.parent().unwrap()).unwrap();
        fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let key = key(1);
        let mut job = self.rig.job(key, "");
        job.env.push(("USERS".into(), self.path("home").into()));
        let settings =
            Settings { program: Some(program), key: Some("sk-test".to_owned()), ..Settings::default() };
        job.work = Work::Client(Box::new(Order {
            settings,
            contained: true,
            ..Order::new(Client::Codex, "fix it", self.room().home)
        }));
        let granted = Wish { level: Some(level), network: Some(Network::Open) };
        job.contained = Some(here().contain(granted, Wish::default(), self.room()).unwrap());
        self.rig.crew.start(key, job).unwrap();
        self.rig.finished(key)
    }

    fn check(&self, level: Level, script: &str) -> String {
        let (exit, printed) = self.run(level, Network::Open, self.room(), script);
        assert_eq!(exit.ending, Ending::Succeeded, "{level}: {} {printed}", exit.message);
        printed
    }
}

#[test]
fn an_attempt_works_in_its_workspace_with_a_home_of_its_own() {
    for level in levels(Level::Supervised) {
        let house = House::new();
        let printed = house.check(
            level,
            "echo work > made; echo x > $HOME/mine; echo y > $TMPDIR/tmp; echo $HOME; pwd; cat made
             \"$HELPER\" task output colour=green",
        );
        let (home, workspace) = (house.room().home, house.rig.dir.path().join("workspace"));
        let expected = format!("{}\n{}\nwork\n", home.display(), workspace.display());
        assert!(printed.starts_with(&expected), "{level}: {printed}");
        assert_eq!(fs::read_to_string(workspace.join("made")).unwrap(), "work\n");
        assert_eq!(fs::read_to_string(home.join("mine")).unwrap(), "x\n");
    }
}

#[test]
fn outputs_come_out_and_the_exit_code_is_that_of_the_command() {
    for level in levels(Level::Supervised) {
        let house = House::new();
        let script = "echo colour=green >> \"$KAPELL_OUTPUT\"; exit 7";
        let (exit, printed) = house.run(level, Network::Open, house.room(), script);
        let record = exit.record.unwrap();
        assert_eq!(record.code, Some(7), "{level}: {printed}");
        assert_eq!(record.outputs.get("colour").map(String::as_str), Some("green"), "{level}");
    }
}

#[test]
fn nothing_outside_is_written_and_nothing_of_the_user_is_read() {
    for level in levels(Level::Files) {
        let house = House::new();
        let printed = house.check(
            level,
            "try() { \"$@\" 2>/dev/null || true; }
             try sh -c 'echo x > $OUTSIDE/written'
             try sh -c 'echo x >> $USERS/.ssh/id'
             try rm -rf \"$USERS\"
             try mv \"$USERS/.ssh/id\" .
             try ln \"$USERS/.ssh/id\" linked
             ln -s \"$USERS/.ssh/id\" soft; try cat soft; try sh -c 'echo x >> soft'
             try cat \"$USERS/.ssh/id\"
             try cat ../../../../../../..\"$USERS/.ssh/id\"
             try ls \"$USERS/.ssh\"
             try cat /proc/1/root\"$USERS/.ssh/id\"
             try cat /proc/$STARTER/environ
             try cat /proc/$PPID/root\"$USERS/.ssh/id\"
             try truncate -s 0 \"$USERS/.ssh/id\"
             try chmod 777 \"$OUTSIDE\"
             try touch /usr/kapell-was-here /etc/kapell-was-here
             try mkdir \"$OUTSIDE/made\"
             echo end",
        );
        assert_eq!(printed, "end\n", "level {level}");
        let left: Vec<_> =
            fs::read_dir(house.outside.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["home"], "level {level}");
        assert_eq!(fs::read_to_string(house.path("home/.ssh/id")).unwrap(), "canary", "level {level}");
        assert!(!Path::new("/usr/kapell-was-here").exists() && !Path::new("/etc/kapell-was-here").exists());
    }
}

#[test]
fn what_was_granted_can_be_read_or_written_and_no_more() {
    for level in levels(Level::Files) {
        let house = House::new();
        fs::create_dir(house.path("shared")).unwrap();
        fs::write(house.path("credentials"), "token").unwrap();
        let mut room = house.room();
        room.readable = vec![house.path("credentials")];
        room.writable = vec![house.path("shared")];
        let script = "cat $OUTSIDE/credentials; (echo x >> $OUTSIDE/credentials) 2>/dev/null || true; \
                      echo x > $OUTSIDE/shared/x; ls $OUTSIDE/home 2>/dev/null || true";
        let (exit, printed) = house.run(level, Network::Open, room, script);
        assert_eq!((exit.ending, printed.as_str()), (Ending::Succeeded, "token"), "level {level}");
        assert_eq!(fs::read_to_string(house.path("credentials")).unwrap(), "token");
        assert!(house.path("shared/x").exists(), "level {level}");
    }
}

#[test]
fn nothing_that_an_attempt_or_a_workflow_says_opens_more_to_the_next_one() {
    for level in levels(Level::Files) {
        let house = House::new();
        house.check(level, "mkdir -p .git/objects/info; echo \"$USERS/.ssh\" > .git/objects/info/alternates");
        let open = ["RUSTUP_HOME", "CARGO_HOME", "KAPELL_SOCKET", "PATH"].map(|name| {
            let value = match name {
                "PATH" => format!("{}:/usr/bin:/bin", house.path("home/.ssh").display()),
                _ => house.path("home/.ssh").display().to_string(),
            };
            (name.into(), value.into())
        });
        let script = "cat \"$USERS/.ssh/id\" 2>/dev/null || echo closed";
        let (exit, printed) = house.run_with(level, Network::Open, house.room(), script, &open);
        assert_eq!((exit.ending, printed.as_str()), (Ending::Succeeded, "closed\n"), "level {level}");
    }
}

#[test]
fn a_program_that_lies_in_the_users_home_does_not_open_it() {
    for level in levels(Level::Files) {
        let house = House::new();
        fs::copy("/bin/sh", house.path("home/agent")).unwrap();
        let key = key(1);
        let mut job = house.rig.job(key, "");
        let script = format!("cat {} 2>/dev/null || echo closed", house.path("home/.ssh/id").display());
        job.work = Work::Program(vec![house.path("home/agent").into(), "-c".into(), script.into()]);
        let room = Room { users: Some(house.path("home")), ..house.room() };
        let granted = Wish { level: Some(level), network: Some(Network::Open) };
        job.contained = Some(here().contain(granted, Wish::default(), room).unwrap());
        let dir = job.dir.clone();
        house.rig.crew.start(key, job).unwrap();
        assert_eq!(house.rig.finished(key).ending, Ending::Succeeded, "level {level}");
        assert_eq!(fs::read_to_string(output_path(&dir)).unwrap(), "closed\n", "level {level}");
    }
}

#[test]
fn kapell_follows_no_link_that_an_attempt_left_in_its_home() {
    for level in levels(Level::Files) {
        let house = House::new();
        for left in [
            "ln -sf \"$USERS/.ssh/id\" \"$HOME/.codex/config.toml\"",
            "rm -rf \"$HOME/.codex\"; ln -s \"$USERS/.ssh\" \"$HOME/.codex\"",
            "rm -rf \"$HOME/tmp\"; ln -s \"$USERS/made\" \"$HOME/tmp\"",
            "true",
        ] {
            let exit =
                house.run_client(level, &format!("test -f \"$HOME/.codex/config.toml\" && {{ {left}; }}"));
            assert_eq!(exit.record.unwrap().code, Some(0), "level {level}: {}", exit.message);
        }
        let ssh: Vec<_> = fs::read_dir(house.path("home/.ssh")).unwrap().flatten().collect();
        assert_eq!(ssh.len(), 1, "level {level}");
        assert_eq!(fs::read_to_string(house.path("home/.ssh/id")).unwrap(), "canary", "level {level}");
        assert!(!house.path("home/made").exists(), "level {level}");
    }
}

#[test]
fn whatever_leaves_its_parent_is_ended_at_every_level() {
    for level in levels(Level::Supervised) {
        for script in [format!("(env -i /usr/bin/setsid {DEAF} & ) &"), format!("setsid {DEAF} &")] {
            let house = House::new();
            // Numbers inside are not those outside: the process tells its own by holding a file open.
            let script = format!("exec 3> held; {script}\nuntil [ -s pids ]; do sleep 0.01; done; exit 0");
            let (exit, printed) = house.run(level, Network::Open, house.room(), &script);
            assert_eq!(exit.ending, Ending::Succeeded, "level {level}: {printed}");
            let held = house.rig.dir.path().join("workspace/held");
            assert_eq!(holders(&held), 0, "level {level}: {script}");
            if level < Level::Namespaces {
                let pids = pids_in(&house.rig.dir.path().join("workspace/pids"), 1);
                assert!(!is_alive(pids[0]), "level {level}");
            }
        }
    }
}

#[test]
fn at_level_2_an_attempt_cannot_leave_its_control_group_which_goes_with_it() {
    // A machine without groups finds processes one by one, as the test above has it.
    let (Ok(parent), Ok(())) = (here().groups(), here().has(Level::Files)) else { return };
    let house = House::new();
    let script = format!(
        "(echo $$ > {0}/cgroup.procs) 2>/dev/null || mkdir {0}/kapell-mine 2>/dev/null || cat /proc/self/cgroup
         (env -i /usr/bin/setsid {DEAF} & ) & until [ -s pids ]; do sleep 0.01; done",
        parent.display()
    );
    let printed = house.check(Level::Files, &script);
    let group = printed.lines().find_map(|line| line.strip_prefix("0::")).unwrap();
    let name = Path::new(group).file_name().unwrap().to_str().unwrap();
    assert!(name.starts_with("kapell-") && !parent.join("kapell-mine").exists(), "{printed}");
    assert!(!parent.join(name).exists(), "{name} is left");
    assert!(!is_alive(pids_in(&house.rig.dir.path().join("workspace/pids"), 1)[0]));
}

/// Counts the processes that have the file open.
fn holders(file: &Path) -> usize {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let files = processes.filter_map(|process| fs::read_dir(process.path().join("fd")).ok()).flatten();
    files.flatten().filter(|open| fs::read_link(open.path()).is_ok_and(|path| path == file)).count()
}

#[test]
fn an_attempt_that_is_stopped_may_put_things_in_order_first() {
    for level in levels(Level::Supervised) {
        let house = House::new();
        let key = key(1);
        let script = "trap 'echo saved > saved; exit 0' TERM; : > ready; while :; do sleep 0.05; done";
        let mut job = house.rig.job(key, script);
        let granted = Wish { level: Some(level), network: Some(Network::Open) };
        job.contained = Some(here().contain(granted, Wish::default(), house.room()).unwrap());
        house.rig.crew.start(key, job).unwrap();
        crate::rig::until(|| house.rig.dir.path().join("ready").exists().then_some(()));
        house.rig.crew.stop(key, crate::rig::PATIENCE);
        assert_eq!(house.rig.finished(key).ending, Ending::Stopped);
        let saved = fs::read_to_string(house.rig.dir.path().join("saved"));
        assert_eq!(saved.unwrap_or_default(), "saved\n", "level {level}");
    }
}

/// Answers one line to whoever connects, on a port of the loopback interface.
fn neighbour() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = std::io::Write::write_all(&mut stream, b"neighbour\n");
        }
    });
    port
}

#[test]
fn without_a_network_nothing_can_be_reached() {
    let port = neighbour();
    let script = format!(
        "exec 2>/dev/null; bash -c 'cat < /dev/tcp/127.0.0.1/{port}' || true; \
         bash -c 'echo x > /dev/udp/127.0.0.1/9' || true; echo end"
    );
    for level in levels(Level::Supervised) {
        let house = House::new();
        assert!(house.check(level, &script).contains("neighbour"), "open means open, also at level {level}");
        if level.enforces(&Network::Nothing) {
            let (exit, printed) = house.run(level, Network::Nothing, house.room(), &script);
            assert_eq!((exit.ending, printed.as_str()), (Ending::Succeeded, "end\n"));
        }
    }
}

#[test]
fn with_the_model_only_the_proxy_alone_can_be_reached() {
    for level in levels(Level::Namespaces) {
        let house = House::new();
        let socket = house.path("proxy.sock");
        let listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let _ = std::io::Write::write_all(&mut stream, b"proxy\n");
            }
        });
        let (neighbour, port) = (neighbour(), neighbour());
        let room = Room { proxy: Some(ProxyDoor { port, socket }), ..house.room() };
        let script = format!(
            "exec 2>/dev/null; bash -c 'cat < /dev/tcp/127.0.0.1/{neighbour}' || true; \
             bash -c 'cat < /dev/tcp/127.0.0.1/{port}'; exit 5"
        );
        let (exit, printed) = house.run(level, Network::ModelOnly, room, &script);
        assert_eq!((exit.record.unwrap().code, printed.as_str()), (Some(5), "proxy\n"));
    }
}

#[test]
fn with_a_list_its_hosts_alone_can_be_reached() {
    for level in levels(Level::Namespaces) {
        let house = House::new();
        // What kapell opens outside for the attempt; here it says who it is.
        let socket = house.path("hosts.sock");
        let listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let _ = std::io::Write::write_all(&mut stream, b"door\n");
            }
        });
        let neighbour = neighbour();
        let script = format!(
            "exec 2>/dev/null; bash -c 'cat < /dev/tcp/127.0.0.1/{neighbour}' || true; way=${{HTTPS_PROXY#http://}}; \
             bash -c \"cat < /dev/tcp/${{way%:*}}/${{way#*:}}\"; echo $http_proxy $NO_PROXY $NODE_USE_ENV_PROXY"
        );
        let network: Network = "example.org".parse().unwrap();
        let room = Room { hosts: Some(socket), ..house.room() };
        let mine = [("HTTPS_PROXY".into(), "http://elsewhere:1".into())];
        let (exit, printed) = house.run_with(level, network.clone(), room, &script, &mine);
        let expected = "door\nhttp://127.0.0.1:3128 localhost,127.0.0.1,::1 1\n";
        assert_eq!((exit.ending, printed.as_str()), (Ending::Succeeded, expected));
        // Without a way to them it does not start.
        let key = key(2);
        let mut job = house.rig.job(key, "true");
        let granted = Wish { level: Some(level), network: Some(network) };
        job.contained = Some(here().contain(granted, Wish::default(), house.room()).unwrap());
        assert!(house.rig.crew.start(key, job).is_err());
    }
}

#[test]
fn a_level_that_is_not_there_is_refused_and_said() {
    // Nothing is on an empty path: bubblewrap might as well not be installed.
    let there = find("");
    assert_eq!(
        there.highest(),
        if here().has(Level::Files).is_ok() { Level::Files } else { Level::Supervised }
    );
    let granted = Wish { level: Some(Level::Namespaces), network: None };
    let refused = there.contain(granted, Wish::default(), Room::default()).unwrap_err();
    assert_eq!(refused.code(), "K0810");
    assert!(refused.to_string().contains("bwrap"), "{refused}");
    // A program of that name that does not build anything is found out.
    let dir = tempfile::tempdir().unwrap();
    let fake = dir.path().join("bwrap");
    fs::write(&fake, "#!/bin/sh\nwhile [ \"$1\" != -- ]; do shift; done; shift 3; exec \"$@\"\n").unwrap();
    fs::set_permissions(&fake, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    assert!(find(dir.path().to_str().unwrap()).has(Level::Namespaces).is_err());
}
