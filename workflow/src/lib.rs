//! Workflow files of the GitHub Actions language, read exactly; and to runs, as far as it is supported here.
//!
//! [`read`] gives the typed [`model`] of a file, or what GitHub would refuse. [`lint`] brings it down to what the cluster
//! can run, and refuses the rest as unsupported. [`expand`] makes runs of files and an event.
//!
//! For what comes next, as pure functions over the model: [`events`] says whether something starts a workflow,
//! [`variants`] and [`matrix`] what jobs a job becomes, [`graph`] whether a job or a step runs after those before it.
//!
//! ```
//! use workflow::expression::Object;
//!
//! let file = "on: push\njobs: {a: {runs-on: '${{ matrix.os }}', strategy: {matrix: {os: [linux, mac]}}}}";
//! let (workflow, refused) = workflow::read(file.as_bytes());
//! assert!(refused.is_empty());
//! for job in &workflow.ok_or("the file is no YAML")?.jobs {
//!     let variants = workflow::variants(job, &Object::default())?;
//!     assert_eq!(variants[1].name, "a (mac)");
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Pure, and usable by itself. Must not know how files are fetched, how specifications are encoded, where jobs run.

mod compile;
mod complaints;
pub mod contexts;
mod diagnostic;
pub mod events;
mod expand;
pub mod expression;
mod filter;
pub mod graph;
mod library;
pub mod matrix;
pub mod model;
mod read;
mod schema;
pub mod steps;
pub mod template;
mod variants;
mod yaml;

pub use compile::{NoFiles, check_artifacts, directory_of, lint};
pub use diagnostic::{At, Diagnostic, Kind};
pub use expand::{Asked, Mint, Occasion, Spec, decide, expand, is_at, output, secret, triggers, with_inputs};
pub use filter::{Filter, InvalidPattern};
pub use read::read;
pub use variants::{Variant, variants};
