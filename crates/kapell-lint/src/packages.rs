//! Packages of npm, as far as they say it of themselves: what their scripts run, and what others get of them.
//!
//! Source: npm, "package.json".

use std::{collections::BTreeMap, sync::Arc};

use serde::{Deserialize, de::IgnoredAny};

use crate::files::File;

/// The name of the file in which a package describes itself.
pub(crate) const MANIFEST: &str = "package.json";

/// What a package says of itself.
#[derive(Debug, Deserialize)]
pub(crate) struct Package {
    /// What its scripts run, by their names.
    #[serde(default)]
    scripts: BTreeMap<String, String>,
    main: Option<String>,
    module: Option<String>,
    types: Option<String>,
    /// Whether it gives programs, which is not looked at more closely.
    pub(crate) bin: Option<IgnoredAny>,
    /// Whether it lists what others may get of it, which is not looked at more closely.
    pub(crate) exports: Option<IgnoredAny>,
}

/// What was read of a manifest, if it can be read.
struct Read(Option<Arc<Package>>);

impl Package {
    /// Reads a manifest, once for each text; `None` where it cannot be read.
    pub(crate) fn of(manifest: &File) -> Option<Arc<Self>> {
        let read = |file: &File| Read(serde_json::from_str(&file.text).ok().map(Arc::new));
        manifest.made(read).0.clone()
    }

    /// Returns its scripts, each by its name with what it runs.
    pub(crate) fn scripts(&self) -> impl Iterator<Item = (&str, &str)> {
        self.scripts.iter().map(|(name, run)| (&**name, &**run))
    }

    /// Returns what a script runs.
    pub(crate) fn script(&self, name: &str) -> Option<&str> {
        self.scripts.get(name).map(String::as_str)
    }

    /// Returns the files by which others get it, in its folder.
    pub(crate) fn entries(&self) -> impl Iterator<Item = &str> {
        [&self.main, &self.module, &self.types].into_iter().flatten().map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_may_say_little_and_nothing_else() {
        let of = |text: &str| Package::of(&File::new(MANIFEST, text));
        let package =
            of(r#"{"scripts": {"test": "vitest", "build": "tsc"}, "main": "out/index.js", "exports": {}}"#)
                .expect("it can be read");
        assert_eq!(package.script("test"), Some("vitest"));
        assert_eq!(package.scripts().map(|(name, _)| name).collect::<Vec<_>>(), ["build", "test"]);
        assert_eq!(package.entries().collect::<Vec<_>>(), ["out/index.js"]);
        assert!(package.exports.is_some() && package.bin.is_none());
        assert!(of("{}").is_some_and(|package| package.script("test").is_none()));
        assert!(of(r#"{"scripts": ["test"]}"#).is_none());
    }
}
