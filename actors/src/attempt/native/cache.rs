//! Caches of a repository's jobs (`actions/cache`).

use super::{Inputs, NativeContext, NativeDone};

/// Not there yet.
pub(super) async fn run(_ctx: &NativeContext, _with: &Inputs) -> Result<NativeDone, String> {
    Err("this build of Troupe cannot do this action yet".to_owned())
}

/// Not there yet.
pub(super) async fn restore(_ctx: &NativeContext, _with: &Inputs) -> Result<NativeDone, String> {
    Err("this build of Troupe cannot do this action yet".to_owned())
}

/// Not there yet.
pub(super) async fn save(_ctx: &NativeContext, _with: &Inputs) -> Result<NativeDone, String> {
    Err("this build of Troupe cannot do this action yet".to_owned())
}

/// Not there yet.
pub(super) async fn post(_ctx: &NativeContext, _with: &Inputs, _state: &str) -> Result<NativeDone, String> {
    Err("this build of Troupe cannot do this action yet".to_owned())
}
