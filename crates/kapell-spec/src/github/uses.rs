//! What a step or a job uses.

/// What a step or a job uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Uses {
    /// An action or a workflow of the same repository: its path from the root, without `./` or `$/`.
    Local(Box<str>),
    /// An action or a workflow of another repository.
    Remote {
        /// `owner/repository`, in lower case.
        repository: Box<str>,
        /// The path in it; empty for its root.
        path: Box<str>,
        /// The branch, tag or commit.
        revision: Box<str>,
    },
    /// A container image.
    Docker(Box<str>),
}

impl Uses {
    /// Reads it; `None` if it is none of these.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if let Some(image) = text.strip_prefix("docker://") {
            return Some(Self::Docker(image.into()));
        }
        if let Some(path) = text.strip_prefix("./").or_else(|| text.strip_prefix("$/")) {
            return Some(Self::Local(path.trim_end_matches('/').into()));
        }
        let (name, revision) = text.split_once('@').unwrap_or((text, ""));
        let mut parts = name.splitn(3, '/');
        let (owner, repository) = (parts.next()?, parts.next()?);
        Some(Self::Remote {
            repository: format!("{owner}/{repository}").to_ascii_lowercase().into(),
            path: parts.next().unwrap_or_default().into(),
            revision: revision.into(),
        })
    }

    /// Returns the name of an action of another repository: `owner/repository` or `owner/repository/path`.
    #[must_use]
    pub fn action(&self) -> Option<String> {
        match self {
            Self::Remote { repository, path, .. } if path.is_empty() => Some(repository.to_string()),
            Self::Remote { repository, path, .. } => Some(format!("{repository}/{path}")),
            _ => None,
        }
    }

    /// Tells whether it is the action `name`, written `owner/repository` or `owner/repository/path`.
    #[must_use]
    pub fn is(&self, name: &str) -> bool {
        match self {
            // Hardly any two names are of one length.
            Self::Remote { repository, path, .. } if path.is_empty() => **repository == *name,
            Self::Remote { repository, path, .. } => {
                name.len() == repository.len() + 1 + path.len()
                    && name.starts_with(&**repository)
                    && name[repository.len()..].strip_prefix('/') == Some(&**path)
            }
            _ => false,
        }
    }
}
