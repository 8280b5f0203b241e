//! What expansion may not make itself: ids of this node's clock, and specifications in this cluster's encoding.

use domain::RunId;
use raft_store::codec;
use workflow::Spec;

use crate::clock;

/// Makes them.
#[derive(Debug, Clone, Copy, Default)]
pub struct Mint;

impl workflow::Mint for Mint {
    fn run_id(&mut self) -> RunId {
        RunId::from_parts(clock::now(), rand::random())
    }

    fn encode(&self, spec: Spec<'_>) -> Result<Vec<u8>, String> {
        let encoded = match spec {
            Spec::Job(spec) => codec::encode(spec),
            Spec::Group(spec) => codec::encode(spec),
            Spec::Undecided(spec) => codec::encode(spec),
        };
        encoded.map_err(|error| error.to_string())
    }
}
