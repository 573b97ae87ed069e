//! A port that is asked for where nothing listens.

mod charts;
mod jobs;
mod twice; // ports of the machine that two services take

use std::collections::{BTreeMap, BTreeSet};

use kapell_spec::finding::Span;
use kapell_view::audit::{Confidence, Severity};

use crate::{
    repository::{Depth, Repository},
    rule::{Focus, Group, Report, Rule},
    systems::{
        Word,
        compose::{Compose, Service},
        image_parts, is_fly,
        kubernetes::{Listened, What},
    },
};

/// See `docs/rules/port-mismatch.md`.
pub(super) static RULE: Rule = Rule {
    name: "port-mismatch",
    summary: "a port that is asked for where nothing listens",
    group: Group::CrossSystem,
    anti_pattern: None,
    focus: Focus::Conflicts,
    severity: Severity::High,
    confidence: Confidence::High,
    depth: Depth::Deep,
    page: include_str!("../../docs/rules/port-mismatch.md"),
    check,
};

fn check(repository: &Repository, report: &mut Report<'_>) {
    services(repository, report);
    selectors(repository, report);
    told(repository, report);
    probes(repository, report);
    ingresses(repository, report);
    composes(repository, report);
    addresses(repository, report);
    proxied(repository, report);
    labelled(repository, report);
    checked_in_recipes(repository, report);
    flown(repository, report);
    charts::check(repository, report);
    jobs::check(repository, report);
    twice::check(repository, report);
}

/// Returns the port on which an image listens unless it is told otherwise.
fn usual(image: &str) -> Option<u16> {
    let (name, _) = image_parts(image.trim_matches(['"', '\'']));
    let base = name.rsplit('/').next()?;
    USUAL.iter().find(|(known, _)| *known == base).map(|(_, port)| *port)
}

/// Labels and variables by which a proxy is told the port of the service itself.
fn labelled(repository: &Repository, report: &mut Report<'_>) {
    for compose in repository.systems.composes.iter().filter(|compose| !compose.partial) {
        for service in compose.services.iter().filter(|service| !service.partial) {
            let told = service.labels.iter().chain(&service.env).find_map(|word| {
                let (name, value) = word.split_once('=')?;
                let known = name.ends_with(".loadbalancer.server.port") || name == "VIRTUAL_PORT";
                Some((word, value.trim().parse::<u16>().ok().filter(|_| known)?))
            });
            let Some((word, port)) = told else { continue };
            let told = told_port(service).or_else(|| commanded_port(service));
            let Some((known, sure)) = told.or_else(|| known_ports(repository, service)) else {
                continue;
            };
            let speaks = service.command.contains(&port.to_string())
                || service
                    .env
                    .iter()
                    .any(|other| other.contains(&port.to_string()) && other.span != word.span);
            if known.contains(&port) || service.exposed.contains(&port) || speaks {
                continue;
            }
            let message = format!(
                "the proxy is told to send to port {port} of `{}`, which listens on {}",
                &*service.name,
                known.iter().map(u16::to_string).collect::<Vec<_>>().join(", ")
            );
            let hint = format!("say {}", known[0]);
            report.add(compose.file, word.span, message).confidence(sure).hint(hint).done();
        }
    }
}

/// Health checks of recipes that ask a port which the recipe speaks of nowhere else.
fn checked_in_recipes(repository: &Repository, report: &mut Report<'_>) {
    for recipe in &repository.systems.dockerfiles {
        let Some((port, span)) = recipe.asked.filter(|_| !recipe.variable) else { continue };
        let known: Vec<u16> = recipe.ports.iter().map(|(port, _)| *port).collect();
        if known.is_empty() || known.contains(&port) {
            continue;
        }
        let listed = known.iter().map(u16::to_string).collect::<Vec<_>>().join(", ");
        let message = format!("the health check asks port {port}, but `{}` exposes {listed}", recipe.path);
        let draft = report.add(recipe.file, span, message).confidence(Confidence::Medium);
        draft
            .hint(format!("ask port {}", known[0]))
            .also(recipe.file, recipe.ports[0].1, "exposed here")
            .done();
    }
}

