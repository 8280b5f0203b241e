//! The course of a job: which of its steps comes next, with what, and what it all amounts to.
//!
//! [`Course`] is told what happened and answers what is to be done, one thing at a time. Told the same, it answers the same: a node that
//! starts again tells it all once more. Rules: GitHub, "Workflow syntax" and "Contexts"; actions/runner
//! `src/Runner.Worker/StepsRunner.cs`, `Handlers/CompositeActionHandler.cs`.
//!
//! Must not know: how a process is run, what a file holds ([`Environment`](crate::expression::Environment) does), clocks.

pub mod commands;
mod contexts;
mod course;
mod end;
mod evaluate;
mod files;
mod level;
mod limits;
mod order;
mod over;
mod shell;

pub use course::Course;
pub use end::{End, Note};
pub use evaluate::{from_json, to_object};
pub use order::{Given, Next, Order, What};
pub use over::{Answer, Over, Post, Written};
