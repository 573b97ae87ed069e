//! Kapell's own bare repository beside the user's, in which all work on git objects is done.
//!
//! Its configuration is written here and nowhere else. It borrows the user's objects (alternates)
//! and keeps its own, so that the user's repository grows only when something is merged.

use std::{
    collections::HashMap,
    ffi::{OsStr, OsString},
    fs,
    io::{self, Write},
    os::unix::ffi::{OsStrExt, OsStringExt},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard},
};

use kapell_core::id::{AttemptNo, Oid, RunId, TaskId};

use super::{
    error::{Error, ErrorKind, Result, at, printable},
    process::{Call, Git},
    refs,
    user::{Identity, ObjectFormat, UserRepo},
};

use crate::lock::lock;

/// A point in time as git writes it: seconds since 1970 in UTC and the offset of the local clock.
///
/// It is always an argument: the same commit made again after a crash gets the same id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// Seconds since 1970-01-01T00:00:00Z.
    pub seconds: i64,
    /// Minutes east of UTC.
    pub offset_minutes: i16,
}

/// Who makes a commit, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    /// Who.
    pub who: Identity,
    /// When.
    pub when: Stamp,
}

impl Signature {
    fn date(&self) -> String {
        let minutes = i32::from(self.when.offset_minutes);
        let sign = if minutes < 0 { '-' } else { '+' };
        let minutes = minutes.abs();
        format!("@{} {sign}{:02}{:02}", self.when.seconds, minutes / 60, minutes % 60)
    }
}

/// What a new one takes from its surroundings.
#[derive(Debug, Clone, Default)]
pub struct OwnRepoOptions {
    /// The text of the user's own ignore file (`core.excludesFile`), which holds in workspaces too.
    pub excludes: Vec<u8>,
}

/// How many repositories may borrow from one another in a row; git has the same limit.
const BORROWING_MAX: usize = 5;

/// Adds the directories of objects from which the repository with `objects` borrows.
fn borrowed(objects: &Path, depth: usize, found: &mut Vec<PathBuf>) {
    let Ok(text) = fs::read(objects.join("info/alternates")) else { return };
    for line in text.split(|&byte| byte == b'\n').filter(|line| !line.is_empty() && line[0] != b'#') {
        let other = objects.join(OsStr::from_bytes(line));
        if depth > 0 && !found.contains(&other) {
            found.push(other.clone());
            borrowed(&other, depth - 1, found);
        }
    }
}

/// Something in the base that kapell does not carry out, or that needs a person's yes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BaseFacts {
    /// Attribute lines that name a filter, diff or merge driver: ignored, and told once.
    ///
    /// Each is `file: name=value`, for instance `.gitattributes: filter=lfs`.
    pub ignored_attributes: Vec<String>,
    /// The first file that declares Git LFS.
    pub lfs: Option<String>,
    /// Whether there are submodules; their directories stay empty in workspaces.
    pub submodules: bool,
}

impl BaseFacts {
    /// Says, for people, what of the base does not take effect in workspaces, one thing a line.
    ///
    /// A filter, a diff or a merge driver is a program that the user's configuration names, and kapell runs none of
    /// those.
    #[must_use]
    pub fn told(&self) -> Vec<String> {
        let mut lines = Vec::new();
        if let Some(file) = &self.lfs {
            lines.push(format!(
                "{file} keeps files in Git LFS: in workspaces they are its pointers, not their content"
            ));
        }
        let drivers =
            self.ignored_attributes.iter().filter(|line| self.lfs.is_none() || !line.ends_with("=lfs"));
        let drivers: Vec<&str> = drivers.map(String::as_str).collect();
        if !drivers.is_empty() {
            lines.push(format!(
                "ignored in workspaces, as no program of yours is run there: {}",
                drivers.join(", ")
            ));
        }
        if self.submodules {
            lines.push("submodules are empty directories in workspaces".to_owned());
        }
        lines
    }
}

/// Whether a step was done now or had been done before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// It was done by this call.
    Done,
    /// It had been done already, by an earlier call before a crash.
    Already,
}

