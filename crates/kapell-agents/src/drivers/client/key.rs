//! Where the key of a client comes from when it is needed, if no variable holds it.
//!
//! The system's keyring is reached by the program that comes with it: `secret-tool` of libsecret speaks to the Secret
//! Service, and `security` to the keychain of macOS. So there is no client of D-Bus in kapell, and what a person is asked
//! to unlock is asked by the desktop's own window.

use std::fmt::Write as _;

/// What gives a key when it is needed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyGiver {
    /// A program and its arguments, which prints the key.
    Command(Vec<String>),
    /// The system's keyring, under the name of a service.
    Keyring(Service),
}

impl KeyGiver {
    /// Returns its key in `kapell.toml`.
    #[must_use]
    pub fn setting(&self) -> &'static str {
        match self {
            Self::Command(_) => "key_command",
            Self::Keyring(_) => "key_keyring",
        }
    }

    /// Returns the program that is started for it, with its arguments.
    #[must_use]
    pub fn argv(&self) -> Vec<String> {
        match self {
            Self::Command(argv) => argv.clone(),
            Self::Keyring(service) => Keyring::HERE.lookup(service),
        }
    }

    /// Returns the program that is started for it.
    #[must_use]
    pub fn program(&self) -> &str {
        match self {
            Self::Command(argv) => argv.first().map_or("", String::as_str),
            Self::Keyring(_) => Keyring::HERE.program(),
        }
    }

    /// Says what to do where its program is not there.
    #[must_use]
    pub fn install_hint(&self) -> &'static str {
        match self {
            Self::Command(_) => "install it, or mend `key_command` in your own settings",
            Self::Keyring(_) => Keyring::HERE.install_hint(),
        }
    }
}

/// The name under which a keyring keeps a key. Invariant: it stands in a command line as it is, and is no option.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service(String);

impl Service {
    /// Takes a name of letters, digits and `._/@:-` that begins with a letter or a digit; none if it is another one, or
    /// has more than 200 characters.
    #[must_use]
    pub fn new(name: &str) -> Option<Self> {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._/@:-".contains(&byte);
        let begins_well = name.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
        (begins_well && name.len() <= 200 && name.bytes().all(is_plain)).then(|| Self(name.to_owned()))
    }

    /// Returns the name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0
    }
}

/// A keyring, by the program that asks it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keyring {
    /// The Secret Service of Linux desktops, by `secret-tool`.
    SecretService,
    /// The keychain of macOS, by `security`.
    Keychain,
}

/// Why a keyring gave no key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Denial {
    /// It keeps none of this name.
    NotFound,
    /// It is locked, and nobody unlocked it.
    Locked,
    /// It cannot be asked, in the words of its program.
    Other(String),
}

impl Keyring {
    /// The one of this system.
    pub(crate) const HERE: Self = match cfg!(target_os = "macos") {
        true => Self::Keychain,
        false => Self::SecretService,
    };

