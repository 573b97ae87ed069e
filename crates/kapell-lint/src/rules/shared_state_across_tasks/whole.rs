//! Files that tasks read and write whole, by themselves or by functions that do nothing else.

use super::{declared_outside, waits};
use crate::{
    code::{Id, Language, Unit, modules::Modules},
    files::FileId,
};

/// Calls that read a whole file, and such that write one.
const READS: &[&str] = &["readFile", "readJson", "readJSON", "read_text", "read_bytes"];
const WRITES: &[&str] = &["writeFile", "writeJson", "writeJSON", "write_text", "write_bytes", "outputJson"];

/// What is done with a file, the same for every task.
struct Done<'a> {
    /// Where the task does it.
    call: Id,
    /// The file of the code that names it, and how it does.
    named: (FileId, &'a str),
    /// Whether the task is left off meanwhile, so that another one may come between.
    yields: bool,
}

/// Finds the files, the same for every task, that a function reads, and writes after it waited. Each with the call that writes,
/// the one that reads, and the path as it is written.
///
/// Threads come between without a wait.
pub(super) fn rewritten<'a>(
    modules: &Modules<'a>,
    unit: &'a Unit,
    function: Id,
    threads: bool,
) -> Vec<(Id, Id, &'a str)> {
    let own: Vec<Id> = unit.calls_in(function).filter(|&id| unit.function_of(id) == function).collect();
    let all = |writes: bool| own.iter().filter_map(move |&call| done(modules, unit, function, call, writes));
    let writes: Vec<Done<'_>> = all(true).collect();
    if writes.is_empty() {
        return Vec::new();
    }
    let reads: Vec<Done<'_>> = all(false).collect();
    let waiting: Vec<Id> = unit.syntax.below(function).filter(|&id| waits(unit, id)).collect();
    let mut found = Vec::new();
    for write in writes {
        let Some(read) = reads.iter().find(|read| read.call < write.call && read.named == write.named) else {
            continue;
        };
        let between =
            |&wait: &Id| wait > read.call && wait < write.call && !unit.syntax.holds(wait, write.call);
        if threads || read.yields && write.yields || waiting.iter().any(between) {
            found.push((write.call, read.call, write.named.1));
        }
    }
    found
}

/// Returns what a call does with a file: by itself, or by a function of this file or another one.
fn done<'a>(modules: &Modules<'a>, unit: &'a Unit, function: Id, call: Id, writes: bool) -> Option<Done<'a>> {
    if let Some((named, yields)) = direct(unit, function, call, writes) {
        return Some(Done { call, named, yields: yields && unit.awaited(call) });
    }
    let own = || Some((unit, unit.called(call).filter(|&other| other != function)?));
    let (other, helper) = own().or_else(|| modules.exported(unit, call))?;
    let mut inner = other.calls_in(helper).filter(|&id| other.function_of(id) == helper);
    let (named, yields) = inner.find_map(|inner| direct(other, helper, inner, writes))?;
    Some(Done { call, named, yields: yields && unit.awaited(call) })
}

/// Returns the file that a call itself reads or writes whole, unless it may be another one for each task, and whether others
/// run meanwhile.
fn direct(unit: &Unit, function: Id, call: Id, writes: bool) -> Option<((FileId, &str), bool)> {
    let name = unit.callee_name(call);
    let opens = name == "open" && unit.language == Language::Python;
    let names = if writes { WRITES } else { READS };
    if !opens && !names.contains(&name) || opens && opens_to_write(unit, call) != Some(writes) {
        return None;
    }
    let file = if name.contains('_') {
        unit.syntax.child(unit.callee(call)?, "object")?
    } else {
        unit.args(call).first()?.value
    };
    let path = unit.text(file);
    // A path that is put together may be another one for each task.
    let plain = unit.kind(file) == "string" && !path.contains('{');
    let shared = plain || unit.kind(file) == "identifier" && declared_outside(unit, function, path);
    let aside = || unit.callee_path(call).is_some_and(|path| path.text.starts_with("aiofiles."));
    let yields = unit.language != Language::Python || aside();
    shared.then_some(((unit.file, path), yields))
}

/// Tells whether a file is opened to be written anew; `None` where it is only added to.
fn opens_to_write(unit: &Unit, call: Id) -> Option<bool> {
    let mode = unit.keyword(call, "mode").or_else(|| unit.args(call).get(1).map(|arg| arg.value));
    match mode.map_or("r", |mode| unit.text(mode).trim_matches(['"', '\''])).chars().next()? {
        'r' => Some(false),
        'w' => Some(true),
        _ => None,
    }
}