/// Kapell's own bare repository. Cheap to clone, and usable from several threads.
#[derive(Debug, Clone)]
pub struct OwnRepo {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    git: Arc<Git>,
    dir: PathBuf,
    borrowed: PathBuf,
    format: ObjectFormat,
    shallow: Option<Vec<u8>>,
    excludes: Vec<u8>,
    known: Mutex<Known>,
}

/// What does not change once it is known, because objects do not.
#[derive(Debug, Default)]
struct Known {
    trees: HashMap<Oid, Oid>,
    ancestry: HashMap<(Oid, Oid), bool>,
}

impl OwnRepo {
    /// Opens the repository at `dir`, making it first where it is not there, and bringing what it
    /// copies from the user's repository up to date.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::TooOld`] for a git that cannot do the work, or why files cannot be
    /// written.
    pub fn open(git: Arc<Git>, user: &UserRepo, dir: &Path, options: &OwnRepoOptions) -> Result<Self> {
        const DOING: &str = "open kapell's own repository";
        if !dir.join("HEAD").is_file() {
            git.version()?;
            make_own_repo(dir, user.object_format()).map_err(at(dir, "make kapell's own repository"))?;
        }
        let borrowed = fs::canonicalize(user.objects_dir()).map_err(at(&user.objects_dir(), DOING))?;
        let mut alternates = borrowed.as_os_str().as_bytes().to_vec();
        alternates.push(b'\n');
        let shallow_file = user.common_dir().join("shallow");
        let shallow = refs::read_small(&shallow_file).map_err(at(&shallow_file, DOING))?;
        let exclude_file = user.common_dir().join("info/exclude");
        let mut excludes = options.excludes.clone();
        excludes.push(b'\n');
        // It only says what not to submit; an unreadable one is as good as none.
        excludes.extend(refs::read_small(&exclude_file).ok().flatten().unwrap_or_default());
        let keep = |name: &str, text: &[u8]| {
            let path = dir.join(name);
            write_if_changed(&path, text).map_err(at(&path, DOING))
        };
        keep("objects/info/alternates", &alternates)?;
        keep("info/exclude", &excludes)?;
        match &shallow {
            Some(text) => keep("shallow", text)?,
            None => remove_if_there(&dir.join("shallow")).map_err(at(dir, DOING))?,
        }
        let dir = fs::canonicalize(dir).map_err(at(dir, DOING))?;
        let format = user.object_format();
        let known = Mutex::default();
        Ok(Self { inner: Arc::new(Inner { git, dir, borrowed, format, shallow, excludes, known }) })
    }

