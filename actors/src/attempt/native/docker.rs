//! Steps that are a container of their own (`uses: docker://IMAGE`).

use super::{DockerDone, Inputs, NativeContext};

/// Not there yet.
pub(super) async fn run(_ctx: &NativeContext, _image: &str, _with: &Inputs) -> Result<DockerDone, String> {
    Err("this build of Troupe cannot run a step in a container of its own yet".to_owned())
}
