//! The operations of the API in one table: the router finds its handlers by it, and it is served as OpenAPI 3.1.
//!
//! Must not know what handlers do.

mod cluster;
mod document;
mod find;
mod jobs;
mod operation;
mod parameters;
mod repos;
mod runs;
mod schemas;
mod settings;

use std::sync::LazyLock;

use bytes::Bytes;

pub(super) use find::{Captured, Missed, find};
pub(super) use operation::{Access, Guarded, Open, Operation};

/// Every operation there is, by family.
const OPERATIONS: [&[Operation]; 5] =
    [cluster::OPERATIONS, repos::OPERATIONS, settings::OPERATIONS, runs::OPERATIONS, jobs::OPERATIONS];

static DOCUMENT: LazyLock<Bytes> = LazyLock::new(|| document::write().to_string().into());

/// The description as JSON; made once.
pub(super) fn document() -> Bytes {
    DOCUMENT.clone()
}
