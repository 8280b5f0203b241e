//! Join tokens, and nodes that are removed.

use domain::{
    BootId, Capacity, ClusterId, ClusterState, Command, Entry, Labels, NodeFacts, NodeId, Refusal, Reply,
    Resources, Timestamp, TokenId, invariants, limits,
};

const TOKEN: [u8; 32] = [7; 32];
const HOUR: u64 = 3600 * 1000;
/// The hash of a begun cluster as the version before join tokens had it.
const BEFORE: u64 = 8_201_974_212_515_348_757;

#[derive(Default)]
struct Cluster {
    state: ClusterState,
    index: u64,
    now: u64,
}

impl Cluster {
    fn apply(&mut self, command: Command) -> Reply {
        self.index += 1;
        let before = self.state.clone();
        let (reply, _) = self.state.apply(self.index, &Entry { at: Timestamp(self.now), command });
        assert_eq!(invariants::check_state(&self.state), Ok(()));
        assert_eq!(invariants::check_step(&before, &self.state), Ok(()));
        reply
    }

    fn done(&mut self, command: Command) {
        assert_eq!(self.apply(command), Reply::Done);
    }

    /// The words of a refusal.
    fn refused(&mut self, command: Command) -> String {
        match self.apply(command) {
            Reply::Refused(refusal) => refusal.to_string(),
            other => panic!("{other:?}"),
        }
    }

    fn token(&mut self) {
        let expires_at = Timestamp(self.now + HOUR);
        self.done(Command::CreateJoinToken { id: TokenId(1), name: "t".to_owned(), hash: TOKEN, expires_at });
    }
}

fn join(node: u64, name: &str) -> Command {
    Command::Join {
        token_hash: TOKEN,
        node: NodeId(node),
        name: name.parse().expect("a good name"),
        cluster_addr: "h:1".to_owned(),
        request: [node as u8; 32],
    }
}

fn register(node: u64, name: &str) -> Command {
    Command::RegisterNode(NodeFacts {
        node: NodeId(node),
        name: name.parse().expect("a good name"),
        boot: BootId(1),
        cluster_addr: "h:2".to_owned(),
        http_addr: String::new(),
        labels: Labels::default(),
        capacity: Capacity { resources: Resources { cpu_millis: 1000, memory_mib: 1000 }, slots: 1 },
        version: String::new(),
    })
}

fn remove(node: u64, name: &str) -> Command {
    Command::RemoveMember { node: NodeId(node), name: name.parse().expect("a good name") }
}

#[test]
fn a_join_token_lets_one_node_in_and_the_same_request_again() {
    let mut cluster = Cluster::default();
    assert!(cluster.refused(join(1, "one")).contains("no join token"));
    cluster.token();
    cluster.done(join(1, "one"));
    cluster.done(join(1, "one"));
    assert!(cluster.refused(join(2, "two")).contains("used already"));
    let mut forged = join(1, "one");
    if let Command::Join { request, .. } = &mut forged {
        *request = [9; 32];
    }
    assert!(cluster.refused(forged).contains("used already"));
    // A join that was cut off may be repeated when the token has run out, too: it was used in time.
    cluster.now += 2 * HOUR;
    cluster.done(join(1, "one"));
    assert!(cluster.refused(Command::RevokeToken { id: TokenId(1) }).contains("used already"));
    assert_eq!(cluster.state.member_name(NodeId(1)).map(ToString::to_string).as_deref(), Some("one"));
}

#[test]
fn a_token_that_ran_out_or_was_revoked_lets_nobody_in() {
    let mut cluster = Cluster::default();
    cluster.token();
    cluster.now += HOUR;
    assert!(cluster.refused(join(1, "one")).contains("expired"));
    cluster.done(Command::RevokeToken { id: TokenId(1) });
    assert!(cluster.refused(join(1, "one")).contains("no join token"));
    assert!(cluster.state.admitted.is_empty());
}

