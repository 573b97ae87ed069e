//! Whether a start only looks: a review, an analysis, a search.

/// Starts of words with which somebody only looks.
const LOOKS: &[&str] = &[
    "review",
    "audit",
    "analy",
    "assess",
    "check",
    "inspect",
    "evaluat",
    "investigat",
    "examin",
    "scan",
    "research",
    "explor",
    "identif",
    "profil",
    "measur",
    "survey",
    "study",
    "diagnos",
    "critiqu",
    "look",
    "find",
    "search",
    "detect",
    "gather",
    "diff",
    "compar",
    "lint",
    "estimat",
];

/// Starts of words with which somebody changes or makes something.
const MAKES: &[&str] = &[
    "implement",
    "fix",
    "refactor",
    "write",
    "creat",
    "build",
    "deploy",
    "migrat",
    "appl",
    "updat",
    "modif",
    "commit",
    "develop",
    "configur",
    "set",
    "generat",
    "produc",
    "install",
    "optimi",
    "add",
    "remov",
    "draft",
    "design",
    "plan",
    "document",
    "convert",
    "integrat",
    "harden",
    "patch",
    "remediat",
    "resolv",
    "address",
];

/// Tells whether a start only looks, by the first words of its prompt and by its title.
pub(super) fn looks(title: &str, words: &str, agent: &str) -> bool {
    let is = |word: &str, stems: &[&str]| stems.iter().any(|stem| word.starts_with(stem));
    let lead = lead(words, agent);
    if lead.iter().take(2).any(|word| is(word, MAKES)) {
        return false;
    }
    let title = title.to_ascii_lowercase();
    let mut all = title.split(|c: char| !c.is_ascii_alphanumeric()).chain(lead.iter().take(6).copied());
    // Whoever is called an auditor looks, too, unless its title says that it does something with what was made.
    let last = agent.rsplit(['-', ':']).next().unwrap_or_default().to_ascii_lowercase();
    let mut titled = title.split(|c: char| !c.is_ascii_alphanumeric());
    let acts = titled.any(|word| is(word, MAKES) || is(word, &["verif", "valid", "test", "confirm"]));
    all.any(|word| is(word, LOOKS)) || !acts && is(&last, LOOKS)
}

/// The first words of a prompt, or else those after the agent's name.
fn lead<'a>(words: &'a str, agent: &str) -> Vec<&'a str> {
    let agent = agent.to_ascii_lowercase();
    let after = |key: &str| words.find(key).map(|at| &words[at + key.len()..]);
    let rest = after("prompt:").or_else(|| after("prompt=")).or_else(|| after(&agent)).unwrap_or_default();
    let mut rest = rest.trim_start_matches(|c: char| !c.is_ascii_alphanumeric());
    for prefix in ["you are ", "agent", "subagent", "agents"] {
        if let Some(tail) = rest.strip_prefix(prefix) {
            let skip = if prefix == "you are " { tail.find(['.', '\n']).unwrap_or(0) } else { 0 };
            rest = &tail[skip..];
        }
    }
    let all = rest.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    let small = ["to", "a", "an", "the", "for", "please", "will", "should", "and", "then", "with", "s"];
    all.filter(|word| !small.contains(word)).take(8).collect()
}
