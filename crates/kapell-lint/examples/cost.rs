//! Where the time of an audit goes.
//!
//! `cargo run --release -p kapell-lint --example cost -- DIR [deep]`: CPU milliseconds of each part, and of each rule
//! that takes any to speak of. Linux only: the kernel's own account of this thread.

#![allow(clippy::print_stdout)]

use std::{fs, path::Path};

use kapell_lint::{
    agents::Agents,
    audit::{audit, audit_with},
    collect::inventory,
    discover::discover,
    fix::patch_knowing,
    github::Github,
    repository::{Depth, Repository},
    rules::RULES,
    wanted::{Scope, is_wanted},
};

/// Returns how long this thread was on a processor, in milliseconds.
fn spent() -> f64 {
    let text = fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanos: u64 = text.split(' ').next().and_then(|number| number.parse().ok()).unwrap_or(0);
    nanos as f64 / 1e6
}

fn timed<T>(name: &str, part: impl FnOnce() -> T) -> T {
    let start = spent();
    let value = part();
    println!("{:9.2} ms  {name}", spent() - start);
    value
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let root = args.first().map_or(".", String::as_str);
    let depth = if args.iter().any(|arg| arg == "deep") { Depth::Deep } else { Depth::Standard };
    let start = spent();
    let found = timed("read", || discover(Path::new(root), &|path| is_wanted(path, Scope::All, depth)));
    let Ok(found) = found else { return println!("{root} cannot be read") };
    println!("              {} files", found.files.len());
    timed("  github", || Github::new(&found.files));
    timed("  agents", || Agents::new(&found.files));
    let before = spent();
    let repository = timed("all models", || Repository::new(found.files, depth));
    let findings = timed("all rules", || audit(&repository));
    timed("inventory", || inventory(&repository));
    let patch = timed("fixes", || patch_knowing(&repository, &findings, &findings));
    println!(
        "              {} findings, {} mended, {} dropped",
        findings.len(),
        patch.mended.len(),
        patch.dropped.len()
    );
    for (index, why) in &patch.dropped {
        let finding = &findings[*index];
        println!(
            "              dropped: {} {}:{}: {why}",
            finding.rule, finding.place.path, finding.place.line
        );
    }
    println!("{:9.2} ms  in all\n", spent() - before);
    let mut rules: Vec<(f64, &str)> = RULES
        .iter()
        .map(|rule| {
            let start = spent();
            let _ = audit_with(&repository, &|other| other.name == rule.name);
            (spent() - start, rule.name)
        })
        .collect();
    rules.sort_by(|a, b| b.0.total_cmp(&a.0));
    for (took, name) in rules.iter().filter(|rule| rule.0 > 0.3) {
        println!("{took:9.2} ms  {name}");
    }
    println!("{:9.2} ms  this program", spent() - start);
}
