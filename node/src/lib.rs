//! The node.
pub mod api;
pub mod config;
pub mod telemetry;
