//! What systems add to the inventory.

use kapell_view::audit::{AssetKind, EdgeKind, Scope, Strength};

use crate::{
    files::FileId,
    inventory::{AssetKey, Builder, Target},
    repository::Repository,
    systems::{Word, image_parts, images, kubernetes::What},
};

/// Adds services and workloads.
pub(super) fn collect(repository: &Repository, builder: &mut Builder<'_>) {
    let scope = || Scope::Repository;
    let mut taken: Vec<(AssetKey, FileId, &Word)> = Vec::new();
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
            if let Some(image) = service.image.as_ref().filter(|_| service.build.is_none()) {
                taken.push((*key, compose.file, image));
            }
        }
    }
    for manifest in &repository.systems.manifests {
        if let What::Workload(workload) = &manifest.what {
            let name = &manifest.name;
            let key = builder.asset(AssetKind::Workload, name, scope(), manifest.file, name.span);
            taken.extend(workload.images.iter().map(|image| (key, manifest.file, image)));
        }
    }
    images(repository, &taken, builder);
}

/// Adds the images that jobs push and services run.
fn images(repository: &Repository, taken: &[(AssetKey, FileId, &Word)], builder: &mut Builder<'_>) {
    if taken.is_empty() {
        return;
    }
    for pushed in images::pushed(&repository.files, &repository.github) {
        let (Some(name), Some(job)) =
            (&pushed.name, builder.around(AssetKind::Job, pushed.file, pushed.span))
        else {
            continue;
        };
        for (key, file, image) in taken {
            if image_parts(image).0.eq_ignore_ascii_case(name) {
                builder.feeds(job, *key, &format!("image {name}"), (*file, image.span));
            }
        }
    }
}
