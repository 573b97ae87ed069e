//! Ports of the services of compose files.

use kapell_spec::{finding::Span, line};
use kapell_view::audit::{Confidence, Severity};

use super::USUAL;
use crate::{
    files::FileId,
    repository::Repository,
    rule::Report,
    systems::{
        Word,
        compose::{Compose, Service},
        docker::listening,
        image_parts,
    },
};

/// Labels and variables by which a proxy is told the port of the service itself.
pub(super) fn labelled(repository: &Repository, report: &mut Report<'_>) {
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

/// Services that are told by `PORT` to listen on one port, and are asked on another by their own file.
pub(super) fn told(repository: &Repository, report: &mut Report<'_>) {
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

pub(super) fn composes(repository: &Repository, report: &mut Report<'_>) {
    for compose in repository.systems.composes.iter().filter(|compose| !compose.partial) {
        for service in compose.services.iter().filter(|service| !service.partial && service.image.is_none()) {
            let Some((folder, file)) = &service.build else { continue };
            let path = if folder.is_empty() { file.clone() } else { format!("{folder}/{file}") };
            let Some(recipe) = repository.systems.dockerfiles.iter().find(|recipe| *recipe.path == *path)
            else {
                continue;
            };
            let replaced = recipe.commanded && !service.command.is_empty();
            if recipe.ports.is_empty() || recipe.variable || replaced || chooses(service) {
                continue;
            }
            for (port, span) in
                service.ports.iter().filter(|(port, _)| recipe.ports.iter().all(|(known, _)| known != port))
            {
                let message = format!(
                    "`{}` publishes port {port} of its container, but `{path}` {} {}",
                    &*service.name,
                    recipe.says(),
                    recipe.ports.iter().map(|(port, _)| port.to_string()).collect::<Vec<_>>().join(", ")
                );
                let draft = report
                    .add(compose.file, *span, message)
                    .hint("publish one of those, or expose this one")
                    .severity(Severity::Medium)
                    .confidence(Confidence::Medium);
                draft.also(recipe.file, recipe.ports[0].1, "said here").done();
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

/// Addresses in the variables of a service that ask another one on a port of which nothing is known.
pub(super) fn addresses(repository: &Repository, report: &mut Report<'_>) {
    for compose in repository.systems.composes.iter().filter(|compose| !compose.partial) {
        for (variable, host, port) in asked(compose).chain(in_two(compose)) {
            let Some(deaf) = deaf(repository, compose, host, port) else { continue };
            let what = format!("asks for port {port}");
            deaf.tell((compose, host), (compose.file, variable.span), &what, report);
        }
    }
}

/// A service that does not listen where it is asked.
struct Deaf<'a> {
    service: &'a Service,
    /// Where it does.
    known: Vec<u16>,
    sure: Confidence,
    /// Whether nothing but its own `expose` says so.
    by_word: bool,
}

impl Deaf<'_> {
    fn tell(
        &self,
        (compose, host): (&Compose, &str),
        (file, span): (FileId, Span),
        what: &str,
        report: &mut Report<'_>,
    ) {
        let ports = self.known.iter().map(u16::to_string).collect::<Vec<_>>().join(", ");
        let (has, severity) = match self.by_word {
            true => ("exposes", Severity::Medium),
            false => ("listens on", Severity::High),
        };
        report
            .add(file, span, format!("this {what} of `{host}`, which {has} {ports}"))
            .severity(severity)
            .confidence(self.sure)
            .hint(format!("write `{host}:{}`", self.known[0]))
            .also(compose.file, self.service.name.span, "this one")
            .done();
    }
}

/// Returns the service of a host, if it does not listen on a port.
fn deaf<'a>(repository: &Repository, compose: &'a Compose, host: &str, port: u16) -> Option<Deaf<'a>> {
    let service = compose.service(host).filter(|service| !service.partial)?;
    let image = || known_ports(repository, service).filter(|_| !chooses(service));
    let sure = told_port(service).or_else(|| commanded_port(service)).or_else(image);
    let by_word = sure.is_none();
    let (known, sure) = sure.or_else(|| exposed(service))?;
    // A published port is one of those that the machine has, unless it is the same inside.
    let mut said = service.ports.iter().map(|(port, _)| port).chain(&service.exposed);
    let listens = known.contains(&port) || said.any(|known| *known == port);
    // What several ask for alike is there, and the word is old.
    let alike = || by_word && asked_often(repository, compose, host, port);
    (!listens && !alike()).then_some(Deaf { service, known, sure, by_word })
}

/// Tells whether more than one place of a compose file and the settings of proxies names a port of a service.
fn asked_often(repository: &Repository, compose: &Compose, host: &str, port: u16) -> bool {
    let address = format!("{host}:{port}");
    let files = repository.systems.proxies.iter().copied().chain([compose.file]);
    let part = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let named = files.flat_map(|id| {
        let text = &*repository.files[id].text;
        text.match_indices(&*address).filter(|(at, found)| {
            let behind = &text[at + found.len()..];
            !text[..*at].ends_with(part) && !behind.starts_with(|c: char| c.is_ascii_digit())
        })
    });
    named.count() > 1
}

/// Proxies that pass on to a service of the compose file above them, on a port on which it does not listen.
pub(super) fn proxied(repository: &Repository, report: &mut Report<'_>) {
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
            let Some(deaf) = deaf(repository, compose, host, port) else { continue };
            deaf.tell((compose, host), (id, span), &format!("passes on to port {port}"), report);
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
            let start = at + line::offset(line, word) + from;
            let (host, port) = text.get(start..start + len)?.split_once(':')?;
            Some((Span::new(start, start + len), host, port.parse().ok()?))
        })
    })
}

/// Finds the addresses with a host and a port in the variables of all services: `postgres://user@db:5432/shop`.
pub(super) fn asked(compose: &Compose) -> impl Iterator<Item = (&Word, &str, u16)> {
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

/// Returns the port that the command of a service names.
fn commanded_port(service: &Service) -> Option<(Vec<u16>, Confidence)> {
    listening(&service.command).map(|port| (vec![port], Confidence::High))
}

/// Returns the one port that a service says it listens on, where nothing else of it speaks of ports.
fn exposed(service: &Service) -> Option<(Vec<u16>, Confidence)> {
    let alone = service.exposed.len() == 1 && service.ports.is_empty() && !chooses(service);
    alone.then(|| (service.exposed.clone(), Confidence::Medium))
}

/// Returns the ports that the image of a service listens on, and how sure that is.
fn known_ports(repository: &Repository, service: &Service) -> Option<(Vec<u16>, Confidence)> {
    if let Some((folder, file)) = &service.build {
        let path = if folder.is_empty() { file.clone() } else { format!("{folder}/{file}") };
        let recipe = repository.systems.dockerfiles.iter().find(|recipe| *recipe.path == *path)?;
        let ports: Vec<u16> = recipe.ports.iter().map(|(port, _)| *port).collect();
        let replaced = recipe.commanded && !service.command.is_empty();
        return (!ports.is_empty() && !recipe.variable && !replaced).then_some((ports, Confidence::Medium));
    }
    let (name, tag) = image_parts(service.image.as_ref()?);
    let base = name.rsplit('/').next()?;
    // Source: the recipes of php, variant `fpm`: `EXPOSE 9000`.
    if base == "php" && tag.is_some_and(|tag| tag.split('-').any(|part| part == "fpm")) {
        return Some((vec![9000], Confidence::Medium));
    }
    let (_, port) = USUAL.iter().find(|(known, _)| *known == base)?;
    Some((vec![*port], Confidence::High))
}
