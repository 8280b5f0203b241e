//! What the node and the first process of a container say to each other: see [`wire`] and [`permit`]; and by which errors neither is at
//! fault: [`disk`].
//!
//! Must not know: Docker, the node, any crate but std (the binary is compiled by plain rustc).

pub mod disk;
pub mod permit;
pub mod wire;
