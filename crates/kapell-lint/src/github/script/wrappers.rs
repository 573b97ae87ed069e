//! Programs that run other programs.

use super::split::is_assignment;

/// Programs that run what follows them, and how many words of their own they take.
const WRAPPERS: &[&[&str]] = &[
    &["sudo"],
    &["env"],
    &["nice"],
    &["time"],
    &["exec"],
    &["command"],
    &["npx"],
    &["bunx"],
    &["uvx"],
    &["xvfb-run"],
    &["timeout"],
    &["nohup"],
    &["uv", "run"],
    &["uv", "tool", "run"],
    &["poetry", "run"],
    &["pipenv", "run"],
    &["pdm", "run"],
    &["rye", "run"],
    &["hatch", "run"],
    &["pnpm", "exec"],
    &["pnpm", "dlx"],
    &["yarn", "exec"],
    &["yarn", "dlx"],
    &["npm", "exec"],
    &["bundle", "exec"],
    &["pipx", "run"],
    &["python", "-m"],
    &["python3", "-m"],
    &["coverage", "run", "-m"],
    &["dotenv", "--"],
];

/// Returns the words that follow wrappers such as `sudo` and `npx`.
pub(super) fn unwrapped(mut words: &[String]) -> &[String] {
    'outer: for _ in 0..4 {
        for wrapper in WRAPPERS {
            if words.len() > wrapper.len() && wrapper.iter().zip(words).all(|(a, b)| a == b) {
                let mut rest = &words[wrapper.len()..];
                while let Some(word) = rest.first().filter(|word| {
                    word.starts_with('-')
                        || is_assignment(word) && !word.contains("==")
                        || wrapper[0] == "timeout" && is_time(word)
                }) {
                    rest = &rest[1..];
                    let takes = matches!(
                        word.as_str(),
                        "--with"
                            | "--group"
                            | "--extra"
                            | "-p"
                            | "--python"
                            | "--package"
                            | "--directory"
                            | "--project"
                    );
                    if takes && rest.len() > 1 {
                        rest = &rest[1..];
                    }
                }
                if rest.is_empty() {
                    break 'outer;
                }
                words = rest;
                continue 'outer;
            }
        }
        break;
    }
    words
}

fn is_time(word: &str) -> bool {
    word.starts_with(|c: char| c.is_ascii_digit())
}
