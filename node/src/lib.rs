//! The node: wiring, configuration, HTTP API, CLI, telemetry.
//!
//! A library only so that tests can reach its parts; the binary is `troupe`.

pub mod api;
pub mod cli;
pub mod config;
pub mod server;
pub mod telemetry;
