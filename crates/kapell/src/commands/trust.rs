//! `trust`: what this repository brings along for agents, shown before anything of it is trusted.

use std::{
    env,
    io::{Read, Write},
    path::PathBuf,
    process::ExitCode,
};

use kapell_agents::{
    drivers::client::Client,
    seat_belt,
    trust::{Inventory, Standing, TrustError, Trusted},
};
use kapell_core::plan::Plan;
use kapell_view::{
    text::{Line, Style},
    untrusted::visible,
};
use schemars::JsonSchema;
use serde::Serialize;

use super::Context;
use crate::{
    args::TrustArgs,
    exit::Exit,
    fault::Fault,
    output::{Out, paint},
    site::{self, Site},
};

/// What a repository brings along for agents, and whether it is trusted.
#[derive(Debug, Serialize, JsonSchema)]
pub struct TrustList {
    /// The version of this form: 1.
    version: u32,
    /// `nothing`, `trusted`, `unknown` or `changed`.
    standing: &'static str,
    /// The digest of all of it.
    digest: String,
    /// Everything that there is.
    items: Vec<TrustItem>,
    /// What has changed since it was trusted.
    changed: Vec<String>,
}

/// Something that a repository brings along.
#[derive(Debug, Serialize, JsonSchema)]
struct TrustItem {
    /// Its path, from the top.
    path: String,
    /// Its digest.
    digest: String,
    /// What it would run, as far as that can be read.
    runs: Vec<String>,
}

impl TrustList {
    fn of(inventory: &Inventory, standing: &Standing) -> Self {
        let changed = match standing {
            Standing::Changed { paths } => paths.iter().map(|path| shown(path)).collect(),
            _ => Vec::new(),
        };
        let item = |item: &kapell_agents::trust::Item| TrustItem {
            path: shown(&item.path),
            digest: item.digest.to_string(),
            runs: item.runs.iter().map(|run| visible(run)).collect(),
        };
        Self {
            version: 1,
            standing: match standing {
                Standing::Nothing => "nothing",
                Standing::Trusted => "trusted",
                Standing::Unknown => "unknown",
                Standing::Changed { .. } => "changed",
            },
            digest: inventory.digest().to_string(),
            items: inventory.items().iter().map(item).collect(),
            changed,
        }
    }

    fn lines(&self) -> Vec<Line> {
        let mut lines = Vec::new();
        for item in &self.items {
            let is_new = self.changed.contains(&item.path);
            let mut line = Line::new(Style::Strong, item.path.clone());
            line.push(Style::Dim, format!("  {}", &item.digest[..12]));
            line.push(Style::Warn, if is_new { "  changed" } else { "" });
            lines.push(line);
            lines.extend(item.runs.iter().map(|run| Line::new(Style::Plain, format!("    {run}"))));
        }
        let gone = self.changed.iter().filter(|path| self.items.iter().all(|item| item.path != **path));
        lines.extend(gone.map(|path| Line::new(Style::Warn, format!("{path}  gone"))));
        lines.push(match self.standing {
            "nothing" => Line::new(Style::Good, "this repository brings nothing along for agents"),
            "trusted" => Line::new(Style::Good, "trusted as it is"),
            "changed" => Line::new(Style::Warn, "changed since it was trusted: trusted no longer"),
            _ => Line::new(Style::Warn, "not trusted: none of it is loaded"),
        });
        lines
    }
}

fn shown(path: &std::path::Path) -> String {
    visible(&path.display().to_string())
}

fn failed(error: &TrustError) -> Fault {
    Fault::new("K0816", Exit::Refused, "what this repository brings along cannot be judged")
        .because(error)
        .hint("nothing of it is loaded")
}

/// Shows what the repository brings along for agents; trusts it, or trusts it no longer, if asked to.
///
/// # Errors
///
/// Fails if it cannot be read, or the record not be written.
pub fn trust(context: &Context, args: &TrustArgs) -> Result<Exit, Fault> {
    let site = context.site()?;
    let record = site::trust_record().ok_or_else(|| {
        Fault::new("K0901", Exit::Environment, "there is no place for what is trusted").hint("set HOME")
    })?;
    let inventory = Inventory::of(&site.root).map_err(|error| failed(&error))?;
    let mut trusted = Trusted::read(&record).map_err(|error| failed(&error))?;
    let before = trusted.standing(&site.root, &inventory);
    if args.yes && !inventory.is_empty() {
        trusted.trust(&site.root, &inventory);
    } else if args.revoke {
        trusted.revoke(&site.root);
    }
    if args.yes || args.revoke {
        trusted.write(&record).map_err(|error| failed(&error))?;
    }
    let standing = trusted.standing(&site.root, &inventory);
    // What has changed is shown also to whoever trusts it in the same moment.
    let mut list = TrustList::of(&inventory, &standing);
    if let Standing::Changed { paths } = &before {
        list.changed = paths.iter().map(|path| shown(path)).collect();
    }
    match context.out.json {
        true => context.out.value(&list),
        false => context.out.data(&paint(&list.lines())),
    }
    match standing {
        Standing::Nothing | Standing::Trusted => Ok(Exit::Done),
        Standing::Unknown | Standing::Changed { .. } if args.revoke => Ok(Exit::Done),
        Standing::Unknown | Standing::Changed { .. } => {
            context.out.next("kapell trust --yes, once you have looked at all of it");
            Ok(Exit::Waits)
        }
    }
}

/// Says before a run what of the repository its agents do without, because nobody has trusted it as it is.
pub fn announce(site: &Site, plan: &Plan, out: Out) {
    let has_clients = plan.agents().iter().any(|agent| Client::of(&agent.adapter).is_some());
    let Some(record) = site::trust_record().filter(|_| has_clients) else { return };
    let standing = Inventory::of(&site.root).and_then(|inventory| {
        Ok((Trusted::read(&record)?.standing(&site.root, &inventory), inventory.items().len()))
    });
    match standing {
        Ok((Standing::Nothing | Standing::Trusted, _)) => {}
        Ok((Standing::Unknown, 1)) => {
            out.note("agents do without 1 file that this repository brings along for them (kapell trust)");
        }
        Ok((Standing::Unknown, count)) => out.note(&format!(
            "agents do without {count} files that this repository brings along for them (kapell trust)"
        )),
        Ok((Standing::Changed { paths }, _)) => {
            let more = paths.len().saturating_sub(1);
            let first = paths.first().map(|path| shown(path)).unwrap_or_default();
            let more = if more == 0 { String::new() } else { format!(" and {more} more") };
            out.note(&format!(
                "changed since you trusted it, so agents do without what this repository brings along: {first}{more} \
                 (kapell trust)"
            ));
        }
        Err(error) => out.note(&format!("agents do without what this repository brings along: {error}")),
    }
}

/// Answers the hook of a client that is about to use a tool.
pub fn seat_belt() -> ExitCode {
    let mut text = String::new();
    let call = std::io::stdin().read_to_string(&mut text).ok().and_then(|_| serde_json::from_str(&text).ok());
    let workspace = env::var_os("KAPELL_WORKSPACE").map(PathBuf::from);
    let workspace = workspace.or_else(|| env::current_dir().ok()).unwrap_or_default();
    // What cannot be read cannot be judged.
    let said = call.map_or_else(
        || Err("the call cannot be read".to_owned()),
        |call| seat_belt::judge(&call, &workspace),
    );
    match said {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            let _ = writeln!(std::io::stderr(), "kapell does not let this through: {why}");
            ExitCode::from(seat_belt::NO)
        }
    }
}
