//! Where things are: the repository, the store, the caches.

use std::{
    env,
    ffi::OsString,
    fs,
    os::unix::fs::{DirBuilderExt, MetadataExt},
    path::{Path, PathBuf},
};

use kapell_agents::{
    drivers::{client::Prices, job::allowed},
    git::{self, Identity, UserRepo},
    proxy::{Redactor, Secret},
    world::Places,
};
use kapell_core::id::Digest;
use kapell_policy::price::PriceTable;
use kapell_store::{Opened, Store};

use crate::{config::Config, exit::Exit, fault::Fault};

/// The name of the user's own table of prices, beside the settings.
const PRICES: &str = "prices.json";

/// The place that a command works on.
#[derive(Debug)]
pub struct Site {
    /// The top of the working tree, or the directory itself outside a repository.
    pub root: PathBuf,
    /// The repository, if there is one.
    pub repo: Option<UserRepo>,
    /// The store's directory.
    pub store: PathBuf,
    /// The settings in force.
    pub config: Config,
}

impl Site {
    /// Finds the place that `dir` lies in.
    ///
    /// # Errors
    ///
    /// Fails if the directory, or the repository that it lies in, cannot be used.
    pub fn find(dir: &Path) -> Result<Self, Fault> {
        let dir = fs::canonicalize(dir).map_err(|error| Fault::io(dir, &error))?;
        let repo = match UserRepo::discover(&dir) {
            Ok(repo) => Some(repo),
            Err(error) if matches!(*error.kind, git::ErrorKind::NotARepository { .. }) => None,
            Err(error) => return Err(error.into()),
        };
        let root = repo.as_ref().and_then(|repo| repo.top()).unwrap_or(&dir).to_owned();
        let config = Config::find(&dir, config_dir().as_deref())?;
        let asked = env::var_os("KAPELL_STORE").filter(|path| !path.is_empty()).map(PathBuf::from);
        let store = match (asked, &config.store, &repo) {
            (Some(path), ..) => dir.join(path),
            (None, Some(path), _) => path.clone(),
            (None, None, Some(repo)) => off_the_network(repo.common_dir().join("kapell")),
            (None, None, None) => off_the_network(root.join(".kapell")),
        };
        Ok(Self { root, repo, store, config })
    }

    /// Opens the store, making it if need be.
    ///
    /// # Errors
    ///
    /// Fails if it cannot be used.
    pub fn open_store(&self) -> Result<(Store, Opened), Fault> {
        Store::open(&self.store).map_err(Fault::from)
    }

    /// Opens the store if it is there, and says what to do if it is not.
    ///
    /// # Errors
    ///
    /// Fails if there is none, or it cannot be used.
    pub fn existing_store(&self) -> Result<Store, Fault> {
        if !self.store.exists() {
            return Err(Fault::new("K0505", Exit::Usage, "nothing has been run here yet")
                .hint("kapell run FILE, or kapell demo to see one"));
        }
        self.open_store().map(|(store, _)| store)
    }

    /// Returns the directory for what can be made again: workspaces, shared directories.
    ///
    /// # Errors
    ///
    /// Fails if there is no home directory.
    pub fn cache(&self) -> Result<PathBuf, Fault> {
        let base = user_cache().ok_or_else(|| {
            Fault::new("K0901", Exit::Environment, "there is no place for workspaces")
                .hint("set HOME or XDG_CACHE_HOME")
        })?;
        let name = Digest::of(self.store.as_os_str().as_encoded_bytes()).to_string();
        Ok(base.join("kapell").join(&name[..16]))
    }

    /// Returns where everything of attempts is kept.
    ///
    /// # Errors
    ///
    /// As [`Site::cache`] and [`Site::prices`].
    pub fn places(&self) -> Result<Places, Fault> {
        let (cache, table) = (self.cache()?, self.prices()?);
        Ok(Places {
            attempts: self.store.join("attempts"),
            scratch: cache.join("scratch"),
            shared: cache.join("shared"),
            env: allowed(env::vars_os(), &[]),
            clients: self.config.clients.settings(|name| env::var(name).ok()),
            servers: self.config.servers.known(|name| env::var(name).ok()),
            prices: Prices::new(move |model| table.price(model)),
        })
    }

