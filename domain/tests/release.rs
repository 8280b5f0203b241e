//! Commands wait until every node of the cluster knows them.

use domain::{
    BootId, Capacity, ClusterState, Command, Entry, NodeFacts, NodeId, Release, Resources, Timestamp,
};

fn registered(versions: &[&str]) -> ClusterState {
    let mut state = ClusterState::default();
    for (n, version) in (1..).zip(versions) {
        let facts = NodeFacts {
            node: NodeId(n),
            name: format!("n{n}").parse().expect("a good name"),
            boot: BootId(1),
            cluster_addr: String::new(),
            http_addr: String::new(),
            labels: Default::default(),
            capacity: Capacity { resources: Resources { cpu_millis: 0, memory_mib: 0 }, slots: 0 },
            version: (*version).to_owned(),
        };
        let entry = Entry { at: Timestamp(1), command: Command::RegisterNode(facts) };
        state.apply(n, &entry);
    }
    state
}

#[test]
fn the_cluster_is_of_the_lowest_release_of_its_nodes() {
    assert_eq!(registered(&[]).release(), None);
    assert_eq!(registered(&["0.3.7"]).release(), Some(Release { major: 0, minor: 3 }));
    let mixed = registered(&["1.2.0", "0.10.1", "0.9.99", "1.0.0"]);
    assert_eq!(mixed.release(), Some(Release { major: 0, minor: 9 }));
    for odd in ["", "test", "1", "1.x", "-1.0", "99999.0"] {
        assert_eq!(Release::of(odd), Release::FIRST, "{odd:?}");
    }
    assert_eq!(Release::of("2.5.0-rc.1"), Release { major: 2, minor: 5 });
}

#[test]
fn a_lost_node_still_counts_and_one_that_was_upgraded_counts_anew() {
    let mut state = registered(&["0.2.0", "0.0.9"]);
    let apply = |state: &mut ClusterState, index, command| {
        state.apply(index, &Entry { at: Timestamp(2), command });
    };
    apply(&mut state, 10, Command::LoseNode { node: NodeId(2), boot: BootId(1) });
    let drain = Command::SetDrain { node: NodeId(1), drain: true, until: None, life: None };
    assert_eq!(state.knows(&drain), Err((Release::FIRST, Release { major: 0, minor: 0 })));
    let mut facts = None;
    if let Some(node) = state.nodes.get(&NodeId(2)) {
        facts = Some(NodeFacts {
            node: NodeId(2),
            name: node.name.clone(),
            boot: BootId(2),
            cluster_addr: String::new(),
            http_addr: String::new(),
            labels: node.labels.clone(),
            capacity: node.capacity,
            version: "0.1.0".to_owned(),
        });
    }
    let again = Command::RegisterNode(facts.expect("it is known"));
    assert_eq!(state.knows(&again), Ok(()));
    apply(&mut state, 11, again);
    assert_eq!(state.knows(&drain), Ok(()));
}
