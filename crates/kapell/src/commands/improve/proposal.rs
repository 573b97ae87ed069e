//! The safe fixes as a commit on a branch of its own; never in the checkout.

use std::{fs, path::Path};

use kapell_agents::git::{self, Identity, Rewrite, Signature, Stamp};
use kapell_core::id::{Digest, Oid};
use kapell_lint::fix::{Change, Patch};
use kapell_view::{audit::AuditView, untrusted::Untrusted};
use serde::{Deserialize, Serialize};

use crate::{commands::Context, exit::Exit, fault::Fault, site::Site, wiring::open_own_repo};

/// What was written, for `undo`.
#[derive(Debug, Serialize, Deserialize)]
struct Note {
    version: u32,
    /// The branch, as a full ref.
    branch: String,
    /// What it points at.
    commit: Oid,
    /// When, in milliseconds since 1970.
    at_ms: i64,
}

fn note_path(site: &Site) -> std::path::PathBuf {
    site.store.join("improve.json")
}

/// Returns what was written and not taken back, the newest last.
fn notes(site: &Site) -> Vec<Note> {
    let Ok(text) = fs::read(note_path(site)) else { return Vec::new() };
    let one = || serde_json::from_slice(&text).map(|note: Note| vec![note]);
    let mut notes: Vec<Note> = serde_json::from_slice(&text).or_else(|_| one()).unwrap_or_default();
    notes.retain(|note| note.version == 1);
    notes
}

fn keep(site: &Site, notes: &[Note]) -> Result<(), Fault> {
    let path = note_path(site);
    let written = match notes {
        [] => fs::remove_file(&path),
        notes => fs::write(&path, serde_json::to_vec_pretty(notes).unwrap_or_default()),
    };
    written.map_err(|error| Fault::io(&path, &error))
}

/// Returns the patch as `git apply` takes it.
pub fn unified(changes: &[Change]) -> String {
    let mut text = String::new();
    for change in changes {
        let diff = similar::TextDiff::from_lines(&*change.before, &change.after);
        let (old, new) = (format!("a/{}", change.path), format!("b/{}", change.path));
        text.push_str(&diff.unified_diff().context_radius(3).header(&old, &new).to_string());
    }
    text
}

/// Names the branch by the patch and the directory it is for: the same patch always has the same branch.
fn branch(prefix: &str, changes: &[Change]) -> String {
    let digest = Digest::of(format!("{prefix}\n{}", unified(changes)).as_bytes()).to_string();
    format!("refs/heads/kapell/improve-{}", &digest[..8])
}

/// Writes the patch as a commit on a branch named by it.
///
/// # Errors
///
/// Fails, and writes nothing, if `root` is no repository's top, or a file to be fixed differs from what is
/// committed.
pub fn implement(context: &Context, root: &Path, view: &AuditView, patched: &Patch) -> Result<(), Fault> {
    let site = Site::find(root)?;
    let Some(user) = &site.repo else {
        return Err(Fault::new(
            "K0703",
            Exit::Usage,
            "fixes are written to a branch, and there is no repository here",
        )
        .hint("`kapell improve --dry-run` shows the patch; `patch -p1` applies it"));
    };
    let prefix = prefix(&site, root)?;
    let Some(repo) = open_own_repo(&site)? else { return Ok(()) };
    let base = user.head_commit()?;
    let files: Vec<Rewrite> = patched
        .changes
        .iter()
        .map(|change| Rewrite {
            path: format!("{prefix}{}", change.path),
            before: change.before.as_bytes().to_vec(),
            after: change.after.clone().into_bytes(),
        })
        .collect();
    let unlike = repo.unlike(base, &files)?;
    if let Some(first) = unlike.first() {
        return Err(Fault::new(
            "K0932",
            Exit::Refused,
            format!("{first} is not as it was committed, and a fix would build on that"),
        )
        .hint("commit it first, or look at the patch with `kapell improve --dry-run`"));
    }
    let name = branch(&prefix, &patched.changes);
    let short = name.trim_start_matches("refs/heads/").to_owned();
    if user.find_ref(&name)?.is_some() {
        context.out.note(&format!("the branch {short} has these fixes already"));
        context.out.next(&format!("git diff HEAD...{short}"));
        return Ok(());
    }
    let commit = repo.rewrite(base, &files, &message(view, patched), &signature(&site))?;
    let note =
        Note { version: 1, branch: name.clone(), commit, at_ms: jiff::Timestamp::now().as_millisecond() };
    let mut notes = notes(&site);
    notes.push(note);
    // Before the branch, so that whatever is written can be taken back.
    keep(&site, &notes)?;
    repo.offer(user, &name, base, commit, "kapell improve")?;
    let count = patched.mended.len();
    let fixes = if count == 1 { "1 safe fix is".to_owned() } else { format!("{count} safe fixes are") };
    context.out.note(&format!("{fixes} on the branch {short}; nothing else has changed"));
    context.out.next(&format!("git diff HEAD...{short}"));
    Ok(())
}

