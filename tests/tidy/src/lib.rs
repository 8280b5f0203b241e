//! Architecture checks that the compiler cannot make.
//!
//! Each rule is a pure function from text to [`Violation`]s, with a unit test that shows it failing on a bad sample.
//! `tests/tree.rs` runs them all over the files of this repository. What the rules mean, and why, is in
//! `docs/architecture.md`; a rule here without a sentence there is a mistake, and the other way round.
//!
//! Knows nothing of the crates it checks but their names.

pub mod boundaries;
pub mod conventions;
pub mod documents;
pub mod manifests;
pub mod modules;
pub mod source;
pub mod texts;
pub mod tree;
mod violation;

pub use violation::{Violation, report};
