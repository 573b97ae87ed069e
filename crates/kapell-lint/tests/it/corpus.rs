//! What is found in real repositories depends on nothing but their files.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    thread,
};

use kapell_lint::{
    audit::{audit, audit_with, sort},
    collect::inventory,
    discover::discover,
    files::Files,
    fix::patch_knowing,
    repository::{Depth, Repository},
    rule::Group,
    rules::{RULES, looks_at_called, looks_at_each_alone, looks_at_named},
    wanted::{Scope, is_wanted},
};
use kapell_view::audit::Finding;

use crate::cases::cases;

fn repositories() -> Vec<PathBuf> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus");
    let mut all: Vec<PathBuf> = fs::read_dir(corpus).unwrap().map(|entry| entry.unwrap().path()).collect();
    all.retain(|path| path.is_dir());
    all.sort();
    assert!(all.len() >= 10);
    all
}

fn texts(root: &Path) -> Vec<(String, String)> {
    let found = discover(root, &|path| is_wanted(path, Scope::All, Depth::Deep)).unwrap();
    found.files.iter().map(|(_, file)| (file.path.to_string(), file.text.to_string())).collect()
}

/// Everything that an audit comes to, as bytes.
fn bytes(files: Files) -> String {
    let repository = Repository::new(files, Depth::Deep);
    let findings = audit(&repository);
    let patch = patch_knowing(&repository, &findings, &findings);
    serde_json::to_string(&(inventory(&repository), findings, patch)).unwrap()
}

