//! Which crate may stand on which.

use super::{Complaint, Tree};

/// Crates of the workspace with those that they may import, from the ground up. The program itself stands on all
/// of them; benches and chores are no part of the house.
const FLOORS: &[(&str, &[&str])] = &[
    ("kapell-core", &[]),
    ("kapell-policy", &["kapell-core"]),
    ("kapell-spec", &["kapell-core"]),
    ("kapell-view", &["kapell-core"]),
    ("kapell-lint", &["kapell-core", "kapell-spec", "kapell-view"]),
    ("kapell-sim", &["kapell-core", "kapell-policy"]),
    ("kapell-engine", &["kapell-core", "kapell-policy"]),
    ("kapell-store", &["kapell-core", "kapell-engine"]),
    ("kapell-agents", &["kapell-core", "kapell-engine", "kapell-spec"]),
    (
        "kapell-server",
        &[
            "kapell-core",
            "kapell-spec",
            "kapell-view",
            "kapell-lint",
            "kapell-policy",
            "kapell-sim",
            "kapell-engine",
        ],
    ),
];

/// What the core may use from outside: no more without a decision record.
const CORE: &[&str] = &["serde", "serde_json", "blake3", "hashbrown", "thiserror"];

/// The model server of the tests. Nobody may import it but tests and chores, for it would end up in the program.
const MOCK: &str = "kapell-mock";

/// Reads the manifests of all crates of the house.
pub(super) fn dependencies(tree: &Tree) -> Vec<Complaint> {
    let mut complaints = Vec::new();
    for name in tree.crates() {
        let path = format!("crates/{name}/Cargo.toml");
        if name == "kapell" {
            if used(tree.get(&path).unwrap_or_default()).contains(&Ok(MOCK.to_owned())) {
                complaints.push(Complaint::new(&path, 0, format!("only tests and chores may use {MOCK}")));
            }
            continue;
        }
        let Some((_, allowed)) = FLOORS.iter().find(|(known, _)| *known == name) else {
            complaints.push(Complaint::new(
                &path,
                0,
                "this crate has no floor: see xtask/src/tidy/floors.rs",
            ));
            continue;
        };
        for used in used(tree.get(&path).unwrap_or_default()) {
            let used = match used {
                Ok(used) => used,
                Err(error) => {
                    complaints.push(Complaint::new(&path, 0, error));
                    continue;
                }
            };
            let of_the_house = used == "kapell" || used.starts_with("kapell-");
            if of_the_house && !allowed.contains(&&*used) {
                complaints.push(Complaint::new(&path, 0, format!("{name} must not know {used}")));
            }
            if !of_the_house && name == "kapell-core" && !CORE.contains(&&*used) {
                complaints.push(Complaint::new(&path, 0, format!("the core must not use {used}")));
            }
        }
    }
    complaints
}

/// Returns the names in all tables of dependencies of a manifest. Those of tests alone are not bound: a test may
/// look from above.
fn used(manifest: &str) -> Vec<Result<String, String>> {
    let manifest: toml::Table = match manifest.parse() {
        Ok(manifest) => manifest,
        Err(error) => return vec![Err(error.to_string())],
    };
    let mut tables = vec![&manifest];
    let targets = manifest.get("target").and_then(toml::Value::as_table);
    tables.extend(targets.into_iter().flat_map(toml::Table::values).filter_map(toml::Value::as_table));
    let sections =
        tables.iter().flat_map(|table| ["dependencies", "build-dependencies"].map(|key| table.get(key)));
    let entries = sections.flatten().filter_map(toml::Value::as_table).flatten();
    entries.map(|(name, value)| Ok(package(name, value))).collect()
}

/// Returns the package that a dependency means, which can have been given another name.
fn package(name: &str, value: &toml::Value) -> String {
    value.get("package").and_then(toml::Value::as_str).unwrap_or(name).to_owned()
}

#[cfg(test)]
mod tests {
    use super::{super::tests::said, dependencies};

    #[test]
    fn a_crate_that_imports_from_above_is_found() {
        let said = said(
            dependencies,
            &[
                ("crates/kapell-view/Cargo.toml", "[dependencies]\nkapell-store.workspace = true"),
                ("crates/kapell-store/Cargo.toml", "[dependencies]\nkapell-engine.workspace = true"),
                ("crates/kapell/Cargo.toml", "[dependencies]\nkapell-store.workspace = true"),
            ],
        );
        assert_eq!(said, "crates/kapell-view/Cargo.toml: kapell-view must not know kapell-store");
    }

    #[test]
    fn the_mock_is_for_tests_and_chores() {
        let said = said(
            dependencies,
            &[
                ("crates/kapell/Cargo.toml", "[dependencies]\nkapell-mock.workspace = true"),
                ("crates/kapell-agents/Cargo.toml", "[dev-dependencies]\nkapell-mock.workspace = true"),
                ("crates/kapell-view/Cargo.toml", "[dependencies]\nkapell-mock.workspace = true"),
                ("xtask/Cargo.toml", "[dependencies]\nkapell-mock.workspace = true"),
            ],
        );
        assert_eq!(
            said,
            "crates/kapell-view/Cargo.toml: kapell-view must not know kapell-mock\n\
             crates/kapell/Cargo.toml: only tests and chores may use kapell-mock"
        );
    }

    #[test]
    fn neither_another_name_nor_another_table_hides_it() {
        let said = said(
            dependencies,
            &[(
                "crates/kapell-spec/Cargo.toml",
                "[dependencies]\nharmless = { package = 'kapell-view', path = '../kapell-view' }\n\
                 [build-dependencies]\nkapell-engine = '1'\n\
                 [target.'cfg(unix)'.dependencies]\nkapell-store = '1'\n\
                 [dev-dependencies]\nkapell-agents = '1'",
            )],
        );
        assert_eq!(
            said,
            "crates/kapell-spec/Cargo.toml: kapell-spec must not know kapell-view\n\
             crates/kapell-spec/Cargo.toml: kapell-spec must not know kapell-engine\n\
             crates/kapell-spec/Cargo.toml: kapell-spec must not know kapell-store"
        );
    }

    #[test]
    fn the_core_uses_next_to_nothing_and_strangers_have_no_floor() {
        let said = said(
            dependencies,
            &[
                ("crates/kapell-core/Cargo.toml", "[dependencies]\nserde = '1'\ntokio = '1'"),
                ("crates/kapell-zoo/Cargo.toml", ""),
                ("crates/kapell-sim/Cargo.toml", "not toml"),
            ],
        );
        assert!(said.starts_with("crates/kapell-core/Cargo.toml: the core must not use tokio\n"), "{said}");
        assert!(said.contains("crates/kapell-zoo/Cargo.toml: this crate has no floor"), "{said}");
        assert!(said.contains("crates/kapell-sim/Cargo.toml: TOML parse error"), "{said}");
    }
}
