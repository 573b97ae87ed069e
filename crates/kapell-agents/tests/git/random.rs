//! Random work of an agent, held against what plain git makes of the same files.

use std::{fs, os::unix::fs::symlink, path::Path};

use kapell_agents::workspace::{Kind, remove_tree};

use crate::support::*;

/// A small generator (Knuth, MMIX): the same seed gives the same work.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }

    fn path(&mut self) -> String {
        const NAMES: &[&str] = &["a", "b", "c.txt", "d.log", "e f", "-g"];
        let depth = 1 + self.below(3);
        let names: Vec<_> =
            (0..depth).map(|_| NAMES[usize::try_from(self.below(NAMES.len() as u64)).unwrap()]).collect();
        names.join("/")
    }
}

/// Does one random thing to the files in `tree`.
fn step(random: &mut Random, tree: &Path) {
    let path = tree.join(random.path());
    match random.below(8) {
        0 | 1 => {
            let _ = remove_tree(&path);
        }
        2 => {
            let _ = remove_tree(&path);
            let _ = fs::create_dir_all(path.parent().unwrap());
            let _ = symlink(random.path(), &path);
        }
        3 => {
            let _ = fs::write(tree.join(".gitignore"), format!("*.log\n/{}\n", random.path()));
        }
        _ => {
            // It fails where a file or link is in the way; then nothing is done.
            let safe = path.ancestors().skip(1).take_while(|dir| *dir != tree).all(|dir| !dir.is_symlink());
            if safe && fs::create_dir_all(path.parent().unwrap()).is_ok() && !path.is_symlink() {
                let _ = fs::write(&path, format!("{}\n", random.below(5)));
            }
        }
    }
}

#[test]
fn a_capture_is_the_tree_that_git_add_makes_and_a_reset_undoes_it_all() {
    let world =
        World::new(&[("a/b", "1\n"), ("c.txt", "2\n"), ("b/a/e f", "3\n"), (".gitignore", "*.log\n")]);
    let base = world.oid("HEAD");
    let pool = world.pool();
    for seed in 0..25 {
        let mut random = Random(seed);
        let workspace = pool.acquire(&request(Kind::Clone, base, 1)).unwrap();
        let tree = workspace.tree();
        for _ in 0..random.below(30) {
            step(&mut random, &tree);
            if random.below(10) == 0 {
                git_raw(&tree, &["add", "-A"]);
                git_raw(&tree, &["commit", "-q", "-m", "own"]);
            }
        }
        let captured = capture(&workspace);
        assert_eq!(capture(&workspace), captured, "seed {seed}");
        // Agents use git's own index, which follows what they committed.
        git_in(&tree, &["add", "-A"]);
        assert_eq!(captured.tree.to_string(), git_in(&tree, &["write-tree"]), "seed {seed}");
        if let Some(commit) = captured.commit {
            assert!(world.own_repo().is_ancestor(base, commit).unwrap());
        }
        pool.release(workspace).unwrap();
        let again = pool.acquire(&request(Kind::Clone, base, 2)).unwrap();
        assert_eq!(capture(&again).commit, None, "seed {seed}");
        assert_eq!(git_in(&again.tree(), &["status", "--porcelain"]), "", "seed {seed}");
        pool.release(again).unwrap();
    }
}
