//! Commands that are to write the image or its tag where nothing of that kind stands, so that all stays as it was.

use kapell_spec::github::Step;
use kapell_view::audit::Confidence;

use crate::{
    files::{File, joined},
    github::script::Command,
    repository::Repository,
    rule::Report,
};

/// Words of what such a command is about, in lower case.
const ABOUT: &[&str] = &["image", "tag", "sha", "version"];

/// Tells of commands that set what is nowhere: `helm --set image.tag=`, `yq '.image.tag = ...' values.yaml`, `sed s/TAG/.../`.
pub(super) fn check(repository: &Repository, report: &mut Report<'_>) {
    for flow in &repository.github.flows {
        for (job, _) in flow.jobs() {
            // What is checked out from elsewhere has files of its own.
            let elsewhere = |step: &Step| step.is("actions/checkout") && step.input("repository").is_some();
            let elsewhere = || flow.steps(job).any(|(step, _)| elsewhere(step));
            for (step, facts) in flow.steps(job) {
                let Some(run) = &step.run else { continue };
                let folder = step.folder.as_ref().map_or("", |folder| &*folder.text);
                for command in &facts.commands {
                    let slip = slip(repository, folder, command).filter(|_| !elsewhere());
                    let Some(Slip { message, hint }) = slip else { continue };
                    let draft = report.add(flow.file, run.span, message).hint(hint);
                    draft.confidence(Confidence::Medium).done();
                }
            }
        }
    }
}

/// What is wrong with a command, and what to do instead.
struct Slip {
    message: String,
    hint: String,
}

fn slip(repository: &Repository, folder: &str, command: &Command) -> Option<Slip> {
    let (program, rest) = command.inner().split_first()?;
    let of_program = match program.as_str() {
        "helm" => of_helm,
        "yq" => of_yq,
        "sed" => of_sed,
        _ => return None,
    };
    of_program(repository, folder, &rest.iter().map(String::as_str).collect::<Vec<_>>())
}

/// Returns a file of the repository that a command names.
fn named<'a>(repository: &'a Repository, folder: &str, path: &str) -> Option<&'a File> {
    let path = path.trim_start_matches("./");
    let path = if folder.is_empty() { path.to_owned() } else { joined(&format!("{folder}/x"), path)? };
    repository.files.find(&path).map(|id| &repository.files[id])
}

/// `--set image.tag=...`, where the values of the chart have that key below another one.
fn of_helm(repository: &Repository, folder: &str, words: &[&str]) -> Option<Slip> {
    let chart = |word: &&&str| {
        named(repository, folder, &format!("{}/Chart.yaml", word.trim_end_matches('/'))).is_some()
    };
    let at = words.iter().filter(|word| !word.starts_with('-')).find(chart)?.trim_end_matches('/');
    let about = named(repository, folder, &format!("{at}/Chart.yaml"))?;
    let values = named(repository, folder, &format!("{at}/values.yaml"))?;
    let known = keys(&values.text)?;
    let pairs = words.iter().flat_map(|word| {
        let word = word.trim_start_matches("--set-string=").trim_start_matches("--set=");
        word.split(',').filter_map(|pair| pair.split_once('='))
    });
    let set: Vec<&str> = pairs.map(|(key, _)| key).filter(|key| is_about(key)).collect();
    let top = values.path.strip_suffix("values.yaml")?;
    set.into_iter().find_map(|key| {
        let (first, _) = key.split_once('.')?;
        let own = |path: &String| path == first || path.starts_with(&format!("{first}."));
        let read = format!(".Values.{first}");
        let reads = |file: &File| file.path.starts_with(top) && file.text.contains(&*read);
        // A chart within it goes by its own name, and `global` is for all of them.
        if known.iter().any(own)
            || first == "global"
            || about.text.contains(first)
            || repository.files.iter().any(|(_, file)| reads(file))
        {
            return None;
        }
        let meant = known.iter().find(|path| path.ends_with(&format!(".{key}")))?;
        Some(Slip {
            message: format!(
                "`{key}` is set, which the chart `{at}` does not have: the tag that runs stays as it is"
            ),
            hint: format!("set `{meant}`, as the chart calls it"),
        })
    })
}

