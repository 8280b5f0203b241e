//! A certificate speaks for its own node alone (row 44 of docs/bad-input.md): who has one of the cluster's and says to be
//! another member is refused before any request is read.

use domain::ClusterState;

use super::PATIENCE;
use super::alone::{Alone, ME, Result, caller, identity};

#[tokio::test]
async fn a_node_with_its_own_certificate_cannot_claim_to_be_another() -> Result {
    let dir = tempfile::tempdir()?;
    let Alone { store, addr, mine, .. } = &Alone::start(dir.path(), 1).await?;
    let mut applied = store.applied();
    let begun = |state: &ClusterState| state.cluster.is_some();
    tokio::time::timeout(PATIENCE, applied.wait_for(|_| begun(&store.state()))).await??;

    let other = identity(dir.path(), "other")?;
    // Another's id under its own certificate, and another id under a member's certificate.
    for (identity, from, words) in [
        (other.clone(), ME, "you are node 000000000000000b with the certificate of other, but me is node"),
        (mine.clone(), ME + 1, "you are node 000000000000000c with the certificate of me, but me is node"),
    ] {
        for target in [Some((ME, "me")), None] {
            let refused = caller(dir.path(), identity.clone(), from)?
                .open(addr, target)
                .await
                .err()
                .ok_or("a link was made")?;
            assert!(refused.to_string().contains(words), "{refused}");
        }
    }
    // Who is no member yet may ask to become one.
    caller(dir.path(), other, ME + 1)?.open(addr, None).await?;
    store.shutdown().await;
    Ok(())
}