    fn program(self) -> &'static str {
        match self {
            Self::SecretService => "secret-tool",
            Self::Keychain => "security",
        }
    }

    fn install_hint(self) -> &'static str {
        match self {
            Self::SecretService => {
                "install `secret-tool`: apt install libsecret-tools (Debian, Ubuntu), dnf install libsecret (Fedora)"
            }
            Self::Keychain => "`security` is a part of macOS, in /usr/bin: mend PATH",
        }
    }

    fn lookup(self, Service(name): &Service) -> Vec<String> {
        let words: &[&str] = match self {
            Self::SecretService => &["secret-tool", "lookup", "service", name],
            Self::Keychain => &["security", "find-generic-password", "-s", name, "-w"],
        };
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    /// Returns the program that lists what is kept of a name, where it has to be asked whether that is locked: `secret-tool
    /// lookup` 0.20.5 says nothing of a key that is locked while nobody unlocks it, as of one that is not there.
    pub(crate) fn list(self, Service(name): &Service) -> Option<Vec<String>> {
        let words = ["secret-tool", "search", "service", name];
        (self == Self::SecretService).then(|| words.map(str::to_owned).into())
    }

    /// Returns the command that stores a key, and asks for it, so that it stands in no history of a shell.
    pub(crate) fn store(self, Service(name): &Service) -> String {
        match self {
            Self::SecretService => format!("secret-tool store --label='kapell: {name}' service {name}"),
            Self::Keychain => format!("security add-generic-password -U -a \"$USER\" -s {name} -w"),
        }
    }

    /// Reads why its program failed.
    ///
    /// `secret-tool` 0.20.5 ends with 1 whatever is wrong, without a word where there is no such key. `security` ends with
    /// the last byte of the code of its framework: -25300 is no such item, -25308 that nobody may be asked, -128 that the
    /// person refused, -25293 that the password was wrong (`SecBase.h`).
    pub(crate) fn judge(self, code: Option<i32>, errors: &str) -> Denial {
        let words = errors.lines().rev().map(str::trim).find(|line| !line.is_empty());
        match (self, code, words) {
            (Self::SecretService, Some(1), None) | (Self::Keychain, Some(44), _) => Denial::NotFound,
            (Self::SecretService, _, Some(words)) if words.contains("locked") => Denial::Locked,
            (Self::Keychain, Some(36 | 51 | 128), _) => Denial::Locked,
            (_, code, words) => Denial::Other(self.told(code, words)),
        }
    }

    /// What its program said last, or how it ended.
    fn told(self, code: Option<i32>, words: Option<&str>) -> String {
        let Some(words) = words else {
            let mut told = format!("`{}` was ended", self.program());
            if let Some(code) = code {
                told.clear();
                let _ = write!(told, "`{}` failed (exit status: {code})", self.program());
            }
            return told;
        };
        let words =
            words.strip_prefix(self.program()).map_or(words, |rest| rest.trim_start_matches([':', ' ']));
        words.chars().filter(|char| !char.is_control()).take(200).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_keyring_says_is_told_apart() {
        use Keyring::{Keychain, SecretService};
        let other = |text: &str| Denial::Other(text.to_owned());
        // The words are those of the real programs.
        for (keyring, code, errors, expected) in [
            (SecretService, 1, "", Denial::NotFound),
            (SecretService, 1, "secret-tool: Cannot get secret of a locked object\n", Denial::Locked),
            (
                SecretService,
                1,
                "secret-tool: Cannot autolaunch D-Bus without X11 $DISPLAY\n",
                other("Cannot autolaunch D-Bus without X11 $DISPLAY"),
            ),
            (
                SecretService,
                1,
                "noise\nsecret-tool: The name org.freedesktop.secrets was not provided by any .service files\n",
                other("The name org.freedesktop.secrets was not provided by any .service files"),
            ),
            (SecretService, 127, "", other("`secret-tool` failed (exit status: 127)")),
            (SecretService, 1, "a\u{1b}[2Jb", other("a[2Jb")),
            (
                Keychain,
                44,
                "security: SecKeychainSearchCopyNext: The specified item could not be found in the keychain.\n",
                Denial::NotFound,
            ),
            (
                Keychain,
                36,
                "security: SecKeychainItemCopyContent: User interaction is not allowed.\n",
                Denial::Locked,
            ),
            (Keychain, 128, "", Denial::Locked),
            (Keychain, 1, "security: what\n", other("what")),
        ] {
            assert_eq!(keyring.judge(Some(code), errors), expected, "{errors}");
        }
        assert_eq!(SecretService.judge(None, ""), other("`secret-tool` was ended"));
    }

    #[test]
    fn a_name_of_a_service_is_no_option_and_needs_no_quotes() {
        for good in ["anthropic", "kapell/openai", "a.b-c@d:e_f", "7"] {
            assert!(Service::new(good).is_some(), "{good}");
        }
        for bad in ["", "-s", "a b", "a'b", "a\nb", "$(a)", "/a", "ä", &"a".repeat(201)] {
            assert!(Service::new(bad).is_none(), "{bad}");
        }
        let service = Service::new("anthropic").unwrap();
        assert_eq!(
            Keyring::SecretService.lookup(&service),
            ["secret-tool", "lookup", "service", "anthropic"]
        );
        assert_eq!(
            Keyring::Keychain.lookup(&service),
            ["security", "find-generic-password", "-s", "anthropic", "-w"]
        );
        assert_eq!(
            Keyring::Keychain.store(&service),
            "security add-generic-password -U -a \"$USER\" -s anthropic -w"
        );
    }
}
