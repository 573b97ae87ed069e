//! What can be done at all, and how long something takes.

/// What a step does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Nothing that lasts: prints, moves files about, asks for a version.
    Trivial,
    /// Fetches the repository.
    Checkout,
    /// Installs a language or a tool.
    Setup,
    /// Installs dependencies.
    Install,
    /// Restores or saves a cache.
    Cache,
    /// Looks at the code without running it: lint, format, types.
    Lint,
    /// Looks for known holes in dependencies or code.
    Audit,
    /// Runs tests.
    Test,
    /// Builds.
    Build,
    /// Gives files to other jobs or people.
    Upload,
    /// Takes files of other jobs.
    Download,
    /// Tells people: comments, messages, summaries.
    Report,
    /// Opens or changes a pull request.
    PullRequest,
    /// Pushes commits.
    Push,
    /// Makes or pushes a tag.
    Tag,
    /// Makes or changes a release.
    Release,
    /// Gives a package or an image to a registry.
    Publish,
    /// Puts pages online, which the next deployment replaces as a whole.
    Pages,
    /// Changes something that runs.
    Deploy,
    /// Starts another workflow.
    Dispatch,
    /// Keeps files where others find them: object storage.
    Store,
    /// Not known.
    Unknown,
}

impl Kind {
    /// Finds a kind by the name that it has in the tables.
    pub(super) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "trivial" => Self::Trivial,
            "checkout" => Self::Checkout,
            "setup" => Self::Setup,
            "install" => Self::Install,
            "cache" => Self::Cache,
            "lint" => Self::Lint,
            "audit" => Self::Audit,
            "test" => Self::Test,
            "build" => Self::Build,
            "upload" => Self::Upload,
            "download" => Self::Download,
            "report" => Self::Report,
            "pull_request" => Self::PullRequest,
            "push" => Self::Push,
            "tag" => Self::Tag,
            "release" => Self::Release,
            "publish" => Self::Publish,
            "pages" => Self::Pages,
            "deploy" => Self::Deploy,
            "dispatch" => Self::Dispatch,
            "store" => Self::Store,
            "unknown" => Self::Unknown,
            _ => return None,
        })
    }

    /// Tells whether it changes something outside of the run that others rely on.
    #[must_use]
    pub fn mutates(self) -> bool {
        matches!(
            self,
            Self::Push
                | Self::Tag
                | Self::Release
                | Self::Publish
                | Self::Pages
                | Self::Deploy
                | Self::Dispatch
        )
    }

    /// Tells whether what it changes is there for others at once: all that mutates, but for starting another workflow.
    #[must_use]
    pub fn delivers(self) -> bool {
        self.mutates() && self != Self::Dispatch
    }

    /// Says what a job does that delivers by it.
    #[must_use]
    pub fn verb(self) -> &'static str {
        match self {
            Self::Push => "pushes commits",
            Self::Tag => "pushes a tag",
            Self::Release => "makes a release",
            Self::Publish => "publishes",
            Self::Pages => "publishes pages",
            _ => "deploys",
        }
    }

    /// Tells whether something goes out through it that another job could rely on.
    #[must_use]
    pub fn may_carry(self) -> bool {
        self.mutates() || matches!(self, Self::Store | Self::PullRequest | Self::Unknown)
    }

    /// Tells whether it can find a fault in what is checked.
    #[must_use]
    pub fn checks(self) -> bool {
        matches!(self, Self::Lint | Self::Test | Self::Build | Self::Audit)
    }
}

/// What a command or an action does, and how long it takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Work {
    /// What it does.
    pub kind: Kind,
    /// How long it takes, in seconds.
    pub seconds: u32,
}

pub(super) const fn work(kind: Kind, seconds: u32) -> Work {
    Work { kind, seconds }
}
