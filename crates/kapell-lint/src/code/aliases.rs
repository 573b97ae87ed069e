//! Names of modules that settings map to files: `paths` of a tsconfig, `imports` and the name of a package.json.

use crate::files::Files;

/// A name that stands for a place in the repository.
#[derive(Debug)]
pub struct Alias<'a> {
    /// The folder of the settings, with a slash at its end unless it is the top; what is below it may use the name.
    within: &'a str,
    /// What a module's name begins with.
    start: String,
    /// What it ends with, where a star stands between.
    end: Option<String>,
    /// Where that is, with a star for what the star stood for.
    to: String,
}

/// Returns the folder of a path, with the slash after it.
fn folder(path: &str) -> &str {
    path.rfind('/').map_or("", |end| &path[..=end])
}

impl<'a> Alias<'a> {
    /// Finds all aliases; those of inner folders come first.
    pub(super) fn all(files: &'a Files) -> Vec<Self> {
        let mut found = Vec::new();
        for (_, file) in files.iter() {
            let within = folder(&file.path);
            let text = &*file.text;
            match file.name() {
                "package.json" => {
                    for (name, to) in pairs(text, "imports") {
                        found.extend(Self::new(within, name, &format!("{within}{}", plain(to))));
                    }
                    for name in pairs_of_top(text, "name").filter(|name| !name.is_empty()) {
                        // Sources lie in `src` as a rule.
                        for source in ["src/", ""] {
                            found.extend(Self::new("", name, &format!("{within}{source}index")));
                            found.extend(Self::new("", &format!("{name}/*"), &format!("{within}{source}*")));
                        }
                    }
                }
                name if is_typescript(name) => {
                    let base = pairs_of_top(text, "baseUrl").next().map_or("", plain);
                    let base =
                        if base.is_empty() || base == "." { String::new() } else { format!("{base}/") };
                    for (name, to) in pairs(text, "paths") {
                        found.extend(Self::new(within, name, &format!("{within}{base}{}", plain(to))));
                    }
                }
                _ => {}
            }
        }
        found.sort_by_key(|alias| std::cmp::Reverse(alias.within.len()));
        found
    }

    fn new(within: &'a str, name: &str, to: &str) -> Option<Self> {
        let (start, end) = match name.split_once('*') {
            Some((start, end)) => (start, Some(end.to_owned())),
            None => (name, None),
        };
        (!start.is_empty()).then(|| Self { within, start: start.to_owned(), end, to: to.to_owned() })
    }

    /// Returns the path that the name of a module stands for in a file.
    pub(super) fn path(&self, from: &str, module: &str) -> Option<String> {
        if !from.starts_with(self.within) {
            return None;
        }
        let rest = module.strip_prefix(&*self.start)?;
        match &self.end {
            None => rest.is_empty().then(|| self.to.clone()),
            Some(end) => Some(self.to.replacen('*', rest.strip_suffix(&**end)?, 1)),
        }
    }
}

/// Tells whether a file is one of settings of TypeScript.
pub(crate) fn is_typescript(name: &str) -> bool {
    matches!(name, "jsconfig.json") || name.starts_with("tsconfig") && name.ends_with(".json")
}

/// Returns a path without the dot that it begins with.
fn plain(path: &str) -> &str {
    path.trim_start_matches("./").trim_end_matches('/')
}

/// Returns the texts that are given to a key.
fn pairs_of_top<'a>(text: &'a str, key: &str) -> impl Iterator<Item = &'a str> {
    let quoted = format!("\"{key}\"");
    let value = text.find(&*quoted).and_then(|at| {
        let rest = text[at + quoted.len()..].trim_start().strip_prefix(':')?;
        rest.trim_start().strip_prefix('"')?.split('"').next()
    });
    value.into_iter()
}

/// Returns the keys of an object with the first text that each is given.
fn pairs<'a>(text: &'a str, key: &str) -> Vec<(&'a str, &'a str)> {
    let quoted = format!("\"{key}\"");
    let inner = text.find(&*quoted).and_then(|at| {
        let rest = text[at + quoted.len()..].trim_start().strip_prefix(':')?;
        rest.trim_start().strip_prefix('{')?.split('}').next()
    });
    let mut found = Vec::new();
    let mut name = None;
    for line in inner.unwrap_or_default().split([',', '\n']) {
        let line = line.split(" //").next().unwrap_or(line).trim();
        if line.starts_with("//") {
            continue;
        }
        let texts: Vec<&str> = line.split('"').skip(1).step_by(2).collect();
        match *texts {
            [own, to, ..] if line.contains(':') => {
                found.push((own, to));
                name = None;
            }
            [own] if line.contains(':') => name = Some(own),
            [to] => found.extend(name.take().map(|own| (own, to))),
            _ => {}
        }
    }
    found
}
