//! What a machine without a certificate may say, at a real port: bounded, refused by name, and nothing comes of it.

use domain::limits::MAX_ADDRESS_BYTES;
use domain::{ClusterState, TokenId};
use links::ca;

use super::*;
use crate::server::alone::{Alone, Result};

const PATIENCE: Duration = Duration::from_secs(20);

/// A member that signs, of a cluster that was begun.
async fn member(dir: &std::path::Path) -> Result<Alone> {
    let alone = Alone::start(dir, 1).await?;
    let mut applied = alone.store.applied();
    let begun = |state: &ClusterState| state.cluster.is_some();
    tokio::time::timeout(PATIENCE, applied.wait_for(|_| begun(&alone.store.state()))).await??;
    Ok(alone)
}

async fn ticket(alone: &Alone, number: u8) -> Result<Ticket> {
    let ticket = Ticket::new([number; 32], alone.mine.ca_fingerprint(), [alone.addr.clone()]);
    let expires_at = alone.store.state().now.plus_millis(60_000);
    let id = TokenId(u128::from(number));
    let made = Command::CreateJoinToken { id, name: "t".to_owned(), hash: ticket.hash(), expires_at };
    alone.store.propose(made).await?.accepted()?;
    Ok(ticket)
}

fn newcomer(node: u64, name: &str) -> Result<Newcomer> {
    let csr_pem = ca::request(&name.parse()?)?.csr_pem;
    Ok(Newcomer { node: NodeId(node), name: name.parse()?, cluster_addr: "127.0.0.1:1".to_owned(), csr_pem })
}

/// Says a frame as it is.
async fn say(alone: &Alone, frame: &[u8]) -> Result<Heard> {
    let mut talk = links::join::dial(&alone.addr, alone.mine.ca_fingerprint(), PATIENCE).await?;
    talk.send(frame).await?;
    Ok(codec::decode(&talk.receive().await?, links::join::MAX_FRAME)?)
}

#[tokio::test]
async fn what_a_newcomer_says_is_bounded_and_named() -> Result {
    let dir = tempfile::tempdir()?;
    let alone = member(dir.path()).await?;
    let ticket = ticket(&alone, 1).await?;
    let good = newcomer(1, "one")?;
    let long = "x".repeat(MAX_ADDRESS_BYTES + 1);
    let large = "x".repeat(ca::MAX_REQUEST_BYTES + 1);
    let knock = |name: &str, cluster_addr: &str, csr_pem: &str| {
        let (secret, node) = (ticket.secret().to_owned(), NodeId(1));
        let (name, cluster_addr, csr_pem) = (name.to_owned(), cluster_addr.to_owned(), csr_pem.to_owned());
        codec::encode(&Knock { secret, node, name, cluster_addr, csr_pem })
    };
    for (frame, words) in [
        (b"no frame of ours".to_vec(), "cannot decode"),
        (Vec::new(), "it is empty"),
        (knock("Not A Name", "h:1", &good.csr_pem)?, "node.name"),
        (knock("one", "h:1", &large)?, "the limit is 16384"),
        (knock("one", &long, &good.csr_pem)?, "cluster.advertise"),
        (knock("one", "", &good.csr_pem)?, "cluster.advertise"),
    ] {
        match say(&alone, &frame).await? {
            Heard::Refused(why) => assert!(why.contains(words), "{words} in {why}"),
            other => return Err(format!("{other:?}").into()),
        }
    }
    let state = alone.store.state();
    assert!(state.admitted.is_empty() && state.join_tokens.iter().all(|(_, token)| token.used.is_none()));
    let papers = ticket.join(&good).await?;
    assert_eq!(Some(papers.cluster), state.cluster);
    alone.store.shutdown().await;
    Ok(())
}

#[tokio::test]
async fn a_member_signs_for_whom_the_state_has_let_in_and_for_that_request_alone() -> Result {
    let dir = tempfile::tempdir()?;
    let alone = member(dir.path()).await?;
    let (first, second) = (newcomer(1, "one")?, newcomer(2, "two")?);
    let ticket = ticket(&alone, 1).await?;
    ticket.join(&first).await?;
    // The same again, as after an answer that was lost.
    ticket.join(&first).await?;
    let other_key = Newcomer { csr_pem: second.csr_pem.clone(), ..first.clone() };
    for refused in [&second, &other_key] {
        match ticket.join(refused).await {
            Err(JoinError::Refused(why)) => assert!(why.contains("used already"), "{why}"),
            other => return Err(format!("{other:?}").into()),
        }
    }
    let members = alone.store.membership();
    for (node, request) in [(NodeId(2), &second), (NodeId(1), &second)] {
        let refused = members.sign(node, &request.csr_pem).await.err().ok_or("signed")?;
        assert!(refused.to_string().contains("was not let in with this request"), "{refused}");
    }
    // What is no request cannot be signed, whoever let it in; the token is used up by it, for that node.
    let ticket = self::ticket(&alone, 2).await?;
    let none = Newcomer { csr_pem: "no request".to_owned(), ..second };
    assert!(matches!(ticket.join(&none).await, Err(JoinError::Unavailable(_))));
    alone.store.shutdown().await;
    Ok(())
}

#[tokio::test]
async fn a_cluster_of_another_ca_or_nobody_at_all_is_said_and_nothing_sent() -> Result {
    let (here, there) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let (alone, other) = (member(here.path()).await?, member(there.path()).await?);
    let foreign = Ticket::new([1; 32], other.mine.ca_fingerprint(), [alone.addr.clone()]);
    let nobody = Ticket::new([1; 32], alone.mine.ca_fingerprint(), ["127.0.0.1:1".to_owned()]);
    for ticket in [foreign, nobody] {
        match ticket.join(&newcomer(1, "one")?).await {
            Err(JoinError::Unavailable(why)) => assert!(why.contains("127.0.0.1"), "{why}"),
            other => return Err(format!("{other:?}").into()),
        }
    }
    assert!(alone.store.state().admitted.is_empty());
    alone.store.shutdown().await;
    other.store.shutdown().await;
    Ok(())
}