    /// Returns where it is.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.inner.dir
    }

    /// Returns the git program that it works with.
    #[must_use]
    pub fn git(&self) -> &Git {
        &self.inner.git
    }

    pub(crate) fn objects_dir(&self) -> PathBuf {
        self.inner.dir.join("objects")
    }

    /// The user's objects, which are borrowed.
    pub(crate) fn borrowed_dir(&self) -> &Path {
        &self.inner.borrowed
    }

    /// Returns the directories of objects that a clone reads from: kapell's, the user's, and those that the user's repository
    /// borrows from itself. No clone is asked, for agents write there.
    #[must_use]
    pub fn lends(&self) -> Vec<PathBuf> {
        let mut found = vec![self.objects_dir(), self.borrowed_dir().to_owned()];
        borrowed(self.borrowed_dir(), BORROWING_MAX, &mut found);
        found
    }

    /// The text of an `objects/info/alternates` that borrows from here and from the user.
    pub(crate) fn alternates(&self) -> Vec<u8> {
        let mut text = Vec::new();
        for dir in [self.objects_dir().as_path(), self.borrowed_dir()] {
            text.extend_from_slice(dir.as_os_str().as_bytes());
            text.push(b'\n');
        }
        text
    }

    pub(crate) fn format(&self) -> ObjectFormat {
        self.inner.format
    }

    pub(crate) fn shallow(&self) -> Option<&[u8]> {
        self.inner.shallow.as_deref()
    }

    pub(crate) fn excludes(&self) -> &[u8] {
        &self.inner.excludes
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        // A cache is whole after every step, so a panic elsewhere did not break it.
        lock(&self.inner.known)
    }

    /// Begins a git command on this repository alone.
    pub(crate) fn call(&self, command: &str) -> Call<'_> {
        self.inner.git.call(&self.inner.dir, command).git_dir(&self.inner.dir)
    }

    /// Begins a git command on the files in `tree` with the private `index`.
    pub(crate) fn call_in(&self, tree: &Path, index: &Path, command: &str) -> Call<'_> {
        self.inner.git.call(tree, command).git_dir(&self.inner.dir).work_tree(tree).index(index)
    }

    /// Begins a run: notes its base in the user's repository, which keeps it from being
    /// collected there, and sets the run's integration ref to it.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Moved`] if the run has begun at another commit, or
    /// [`ErrorKind::MissingObject`] if the base is not there.
    pub fn begin_run(&self, user: &UserRepo, run: RunId, base: Oid) -> Result<Step> {
        let name = base_ref(run);
        if user.find_ref(&name)? != Some(base) {
            self.update_user_ref(user, &name, None, Some(base), "kapell: begin")?;
        }
        self.create_ref(&head_ref(run), base)
    }

    /// Ends a run: removes its refs here and in the user's repository.
    ///
    /// Salvage refs stay until their time is over.
    ///
    /// # Errors
    ///
    /// Returns why git cannot remove them.
    pub fn end_run(&self, user: &UserRepo, run: RunId) -> Result<()> {
        let name = base_ref(run);
        if let Some(base) = user.find_ref(&name)? {
            self.update_user_ref(user, &name, Some(base), None, "kapell: end")?;
        }
        if self.run_head(run)?.is_some() {
            self.call("update-ref").args(["--no-deref", "-d"]).arg(head_ref(run)).run()?;
        }
        Ok(())
    }

    /// Sets the refs of a run again that [`OwnRepo::end_run`] removed, with its objects in this repository: those that the user's
    /// holds may go from there.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Moved`] if the run's integration ref is elsewhere, or why git cannot find or write the objects.
    pub fn hold_again(&self, user: &UserRepo, run: RunId, base: Oid, head: Oid) -> Result<()> {
        self.copy_in(head, base)?;
        let name = base_ref(run);
        if user.find_ref(&name)?.is_none() {
            self.update_user_ref(user, &name, None, Some(base), "kapell: undo merge")?;
        }
        self.create_ref(&head_ref(run), head).map(|_| ())
    }

    /// Returns where the integration ref of `run` is; `None` if the run has not begun.
    ///
    /// # Errors
    ///
    /// Returns why the ref cannot be read.
    pub fn run_head(&self, run: RunId) -> Result<Option<Oid>> {
        self.find_ref(&head_ref(run))
    }

    pub(crate) fn find_ref(&self, name: &str) -> Result<Option<Oid>> {
        let dir = &self.inner.dir;
        refs::resolve(dir, dir, name).map_err(at(&dir.join(name), "read a ref"))
    }

    /// Moves the integration ref of `run` from `from` to `to`, if it is there.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Moved`] if it is at neither.
    pub fn advance(&self, run: RunId, from: Oid, to: Oid) -> Result<Step> {
        let name = head_ref(run);
        let found = self.run_head(run)?;
        if found == Some(to) {
            return Ok(Step::Already);
        }
        let moved = |found| {
            let kind = ErrorKind::Moved { name: name.clone(), expected: Some(from), found };
            Err(Error::new(format!("advance run {run}"), kind))
        };
        if found != Some(from) {
            return moved(found);
        }
        let call = self.call("update-ref").arg("--no-deref").arg(&name);
        let ended = call.args([to.to_string(), from.to_string()]).finish()?;
        if ended.ok() {
            return Ok(Step::Done);
        }
        match self.run_head(run)? {
            Some(found) if found == to => Ok(Step::Already),
            found if found != Some(from) => moved(found),
            _ => Err(ended.error()),
        }
    }

    /// Sets a ref of ours that must not be there yet, or be there already with this value.
    pub(crate) fn create_ref(&self, name: &str, oid: Oid) -> Result<Step> {
        match self.find_ref(name)? {
            Some(found) if found == oid => return Ok(Step::Already),
            Some(found) => {
                let kind = ErrorKind::Moved { name: name.to_owned(), expected: None, found: Some(found) };
                return Err(Error::new("make a ref", kind));
            }
            None => {}
        }
        self.call("update-ref").arg("--no-deref").arg(name).args([oid.to_string(), String::new()]).run()?;
        Ok(Step::Done)
    }

    /// The one command that runs in the user's repository: a compare-and-swap of one ref.
    ///
    /// Hooks are off (`reference-transaction` would run), and a reflog entry is written where the
    /// user's configuration asks for one. `None` as `old` means that the ref must not exist, as
    /// `new` that it is removed.
    pub(crate) fn update_user_ref(
        &self,
        user: &UserRepo,
        name: &str,
        old: Option<Oid>,
        new: Option<Oid>,
        reason: &str,
    ) -> Result<()> {
        let old = old.map_or_else(String::new, |oid| oid.to_string());
        let call = self.inner.git.call(user.common_dir(), "update-ref").git_dir(user.common_dir());
        let call = call.env("GIT_COMMITTER_NAME", "kapell").env("GIT_COMMITTER_EMAIL", "kapell@localhost");
        let call = call.set(DURABLE_REFS).args(["--no-deref", "-m", reason]);
        let call = match new {
            Some(new) => call.arg(name).args([new.to_string(), old]),
            None => call.arg("-d").arg(name).arg(old),
        };
        call.run().map(|_| ())
    }

    /// Returns the tree of `commit`.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::MissingObject`] if the commit is not there.
    pub fn tree_of(&self, commit: Oid) -> Result<Oid> {
        if let Some(&tree) = self.known().trees.get(&commit) {
            return Ok(tree);
        }
        let out = self.call("rev-parse").args(["--verify", "--end-of-options"]);
        let ended = out.arg(format!("{commit}^{{tree}}")).finish()?;
        if !ended.ok() {
            return Err(Error::new(
                format!("find commit {commit}"),
                ErrorKind::MissingObject(ended.failure()),
            ));
        }
        let tree = parse_oid(&ended.stdout)?;
        self.note_tree(commit, tree);
        Ok(tree)
    }

    pub(crate) fn note_tree(&self, commit: Oid, tree: Oid) {
        self.known().trees.insert(commit, tree);
    }

    pub(crate) fn note_ancestor(&self, ancestor: Oid, of: Oid) {
        self.known().ancestry.insert((ancestor, of), true);
    }

    /// Returns whether `ancestor` is `of` or can be reached from it.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::MissingObject`] if either commit is not there.
    pub fn is_ancestor(&self, ancestor: Oid, of: Oid) -> Result<bool> {
        if ancestor == of {
            return Ok(true);
        }
        if let Some(&known) = self.known().ancestry.get(&(ancestor, of)) {
            return Ok(known);
        }
        let call = self.call("merge-base").arg("--is-ancestor").args([ancestor.to_string(), of.to_string()]);
        let is = call.answer()?.ok();
        self.known().ancestry.insert((ancestor, of), is);
        Ok(is)
    }

    /// Makes a commit and returns its id, which depends on the arguments alone.
    ///
    /// # Errors
    ///
    /// Returns why git cannot write it.
    pub fn commit(&self, tree: Oid, parents: &[Oid], message: &str, by: &Signature) -> Result<Oid> {
        let date = by.date();
        let mut call = self.call("commit-tree").arg(tree.to_string());
        for parent in parents {
            call = call.arg("-p").arg(parent.to_string());
        }
        for (name, value) in [
            ("GIT_AUTHOR_NAME", &by.who.name),
            ("GIT_AUTHOR_EMAIL", &by.who.email),
            ("GIT_AUTHOR_DATE", &date),
            ("GIT_COMMITTER_NAME", &by.who.name),
            ("GIT_COMMITTER_EMAIL", &by.who.email),
            ("GIT_COMMITTER_DATE", &date),
        ] {
            call = call.env(name, value);
        }
        let mut message = message.replace('\0', "");
        if !message.ends_with('\n') {
            message.push('\n');
        }
        let commit = parse_oid(&call.args(["-F", "-"]).input(message).run()?)?;
        self.note_tree(commit, tree);
        for &parent in parents {
            self.note_ancestor(parent, commit);
        }
        Ok(commit)
    }

    /// Looks in the files of `base` for what kapell does not carry out.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::MissingObject`] if the base is not whole.
    pub fn inspect(&self, base: Oid) -> Result<BaseFacts> {
        let call = self.call("grep").args(["-z", "-E", "--no-color", "--no-textconv", "--threads=1", "-a"]);
        let call = call.args(["-e", "(filter|diff|merge)=", "-e", "^[[:space:]]*path[[:space:]]*="]);
        let call =
            call.arg(base.to_string()).args(["--", ":(top,glob)**/.gitattributes", ":(top).gitmodules"]);
        let ended = call.answer()?;
        let prefix = format!("{base}:");
        let mut facts = BaseFacts::default();
        for line in ended.stdout.split(|&byte| byte == b'\n') {
            let Some(zero) = line.iter().position(|&byte| byte == 0) else { continue };
            let file = line[..zero].strip_prefix(prefix.as_bytes()).unwrap_or(&line[..zero]);
            if file == b".gitmodules" {
                facts.submodules = true;
            } else {
                note_attributes(&mut facts, &printable(file), &line[zero + 1..]);
            }
        }
        Ok(facts)
    }
}

