//! What of the machine every attempt needs: the system, the programs on its PATH, tool chains, the objects that its
//! clone borrows. Read-only, and without what the user keeps there besides.

use std::{
    ffi::{OsStr, OsString},
    fs,
    path::{Component, Path, PathBuf},
};

use crate::supervise::Spec;

/// The system, where programs and libraries are.
pub(super) const SYSTEM: &[&str] = &[
    "/usr",
    "/bin",
    "/sbin",
    "/lib",
    "/lib32",
    "/lib64",
    "/libx32",
    "/etc",
    "/opt",
    "/nix/store",
    "/gnu/store",
    "/run/current-system",
    "/run/systemd/resolve",
];

/// Within the system, what only its administrator may read: kapell may run as the administrator.
pub(super) const MASKED: &[&str] = &[
    "/etc/shadow",
    "/etc/shadow-",
    "/etc/gshadow",
    "/etc/gshadow-",
    "/etc/sudoers",
    "/etc/krb5.keytab",
    "/etc/ssh",
    "/etc/ssl/private",
    "/etc/wireguard",
    "/etc/NetworkManager/system-connections",
];

/// Devices, for where there are none of one's own.
pub(super) const DEVICES: &[&str] = &[
    "/dev/null",
    "/dev/zero",
    "/dev/full",
    "/dev/random",
    "/dev/urandom",
    "/dev/tty",
    "/dev/ptmx",
    "/dev/pts",
    "/dev/fd",
    "/dev/shm",
];

/// Variables that name places in the user's HOME.
const POINTING_HOME: &[&str] = &["XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME"];

/// What cargo keeps in its home and a build reads; not the tokens that it keeps there too.
const OF_CARGO: [&str; 4] = ["bin", "registry", "git", "env"];

/// How many repositories may borrow from one another in a row; git has the same limit.
const BORROWING_MAX: usize = 5;

fn variable<'a>(env: &'a [(OsString, OsString)], name: &str) -> Option<&'a OsStr> {
    env.iter().rev().find(|(known, _)| known == name).map(|(_, value)| value.as_os_str())
}

fn set(env: &mut Vec<(OsString, OsString)>, name: &str, value: impl Into<OsString>) {
    env.retain(|(known, _)| known != name);
    env.push((name.into(), value.into()));
}

/// Gives the attempt a HOME of its own, and lets tool chains be found where they are.
pub(super) fn move_home(env: &mut Vec<(OsString, OsString)>, home: &Path, tmp: &Path) {
    let users = variable(env, "HOME").map(PathBuf::from);
    for (name, dir) in [("CARGO_HOME", ".cargo"), ("RUSTUP_HOME", ".rustup")] {
        let usual = users.as_ref().map(|users| users.join(dir)).filter(|dir| dir.is_dir());
        if let (None, Some(usual)) = (variable(env, name), usual) {
            set(env, name, usual);
        }
    }
    env.retain(|(name, _)| !POINTING_HOME.iter().any(|known| name == known));
    set(env, "HOME", home);
    set(env, "TMPDIR", tmp);
}

/// Returns what `spec` needs to read, besides [`SYSTEM`]. Its environment must still name the user's HOME.
pub(super) fn needed(spec: &Spec) -> Vec<PathBuf> {
    let users = variable(&spec.env, "HOME").map(PathBuf::from);
    // A directory that holds all that the user has is no directory of programs.
    let holds_users = |dir: &Path| users.as_ref().is_some_and(|users| users.starts_with(dir));
    let mut found: Vec<PathBuf> =
        variable(&spec.env, "PATH").map(|path| std::env::split_paths(path).collect()).unwrap_or_default();
    found.retain(|dir| dir.is_absolute() && !holds_users(dir));
    found.extend(spec.argv.first().and_then(|program| root_of_program(Path::new(program))));
    let place = |name: &str, usual: &str| {
        let given = variable(&spec.env, name).map(PathBuf::from);
        given.or_else(|| users.as_ref().map(|users| users.join(usual)))
    };
    found.extend(place("RUSTUP_HOME", ".rustup"));
    let cargo = place("CARGO_HOME", ".cargo");
    found.extend(cargo.into_iter().flat_map(|cargo| OF_CARGO.map(|part| cargo.join(part))));
    borrowed(&Path::new(&spec.cwd).join(".git/objects"), BORROWING_MAX, &mut found);
    found.retain(|path| path.exists());
    found
}

/// Returns the directory that a program needs around it: what was installed together with it.
pub(crate) fn root_of_program(program: &Path) -> Option<PathBuf> {
    let real = fs::canonicalize(program).ok()?;
    let modules = real.components().position(|part| part == Component::Normal("node_modules".as_ref()));
    match modules {
        Some(at) => Some(real.components().take(at + 1).collect()),
        None => real.parent().map(Path::to_path_buf),
    }
}

/// Adds the directories of objects from which the repository with `objects` borrows.
fn borrowed(objects: &Path, depth: usize, found: &mut Vec<PathBuf>) {
    let Ok(text) = fs::read(objects.join("info/alternates")) else { return };
    for line in text.split(|&byte| byte == b'\n').filter(|line| !line.is_empty() && line[0] != b'#') {
        use std::os::unix::ffi::OsStrExt;
        let other = objects.join(OsStr::from_bytes(line));
        if depth > 0 && !found.contains(&other) {
            found.push(other.clone());
            borrowed(&other, depth - 1, found);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tool_chains_are_found_and_what_lies_beside_them_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path().join("user");
        for part in
            [".cargo/bin", ".rustup", ".config", "tools/node_modules/x/bin", "ws/.git/objects/info", "o"]
        {
            fs::create_dir_all(home.join(part)).unwrap();
        }
        fs::write(home.join("tools/node_modules/x/bin/x.js"), "").unwrap();
        fs::write(home.join(".cargo/credentials.toml"), "").unwrap();
        fs::write(home.join("ws/.git/objects/info/alternates"), "../../../o\n# no\n/nowhere\n").unwrap();
        let path = std::env::join_paths([home.join(".cargo/bin"), home.clone(), "relative".into()]).unwrap();
        let mut spec = Spec {
            marker: String::new(),
            dir: "/".into(),
            argv: vec![home.join("tools/node_modules/x/bin/x.js").into()],
            cwd: home.join("ws").into(),
            env: vec![("HOME".into(), home.clone().into()), ("PATH".into(), path)],
            limits: Default::default(),
            stdin: Default::default(),
            output: Default::default(),
            cgroup: None,
            durable: false,
        };
        let found = needed(&spec);
        let names: Vec<_> =
            found.iter().map(|path| path.strip_prefix(&home).unwrap().to_str().unwrap().to_owned()).collect();
        assert_eq!(
            names,
            [".cargo/bin", "tools/node_modules", ".rustup", ".cargo/bin", "ws/.git/objects/../../../o"]
        );
        move_home(&mut spec.env, Path::new("/own"), Path::new("/tmp"));
        let value = |name| variable(&spec.env, name).map(PathBuf::from);
        assert_eq!(value("HOME"), Some("/own".into()));
        assert_eq!(value("RUSTUP_HOME"), Some(home.join(".rustup")));
        assert_eq!(value("CARGO_HOME"), Some(home.join(".cargo")));
    }
}