fn copy(texts: &[(String, String)], to: &Path) {
    for (path, text) in texts.iter().rev() {
        let path = to.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
}

#[test]
fn the_same_files_give_the_same_bytes() {
    for root in repositories() {
        let texts = texts(&root);
        let first = bytes(Files::new(texts.clone()));
        let backwards = bytes(Files::new(texts.iter().rev().cloned()));
        // A thread has its own seed for what hashes at random; another directory lists its files in another order.
        let dir = tempfile::tempdir().unwrap();
        copy(&texts, dir.path());
        let elsewhere = thread::scope(|scope| {
            let again = || {
                bytes(discover(dir.path(), &|path| is_wanted(path, Scope::All, Depth::Deep)).unwrap().files)
            };
            scope.spawn(again).join().unwrap()
        });
        assert!(first == backwards, "{}: the order of files shows", root.display());
        assert!(first == elsewhere, "{}: the directory or the thread shows", root.display());
    }
}

#[test]
fn families_on_their_own_find_what_one_audit_finds() {
    for root in repositories() {
        let files = Files::new(texts(&root));
        let mut apart = Vec::new();
        for family in Group::ALL {
            let repository = Repository::with_models(files.clone(), Depth::Deep, family.asks());
            apart.extend(audit_with(&repository, &|rule| rule.group == family));
        }
        sort(&mut apart);
        assert_eq!(apart, audit(&Repository::new(files, Depth::Deep)), "{}", root.display());
    }
}

#[test]
fn rules_that_look_at_each_file_alone_find_the_same_among_few() {
    for root in repositories() {
        let repository = Repository::new(Files::new(texts(&root)), Depth::Deep);
        let all = audit_with(&repository, &looks_at_each_alone);
        // Halves, so that what is in one of them misses what is in the other.
        let ids = || repository.files.iter().map(|(id, _)| id);
        let first = repository.github.joined(ids().step_by(2).collect());
        let second = ids().filter(|id| !first.contains(id)).collect();
        let halves = [first, second].map(|half| audit_with(&repository.only(&half), &looks_at_each_alone));
        let mut apart = halves.concat();
        sort(&mut apart);
        assert_eq!(apart, all, "{}", root.display());
    }
}

#[test]
fn rules_that_look_at_each_file_alone_find_the_same_in_their_cases() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/rules");
    let mut wrong = BTreeSet::new();
    for rule in RULES.iter().copied().filter(|rule| looks_at_each_alone(rule)) {
        let text = fs::read_to_string(folder.join(format!("{}.case", rule.name))).unwrap();
        for case in cases(&text) {
            let repository = Repository::new(Files::new(case.files), Depth::Deep);
            let look = |repository: &Repository| audit_with(repository, &|other| other.name == rule.name);
            let mut left: BTreeSet<_> = repository.files.iter().map(|(id, _)| id).collect();
            let mut apart = Vec::new();
            while let Some(id) = left.pop_first() {
                let near = repository.github.joined([id].into());
                left.retain(|id| !near.contains(id));
                apart.extend(look(&repository.only(&near)));
            }
            sort(&mut apart);
            if apart != look(&repository) {
                wrong.insert(format!("{}: {}", rule.name, case.title));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn rules_that_look_at_whom_one_names_find_the_same_in_all_who_do_not_name_what_changed() {
    let mut changes = 0;
    for root in repositories() {
        let repository = Repository::new(Files::new(texts(&root)), Depth::Deep);
        let before = audit_with(&repository, &looks_at_named);
        let ids: Vec<_> = repository.agents.iter().map(|(_, asset)| asset.file).collect();
        for &id in ids.iter().step_by(3) {
            let file = &repository.files[id];
            let text = file.text.replace("in parallel", "one by one").replace("Write", "Edit");
            let after = repository.with(&[(file.path.to_string(), text)].into());
            let Some(naming) = repository.agents.naming(&after.agents, &[id].into()) else { continue };
            changes += 1;
            let named = |finding: &Finding| {
                repository.files.find(&finding.place.path).is_some_and(|id| naming.contains(&id))
            };
            let mut found = audit_with(&after.asking(naming.clone()), &looks_at_named);
            assert!(found.iter().all(named), "{}", file.path);
            found.extend(before.iter().filter(|finding| !named(finding)).cloned());
            sort(&mut found);
            assert_eq!(found, audit_with(&after, &looks_at_named), "{}", file.path);
        }
    }
    assert!(changes > 20, "{changes}");
}

#[test]
fn rules_that_look_at_whom_one_calls_find_the_same_in_all_that_no_call_joins_with_what_changed() {
    let mut changes = 0;
    for root in repositories() {
        let repository = Repository::new(Files::new(texts(&root)), Depth::Deep);
        let before = audit_with(&repository, &looks_at_called);
        for id in repository.github.flows.iter().step_by(2).map(|flow| flow.file) {
            let file = &repository.files[id];
            // What fixes do: steps and jobs get keys, and lose some.
            let text = file.text.replace("    continue-on-error: true\n", "");
            let text = text.replace("    runs-on:", "    timeout-minutes: 60\n    runs-on:");
            let after = repository.with(&[(file.path.to_string(), text)].into());
            let joined = after.github.joined(repository.github.joined([id].into()));
            changes += 1;
            let near = |finding: &Finding| {
                repository.files.find(&finding.place.path).is_some_and(|id| joined.contains(&id))
            };
            let mut found = audit_with(&after.asking(joined.clone()), &looks_at_called);
            found.retain(near);
            found.extend(before.iter().filter(|finding| !near(finding)).cloned());
            sort(&mut found);
            assert_eq!(found, audit_with(&after, &looks_at_called), "{}", file.path);
        }
    }
    assert!(changes > 20, "{changes}");
}

#[test]
fn models_that_are_shared_are_what_is_built_anew() {
    for root in repositories() {
        let repository = Repository::new(Files::new(texts(&root)), Depth::Deep);
        // Every thirtieth file gets another text: cut in half, so that much about it changes.
        let files: Vec<_> = repository.files.iter().map(|(_, file)| file).collect();
        let half = |text: &str| text.chars().take(text.chars().count() / 2).collect::<String>();
        for file in files.iter().step_by(30) {
            let changed = [(file.path.to_string(), half(&file.text))].into();
            let shared = repository.with(&changed);
            let anew = Repository::new(repository.files.with(&changed), Depth::Deep);
            assert_eq!(audit(&shared), audit(&anew), "{}: {}", root.display(), file.path);
        }
    }
}