#[test]
fn the_fields_of_a_join_token_have_limits_that_are_named() {
    let mut cluster = Cluster::default();
    let mut refused = |name: &str, lasts: u64| {
        let expires_at = Timestamp(lasts);
        let made =
            Command::CreateJoinToken { id: TokenId(1), name: name.to_owned(), hash: TOKEN, expires_at };
        cluster.refused(made)
    };
    assert!(refused("", HOUR).starts_with("name"));
    assert!(refused(&"x".repeat(limits::MAX_TOKEN_NAME_BYTES + 1), HOUR).starts_with("name"));
    assert!(refused("t", 0).starts_with("expires_in_seconds"));
    assert!(refused("t", limits::MAX_JOIN_TOKEN_MILLIS + 1).starts_with("expires_in_seconds"));
    cluster.token();
    let mut long = join(1, "one");
    if let Command::Join { cluster_addr, .. } = &mut long {
        *cluster_addr = "x".repeat(limits::MAX_ADDRESS_BYTES + 1);
    }
    assert!(cluster.refused(long).starts_with("cluster.advertise"));
    assert!(cluster.state.join_tokens.iter().all(|(_, token)| token.used.is_none()));
}

#[test]
fn join_tokens_are_bounded_in_number_and_forgotten_a_day_after_their_end() {
    let mut cluster = Cluster::default();
    let many = limits::MAX_JOIN_TOKENS as u128;
    let made = |number: u128, now: u64| {
        let mut hash = [0; 32];
        hash[..16].copy_from_slice(&number.to_le_bytes());
        let expires_at = Timestamp(now + HOUR);
        Command::CreateJoinToken { id: TokenId(number), name: "t".to_owned(), hash, expires_at }
    };
    for number in 1..=many {
        cluster.done(made(number, 0));
    }
    assert!(cluster.refused(made(many + 1, 0)).contains("revoke some"));
    cluster.now = HOUR + limits::KEY_WINDOW_MILLIS;
    cluster.done(made(many + 1, cluster.now));
    assert_eq!(cluster.state.join_tokens.len(), 1);
}

#[test]
fn a_known_name_is_taken_until_its_node_was_removed_and_an_id_comes_back_never() {
    let mut cluster = Cluster::default();
    cluster.done(register(1, "one"));
    cluster.token();
    assert!(cluster.refused(join(2, "one")).contains("must be removed first"));
    assert!(cluster.refused(join(1, "other")).contains("is a member"));
    cluster.done(remove(1, "one"));
    cluster.done(remove(1, "one"));
    assert!(cluster.refused(join(1, "one")).contains("removed from the cluster"));
    assert!(cluster.refused(register(1, "one")).contains("removed from the cluster"));
    cluster.done(join(2, "one"));
    assert!(cluster.refused(register(3, "one")).contains("belongs to node 0000000000000002"));
    assert!(cluster.refused(register(2, "another")).contains("belongs to one"));
    cluster.done(register(2, "one"));
    assert!(cluster.refused(remove(2, "two")).contains("another node"));
}

#[test]
fn recovery_keeps_the_state_under_a_new_id_and_removes_all_others() {
    let mut cluster = Cluster::default();
    let init = Command::InitCluster { cluster: ClusterId(1), token: TokenId(9), token_hash: [9; 32] };
    cluster.done(init);
    cluster.done(register(1, "one"));
    cluster.done(register(2, "two"));
    cluster.token();
    cluster.done(join(3, "three"));
    let never_seen = (NodeId(4), "four".parse().expect("a good name"));
    let mut again = cluster.state.clone();
    for state in [&mut cluster.state, &mut again] {
        state.recover((100, Timestamp(50)), ClusterId(2), NodeId(1), std::slice::from_ref(&never_seen));
        assert_eq!(invariants::check_state(state), Ok(()));
    }
    let state = &cluster.state;
    assert_eq!(state.hash(), again.hash());
    assert_eq!((state.cluster, state.tokens.len()), (Some(ClusterId(2)), 1));
    let removed: Vec<_> = state.removed.iter().map(|(id, node)| (id.0, node.name.to_string())).collect();
    assert_eq!(removed, [(2, "two".to_owned()), (3, "three".to_owned()), (4, "four".to_owned())]);
    assert_eq!(state.nodes.iter().map(|(id, _)| id.0).collect::<Vec<_>>(), [1]);
    let back = cluster.apply(register(2, "two"));
    assert!(matches!(back, Reply::Refused(Refusal::WrongState { .. })), "{back:?}");
}

#[test]
fn a_state_without_members_has_the_hash_it_had_before_there_were_any() {
    let mut cluster = Cluster::default();
    let init = Command::InitCluster { cluster: ClusterId(1), token: TokenId(9), token_hash: [9; 32] };
    cluster.done(init);
    // Written by the version before: snapshots of that version are read by this one.
    assert_eq!(cluster.state.hash(), BEFORE);
    cluster.token();
    assert_ne!(cluster.state.hash(), BEFORE);
}