/// Machines of Fly that are asked on another port than their recipe exposes.
fn flown(repository: &Repository, report: &mut Report<'_>) {
    for (id, file) in repository.files.iter().filter(|(_, file)| is_fly(&file.path)) {
        let folder = file.path.rsplit_once('/').map_or("", |(folder, _)| folder);
        let path = if folder.is_empty() { "Dockerfile".to_owned() } else { format!("{folder}/Dockerfile") };
        let Some(recipe) = repository.systems.dockerfiles.iter().find(|recipe| *recipe.path == *path) else {
            continue;
        };
        let other = ["PORT", "image =", "image=", "dockerfile", "build-target", "[processes]"];
        if recipe.ports.is_empty() || recipe.variable || other.iter().any(|word| file.text.contains(word)) {
            continue;
        }
        let mut at = 0;
        for line in file.text.split_inclusive('\n') {
            let start = at;
            at += line.len();
            let Some((key, value)) = line.split_once('=').filter(|(key, _)| key.trim() == "internal_port")
            else {
                continue;
            };
            let Ok(port) = value.split('#').next().unwrap_or(value).trim().parse::<u16>() else { continue };
            if key.trim_start().starts_with('#') || recipe.ports.iter().any(|(known, _)| *known == port) {
                continue;
            }
            let listed = recipe.ports.iter().map(|(port, _)| port.to_string()).collect::<Vec<_>>().join(", ");
            let message = format!("Fly asks port {port} of the machine, but `{path}` exposes {listed}");
            let draft = report.add(id, Span::new(start, start + line.trim_end().len()), message);
            let draft =
                draft.confidence(Confidence::Medium).hint("write the port on which the program listens");
            draft.also(recipe.file, recipe.ports[0].1, "exposed here").done();
        }
    }
}

/// Tells whether a port, a number or a name, is among some.
fn listens(ports: &[Listened], port: &str) -> bool {
    match port.parse::<u16>() {
        Ok(number) => ports.iter().any(|(known, _)| *known == number),
        Err(_) => ports.iter().any(|(_, name)| name.as_deref() == Some(port)),
    }
}

fn shown(ports: &[Listened]) -> String {
    let shown: BTreeSet<String> = ports
        .iter()
        .map(|(port, name)| match name {
            Some(name) => format!("{port} ({name})"),
            None => port.to_string(),
        })
        .collect();
    shown.into_iter().collect::<Vec<_>>().join(", ")
}

fn services(repository: &Repository, report: &mut Report<'_>) {
    let manifests = &repository.systems.manifests;
    for service in manifests {
        let What::Service { selector, targets, .. } = &service.what else { continue };
        let selected: Vec<_> = manifests
            .iter()
            .filter(|other| other.is_beside(service))
            .filter_map(|other| match &other.what {
                What::Workload(workload) => Some((other, workload)),
                _ => None,
            })
            .filter(|(_, workload)| {
                !selector.is_empty()
                    && selector.iter().all(|(key, value)| workload.labels.get(key) == Some(value))
            })
            .collect();
        // Two workloads behind one service may be a blue and a green one, or layers of one.
        let [(workload_of, workload)] = selected[..] else { continue };
        if workload.ports.is_empty() {
            continue;
        }
        for target in targets.iter().filter(|target| !listens(&workload.ports, target)) {
            let message = format!(
                "the service `{}` sends to port `{}`, but `{}` listens on {}",
                &*service.name,
                &**target,
                &*workload_of.name,
                shown(&workload.ports)
            );
            let hint = "send to a port on which they listen, or declare this one";
            let draft = report.add(service.file, target.span, message).hint(hint);
            draft.also(workload_of.file, workload_of.name.span, "its pods are started here").done();
        }
    }
}