    /// Returns what models cost: the table that comes with kapell, and the user's own prices over it.
    ///
    /// # Errors
    ///
    /// Fails if the user's table cannot be read.
    pub fn prices(&self) -> Result<PriceTable, Fault> {
        let Some(path) =
            config_dir().map(|dir| dir.join("kapell").join(PRICES)).filter(|path| path.is_file())
        else {
            return Ok(PriceTable::built_in());
        };
        let text = fs::read_to_string(&path).map_err(|error| Fault::io(&path, &error))?;
        let own = PriceTable::parse(&text).map_err(|error| {
            Fault::new("K0940", Exit::Usage, error.to_string()).at(path.display()).hint(
                r#"{"version": "mine", "models": {"NAME": {"input": 3, "output": 15}}}: dollars for a million tokens"#,
            )
        })?;
        Ok(PriceTable::built_in().overridden_by(own))
    }

    /// Returns what must stand in no recording: the values of all variables whose names speak of secrets, and of those that
    /// hold keys of agents, whatever they are called.
    pub fn secrets(&self) -> Vec<String> {
        let texts = env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
        let named = texts.filter(|(name, _)| is_secret(name)).map(|(_, value)| value);
        let clients = self.config.clients.settings(|name| env::var(name).ok());
        let keys = clients.into_values().filter_map(|settings| settings.key);
        let mut secrets: Vec<String> = named.chain(keys).collect();
        secrets.sort();
        secrets.dedup();
        secrets
    }

    /// Returns what takes secrets out of texts of agents: those of the environment, and keys by their form.
    pub fn redactor(&self) -> Redactor {
        Redactor::new(self.secrets().into_iter().map(Secret::new).collect())
    }

    /// Returns the name under which commits are made.
    pub fn identity(&self) -> Option<Identity> {
        self.repo.as_ref().map(|repo| repo.identity(&git_configs()))
    }

    /// Returns the text of the user's own ignore file, which holds in every repository.
    pub fn excludes(&self) -> Vec<u8> {
        let home = env::var_os("HOME").map(PathBuf::from);
        let default = config_dir().map(|dir| dir.join("git/ignore"));
        self.repo
            .as_ref()
            .map(|repo| repo.excludes(&git_configs(), home.as_deref(), default.as_deref()))
            .unwrap_or_default()
    }
}

/// Tells whether the name of a variable speaks of a secret.
fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    let words = ["KEY", "TOKEN", "SECRET", "PASSWORD", "PASSWD", "CREDENTIAL"];
    words.iter().any(|word| name.contains(word))
}

/// Returns the files that hold the user's own settings of git, the ones that win first.
fn git_configs() -> Vec<PathBuf> {
    let home = env::var_os("HOME").map(|home| PathBuf::from(home).join(".gitconfig"));
    home.into_iter().chain(config_dir().map(|dir| dir.join("git/config"))).collect()
}