/// `.image.tag = ...`, where the file has that key below another one.
fn of_yq(repository: &Repository, folder: &str, words: &[&str]) -> Option<Slip> {
    let expression = words.iter().find(|word| word.starts_with('.'))?;
    let (path, _) = expression.split_once('=')?;
    let path = path.trim().trim_start_matches('.');
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    let file = words.iter().rev().find_map(|word| named(repository, folder, word))?;
    if !path.contains('.') || !path.chars().all(plain) || !is_about(path) {
        return None;
    }
    let known = keys(&file.text)?;
    // A file of values that is laid over those of a chart may get a key of its own.
    let laid_over = file.name().starts_with("values") && {
        let chart = file.path.strip_suffix(file.name()).map(|folder| format!("{folder}Chart.yaml"));
        chart.is_none_or(|chart| repository.files.find(&chart).is_none())
    };
    let meant = known.iter().find(|known| known.ends_with(&format!(".{path}"))).filter(|_| !laid_over)?;
    let found = known.iter().any(|known| known == path);
    (!found).then(|| Slip {
        message: format!(
            "`.{path}` is set, which `{}` does not have: what stands at `.{meant}` stays as it is",
            file.path
        ),
        hint: format!("set `.{meant}`"),
    })
}

/// `s/__TAG__/.../`, where no line of the file has that text.
fn of_sed(repository: &Repository, folder: &str, words: &[&str]) -> Option<Slip> {
    let in_place = |word: &&&str| word.starts_with("-i") || **word == "--in-place";
    words.iter().find(in_place)?;
    let expressions: Vec<&str> = words.iter().copied().filter(|word| is_replacement(word)).collect();
    let [expression] = expressions[..] else { return None };
    let file = named(repository, folder, words.last()?).filter(|file| file.text.contains("image"))?;
    let delimiter = expression.chars().nth(1)?;
    let mut parts = expression[1 + delimiter.len_utf8()..].split(delimiter);
    let (from, to) = (parts.next()?, parts.next()?);
    // The variables of the shell may be any text.
    let shell = from.trim_end_matches('$').contains(['$', '`']);
    if shell || !(is_about(from) || is_about(to)) {
        return None;
    }
    let texts = from.split(|c: char| ".*[]\\+^$(){}?|".contains(c));
    let text = texts.max_by_key(|text| text.len()).filter(|text| text.trim().len() > 2)?;
    // Letters of a class or a repetition are no text of the file.
    if from.contains(['[', '{', '\\']) && !from.starts_with(text) || file.text.contains(text) {
        return None;
    }
    Some(Slip {
        message: format!(
            "`{text}` is to be replaced in `{}`, which does not have it: what is deployed stays as it is",
            file.path
        ),
        hint: "replace what stands there".to_owned(),
    })
}

fn is_replacement(word: &str) -> bool {
    let mut letters = word.chars();
    letters.next() == Some('s') && letters.next().is_some_and(|c| "/|#@,~:!".contains(c))
}

fn is_about(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    ABOUT.iter().any(|word| lower.contains(word))
}

/// Returns the dotted paths of all keys of a plain file of YAML; `None` where it is put together in another way.
fn keys(text: &str) -> Option<Vec<String>> {
    if text.contains("{{") || text.lines().any(|line| line.trim_start().starts_with("<<:")) {
        return None;
    }
    let (mut around, mut found): (Vec<(usize, String)>, Vec<String>) = (Vec::new(), Vec::new());
    for line in text.lines() {
        let own = line.trim_start();
        let indent = line.len() - own.len();
        let Some((key, _)) = own.split_once(':').filter(|_| !own.starts_with(['#', '-'])) else { continue };
        let key = key.trim_matches(['"', '\'']);
        if key.is_empty() || key.contains(' ') {
            continue;
        }
        while around.last().is_some_and(|(at, _)| *at >= indent) {
            around.pop();
        }
        let path = around.last().map_or_else(|| key.to_owned(), |(_, above)| format!("{above}.{key}"));
        found.push(path.clone());
        around.push((indent, path));
        // `image: { tag: 1 }` stands on one line.
        if let Some((_, inner)) = own.split_once('{') {
            let path = &around.last()?.1;
            let inner: Vec<String> = inner
                .split(',')
                .filter_map(|pair| Some(format!("{path}.{}", pair.split_once(':')?.0.trim())))
                .collect();
            found.extend(inner);
        }
    }
    Some(found)
}