/// Pods that nobody finds by their labels: those of their own workload, or of the service that is called like it.
fn selectors(repository: &Repository, report: &mut Report<'_>) {
    let manifests = &repository.systems.manifests;
    let fits = |selector: &BTreeMap<Box<str>, Box<str>>, labels: &BTreeMap<Box<str>, Box<str>>| {
        selector.iter().all(|(key, value)| labels.get(key) == Some(value))
    };
    for manifest in manifests {
        match &manifest.what {
            What::Workload(workload) => {
                let Some((selector, span)) = workload.selects.as_ref() else { continue };
                if !workload.labels.is_empty() && !fits(selector, &workload.labels) {
                    let message = format!(
                        "`{}` selects pods by labels that its own pods do not have: it is refused",
                        &*manifest.name
                    );
                    report.add(manifest.file, *span, message).hint("give both the same labels").done();
                }
            }
            What::Service { selector, targets, .. } if !selector.is_empty() => {
                let beside: Vec<_> = manifests
                    .iter()
                    .filter(|other| other.is_beside(manifest))
                    .filter_map(|other| match &other.what {
                        What::Workload(workload) => Some((other, workload)),
                        _ => None,
                    })
                    .collect();
                let own = beside
                    .iter()
                    .find(|(other, workload)| *other.name == *manifest.name && !workload.labels.is_empty());
                let found = beside.iter().any(|(_, workload)| fits(selector, &workload.labels));
                let (Some((other, _)), Some(target), false) = (own, targets.first(), found) else { continue };
                let message = format!(
                    "the service `{}` sends to nobody: no pod here has the labels that it selects",
                    &*manifest.name
                );
                report
                    .add(manifest.file, target.span, message)
                    .hint("select the labels of the pods")
                    .also(other.file, other.name.span, "its pods are started here")
                    .done();
            }
            _ => {}
        }
    }
}

/// Services that are told by `PORT` to listen on one port, and are asked on another by their own file.
fn told(repository: &Repository, report: &mut Report<'_>) {
    for compose in repository.systems.composes.iter().filter(|compose| !compose.partial) {
        for service in compose.services.iter().filter(|service| !service.partial) {
            let by_variable = told_port(service).map(|(known, _)| (known, "its variable `PORT` has"));
            let told = by_variable.or_else(|| Some((commanded_port(service)?.0, "its command has")));
            let Some((known, who)) = told else { continue };
            checked(compose, service, (&known, who), report);
            let published = service.ports.iter().all(|(port, _)| !known.contains(port));
            let Some((port, span)) =
                service.ports.first().filter(|_| published && service.exposed.is_empty())
            else {
                continue;
            };
            let message = format!(
                "`{}` publishes port {port} of its container, but {who} it listen on {}",
                &*service.name, known[0]
            );
            report
                .add(compose.file, *span, message)
                .confidence(Confidence::Medium)
                .hint(format!("publish {}", known[0]))
                .done();
        }
    }
}

/// A health check that asks the service itself on another port than it is told to listen on: it is never healthy.
fn checked(compose: &Compose, service: &Service, (known, who): (&[u16], &str), report: &mut Report<'_>) {
    let asked = ["localhost:", "127.0.0.1:", "0.0.0.0:"].iter().find_map(|host| {
        let (_, rest) = service.asked.split_once(host)?;
        rest.split(|c: char| !c.is_ascii_digit()).next()?.parse::<u16>().ok()
    });
    let Some(port) = asked.filter(|port| !known.contains(port) && !service.exposed.contains(port)) else {
        return;
    };
    let message = format!(
        "the health check of `{}` asks port {port}, but {who} it listen on {}",
        &*service.name, known[0]
    );
    report
        .add(compose.file, service.name.span, message)
        .confidence(Confidence::Medium)
        .hint(format!("ask port {}", known[0]))
        .done();
}

fn probes(repository: &Repository, report: &mut Report<'_>) {
    for manifest in &repository.systems.manifests {
        let What::Workload(workload) = &manifest.what else { continue };
        if workload.ports.is_empty() {
            continue;
        }
        for probe in workload.probes.iter().filter(|probe| !listens(&workload.ports, probe)) {
            let message = format!(
                "a probe of `{}` asks port `{}`, which is none of its ports: {}",
                &*manifest.name,
                &**probe,
                shown(&workload.ports)
            );
            // A pod may listen on more than it declares; a name it does not declare is refused.
            let named = probe.parse::<u16>().is_err();
            let confidence = if named { Confidence::Certain } else { Confidence::Medium };
            let hint = "ask one of them, or declare this one";
            report.add(manifest.file, probe.span, message).confidence(confidence).hint(hint).done();
        }
    }
}

