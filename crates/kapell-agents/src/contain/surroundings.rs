//! What of the machine every attempt needs: the system, the programs on kapell's PATH, tool chains. Read-only, and without
//! what the user keeps there besides.

use std::{
    ffi::{OsStr, OsString},
    fs,
    path::{Component, Path, PathBuf},
};

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

/// How often package managers fetch again what they could not. npm alone waits 70 seconds for a network that is not there,
/// and opencode, which fetches by npm what plugins of a repository may need, as long before it answers at all.
const RETRIES: [&str; 3] = ["npm_config_fetch_retries", "PIP_RETRIES", "CARGO_NET_RETRY"];

/// What cargo keeps in its home and a build reads; not the tokens that it keeps there too.
const OF_CARGO: [&str; 4] = ["bin", "registry", "git", "env"];

fn variable<'a>(env: &'a [(OsString, OsString)], name: &str) -> Option<&'a OsStr> {
    env.iter().rev().find(|(known, _)| known == name).map(|(_, value)| value.as_os_str())
}

fn set(env: &mut Vec<(OsString, OsString)>, name: &str, value: impl Into<OsString>) {
    env.retain(|(known, _)| known != name);
    env.push((name.into(), value.into()));
}

/// Has package managers give up at once where no package can be fetched, unless they were told how often to try.
pub(super) fn fetch_once(env: &mut Vec<(OsString, OsString)>) {
    for name in RETRIES {
        if variable(env, name).is_none() {
            set(env, name, "0");
        }
    }
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

/// Returns what programs need to read besides [`SYSTEM`], by kapell's own environment: directories of programs, tool chains
/// without the tokens that lie beside them.
///
/// It is never asked of the environment of an attempt: a workflow has a say in that, and a file that comes with a repository
/// must not open anything.
pub(crate) fn tools(env: &[(OsString, OsString)]) -> Vec<PathBuf> {
    let users = variable(env, "HOME").map(PathBuf::from);
    // A directory that holds all that the user has is no directory of programs.
    let holds_users = |dir: &Path| users.as_ref().is_some_and(|users| users.starts_with(dir));
    let mut found: Vec<PathBuf> =
        variable(env, "PATH").map(|path| std::env::split_paths(path).collect()).unwrap_or_default();
    found.retain(|dir| dir.is_absolute() && !holds_users(dir));
    let place = |name: &str, usual: &str| {
        let given = variable(env, name).map(PathBuf::from);
        given.or_else(|| users.as_ref().map(|users| users.join(usual)))
    };
    found.extend(place("RUSTUP_HOME", ".rustup"));
    let cargo = place("CARGO_HOME", ".cargo");
    found.extend(cargo.into_iter().flat_map(|cargo| OF_CARGO.map(|part| cargo.join(part))));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tool_chains_are_found_and_what_lies_beside_them_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path().join("user");
        for part in [".cargo/bin", ".rustup", ".config", "tools/node_modules/x/bin"] {
            fs::create_dir_all(home.join(part)).unwrap();
        }
        fs::write(home.join("tools/node_modules/x/bin/x.js"), "").unwrap();
        fs::write(home.join(".cargo/credentials.toml"), "").unwrap();
        let path = std::env::join_paths([home.join(".cargo/bin"), home.clone(), "relative".into()]).unwrap();
        let mut env = vec![("HOME".into(), home.clone().into()), ("PATH".into(), path)];
        let mut found = tools(&env);
        found.extend(root_of_program(&home.join("tools/node_modules/x/bin/x.js")));
        let names: Vec<_> =
            found.iter().map(|path| path.strip_prefix(&home).unwrap().to_str().unwrap().to_owned()).collect();
        assert_eq!(names, [".cargo/bin", ".rustup", ".cargo/bin", "tools/node_modules"]);
        move_home(&mut env, Path::new("/own"), Path::new("/tmp"));
        let value = |name| variable(&env, name).map(PathBuf::from);
        assert_eq!(value("HOME"), Some("/own".into()));
        assert_eq!(value("RUSTUP_HOME"), Some(home.join(".rustup")));
        assert_eq!(value("CARGO_HOME"), Some(home.join(".cargo")));
    }

    #[test]
    fn nothing_is_fetched_again_but_by_who_was_told_to() {
        let mut env = vec![("PIP_RETRIES".into(), "3".into())];
        fetch_once(&mut env);
        let value = |name| variable(&env, name).and_then(OsStr::to_str);
        assert_eq!(value("PIP_RETRIES"), Some("3"));
        assert_eq!((value("npm_config_fetch_retries"), value("CARGO_NET_RETRY")), (Some("0"), Some("0")));
    }
}
