//! The node: wiring, configuration, HTTP API, CLI, telemetry.
//!
//! A library only so that tests can reach its parts; the binary is `troupe`.

pub mod api;
pub mod cli;
pub mod config;
mod open_files;
mod output;
pub mod server;
pub mod telemetry;
pub mod tree;
