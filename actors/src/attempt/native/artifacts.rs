//! Artifacts with names (`actions/upload-artifact`, `actions/download-artifact`).

use super::{Inputs, NativeContext, NativeDone};

/// Not there yet.
pub(super) async fn upload(_ctx: &NativeContext, _with: &Inputs) -> Result<NativeDone, String> {
    Err("this build of Troupe cannot do this action yet".to_owned())
}

/// Not there yet.
pub(super) async fn download(_ctx: &NativeContext, _with: &Inputs) -> Result<NativeDone, String> {
    Err("this build of Troupe cannot do this action yet".to_owned())
}
