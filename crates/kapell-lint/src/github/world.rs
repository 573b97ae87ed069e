//! In which situations a workflow starts: event, ref, action and inputs, as far as its triggers tell.

use kapell_core::expr::Value;
use kapell_spec::github::{Event, Workflow};

/// A set of texts. Everything is in lower case, since comparisons do not depend on case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Texts {
    /// One of these. An empty list stands for nothing known.
    forms: Vec<Form>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Form {
    Exact(String),
    /// Anything that starts so.
    Prefix(String),
    /// The name of a tag of which nothing is known, but that nobody calls a tag as a branch is called.
    Tag,
    /// The merge of a pull request: `12/merge`.
    Merge,
}

/// Names of branches that nobody gives to a tag.
const BRANCHES: &[&str] = &["main", "master", "develop", "trunk"];

impl Texts {
    fn of(prefix: &str, patterns: &[&str]) -> Self {
        let form = |pattern: &&str| {
            let full = format!("{prefix}{pattern}").to_ascii_lowercase();
            let Some(at) = full.find(['*', '?', '[', '+']) else { return vec![Form::Exact(full)] };
            let start = &full[..at];
            match full.as_bytes()[at] {
                // The letter before may be left out.
                b'?' => {
                    let end = start.char_indices().next_back().map_or(0, |(end, _)| end);
                    vec![Form::Prefix(start[..end].to_owned())]
                }
                b'[' => match one_of(&full[at + 1..]) {
                    Some(letters) => {
                        letters.map(|letter| Form::Prefix(format!("{start}{}", char::from(letter)))).collect()
                    }
                    None => vec![Form::Prefix(start.to_owned())],
                },
                _ => vec![Form::Prefix(start.to_owned())],
            }
        };
        let forms: Vec<Form> =
            patterns.iter().filter(|pattern| !pattern.starts_with('!')).flat_map(form).collect();
        Self { forms: if forms.is_empty() { vec![Form::Prefix(prefix.to_ascii_lowercase())] } else { forms } }
    }

    fn all(&self, holds: impl Fn(&Form) -> Option<bool>) -> Option<bool> {
        let mut answers = self.forms.iter().map(holds);
        let first = answers.next()??;
        answers.all(|answer| answer == Some(first)).then_some(first)
    }

    /// Tells whether the text is `other`, if that is certain.
    #[must_use]
    pub fn equals(&self, other: &str) -> Option<bool> {
        let other = other.to_ascii_lowercase();
        self.all(|form| match form {
            Form::Exact(text) => Some(*text == other),
            Form::Prefix(prefix) => (!other.starts_with(prefix.as_str())).then_some(false),
            Form::Tag => BRANCHES.contains(&&*other).then_some(false),
            Form::Merge => (!other.ends_with("/merge")).then_some(false),
        })
    }

    /// Tells whether the text starts with `other`, if that is certain.
    #[must_use]
    pub fn starts_with(&self, other: &str) -> Option<bool> {
        let other = other.to_ascii_lowercase();
        self.all(|form| match form {
            Form::Exact(text) => Some(text.starts_with(&other)),
            Form::Prefix(prefix) if prefix.starts_with(&other) => Some(true),
            Form::Prefix(prefix) => (!other.starts_with(prefix.as_str())).then_some(false),
            Form::Tag => None,
            Form::Merge => other.starts_with(|first: char| !first.is_ascii_digit()).then_some(false),
        })
    }

    /// Tells whether `other` occurs in the text, if that is certain.
    #[must_use]
    pub fn contains(&self, other: &str) -> Option<bool> {
        let other = other.to_ascii_lowercase();
        self.all(|form| match form {
            Form::Exact(text) => Some(text.contains(&other)),
            Form::Prefix(prefix) => prefix.contains(&other).then_some(true),
            Form::Tag | Form::Merge => None,
        })
    }

    /// Tells whether the text ends with `other`, if that is certain.
    #[must_use]
    pub fn ends_with(&self, other: &str) -> Option<bool> {
        let other = other.to_ascii_lowercase();
        self.all(|form| match form {
            Form::Exact(text) => Some(text.ends_with(&other)),
            Form::Prefix(_) | Form::Tag | Form::Merge => None,
        })
    }