fn ingresses(repository: &Repository, report: &mut Report<'_>) {
    let manifests = &repository.systems.manifests;
    for ingress in manifests {
        let What::Ingress(backends) = &ingress.what else { continue };
        for (name, port) in backends {
            let mut named = manifests.iter().filter_map(|other| match &other.what {
                What::Service { ports, .. } if other.is_beside(ingress) && *other.name == **name => {
                    Some((other, ports))
                }
                _ => None,
            });
            let (Some((service, ports)), None) = (named.next(), named.next()) else { continue };
            if ports.is_empty() || listens(ports, port) {
                continue;
            }
            let message = format!(
                "the {} `{}` asks for port `{}` of the service `{}`, which has {}",
                match &*ingress.kind {
                    "Ingress" => "ingress",
                    _ => "route",
                },
                &*ingress.name,
                &**port,
                &**name,
                shown(ports)
            );
            report
                .add(ingress.file, port.span, message)
                .hint("ask for a port of the service, not of its pods")
                .also(service.file, service.name.span, "the service")
                .done();
        }
    }
}

fn composes(repository: &Repository, report: &mut Report<'_>) {
    for compose in repository.systems.composes.iter().filter(|compose| !compose.partial) {
        for service in compose.services.iter().filter(|service| !service.partial && service.image.is_none()) {
            let Some((folder, file)) = &service.build else { continue };
            let path = if folder.is_empty() { file.clone() } else { format!("{folder}/{file}") };
            let Some(recipe) = repository.systems.dockerfiles.iter().find(|recipe| *recipe.path == *path)
            else {
                continue;
            };
            if recipe.ports.is_empty() || recipe.variable || chooses(service) {
                continue;
            }
            for (port, span) in
                service.ports.iter().filter(|(port, _)| recipe.ports.iter().all(|(known, _)| known != port))
            {
                let message = format!(
                    "`{}` publishes port {port} of its container, but `{path}` exposes {}",
                    &*service.name,
                    recipe.ports.iter().map(|(port, _)| port.to_string()).collect::<Vec<_>>().join(", ")
                );
                let draft = report
                    .add(compose.file, *span, message)
                    .hint("publish one of those, or expose this one")
                    .severity(Severity::Medium)
                    .confidence(Confidence::Medium);
                draft.also(recipe.file, recipe.ports[0].1, "exposed here").done();
            }
        }
    }
}

/// Tells whether a port may be chosen by a variable, an argument or a file of settings.
fn chooses(service: &Service) -> bool {
    service.env.iter().any(|word: &Word| word.to_ascii_uppercase().contains("PORT"))
        || ["port", "conf"].iter().any(|word| service.command.contains(word))
        || service.command.chars().any(|c| c.is_ascii_digit())
}

/// Images that listen on one port unless they are told otherwise.
const USUAL: &[(&str, u16)] = &[
    ("postgres", 5432),
    ("postgis", 5432),
    ("pgvector", 5432),
    ("timescaledb", 5432),
    ("mysql", 3306),
    ("mariadb", 3306),
    ("redis", 6379),
    ("valkey", 6379),
    ("mongo", 27017),
    ("memcached", 11211),
];

/// Addresses in the variables of a service that ask another one on a port of which nothing is known.
fn addresses(repository: &Repository, report: &mut Report<'_>) {
    for compose in repository.systems.composes.iter().filter(|compose| !compose.partial) {
        for (variable, host, port) in asked(compose).chain(in_two(compose)) {
            let Some((service, known, sure)) = deaf(repository, compose, host, port) else { continue };
            let ports = known.iter().map(u16::to_string).collect::<Vec<_>>().join(", ");
            let message = format!("this asks for port {port} of `{host}`, which listens on {ports}");
            report
                .add(compose.file, variable.span, message)
                .confidence(sure)
                .hint(format!("write `{host}:{}`", known[0]))
                .also(compose.file, service.name.span, "this one")
                .done();
        }
    }
}

/// Returns the service of a host, if it does not listen on a port, the ports on which it does, and how sure that is.
fn deaf<'a>(
    repository: &Repository,
    compose: &'a Compose,
    host: &str,
    port: u16,
) -> Option<(&'a Service, Vec<u16>, Confidence)> {
    let service = compose.service(host).filter(|service| !service.partial)?;
    let image = || known_ports(repository, service).filter(|_| !chooses(service));
    let (known, sure) = told_port(service).or_else(|| commanded_port(service)).or_else(image)?;
    // A published port is one of those that the machine has, unless it is the same inside.
    let mut said = service.ports.iter().map(|(port, _)| port).chain(&service.exposed);
    let listens = known.contains(&port) || said.any(|known| *known == port);
    (!listens).then_some((service, known, sure))
}

