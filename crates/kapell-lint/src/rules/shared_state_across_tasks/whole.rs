//! Files that tasks read and write whole, by themselves or by functions that do nothing else.

use super::{
    common::{self, Common},
    declared_outside, waits,
};
use crate::{
    code::{Id, Language, Unit, modules::Modules, service},
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
    /// What the object of a class, by which the task does it, calls the file; nothing without one.
    kept: &'a str,
    /// Whether the task is left off meanwhile, so that another one may come between.
    yields: bool,
}

/// What runs at once.
#[derive(Debug, Clone, Copy)]
pub(super) enum Runs {
    /// Threads, which come between without a wait.
    Threads,
    /// Tasks, with what they have in common.
    Tasks(Common),
}

/// Finds the files, the same for every task, that a function reads, and writes after it waited. Each with the call that writes,
/// the one that reads, and the path as it is written, or the object that keeps it.
pub(super) fn rewritten<'a>(
    modules: &Modules<'a>,
    unit: &'a Unit,
    function: Id,
    runs: Runs,
) -> Vec<(Id, Id, &'a str)> {
    let own: Vec<Id> = unit.calls_in(function).filter(|&id| unit.function_of(id) == function).collect();
    let all = |writes: bool| {
        own.iter().filter_map(move |&call| {
            let by_object = || match runs {
                Runs::Tasks(common) => of_object(modules, (unit, function), common, call, writes)
                    .or_else(|| of_own(unit, call, writes).filter(|_| common.object)),
                Runs::Threads => None,
            };
            done(modules, unit, function, call, writes).or_else(by_object)
        })
    };
    let writes: Vec<Done<'_>> = all(true).collect();
    if writes.is_empty() {
        return Vec::new();
    }
    let reads: Vec<Done<'_>> = all(false).collect();
    let waiting: Vec<Id> = unit.syntax.below(function).filter(|&id| waits(unit, id)).collect();
    let mut found = Vec::new();
    for write in writes {
        let same = |read: &&Done<'_>| read.named == write.named && read.kept == write.kept;
        let Some(read) = reads.iter().filter(|read| read.call < write.call).find(same) else { continue };
        let between =
            |&wait: &Id| wait > read.call && wait < write.call && !unit.syntax.holds(wait, write.call);
        if matches!(runs, Runs::Threads) || read.yields && write.yields || waiting.iter().any(between) {
            found.push((write.call, read.call, write.named.1));
        }
    }
    found
}

/// Returns what a call does with a file: by itself, or by a function of this file or another one.
fn done<'a>(modules: &Modules<'a>, unit: &'a Unit, function: Id, call: Id, writes: bool) -> Option<Done<'a>> {
    if let Some((named, yields)) = direct(unit, function, call, writes) {
        return Some(Done { call, named, kept: "", yields: yields && is_waited_for(unit, call) });
    }
    let own = || Some((unit, unit.called(call).filter(|&other| other != function)?));
    let (other, helper) = own().or_else(|| modules.exported(unit, call))?;
    let mut inner = other.calls_in(helper).filter(|&id| other.function_of(id) == helper);
    let (named, yields) = inner.find_map(|inner| direct(other, helper, inner, writes))?;
    Some(Done { call, named, kept: "", yields: yields && is_waited_for(unit, call) })
}

/// Tells whether a task waits for a call: by an `await`, or where it enters what the call makes by `async with`.
fn is_waited_for(unit: &Unit, call: Id) -> bool {
    let entered = || {
        let item = unit.syntax.around(call).take(2).find(|&id| unit.kind(id) == "with_item");
        let with = item.and_then(|item| unit.syntax.around(item).nth(1));
        with.is_some_and(|with| unit.syntax.children(with).any(|id| unit.kind(id) == "async"))
    };
    unit.awaited(call) || entered()
}