/// Returns the user's directory for what can be made again.
pub fn user_cache() -> Option<PathBuf> {
    env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .filter(|path| path.is_absolute())
        .or_else(|| env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache")))
}

/// Returns where it is recorded which repositories' settings for agents a person trusts.
pub fn trust_record() -> Option<PathBuf> {
    config_dir().map(|dir| dir.join("kapell/trust.json"))
}

/// Returns the user's directory for settings.
pub fn config_dir() -> Option<PathBuf> {
    let given = env::var_os("XDG_CONFIG_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    given.or_else(|| env::var_os("HOME").map(|home| PathBuf::from(home).join(".config")))
}

/// A journal needs locks that hold, which a network file system does not give: there the store is kept with the
/// user's own state, under a name made of where it would have been.
fn off_the_network(store: PathBuf) -> PathBuf {
    let there = store.ancestors().find(|dir| dir.exists());
    let is_remote = there.is_some_and(|dir| matches!(kapell_store::network_file_system(dir), Ok(Some(_))));
    if !is_remote || store.join("journal.sqlite").exists() {
        return store;
    }
    let given = env::var_os("XDG_STATE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let state = given.or_else(|| env::var_os("HOME").map(|home| PathBuf::from(home).join(".local/state")));
    let name = Digest::of(store.as_os_str().as_encoded_bytes()).to_string();
    state.map_or(store, |state| state.join("kapell").join(&name[..16]))
}

/// Returns the directory for sockets: private to the user, and gone with the session.
///
/// # Errors
///
/// Fails if it cannot be made, or belongs to somebody else.
pub fn runtime_dir() -> Result<PathBuf, Fault> {
    let uid = rustix::process::getuid().as_raw();
    let dir = env::var_os("XDG_RUNTIME_DIR")
        .map(|base| PathBuf::from(base).join("kapell"))
        .unwrap_or_else(|| env::temp_dir().join(format!("kapell-{uid}")));
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(&dir);
    made.map_err(|error| Fault::io(&dir, &error))?;
    let meta = fs::symlink_metadata(&dir).map_err(|error| Fault::io(&dir, &error))?;
    if !meta.is_dir() || meta.uid() != uid || meta.mode() & 0o077 != 0 {
        return Err(Fault::new("K0902", Exit::Environment, format!("{} is not private", dir.display()))
            .hint(format!("chmod 700 {}, or remove it if it is not yours", dir.display())));
    }
    Ok(dir)
}

/// Returns a number that is another one each time, and that nobody can guess: 62 of its bits are drawn at random.
pub fn random() -> u64 {
    let [.., a, b, c, d, e, f, g, h] = *uuid::Uuid::now_v7().as_bytes();
    u64::from_le_bytes([a, b, c, d, e, f, g, h])
}

/// Returns the name of the person, for the journal: that of the account, the one under which commits are made, or the number of
/// the account.
pub fn person() -> String {
    let set = |name| env::var(name).ok().filter(|text| !text.trim().is_empty());
    let uid = rustix::process::getuid().as_raw();
    set("USER")
        .or_else(|| set("LOGNAME"))
        .or_else(committer)
        .or_else(|| account(&fs::read_to_string("/etc/passwd").unwrap_or_default(), uid))
        .unwrap_or_else(|| format!("uid {uid}"))
}

/// Returns the name that the settings of git give to who commits here.
fn committer() -> Option<String> {
    let repo = UserRepo::discover(Path::new(".")).ok()?;
    let name = repo.identity(&git_configs()).name;
    // So it is called where nobody has set a name.
    (name != Identity::new("", "").name).then_some(name)
}

/// Finds the name of an account in the text of `/etc/passwd`.
fn account(passwd: &str, uid: u32) -> Option<String> {
    let fields = passwd.lines().map(|line| line.split(':').collect::<Vec<_>>());
    let wanted = uid.to_string();
    let mut found = fields.filter(|fields| fields.get(2) == Some(&wanted.as_str()));
    found.next().and_then(|fields| fields.first().map(|name| (*name).to_owned()))
}

/// Returns the machine's name.
pub fn host() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// Returns `PATH`.
pub fn search_path() -> OsString {
    env::var_os("PATH").unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_is_found_by_its_number() {
        let passwd = "root:x:0:0:root:/root:/bin/sh\nbroken\nada:x:1000:1000::/ada:/bin/sh\n";
        assert_eq!(account(passwd, 1000).as_deref(), Some("ada"));
        assert_eq!(account(passwd, 0).as_deref(), Some("root"));
        assert_eq!(account(passwd, 100), None);
    }
}
