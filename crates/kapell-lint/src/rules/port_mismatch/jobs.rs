//! Ports of the services that GitHub starts beside a job.

use std::collections::BTreeSet;

use kapell_spec::finding::Span;
use kapell_view::audit::Confidence;

use crate::{github::Flow, repository::Repository, rule::Report};

/// A service of a job.
struct Beside<'a> {
    name: &'a str,
    /// Its published ports: that of the machine, and that inside.
    ports: Vec<(u16, u16)>,
    /// Whether some port of the machine is not written out.
    open: bool,
    image: String,
}

/// Words of what starts something else on a port of the machine.
const STARTERS: &[&str] = &[
    "docker run",
    "docker compose",
    "docker-compose",
    "compose up",
    "pg_ctl",
    "systemctl",
    "service postgres",
    "service mysql",
    "brew services",
    "port-forward",
    "ssh -L",
    "socat",
    "action-docker",
    "setup-postgres",
    "-action-",
    "create-action",
];

/// A job that asks a service beside it on a port which that does not have on the machine, or by a name that nobody resolves there.
pub(super) fn check(repository: &Repository, report: &mut Report<'_>) {
    for flow in &repository.github.flows {
        for (at, job) in flow.jobs().filter(|(_, job)| !job.services.is_empty() && !job.container) {
            let Some(key) = job.keys.get("services") else { continue };
            let text = flow.text.get(job.span.range()).unwrap_or_default();
            if STARTERS.iter().any(|word| text.contains(word)) {
                continue;
            }
            let services = read(flow, at, key.value);
            tell(flow, at, &services, key.value, report);
        }
    }
}

fn read<'a>(flow: &'a Flow, job: usize, within: Span) -> Vec<Beside<'a>> {
    let names = &flow.model.jobs[job].services;
    let starts: Vec<usize> = names.iter().map(|name| name.span.end as usize).collect();
    let part = |at: usize| {
        let end = names.get(at + 1).map_or(within.end, |next| next.span.start) as usize;
        flow.text.get(starts[at]..end).unwrap_or_default()
    };
    let service = |at: usize| {
        let text = part(at);
        let value = |key: &str| {
            text.lines().find_map(|line| line.trim().strip_prefix(key)).unwrap_or_default().trim().to_owned()
        };
        let (ports, open) = published(text);
        Beside { name: &names[at].text, ports, open, image: value("image:") }
    };
    (0..names.len()).map(service).collect()
}

/// Returns the ports below `ports:`, and whether one of them is not clear.
fn published(text: &str) -> (Vec<(u16, u16)>, bool) {
    let Some((_, rest)) = text.split_once("ports:") else { return (Vec::new(), text.contains("network")) };
    let (mut found, mut open) = (Vec::new(), text.contains("network"));
    let mut lines = rest.lines();
    let first = lines.next().unwrap_or_default().trim();
    let inline = first.trim_start_matches('[').split(']').next().unwrap_or_default();
    let listed = lines.map_while(|line| {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') { Some("") } else { line.strip_prefix("- ") }
    });
    let items = inline.split(',').chain(listed);
    for item in items.map(|item| item.split(" #").next().unwrap_or_default().trim().trim_matches(['"', '\'']))
    {
        if item.is_empty() || item.starts_with('{') {
            continue;
        }
        let item = item.split('/').next().unwrap_or(item);
        match item
            .rsplit_once(':')
            .map(|(host, inside)| (host.rsplit(':').next().unwrap_or(host).parse(), inside.parse()))
        {
            Some((Ok(host), Ok(inside))) => found.push((host, inside)),
            // One port alone gets any port of the machine.
            _ => open = true,
        }
    }
    (found, open)
}

fn tell(flow: &Flow, at: usize, services: &[Beside<'_>], within: Span, report: &mut Report<'_>) {
    let job = &flow.model.jobs[at];
    if services.iter().any(|service| service.open) {
        return;
    }
    let machine: BTreeSet<u16> =
        services.iter().flat_map(|service| &service.ports).map(|(host, _)| *host).collect();
    let mut asked = asked(flow, job.span, within);
    let wrong = asked.find_map(|(span, host, port)| {
        let near = matches!(host, "localhost" | "127.0.0.1");
        let moved = services.iter().find_map(|service| {
            let (host, _) = service.ports.iter().find(|(_, inside)| *inside == port)?;
            Some((service, Some(*host)))
        });
        let hidden = || {
            let usual = |service: &&Beside<'_>| {
                service.ports.is_empty() && super::usual(&service.image) == Some(port)
            };
            services.iter().find(usual).map(|service| (service, None))
        };
        if near && !machine.contains(&port) {
            return moved.or_else(hidden).map(|(service, host)| (span, service, host, false));
        }
        let named = services.iter().find(|service| service.name == host)?;
        let own = named.ports.iter().find(|(_, inside)| *inside == port).map(|(host, _)| *host);
        (!near).then_some((span, named, own, true))
    });
    let Some((span, service, host, by_name)) = wrong else { return };
    let name = service.name;
    let (message, hint) = match (by_name, host) {
        (true, _) => (
            format!("`{}` asks for `{name}` by its name, which only jobs in a container know", &*job.id),
            format!("ask for `localhost:{}`, and publish that port", host.unwrap_or(0)).replace(":0`", "`"),
        ),
        (false, Some(host)) => (
            format!("`{}` asks for the port that `{name}` has inside; on the machine it is {host}", &*job.id),
            format!("ask for `localhost:{host}`"),
        ),
        (false, None) => (
            format!("`{}` asks `{name}` on a port that it does not publish", &*job.id),
            format!("give `{name}` its `ports:`"),
        ),
    };
    report.add(flow.file, span, message).confidence(Confidence::High).hint(hint).done();
}

/// Finds the hosts and ports that a job asks for, outside of its services: `postgres://user@localhost:5432/shop`.
pub(super) fn asked(flow: &Flow, job: Span, services: Span) -> impl Iterator<Item = (Span, &str, u16)> {
    let text = flow.text.get(job.range()).unwrap_or_default();
    let base = job.start as usize;
    text.match_indices(':').filter_map(move |(colon, _)| {
        let at = base + colon;
        if at >= services.start as usize && at < services.end as usize {
            return None;
        }
        let digits = text[colon + 1..].bytes().take_while(u8::is_ascii_digit).count();
        let port: u16 = text[colon + 1..colon + 1 + digits].parse().ok()?;
        let before = &text[..colon];
        let host = before.rsplit(|c: char| !c.is_ascii_alphanumeric() && !"-_.".contains(c)).next()?;
        let start = colon - host.len();
        let url = before[..start].ends_with('@') || before[..start].ends_with("://");
        let line = before[..start].rfind('\n').map_or(0, |end| end + 1);
        let comment = text[line..].trim_start().starts_with('#');
        let near = matches!(host, "localhost" | "127.0.0.1");
        ((url || near) && !host.is_empty() && !comment)
            .then(|| (Span::new(base + start, base + colon + 1 + digits), host, port))
    })
}
