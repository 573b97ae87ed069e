//! Commands that repeat an agent of another name, and commands of other clients that share a name with an agent.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
};

use kapell_spec::{hash::HashSet, line};
use kapell_view::audit::{AssetKind, Confidence, Scope, Severity};
use memchr::memchr_iter;

use super::{ALIKE, sentences};
use crate::{
    agents::{Asset, Home, clients::Client, delegation},
    repository::Repository,
    rule::Report,
};

/// How many sentences a command and an agent of another name must share.
const SHARED_MIN: usize = 4;

/// The longest body that is compared by its sentences, in bytes; longer ones are compared by their shingles.
const BODY_MAX: usize = 3000;

/// Commands that have most sentences of an agent of another name, and do not start it.
pub(super) fn tell_repeated(repository: &Repository, report: &mut Report<'_>) {
    let agents = &repository.agents;
    let short = |asset: &&Asset| {
        asset.home == Home::Claude
            && repository.files[asset.file].text.len() - asset.definition.body as usize <= BODY_MAX
    };
    let body = |asset: &Asset| &repository.files[asset.file].lower()[asset.definition.body as usize..];
    let of = |kind| agents.of(kind).map(|(_, asset)| asset).filter(short).collect::<Vec<_>>();
    let (known, commands) = (of(AssetKind::Agent), of(AssetKind::Command));
    if known.is_empty() || commands.is_empty() {
        return;
    }
    let told: Vec<BTreeSet<&str>> = commands.iter().map(|command| heads(body(command)).collect()).collect();
    let asked: HashSet<&str> = told.iter().flatten().copied().collect();
    // Which agents have a sentence of a command. What many have is how the house speaks.
    let mut having: BTreeMap<(&Scope, &str), BTreeSet<usize>> = BTreeMap::new();
    for (at, agent) in known.iter().enumerate() {
        let file = &repository.files[agent.file];
        let said = file.made(|file| Heads::of(&file.lower()[agent.definition.body as usize..]));
        for sentence in said.of_body(body(agent)).filter(|sentence| asked.contains(sentence)) {
            having.entry((&agent.scope, sentence)).or_default().insert(at);
        }
    }
    for (command, own) in commands.into_iter().zip(&told) {
        let mut shared: BTreeMap<usize, usize> = BTreeMap::new();
        for &sentence in own {
            let agents = having.get(&(&command.scope, sentence)).filter(|agents| agents.len() == 1);
            agents.into_iter().flatten().for_each(|&at| *shared.entry(at).or_default() += 1);
        }
        let Some((at, both)) = shared.into_iter().max_by_key(|&(_, both)| both) else { continue };
        let agent = known[at];
        let all = || heads(body(agent)).collect::<BTreeSet<_>>().len();
        let most = both >= SHARED_MIN && both * 2 > own.len().max(all());
        let starts = ["agent", "task tool", "delegate"].iter().any(|word| body(command).contains(word))
            || body(command).contains(&agent.name.to_ascii_lowercase());
        let alike = command.sketch(&repository.files).likeness(agent.sketch(&repository.files)) >= ALIKE;
        if agent.name == command.name || !most || starts || alike {
            continue;
        }
        let message = format!(
            "`{}` repeats {both} sentences of the agent `{}`, and does not start it",
            delegation::called(command),
            agent.name
        );
        let draft = report.add(command.file, command.head(), message).severity(Severity::Low);
        let draft = draft.confidence(Confidence::Medium);
        let draft = draft.hint("keep the text in the agent, and let the command start it");
        draft.also(agent.file, agent.head(), "the agent").done();
    }
}

/// Where the sentences of an agent begin, and where five words of each end, in bytes of its body.
struct Heads(Vec<Range<usize>>);

impl Heads {
    fn of(body: &str) -> Self {
        let place = |head: &str| {
            let at = line::offset(body, head);
            at..at + head.len()
        };
        Self(heads(body).map(place).collect())
    }

    fn of_body<'a>(&self, body: &'a str) -> impl Iterator<Item = &'a str> + use<'a, '_> {
        self.0.iter().map(|head| &body[head.clone()])
    }
}

/// Returns how the sentences of a text begin, five words of each: what was added behind them makes no other sentence.
fn heads(body: &str) -> impl Iterator<Item = &str> {
    let head = |sentence: &str| memchr_iter(b' ', sentence.as_bytes()).nth(4).unwrap_or(sentence.len());
    sentences(body).map(move |sentence| &sentence[..head(sentence)])
}

/// Words of a description that tell what is done: the start of each, so that `writes` is `write`.
fn stems(asset: &Asset) -> BTreeSet<String> {
    let description = asset.definition.text("description").map(|text| text.text.to_ascii_lowercase());
    let words = description.unwrap_or_default();
    let words = words.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| word.len() >= 4);
    words.map(|word| word[..word.len().min(5)].to_owned()).collect()
}

/// Commands of another client that have the name of an agent and are for the same, but do not start it: which of the two is
/// meant is luck.
pub(super) fn tell_namesakes(repository: &Repository, report: &mut Report<'_>) {
    let agents = &repository.agents;
    for (_, command) in agents.of(AssetKind::Command).filter(|(_, asset)| asset.client != Client::Claude) {
        let mut same = agents.of(AssetKind::Agent).map(|(_, agent)| agent);
        let Some(agent) = same.find(|agent| agent.client == command.client && agent.name == command.name)
        else {
            continue;
        };
        let text = &repository.files[command.file];
        let (one, other) = (stems(command), stems(agent));
        let both = one.intersection(&other).count();
        let alike = both >= 3 && both * 3 >= one.len().max(other.len()) * 2;
        let body = &text.lower()[command.definition.body as usize..];
        let starts = command.definition.field("agent").is_some()
            || ["agent", "task tool", "delegate", "@"].iter().any(|word| body.contains(word));
        if !alike || starts {
            continue;
        }
        let message = format!(
            "`{}` and the agent `{}` are for the same, each with an order of its own",
            delegation::called(command),
            agent.name
        );
        let draft = report.add(command.file, command.head(), message).severity(Severity::Low);
        let draft = draft.confidence(Confidence::Medium);
        let draft = draft.hint("keep the text in the agent, and give the command to it with `agent:`");
        draft.also(agent.file, agent.head(), "the agent").done();
    }
}
