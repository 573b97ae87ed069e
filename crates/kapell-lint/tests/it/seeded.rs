//! Faults put into clean files of real repositories.

#[path = "../seeded/mod.rs"]
pub(crate) mod seeds;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    path::Path,
};

use kapell_lint::rules;

#[test]
fn faults_put_into_clean_files_are_found_and_nothing_else_is() {
    let planted = seeds::plant(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus"));
    let mut wrong = String::new();
    let mut by_rule = BTreeMap::<&str, usize>::new();
    for one in &planted {
        *by_rule.entry(&one.rule).or_default() += 1;
        if !one.found {
            let _ = writeln!(wrong, "{} is not found: {}", one.rule, one.what);
        }
        for besides in &one.besides {
            let _ = writeln!(wrong, "{} brings another warning: {}\n    {besides}", one.rule, one.what);
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
    assert!(planted.len() >= 200, "only {} faults", planted.len());
    let few: Vec<_> = by_rule.iter().filter(|(_, count)| **count < 5).collect();
    assert!(few.is_empty() && by_rule.len() >= 40, "{} rules, too few of {few:?}", by_rule.len());
}

#[test]
fn each_seed_names_a_rule() {
    let named: BTreeSet<String> = seeds::seeds().into_iter().map(|seed| seed.rule).collect();
    let unknown: Vec<&String> = named.iter().filter(|rule| rules::find(rule).is_none()).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
}