/// Returns what a call does with a file that an object keeps, which all tasks are given: `board.read()`.
fn of_object<'a>(
    modules: &Modules<'a>,
    (unit, function): (&'a Unit, Id),
    common: Common,
    call: Id,
    writes: bool,
) -> Option<Done<'a>> {
    let object = unit.syntax.child(unit.callee(call)?, "object")?;
    let plain = unit.kind(object) == "identifier" && common.is_same((unit, function), object);
    let class = common::class_given(unit, function, unit.text(object)).filter(|_| plain)?;
    let own = || Some((unit, unit.method(unit.class(class)?, unit.callee_name(call))?));
    let (other, helper) = own().or_else(|| modules.method_of(unit, class, unit.callee_name(call)))?;
    let mut inner = other.calls_in(helper).filter(|&id| other.function_of(id) == helper);
    let (kept, yields) = inner.find_map(|inner| kept(other, inner, writes))?;
    Some(Done {
        call,
        named: (other.file, unit.text(object)),
        kept,
        yields: yields && is_waited_for(unit, call),
    })
}

/// Returns what a call does with a file that its own object keeps, by itself or by another method: `self.read()`.
fn of_own<'a>(unit: &'a Unit, call: Id, writes: bool) -> Option<Done<'a>> {
    let by_method = || {
        let helper = service::own_method(unit, call)?;
        let mut inner = unit.calls_in(helper).filter(|&id| unit.function_of(id) == helper);
        inner.find_map(|inner| kept(unit, inner, writes))
    };
    let (kept, yields) = kept(unit, call, writes).or_else(by_method)?;
    Some(Done { call, named: (unit.file, kept), kept, yields: yields && is_waited_for(unit, call) })
}

/// Returns the file of its object that a call reads or writes whole, as it is called there.
fn kept(unit: &Unit, call: Id, writes: bool) -> Option<(&str, bool)> {
    let (file, yields) = handled(unit, call, writes)?;
    let path = unit.text(file);
    ["self.", "this."].iter().any(|own| path.starts_with(own)).then_some((path, yields))
}

/// Returns the file that a call itself reads or writes whole, unless it may be another one for each task, and whether others
/// run meanwhile.
fn direct(unit: &Unit, function: Id, call: Id, writes: bool) -> Option<((FileId, &str), bool)> {
    let (file, yields) = handled(unit, call, writes)?;
    let path = unit.text(file);
    // A path that is put together may be another one for each task.
    let plain = unit.kind(file) == "string" && !path.contains('{');
    let shared = plain || unit.kind(file) == "identifier" && declared_outside(unit, function, path);
    shared.then_some(((unit.file, path), yields))
}

/// Returns what names the file that a call itself reads or writes whole, and whether others run meanwhile.
fn handled(unit: &Unit, call: Id, writes: bool) -> Option<(Id, bool)> {
    if let Some(file) = replaced(unit, call).filter(|_| writes) {
        return Some((file, unit.language != Language::Python));
    }
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
    let aside = || {
        let path = unit.callee_path(call).map_or("", |path| path.text.as_str());
        ["aiofiles.", "anyio.", "trio.", "aiopath."].iter().any(|library| path.starts_with(library))
    };
    Some((named(unit, file), unit.language != Language::Python || aside()))
}

/// Returns what names the file whose place a new one takes, written aside: `rename(aside, STATE)`, `os.replace(aside, STATE)`,
/// `aside.replace(STATE)`.
///
/// Source: POSIX, `rename`: what was called so before is gone, whatever others have written to it meanwhile.
fn replaced(unit: &Unit, call: Id) -> Option<Id> {
    let of_module = || unit.callee_path(call).is_some_and(|path| path.text.starts_with("os."));
    let args = unit.args(call);
    let plain = args.iter().all(|arg| arg.name.is_none());
    match (unit.language == Language::Python, unit.callee_name(call), &*args) {
        (true, "replace" | "rename", [_, file]) if plain && of_module() => Some(named(unit, file.value)),
        (true, "replace" | "rename", [file]) if plain => Some(named(unit, file.value)),
        (false, "rename" | "move", [_, file, ..]) => Some(file.value),
        _ => None,
    }
}

/// Returns what names the file that a path is made of: `LEDGER` of `anyio.Path(LEDGER)`.
fn named(unit: &Unit, path: Id) -> Id {
    let made = unit.kind(path) == "call" && matches!(unit.callee_name(path), "Path" | "AsyncPath");
    match &*unit.args(path) {
        [only] if made && only.name.is_none() => only.value,
        _ => path,
    }
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
