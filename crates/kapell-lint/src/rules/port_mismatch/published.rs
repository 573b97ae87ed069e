//! Ports of the machine that a job asks for, and that the compose files which it starts publish otherwise.

use kapell_view::audit::Confidence;

use super::jobs::asked;
use crate::{
    github::Flow,
    repository::Repository,
    rule::Report,
    systems::{
        Compose,
        compose::{Service, Taken},
        started,
    },
};
use kapell_spec::finding::Span;

/// Words of what may listen on the machine as well, or asks from within a container.
const OTHERS: &[&str] = &[
    "docker run",
    "podman run",
    "port-forward",
    "ssh ",
    " exec ",
    " compose run",
    "--network",
    "npm start",
    "npm run",
    "pnpm ",
    "yarn ",
    "nohup",
    " &\n",
    "services:",
    "background",
    "kubectl",
    "minikube",
    "kind ",
    "proxy",
];

/// Tells of a job that asks `localhost` for the port which a service has inside, where compose publishes it on another one.
pub(super) fn check(repository: &Repository, report: &mut Report<'_>) {
    if repository.systems.composes.is_empty() {
        return;
    }
    for flow in &repository.github.flows {
        for (at, job) in flow.jobs().filter(|(_, job)| !job.container && job.services.is_empty()) {
            let text = flow.text.get(job.span.range()).unwrap_or_default();
            let Some(started) = up(repository, flow, at) else { continue };
            if OTHERS.iter().any(|word| text.contains(word)) {
                continue;
            }
            let services = || started.iter().flat_map(|compose| &compose.services);
            let known =
                |port: u16| services().any(|service| service.taken.iter().any(|taken| taken.port == port));
            let wrong = asked(flow, job.span, Span::new(0, 0)).find_map(|(span, host, port)| {
                let near = matches!(host, "localhost" | "127.0.0.1");
                let (service, taken) = services().find_map(|service| moved(service, port))?;
                (near && !known(port)).then_some((span, port, service, taken))
            });
            let Some((span, port, service, taken)) = wrong else { continue };
            let Some(compose) = started.iter().find(|compose| compose.service(&service.name).is_some())
            else {
                continue;
            };
            let message = format!(
                "`{}` asks for port {port}, which `{}` has inside; compose publishes it on {}",
                &*job.id, &*service.name, taken.port
            );
            report
                .add(flow.file, span, message)
                .confidence(Confidence::High)
                .also(compose.file, taken.span, "published here")
                .hint(format!("ask for `localhost:{}`", taken.port))
                .done();
        }
    }
}

/// Returns the compose files that a job starts; nothing where one of them is not known whole.
fn up<'a>(repository: &'a Repository, flow: &Flow, job: usize) -> Option<Vec<&'a Compose>> {
    let mut found: Vec<&Compose> = Vec::new();
    for (step, facts) in flow.steps(job) {
        for command in &facts.commands {
            let Some(rest) = started::of_compose(command) else { continue };
            if rest.contains(&"up") {
                let files = started::files(&repository.systems, (flow, job, step), &rest);
                found.extend(files.into_iter().collect::<Option<Vec<_>>>()?);
            }
        }
    }
    let hosted = |compose: &&Compose| {
        let text = &repository.files[compose.file].text;
        compose.partial || text.contains("network_mode") || text.contains("profiles:")
    };
    (!found.is_empty() && !found.iter().any(hosted)).then_some(found)
}

/// Returns where on the machine a service has a port of its own that is published once and otherwise.
fn moved(service: &Service, port: u16) -> Option<(&Service, &Taken)> {
    let (_, span) = service.ports.iter().find(|(inside, _)| *inside == port)?;
    let taken = service.taken.iter().find(|taken| taken.span == *span)?;
    (taken.port != port).then_some((service, taken))
}
