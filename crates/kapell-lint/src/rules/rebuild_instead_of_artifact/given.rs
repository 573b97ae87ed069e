//! What a build is given besides its sources: the folder, and the variables that it bakes into what it builds.

use std::collections::BTreeMap;

use kapell_spec::github::{Name, Step, Text};

use crate::github::{Flow, StepFacts, facts::Done};

/// How the names of variables begin that bundlers write into what they build, and others that change it.
///
/// Sources: Vite, "Env Variables and Modes"; Next.js, "Environment Variables", "Bundling Environment Variables for the
/// Browser"; Create React App, "Adding Custom Environment Variables"; Nuxt, "Runtime Config"; Gatsby, "Environment Variables".
const BAKED: &[&str] = &[
    "VITE_",
    "NEXT_PUBLIC_",
    "REACT_APP_",
    "PUBLIC_",
    "NUXT_",
    "GATSBY_",
    "VUE_APP_",
    "EXPO_PUBLIC_",
    "NG_APP_",
    "NODE_ENV",
    "BASE_URL",
    "BASE_PATH",
    "API_URL",
    "APP_ENV",
    "MIX_ENV",
    "RAILS_ENV",
    "CONFIGURATION",
    "BUILD_TARGET",
    "DEPLOY_ENV",
];

/// What a build is given.
pub(super) struct Given<'a> {
    folder: Option<&'a str>,
    /// Those of its own step and command.
    own: BTreeMap<&'a str, &'a str>,
    /// Those of its job and workflow.
    around: BTreeMap<&'a str, &'a str>,
    /// Lines of scripts of the job that give variables or write a file of them.
    written: Vec<&'a str>,
}

impl<'a> Given<'a> {
    /// Returns what a build of a step is given.
    pub(super) fn of(
        flow: &'a Flow,
        job: usize,
        (step, facts): (&'a Step, &'a StepFacts),
        done: &Done,
    ) -> Self {
        let model = &flow.model.jobs[job];
        let pairs =
            |env: &'a [(Name, Text)]| env.iter().map(|(name, value)| (&*name.text, value.text.trim()));
        let assigned =
            done.command.and_then(|at| facts.commands.get(at)).map_or(&[][..], |command| &command.assigned);
        let assigned = assigned.iter().filter_map(|word| word.split_once('='));
        // Later ones replace earlier ones of the same name.
        let around = pairs(&flow.model.env).chain(pairs(&model.env)).collect();
        let own = pairs(&step.env).chain(assigned).filter(|(name, value)| !is_key(name, value)).collect();
        let writes = |line: &&str| line.contains("GITHUB_ENV") || line.contains(".env");
        let lines = model.steps.iter().flat_map(|step| step.script().lines()).map(str::trim);
        let folder = step.folder.as_ref().or(model.folder.as_ref());
        Self {
            folder: folder.map(|folder| folder.trim().trim_start_matches("./").trim_end_matches('/')),
            own,
            around,
            written: lines.filter(writes).collect(),
        }
    }

    /// Returns the value of a variable, if it has any.
    fn value(&self, name: &str) -> Option<&'a str> {
        self.own.get(name).or_else(|| self.around.get(name)).copied()
    }

    /// Tells whether two builds are given the same.
    pub(super) fn is_same(&self, other: &Given<'_>) -> bool {
        let baked = |name: &&str| BAKED.iter().any(|known| name.starts_with(known));
        let alike = |name: &str| self.value(name) == other.value(name);
        let around = self.around.keys().chain(other.around.keys()).copied();
        let own = self.own.keys().chain(other.own.keys()).copied();
        self.folder.unwrap_or_default() == other.folder.unwrap_or_default()
            && self.written == other.written
            && own.chain(around.filter(baked)).all(alike)
    }
}

/// Tells whether a variable is a key to something, or about how a program runs, and changes nothing of what is built.
fn is_key(name: &str, value: &str) -> bool {
    const ASIDE: &[&str] =
        &["TOKEN", "PASSWORD", "SECRET", "TURBO_", "NX_CLOUD", "CACHE", "FORCE_COLOR", "SENTRY_"];
    name == "CI"
        || ASIDE.iter().any(|part| name.contains(part))
        || value.contains("secrets.") && !BAKED.iter().any(|known| name.starts_with(known))
}
