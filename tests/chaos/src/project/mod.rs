//! A real project on a real cluster, from its push to its commit statuses, while nodes die: lz4, as Debian packages it, with a
//! workflow as people write them. Checks what comes of it, and says how long it took.

mod deaths;
mod files;
mod package;
mod pushes;
mod table;
mod world;

pub use table::{Row, Table};
use world::World;

/// All of it, one after the other.
///
/// # Panics
/// When something does not come about for ten minutes.
pub async fn run() -> Table {
    let mut world = World::start().await;
    pushes::a_push_that_breaks_a_test(&mut world).await;
    pushes::a_push_that_mends_it(&mut world).await;
    pushes::a_pull_request_from_a_fork(&mut world).await;
    deaths::the_leader_that_runs_nothing(&mut world).await;
    deaths::the_leader_that_runs_a_build(&mut world).await;
    pushes::scheduled_runs(&mut world).await;
    world.table
}