fn note_attributes(facts: &mut BaseFacts, file: &str, line: &[u8]) {
    let text = printable(line);
    if text.trim_start().starts_with('#') {
        return;
    }
    for word in text.split_whitespace().skip(1) {
        let Some((name, value)) = word.split_once('=') else { continue };
        let built_in = name == "merge" && matches!(value, "union" | "binary" | "text");
        if !matches!(name, "filter" | "diff" | "merge") || built_in {
            continue;
        }
        if word == "filter=lfs" && facts.lfs.is_none() {
            facts.lfs = Some(file.to_owned());
        }
        let told = format!("{file}: {word}");
        if !facts.ignored_attributes.contains(&told) {
            facts.ignored_attributes.push(told);
        }
    }
}

/// The ref in the user's repository that keeps the base of `run`.
#[must_use]
pub fn base_ref(run: RunId) -> String {
    format!("refs/kapell/{run}/base")
}

/// The integration ref of `run`, in kapell's own repository.
#[must_use]
pub fn head_ref(run: RunId) -> String {
    format!("refs/kapell/{run}/head")
}

/// The ref that keeps what an attempt left unfinished, in kapell's own repository.
#[must_use]
pub fn salvage_ref(run: RunId, task: TaskId, attempt: AttemptNo) -> String {
    format!("refs/kapell/salvage/{run}/{task}.{attempt}")
}