/// Proxies that pass on to a service of the compose file above them, on a port on which it does not listen.
fn proxied(repository: &Repository, report: &mut Report<'_>) {
    for &id in &repository.systems.proxies {
        let file = &repository.files[id];
        let above = |compose: &&Compose| {
            let folder =
                compose.path.rsplit_once('/').map_or(String::new(), |(folder, _)| format!("{folder}/"));
            !compose.partial && file.path.starts_with(&*folder)
        };
        for (span, host, port) in passed_on(&file.text) {
            let composes = repository.systems.composes.iter().filter(above);
            let mut having = composes.filter(|compose| compose.service(host).is_some());
            let (Some(compose), None) = (having.next(), having.next()) else { continue };
            let Some((service, known, sure)) = deaf(repository, compose, host, port) else { continue };
            let ports = known.iter().map(u16::to_string).collect::<Vec<_>>().join(", ");
            let message = format!("this passes on to port {port} of `{host}`, which listens on {ports}");
            report
                .add(id, span, message)
                .confidence(sure)
                .hint(format!("write `{host}:{}`", known[0]))
                .also(compose.file, service.name.span, "this one")
                .done();
        }
    }
}

/// Directives of nginx and Caddy that name where requests are passed on to.
const PASSING: &[&str] =
    &["proxy_pass", "grpc_pass", "fastcgi_pass", "uwsgi_pass", "scgi_pass", "server", "reverse_proxy", "to"];

/// Finds the hosts and ports that the settings of a proxy pass requests on to.
fn passed_on(text: &str) -> impl Iterator<Item = (Span, &str, u16)> {
    let address = |word: &'_ str| -> Option<(usize, usize)> {
        let bare = word.split_once("://").map_or(word, |(_, rest)| rest);
        let bare = bare.split(['/', ';', '$', '{']).next()?;
        let (host, port) = bare.split_once(':')?;
        let named = host.starts_with(|c: char| c.is_ascii_alphabetic()) && port.parse::<u16>().is_ok();
        named
            .then_some((word.len() - word.split_once("://").map_or(word, |(_, rest)| rest).len(), bare.len()))
    };
    let mut next = 0;
    let lines = text.split_inclusive('\n').map(move |line| {
        next += line.len();
        (next - line.len(), line)
    });
    lines.flat_map(move |(at, line)| {
        let code = line.split('#').next().unwrap_or_default();
        let mut words = code.split_whitespace();
        let passes = words.find(|word| PASSING.contains(word)).is_some();
        words.filter(move |_| passes).filter_map(move |word| {
            let (from, len) = address(word)?;
            let start = at + (word.as_ptr() as usize - line.as_ptr() as usize) + from;
            let (host, port) = text.get(start..start + len)?.split_once(':')?;
            Some((Span::new(start, start + len), host, port.parse().ok()?))
        })
    })
}

/// Finds the addresses with a host and a port in the variables of all services: `postgres://user@db:5432/shop`.
fn asked(compose: &Compose) -> impl Iterator<Item = (&Word, &str, u16)> {
    let variables = compose.services.iter().flat_map(|service| &service.env);
    variables.filter_map(|variable| {
        let (_, rest) = variable.split_once("://")?;
        let authority = rest.split(['/', '?', ',', ' ', '"', '\'']).next()?;
        let (host, port) = authority.rsplit('@').next()?.rsplit_once(':')?;
        Some((variable, host, port.parse().ok()?))
    })
}

