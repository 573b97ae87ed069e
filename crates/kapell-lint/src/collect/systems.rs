//! What systems and code add to the inventory.

use kapell_spec::finding::Span;
use kapell_view::audit::{AssetKind, EdgeKind, Scope, Strength};

use crate::{
    code::service,
    inventory::{Builder, Target},
    repository::Repository,
    systems::kubernetes::What,
};

/// Adds services, workloads, and code that calls models or agents.
pub(super) fn collect(repository: &Repository, builder: &mut Builder<'_>) {
    let scope = || Scope::Repository;
    for compose in &repository.systems.composes {
        let services = compose.services.iter().map(|service| {
            let name = &service.name;
            (service, builder.asset(AssetKind::Service, name, scope(), compose.file, name.span))
        });
        let services: Vec<_> = services.collect();
        for (service, key) in &services {
            for (name, _) in &service.depends {
                let known = services.iter().find(|(other, _)| *other.name == **name);
                let target =
                    known.map_or_else(|| Target::Missing(name.to_string()), |(_, key)| Target::Asset(*key));
                builder.edge(*key, target, EdgeKind::Awaits, Strength::Certain, (compose.file, name.span));
            }
        }
    }
    for manifest in &repository.systems.manifests {
        if matches!(manifest.what, What::Workload(_)) {
            let name = &manifest.name;
            builder.asset(AssetKind::Workload, name, scope(), manifest.file, name.span);
        }
    }
    for unit in repository.code.iter() {
        let calls = |service| matches!(service, Some(service::Service::Model | service::Service::Agent));
        if unit.calls().any(|call| calls(service::of_call(unit, call))) {
            let file = &repository.files[unit.file];
            let whole = Span::new(0, file.text.len());
            builder.asset(AssetKind::Code, &file.path, scope(), unit.file, whole);
        }
    }
}
