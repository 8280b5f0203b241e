//! What the node and the first process of a container say to each other: see [`wire`] and [`permit`].
//!
//! Must not know: Docker, the node, any crate but std (the binary is compiled by plain rustc).

pub mod permit;
pub mod wire;
