//! A workflow file as a typed model, as GitHub reads it: one file for each part.
//!
//! [`crate::read`] makes it. It says what the file says, supported here or not; what is not, `runnable` refuses.
//!
//! Must not know: what is supported here, who runs it.

mod call;
mod composite;
mod concurrency;
mod condition;
mod container;
mod cron;
mod environment;
mod fields;
mod identifier;
mod inputs;
mod job;
mod needs;
mod permissions;
mod runs_on;
mod step;
mod strategy;
mod trigger;
mod workflow;

pub(crate) use call::calls;
pub use call::{Files, check_calls};
pub(crate) use composite::composite;
pub use composite::{ActionInput, Composite};
pub(crate) use concurrency::BOTH;
pub use concurrency::{Concurrency, Queue};
pub use condition::Condition;
pub use container::{Container, Service};
pub use cron::cron;
pub use environment::Deployment;
pub use fields::{Dynamic, Located};
pub use inputs::{Input, InputKind, Secret};
pub use job::{Call, Job, Secrets, Steps, Work};
pub use permissions::{Level, Permissions};
pub use runs_on::RunsOn;
pub use step::{Action, Step};
pub use strategy::Strategy;
pub use trigger::{Patterns, Schedule, Trigger};
pub(crate) use workflow::workflow;
pub use workflow::{Defaults, Workflow};
