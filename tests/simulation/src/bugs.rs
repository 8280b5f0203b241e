//! Bugs that are planted to see whether they are found: by name, and none without the feature `planted-bugs`.

/// The names of all bugs that can be planted.
#[must_use]
pub fn names() -> Vec<String> {
    #[cfg(feature = "planted-bugs")]
    return raft_store::planted::ALL.iter().map(|bug| format!("{bug:?}")).collect();
    #[cfg(not(feature = "planted-bugs"))]
    Vec::new()
}

/// Plants a bug in this process.
///
/// # Errors
/// There is none of this name.
pub fn plant(name: &str) -> anyhow::Result<()> {
    #[cfg(feature = "planted-bugs")]
    if let Some(bug) = raft_store::planted::ALL.iter().find(|bug| format!("{bug:?}") == name) {
        raft_store::planted::plant(*bug);
        return Ok(());
    }
    anyhow::bail!("no bug {name:?} can be planted; there are {:?}", names())
}
