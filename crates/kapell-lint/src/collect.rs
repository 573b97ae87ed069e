//! The inventory of a repository: what each model has to add to it.

mod agents;
mod code;
mod github;
mod systems;

use kapell_view::audit::{Inventory, Strength};

use crate::{
    inventory::Builder,
    repository::{Depth, Repository},
};

/// What each model has to add.
const COLLECTORS: &[fn(&Repository, &mut Builder<'_>)] =
    &[github::collect, agents::collect, systems::collect, code::collect];

/// Takes the inventory of a repository; at depth quick without the references that may mean something else.
#[must_use]
pub fn inventory(repository: &Repository) -> Inventory {
    let mut builder = Builder::new(&repository.files);
    for collect in COLLECTORS {
        collect(repository, &mut builder);
    }
    let mut inventory = builder.finish();
    if repository.depth == Depth::Quick {
        inventory.edges.retain(|edge| edge.strength == Strength::Certain);
    }
    inventory
}