/// The trailers that tie a commit to what it was made for.
#[must_use]
pub fn trailers(run: RunId, task: &str, attempt: AttemptNo) -> String {
    let task: String = task.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    format!("Kapell-Run: {run}\nKapell-Task: {task}\nKapell-Attempt: {attempt}\n")
}

pub(crate) fn parse_oid(out: &[u8]) -> Result<Oid> {
    let text = printable(out.trim_ascii());
    text.parse().map_err(|_| Error::new("read git's answer", ErrorKind::Protocol(text)))
}

/// Makes a path of bytes that git printed.
pub(crate) fn path_of(bytes: &[u8]) -> PathBuf {
    PathBuf::from(OsString::from_vec(bytes.to_vec()))
}

/// The text of the configuration of a repository that is ours.
pub(crate) fn config_text(format: ObjectFormat, bare: bool) -> String {
    let (version, extension) = match format {
        ObjectFormat::Sha1 => (0, ""),
        ObjectFormat::Sha256 => (1, "[extensions]\n\tobjectformat = sha256\n"),
    };
    format!(
        "[core]\n\trepositoryformatversion = {version}\n\tfilemode = true\n\tbare = {bare}\n\
         \tlogallrefupdates = false\n{extension}"
    )
}

/// A ref that an event names is durable before the event.
const DURABLE_REFS: &str = "core.fsync=committed,reference";