    /// Returns the text, if there is only one.
    #[must_use]
    pub fn value(&self) -> Value {
        match &self.forms[..] {
            [Form::Exact(text)] => Value::string(text),
            forms
                if forms.iter().all(|form| {
                    !matches!(form, Form::Exact(text) if text.is_empty())
                        && !matches!(form, Form::Prefix(prefix) if prefix.is_empty())
                }) && !forms.is_empty() =>
            {
                Value::Unknown(kapell_core::expr::Leaning::Truthy)
            }
            _ => Value::UNKNOWN,
        }
    }
}

/// Returns the letters of which a text has one, where a pattern goes on with a range of them: `0-9]+.[0-9]+`. The start
/// of the pattern is what stands behind the bracket.
fn one_of(class: &str) -> Option<std::ops::RangeInclusive<u8>> {
    let [first, b'-', last, b']', rest @ ..] = class.as_bytes() else { return None };
    let plain = first.is_ascii_alphanumeric() && last.is_ascii_alphanumeric() && first <= last;
    // It may be left out.
    (plain && rest.first() != Some(&b'?')).then_some(*first..=*last)
}

/// A situation in which a workflow starts.
#[derive(Debug, Clone, PartialEq)]
pub struct World {
    /// The event; `None` if a caller decides.
    pub event: Option<String>,
    /// The branch, tag or pull request.
    pub reference: Option<Texts>,
    /// The same without `refs/heads/` and so on.
    pub reference_name: Option<Texts>,
    /// `branch` or `tag`.
    pub reference_type: Option<&'static str>,
    /// The branch that a pull request goes to.
    pub base: Option<Texts>,
    /// What happened: `github.event.action`.
    pub action: Option<Texts>,
    /// Inputs that are one of a few values, by name.
    pub choices: Vec<(String, Texts)>,
    /// Whether there are inputs.
    pub has_inputs: bool,
    /// The branch of the run whose end this is: `github.event.workflow_run.head_branch`.
    pub head_branch: Option<Texts>,
    /// The times of a schedule.
    pub schedule: Option<Texts>,
}

/// Types of an event without `types`.
const DEFAULT_TYPES: [(&str, &[&str]); 2] = [
    ("pull_request", &["opened", "synchronize", "reopened"]),
    ("pull_request_target", &["opened", "synchronize", "reopened"]),
];

impl World {
    fn plain(event: &str) -> Self {
        Self {
            event: Some(event.to_ascii_lowercase()),
            reference: None,
            reference_name: None,
            reference_type: None,
            base: None,
            action: None,
            choices: Vec::new(),
            has_inputs: false,
            head_branch: None,
            schedule: None,
        }
    }

    /// Tells whether a pull request or an issue cannot have come to this by one of some actions.
    fn never_by(&self, actions: &[&str]) -> bool {
        self.action.as_ref().is_some_and(|known| {
            actions.iter().all(|action| {
                known.forms.iter().all(|form| matches!(form, Form::Exact(text) if text != action))
            })
        })
    }

    /// Nothing is known.
    #[must_use]
    pub fn unknown() -> Self {
        Self { event: None, has_inputs: true, ..Self::plain("") }
    }

    /// Returns what a workflow sees that is called in it: the same event, and inputs that its caller gives.
    #[must_use]
    pub fn as_called(&self) -> Self {
        Self { choices: Vec::new(), has_inputs: true, ..self.clone() }
    }

    /// Names it for people.
    #[must_use]
    pub fn name(&self) -> String {
        let event = self.event.as_deref().unwrap_or("workflow_call");
        match self.reference_type {
            Some(kind) => format!("{event} of a {kind}"),
            None => event.to_owned(),
        }
    }

    /// Returns the situations in which each input that is chosen from a list has one value; at most 32 of them.
    #[must_use]
    pub fn split(&self) -> Vec<Self> {
        let mut worlds = vec![self.clone()];
        for at in 0..self.choices.len() {
            let values = &self.choices[at].1.forms;
            if worlds.len() * values.len() > 32 {
                break;
            }
            let one = |world: &Self, form: &Form| {
                let mut world = world.clone();
                world.choices[at].1 = Texts { forms: vec![form.clone()] };
                world
            };
            worlds = worlds.iter().flat_map(|world| values.iter().map(|form| one(world, form))).collect();
        }
        worlds
    }

