//! A certificate speaks for its own node alone (row 44 of docs/bad-input.md): who has one of the cluster's and says to be
//! another member is refused before any request is read.

use domain::{ClusterState, NodeId};
use links::{Dialer, Identity, Limits, Port, Protocol, ca};
use tokio::task::JoinSet;

use super::*;
use crate::network::Caller;
use crate::state_machine::StateMachine;
use crate::{Options, Store, Timings};

type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error>>;

const ME: u64 = 11;

#[tokio::test]
async fn a_node_with_its_own_certificate_cannot_claim_to_be_another() -> Result {
    let dir = tempfile::tempdir()?;
    ca::init(&dir.path().join("ca"))?;
    let identity = |name: &str| -> Result<Identity> {
        Ok(Identity::load(ca::issue(&dir.path().join("ca"), &dir.path().join(name), &name.parse()?, 1)?)?)
    };
    let mine = identity("me")?;
    let port = Port::bind("127.0.0.1:0", mine.clone(), Limits::default()).await?;
    let addr = port.local_addr()?.to_string();
    let incoming = port.incoming(Protocol::Raft)?;
    let mut tasks = JoinSet::new();
    tasks.spawn(port.run(CancellationToken::new()));
    let store = Store::open(Options {
        data_dir: dir.path().join("data"),
        node: NodeId(ME),
        name: "me".parse()?,
        cluster_addr: addr.clone(),
        seeds: Vec::new(),
        bootstrap_expect: 1,
        dialer: Dialer::new(mine.clone()),
        incoming,
        timings: Timings::default(),
    })
    .await?;
    let mut applied = store.applied();
    let begun = |state: &ClusterState| state.cluster.is_some();
    tokio::time::timeout(PATIENCE, applied.wait_for(|_| begun(&store.state()))).await??;

    let caller = |identity: Identity, from: u64| -> Result<Caller> {
        Ok(Caller {
            dialer: Dialer::new(identity),
            from,
            view: StateMachine::open(&dir.path().join("nothing"))?.view(),
            connect_timeout: PATIENCE,
        })
    };
    let other = identity("other")?;
    // Another's id under its own certificate, and another id under a member's certificate.
    for (identity, from, words) in [
        (other.clone(), ME, "you are node 000000000000000b with the certificate of other, but me is node"),
        (mine, ME + 1, "you are node 000000000000000c with the certificate of me, but me is node"),
    ] {
        for target in [Some((ME, "me")), None] {
            let refused =
                caller(identity.clone(), from)?.open(&addr, target).await.err().ok_or("a link was made")?;
            assert!(refused.to_string().contains(words), "{refused}");
        }
    }
    // Who is no member yet may ask to become one.
    caller(other, ME + 1)?.open(&addr, None).await?;
    store.shutdown().await;
    Ok(())
}