/// What is durable before an event that names it: objects and refs, with one sync for a batch.
const DURABLE: &str = "[core]\n\tfsync = committed,reference\n\tfsyncMethod = batch\n[gc]\n\tauto = 0\n[maintenance]\n\tauto = false\n";

/// Makes the repository under another name and moves it there whole, so that a crash or a second
/// process never shows half of one.
fn make_own_repo(dir: &Path, format: ObjectFormat) -> io::Result<()> {
    let parent = dir.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(parent)?;
    let name = format!(".own-{}-{:?}", std::process::id(), std::thread::current().id());
    let draft = parent.join(name);
    if draft.exists() {
        fs::remove_dir_all(&draft)?;
    }
    for sub in ["objects/info", "objects/pack", "refs/heads", "refs/kapell", "info"] {
        fs::create_dir_all(draft.join(sub))?;
    }
    write_durably(&draft.join("config"), format!("{}{DURABLE}", config_text(format, true)).as_bytes())?;
    // A branch that never comes to be: HEAD has to name something.
    write_durably(&draft.join("HEAD"), b"ref: refs/heads/none\n")?;
    match fs::rename(&draft, dir) {
        Ok(()) => sync_dir(parent),
        Err(error) => {
            let lost_race = dir.join("HEAD").is_file();
            fs::remove_dir_all(&draft)?;
            if lost_race { Ok(()) } else { Err(error) }
        }
    }
}

fn write_durably(path: &Path, text: &[u8]) -> io::Result<()> {
    let mut file = fs::File::create(path)?;
    file.write_all(text)?;
    file.sync_all()
}

fn sync_dir(dir: &Path) -> io::Result<()> {
    fs::File::open(dir)?.sync_all()
}

/// Replaces the file in one step, if its text is another.
pub(crate) fn write_if_changed(path: &Path, text: &[u8]) -> io::Result<()> {
    if refs::read_small(path)?.as_deref() == Some(text) {
        return Ok(());
    }
    replace(path, text)
}

/// Replaces the file in one step.
pub(crate) fn replace(path: &Path, text: &[u8]) -> io::Result<()> {
    let mut draft = path.as_os_str().to_owned();
    draft.push(format!(".{}-{:?}.tmp", std::process::id(), std::thread::current().id()));
    fs::write(&draft, text)?;
    fs::rename(&draft, path)
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_git() {
        let by = |seconds, offset_minutes| Signature {
            who: Identity::new("a", "b"),
            when: Stamp { seconds, offset_minutes },
        };
        assert_eq!(by(0, 0).date(), "@0 +0000");
        assert_eq!(by(1_700_000_000, 330).date(), "@1700000000 +0530");
        assert_eq!(by(7, -90).date(), "@7 -0130");
    }

    #[test]
    fn only_attributes_that_name_a_program_are_told() {
        let mut facts = BaseFacts::default();
        for line in [
            "*.png filter=lfs diff=lfs merge=lfs -text",
            "CHANGELOG merge=union",
            "*.bin merge=binary",
            "# *.x filter=evil",
            "*.c diff=cpp",
            "*.c diff=cpp",
        ] {
            note_attributes(&mut facts, ".gitattributes", line.as_bytes());
        }
        assert_eq!(
            facts.ignored_attributes,
            [
                ".gitattributes: filter=lfs",
                ".gitattributes: diff=lfs",
                ".gitattributes: merge=lfs",
                ".gitattributes: diff=cpp"
            ]
        );
        let told = facts.told();
        assert!(told[0].starts_with(".gitattributes keeps files in Git LFS"), "{told:?}");
        assert!(!told[1].contains("=lfs"), "{told:?}");
    }
}