/// Returns the path of `root` within its repository, with a `/` at its end.
fn prefix(site: &Site, root: &Path) -> Result<String, Fault> {
    let root = fs::canonicalize(root).map_err(|error| Fault::io(root, &error))?;
    let inner = root.strip_prefix(&site.root).unwrap_or(Path::new("")).to_string_lossy().into_owned();
    Ok(if inner.is_empty() { inner } else { format!("{inner}/") })
}

/// Says what is fixed, one line each.
fn message(view: &AuditView, patched: &Patch) -> String {
    let mut text = String::from("Repair how workflows and agents are orchestrated\n\n");
    for &index in &patched.mended {
        let Some(finding) = view.findings.get(index) else { continue };
        let title = finding.fix.as_ref().map_or("", |fix| &fix.title);
        let line = format!("- {}: {title} ({})", finding.place.path, finding.rule);
        text.push_str(&Untrusted::from(line).visible());
        text.push('\n');
    }
    text
}

fn signature(site: &Site) -> Signature {
    let who = site.identity().unwrap_or_else(|| Identity::new("", ""));
    Signature {
        who,
        when: Stamp { seconds: jiff::Timestamp::now().as_millisecond() / 1000, offset_minutes: 0 },
    }
}

/// Tells whether a branch was written after the last decision of any run, taken at `last`, and after `init`'s files.
pub fn was_written_after(site: &Site, last: Option<i64>) -> bool {
    notes(site).last().is_some_and(|note| last.is_none_or(|last| note.at_ms > last))
}

/// Removes the branch, if nobody has added to it.
///
/// # Errors
///
/// Fails, and removes nothing, if the branch points elsewhere by now, or is checked out.
pub fn undo(context: &Context, site: &Site) -> Result<Exit, Fault> {
    let mut notes = notes(site);
    let (Some(note), Some(user), Some(repo)) = (notes.pop(), &site.repo, open_own_repo(site)?) else {
        return Err(Fault::new("K0512", Exit::Refused, "there is no branch of kapell improve to remove"));
    };
    let short = note.branch.trim_start_matches("refs/heads/").to_owned();
    repo.withdraw(user, &note.branch, note.commit).map_err(|error| refused(error, &short))?;
    keep(site, &notes)?;
    context.out.note(&format!("the branch {short} is gone"));
    context.out.next("kapell improve");
    Ok(Exit::Done)
}

fn refused(error: git::Error, branch: &str) -> Fault {
    if let git::ErrorKind::CheckedOut { worktree, .. } = &*error.kind {
        let what = format!("the branch {branch} is checked out in {}", worktree.display());
        return Fault::new("K0512", Exit::Refused, what).hint("git switch - there, then kapell undo");
    }
    if matches!(*error.kind, git::ErrorKind::Moved { .. }) {
        return Fault::new(
            "K0512",
            Exit::Refused,
            format!("the branch {branch} was changed since it was written"),
        )
        .hint(format!("remove it yourself: git branch -D {branch}"));
    }
    error.into()
}
