//! Brings jobs of the typed model down to what the cluster carries (`domain::JobSpec`), and refuses what is not supported here,
//! with its place.
//!
//! Nothing is computed: expressions go along as text, for whoever runs a job computes them when it comes to them.
//! Must not know: how jobs run, how specifications are encoded.

mod check;
mod container;
mod extension;
mod fields;
mod job;
mod step;
mod text;
mod uses;

pub(crate) use check::{check, computed};
pub use extension::check_artifacts;
pub(crate) use extension::{Extension, extension};
pub(crate) use job::{DEFAULT_TIMEOUT_MINUTES, MAX_TIMEOUT_MINUTES, seconds, spec};
pub(crate) use text::{text_of, variables};
pub(crate) use uses::Unfolding;
pub use uses::{NoFiles, directory_of};

use crate::diagnostic::Diagnostic;
use crate::library::{Library, Used};
use crate::model::{Files, Workflow};
use crate::schema;

/// Reads a workflow file that is to be run here; `files` has what it calls and uses of its own repository.
///
/// # Errors
/// Everything that is wrong with it (the first 100 complaints found), in the order of the file. Never empty.
pub fn lint(bytes: &[u8], files: &dyn Files) -> Result<Workflow, Vec<Diagnostic>> {
    lint_of(bytes, &Used::new(&Library::new(files)))
}

/// As [`lint`], of which the files that it uses are noted.
pub(crate) fn lint_of(bytes: &[u8], files: &Used<'_>) -> Result<Workflow, Vec<Diagnostic>> {
    let (read, mut complaints) = crate::read::read_all(bytes);
    if let Some((workflow, template)) = &read {
        check::computed(template, &schema::WORKFLOW, &mut complaints);
        check(workflow, files, &mut complaints);
    }
    let found = complaints.sorted();
    match read {
        Some((workflow, _)) if found.is_empty() => Ok(workflow),
        _ => Err(found),
    }
}