    /// Tells whether the event is a pull request's.
    #[must_use]
    pub fn is_pull_request(&self) -> bool {
        matches!(self.event.as_deref(), Some("pull_request" | "pull_request_target"))
    }
}

/// Returns the situations in which a workflow starts.
#[must_use]
pub fn worlds(workflow: &Workflow) -> Vec<World> {
    let mut worlds: Vec<World> = workflow.events.iter().flat_map(of_event).collect();
    if worlds.is_empty() || !workflow.complete {
        worlds = vec![World::unknown()];
    }
    worlds
}

fn of_event(event: &Event) -> Vec<World> {
    let patterns = |key: &str| -> Vec<&str> {
        event
            .filter(key)
            .map(|filter| filter.items.iter().map(|item| &*item.text).collect())
            .unwrap_or_default()
    };
    let mut world = World::plain(&event.name.text);
    let default =
        DEFAULT_TYPES.iter().find(|(name, _)| *name == &*event.name.text).map(|(_, types)| types.to_vec());
    let types = Some(patterns("types")).filter(|types| !types.is_empty()).or(default);
    world.action = types.map(|types| Texts::of("", &types));
    match &*event.name.text {
        "push" => {
            let tags_only = event.filter("tags").is_some() || event.filter("tags-ignore").is_some();
            let branches_only =
                event.filter("branches").is_some() || event.filter("branches-ignore").is_some();
            let mut worlds = Vec::new();
            if branches_only || !tags_only {
                let names = patterns("branches");
                worlds.push(World {
                    reference: Some(Texts::of("refs/heads/", &names)),
                    reference_name: Some(Texts::of("", &names)),
                    reference_type: Some("branch"),
                    ..world.clone()
                });
            }
            if tags_only || !branches_only {
                let names = patterns("tags");
                worlds.push(World {
                    reference: Some(Texts::of("refs/tags/", &names)),
                    reference_name: Some(Texts::of("", &names)),
                    reference_type: Some("tag"),
                    ..world
                });
            }
            return worlds;
        }
        "pull_request" => {
            world.reference = Some(Texts::of("refs/pull/", &[]));
            world.reference_name = Some(Texts { forms: vec![Form::Merge] });
            world.base = Some(Texts::of("", &patterns("branches")));
        }
        "pull_request_target" => {
            world.reference = Some(Texts::of("refs/heads/", &[]));
            world.reference_type = Some("branch");
            world.base = Some(Texts::of("", &patterns("branches")));
        }
        "release" => {
            world.reference = Some(Texts::of("refs/tags/", &[]));
            world.reference_name = Some(Texts { forms: vec![Form::Tag] });
            world.reference_type = Some("tag");
        }
        "schedule" | "workflow_run" | "issues" | "issue_comment" | "repository_dispatch" => {
            world.reference = Some(Texts::of("refs/heads/", &[]));
            world.reference_type = Some("branch");
            let branches = patterns("branches");
            world.head_branch = (!branches.is_empty()).then(|| Texts::of("", &branches));
            let exact = |cron: &kapell_spec::github::Name| Form::Exact(cron.text.to_ascii_lowercase());
            world.schedule =
                (!event.crons.is_empty()).then(|| Texts { forms: event.crons.iter().map(exact).collect() });
        }
        // A commit that waits in the queue has a branch of its own, and never a tag.
        "merge_group" => {
            world.reference = Some(Texts::of("refs/heads/gh-readonly-queue/", &patterns("branches")));
            world.reference_name = Some(Texts::of("gh-readonly-queue/", &patterns("branches")));
            world.reference_type = Some("branch");
        }
        "workflow_dispatch" => {
            world.has_inputs = true;
            world.choices = event
                .inputs
                .iter()
                .filter(|input| !input.options.is_empty())
                .map(|input| {
                    let options: Vec<&str> = input.options.iter().map(|option| &*option.text).collect();
                    (input.name.text.to_ascii_lowercase(), Texts::of("", &options))
                })
                .collect();
        }
        "workflow_call" => return vec![World::unknown()],
        _ => {}
    }
    vec![world]
}

