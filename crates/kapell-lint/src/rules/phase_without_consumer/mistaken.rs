//! Files that a step reads, that nothing writes, and that stand beside one which nothing reads.

use kapell_spec::claude::{definition::Named, steps::Step};

use crate::{agents::Asset, repository::Repository, rules::input_before_output};

/// Finds what a later step reads in place of a file that nothing reads: another one of the same folder and kind, which no step
/// writes, which is not there, and of which no other text speaks.
pub(super) fn read_instead<'a>(
    repository: &Repository,
    asset: &Asset,
    later: &'a [Step],
    written: &Named,
) -> Option<(&'a Step, &'a Named)> {
    let (folder, name) = written.text.rsplit_once('/')?;
    let ending = name.rsplit_once('.')?.1;
    let alike = |read: &Named| {
        // What is nearly the same name is told where it is read.
        read.text != written.text
            && !input_before_output::is_same_place(&written.text, &read.text)
            && read.text.rsplit_once('/').is_some_and(|(own, name)| {
                own == folder && name.rsplit_once('.').is_some_and(|(_, own)| own == ending)
            })
    };
    let unmade = |read: &Named| {
        let written =
            asset.flow.steps.iter().flat_map(|step| &step.writes).any(|other| other.text == read.text);
        let name = read.text.rsplit('/').next().unwrap_or_default();
        let times = repository.files[asset.file].text.matches(name).count();
        let elsewhere = repository
            .agents
            .iter()
            .any(|(_, other)| other.file != asset.file && repository.files[other.file].text.contains(name));
        !written && times == 1 && !elsewhere && !repository.files.exists(&read.text)
    };
    later.iter().find_map(|step| {
        let read = step.reads.iter().find(|read| alike(read) && unmade(read))?;
        Some((step, read))
    })
}
