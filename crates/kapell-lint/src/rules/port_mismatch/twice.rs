//! Ports of the machine that two services of a compose file take.

use kapell_view::audit::{Confidence, Severity};

use crate::{
    repository::Repository,
    rule::Report,
    systems::compose::{Service, Taken},
};

/// Tells of the second service that takes a port: it does not start.
pub(super) fn check(repository: &Repository, report: &mut Report<'_>) {
    for compose in &repository.systems.composes {
        // What starts with a profile may be meant to stand in for another one.
        let own: Vec<(&Service, &Taken)> = compose
            .services
            .iter()
            .filter(|service| !service.profiled && !service.partial)
            .flat_map(|service| service.taken.iter().map(move |taken| (service, taken)))
            .collect();
        for (at, (service, taken)) in own.iter().enumerate() {
            let first = own[..at]
                .iter()
                .find(|(other, had)| other.name.span != service.name.span && clash(had, taken));
            let Some((other, had)) = first else { continue };
            let message = format!(
                "`{}` takes port {} of the machine, which `{}` has: one of them does not start",
                &*service.name, taken.port, &*other.name
            );
            report
                .add(compose.file, taken.span, message)
                .severity(Severity::High)
                .confidence(Confidence::High)
                .hint("publish it on another port")
                .also(compose.file, had.span, "taken here")
                .done();
        }
    }
}

/// Tells whether two ports are one, on an address that both take.
fn clash(one: &Taken, other: &Taken) -> bool {
    let all = |taken: &Taken| taken.address.as_deref().is_none_or(|address| address == "0.0.0.0");
    one.port == other.port
        && one.port != 0
        && one.udp == other.udp
        && (all(one) || all(other) || one.address == other.address)
}