/// Properties of `github.event` that only some events have.
const EVENT_PROPERTIES: &[(&str, &[&str])] = &[
    (
        "pull_request",
        &["pull_request", "pull_request_target", "pull_request_review", "pull_request_review_comment"],
    ),
    ("number", &["pull_request", "pull_request_target"]),
    ("release", &["release"]),
    ("workflow_run", &["workflow_run"]),
    ("inputs", &["workflow_dispatch"]),
    ("schedule", &["schedule"]),
    ("issue", &["issues", "issue_comment"]),
    ("comment", &["issue_comment", "pull_request_review_comment", "commit_comment", "discussion_comment"]),
    ("review", &["pull_request_review"]),
    ("label", &["pull_request", "pull_request_target", "issues", "label", "discussion"]),
    ("client_payload", &["repository_dispatch"]),
    ("head_commit", &["push"]),
    ("commits", &["push"]),
    ("before", &["push", "pull_request", "pull_request_target"]),
    ("after", &["push", "pull_request", "pull_request_target"]),
    ("forced", &["push"]),
    ("created", &["push"]),
    ("deleted", &["push"]),
    ("merge_group", &["merge_group"]),
    ("check_suite", &["check_suite"]),
    ("check_run", &["check_run"]),
    ("deployment", &["deployment", "deployment_status"]),
    ("deployment_status", &["deployment_status"]),
    ("discussion", &["discussion", "discussion_comment"]),
];

impl World {
    /// Returns the set of texts that a path stands for: `github.ref` and its like.
    #[must_use]
    pub fn texts(&self, path: &[&str]) -> Option<Texts> {
        let lower: Vec<String> = path.iter().map(|part| part.to_ascii_lowercase()).collect();
        let parts: Vec<&str> = lower.iter().map(String::as_str).collect();
        match parts[..] {
            ["github", "ref"] => self.reference.clone(),
            ["github", "ref_name"] => self.reference_name.clone(),
            ["github", "base_ref"] if self.is_pull_request() => self.base.clone(),
            ["github", "event", "action"] => self.action.clone(),
            ["github", "event", "workflow_run", "head_branch"] => self.head_branch.clone(),
            ["github", "event", "schedule"] => self.schedule.clone(),
            ["inputs", name] | ["github", "event", "inputs", name] => {
                self.choices.iter().find(|(known, _)| known == name).map(|(_, texts)| texts.clone())
            }
            _ => None,
        }
    }

    /// Returns the value of a path of `github` or `inputs`.
    #[must_use]
    pub fn value(&self, path: &[&str]) -> Value {
        use kapell_core::expr::Leaning;
        if let Some(texts) = self.texts(path) {
            return texts.value();
        }
        let Some(event) = &self.event else { return Value::UNKNOWN };
        let lower: Vec<String> = path.iter().map(|part| part.to_ascii_lowercase()).collect();
        let parts: Vec<&str> = lower.iter().map(String::as_str).collect();
        match parts[..] {
            ["github", "event_name"] => Value::string(event),
            ["github", "ref_type"] => self.reference_type.map_or(Value::UNKNOWN, Value::string),
            ["github", "head_ref"] if self.is_pull_request() => Value::Unknown(Leaning::Truthy),
            ["github", "head_ref" | "base_ref"] => {
                if self.is_pull_request() {
                    Value::UNKNOWN
                } else {
                    Value::string("")
                }
            }
            ["github", "repository" | "actor" | "sha" | "run_id" | "workflow" | "repository_owner"] => {
                Value::Unknown(Leaning::Truthy)
            }
            // Only these actions bring one.
            ["github", "event", "label", ..] if self.never_by(&["labeled", "unlabeled"]) => Value::Null,
            ["github", "event", "pull_request", "merged"]
                if self.is_pull_request() && self.never_by(&["closed"]) =>
            {
                false.into()
            }
            ["github", "event", property, ..] => {
                let row = EVENT_PROPERTIES.iter().find(|row| row.0 == property);
                match row {
                    Some(row) if !row.1.contains(&event.as_str()) => Value::Null,
                    _ => Value::UNKNOWN,
                }
            }
            ["inputs", ..] if !self.has_inputs => Value::Null,
            _ => Value::UNKNOWN,
        }
    }
}
