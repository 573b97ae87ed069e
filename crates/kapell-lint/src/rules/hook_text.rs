//! What the command of a hook runs, as a text.

use kapell_spec::{
    claude::{definition::Named, hooks::Hook},
    finding::Span,
};

use super::gate_hook_fails_open::script_of;
use crate::{agents::HookFile, files::FileId, repository::Repository, rule::Draft};

/// The text of a hook: its script, if its command starts one of the repository, else the command itself.
#[derive(Debug, Clone, Copy)]
pub(super) struct HookText<'a> {
    /// Where the hook stands.
    from: FileId,
    /// What the settings say.
    pub(super) command: &'a Named,
    script: Option<FileId>,
    /// What runs.
    pub(super) text: &'a str,
}

impl<'a> HookText<'a> {
    /// Reads a hook that runs a command.
    pub(super) fn of(repository: &'a Repository, file: &HookFile, hook: &'a Hook) -> Option<Self> {
        let command = hook.text.as_ref().filter(|_| hook.kind == "command")?;
        let script = script_of(repository, file.file, &command.text);
        let text = script.map_or(&*command.text, |script| &*repository.files[script].text);
        Some(Self { from: file.file, command, script, text })
    }

    /// Returns where a part of the text stands: in the script, else the command as a whole.
    pub(super) fn place(&self, part: Span) -> (FileId, Span) {
        self.script.map_or((self.from, self.command.span), |script| (script, part))
    }

    /// Says of a finding in a script where the script is started.
    pub(super) fn started<'r>(&self, draft: Draft<'r>, when: &str) -> Draft<'r> {
        match self.script {
            Some(_) => draft.also(self.from, self.command.span, format!("started here {when}")),
            None => draft,
        }
    }
}