/// Finds hosts and ports that stand in two variables of one service: `DB_HOST=db`, `DB_PORT=5433`.
fn in_two(compose: &Compose) -> impl Iterator<Item = (&Word, &str, u16)> {
    let pair = |word: &'_ Word| -> Option<(String, usize)> {
        let (name, _) = word.split_once('=')?;
        let start = name.strip_suffix("_PORT").or_else(|| name.strip_suffix("PORT"))?;
        (!start.is_empty()).then(|| (start.trim_end_matches('_').to_owned(), name.len() + 1))
    };
    compose.services.iter().flat_map(move |service| {
        service.env.iter().filter_map(move |port| {
            let (start, at) = pair(port)?;
            let host = service.env.iter().find_map(|word| {
                let (name, value) = word.split_once('=')?;
                let end = name.strip_prefix(&*start)?.trim_start_matches('_');
                matches!(end, "HOST" | "HOSTNAME" | "SERVER" | "ADDR" | "ADDRESS").then_some(value.trim())
            })?;
            Some((
                port,
                host.trim_matches(['"', '\'']),
                port.get(at..)?.trim().trim_matches(['"', '\'']).parse().ok()?,
            ))
        })
    })
}

/// Returns the port that a service is told to listen on by its variable `PORT`, where nothing else of it speaks of ports.
fn told_port(service: &Service) -> Option<(Vec<u16>, Confidence)> {
    let port = service.env.iter().find_map(|word| {
        word.split_once('=')
            .filter(|(name, _)| name.trim() == "PORT")?
            .1
            .trim()
            .trim_matches(['"', '\''])
            .parse()
            .ok()
    })?;
    let others = service.env.iter().filter_map(|word| word.split_once('=')).any(|(name, value)| {
        let name = name.to_ascii_uppercase();
        name != "PORT" && name.contains("PORT") && value.trim().parse::<u16>().is_ok()
    });
    let says = service.command.chars().any(|c| c.is_ascii_digit());
    (!others && !says).then_some((vec![port], Confidence::High))
}

/// Servers that are told by an option of their command on which port they listen, and those options.
const BY_COMMAND: &[(&str, &[&str])] = &[
    ("redis-server", &["--port"]),
    ("valkey-server", &["--port"]),
    ("mongod", &["--port"]),
    ("mysqld", &["--port"]),
    ("mariadbd", &["--port"]),
    ("postgres", &["-p"]),
    ("uvicorn", &["--port"]),
    ("fastapi", &["--port"]),
    ("hypercorn", &["--bind", "-b"]),
    ("gunicorn", &["--bind", "-b"]),
    ("granian", &["--port"]),
    ("flask", &["--port", "-p"]),
    ("streamlit", &["--server.port"]),
    ("puma", &["--port", "-p"]),
    ("rails", &["--port", "-p"]),
    ("next", &["--port", "-p"]),
    ("http-server", &["--port", "-p"]),
    ("runserver", &["runserver"]),
];

/// Returns the port that the command of a service names, where it is one of a known server and the only number there that
/// may be a port.
fn commanded_port(service: &Service) -> Option<(Vec<u16>, Confidence)> {
    let words: Vec<&str> = service
        .command
        .split(|c: char| c.is_whitespace() || matches!(c, '=' | '"' | '\''))
        .filter(|word| !word.is_empty())
        .collect();
    let (_, options) = BY_COMMAND.iter().find(|(server, _)| words.contains(server))?;
    let number = |word: &str| word.rsplit(':').next()?.parse::<u16>().ok().filter(|port| *port > 79);
    let named = words.windows(2).find(|pair| options.contains(&pair[0]))?;
    let port = number(named[1])?;
    let others = words.iter().filter_map(|word| number(word)).any(|other| other != port);
    (!others).then_some((vec![port], Confidence::High))
}

/// Returns the ports that the image of a service listens on, and how sure that is.
fn known_ports(repository: &Repository, service: &Service) -> Option<(Vec<u16>, Confidence)> {
    if let Some((folder, file)) = &service.build {
        let path = if folder.is_empty() { file.clone() } else { format!("{folder}/{file}") };
        let recipe = repository.systems.dockerfiles.iter().find(|recipe| *recipe.path == *path)?;
        let ports: Vec<u16> = recipe.ports.iter().map(|(port, _)| *port).collect();
        return (!ports.is_empty() && !recipe.variable).then_some((ports, Confidence::Medium));
    }
    let (name, _) = image_parts(service.image.as_ref()?);
    let base = name.rsplit('/').next()?;
    let (_, port) = USUAL.iter().find(|(known, _)| *known == base)?;
    Some((vec![*port], Confidence::High))
}
