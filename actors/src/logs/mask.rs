//! Finds secrets in a stream of bytes, whatever pieces it comes in: the automaton of Aho and Corasick (1975).
//!
//! Must not know: what a log is, what is done with what is found.

use std::collections::BTreeSet;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

/// Bytes of all patterns, at most: each takes some thirty of memory.
const MAX_BYTES: usize = 2 * 1024 * 1024;
/// A line of a secret of several lines is a pattern of its own from so many bytes on: a brace is not a secret.
const MIN_LINE: usize = 4;
/// A secret is known in base64 as well from so many bytes on.
const MIN_ENCODED: usize = 6;

const NONE: u32 = u32::MAX;

#[derive(Debug, Clone, Copy)]
struct Node {
    /// The node of the longest end of this one's bytes that is in the tree, too.
    fail: u32,
    child: u32,
    sibling: u32,
    depth: u32,
    /// Bytes of the longest pattern that ends here; 0 for none.
    found: u32,
    byte: u8,
}

/// What is to be found. Cheap to share; made anew when something is added.
#[derive(Debug, Clone)]
pub(super) struct Mask {
    patterns: BTreeSet<Vec<u8>>,
    bytes: usize,
    nodes: Arc<[Node]>,
    /// Children of the root, by byte.
    first: Arc<[u32; 256]>,
}

/// How far a stream has matched.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct State(u32);

impl Default for Mask {
    fn default() -> Self {
        let root = Node { fail: 0, child: NONE, sibling: NONE, depth: 0, found: 0, byte: 0 };
        Self { patterns: BTreeSet::new(), bytes: 0, nodes: Arc::new([root]), first: Arc::new([NONE; 256]) }
    }
}

impl Mask {
    /// Knows these secrets.
    pub(super) fn of<'a>(secrets: impl IntoIterator<Item = &'a str>) -> Self {
        let mut mask = Self::default();
        secrets.into_iter().for_each(|secret| mask.collect(secret));
        mask.build();
        mask
    }

    /// Knows one more from now on.
    pub(super) fn add(&mut self, secret: &str) {
        let before = self.patterns.len();
        self.collect(secret);
        if self.patterns.len() > before {
            self.build();
        }
    }

    /// True when there is nothing to find.
    pub(super) fn is_empty(&self) -> bool {
        self.patterns.is_empty()
    }

    /// A secret as it may be printed: whole, line by line, in base64 wherever it may stand in what is encoded.
    fn collect(&mut self, secret: &str) {
        let secret = secret.trim_end_matches(['\r', '\n']);
        let whole = std::iter::once(secret).filter(|secret| !secret.trim().is_empty());
        let lines = secret.lines().map(str::trim).filter(|line| line.len() >= MIN_LINE && *line != secret);
        for text in whole.chain(lines) {
            let mut forms = vec![text.as_bytes().to_vec()];
            if text.len() >= MIN_ENCODED {
                for shift in 0..3 {
                    let padded = [&[0; 2][..shift], text.as_bytes()].concat();
                    // Letters that other bytes have a part in are left out.
                    let (from, to) = ((shift * 8).div_ceil(6), padded.len() * 8 / 6);
                    for encoded in [STANDARD_NO_PAD.encode(&padded), URL_SAFE_NO_PAD.encode(&padded)] {
                        forms.push(encoded.as_bytes()[from..to].to_vec());
                    }
                }
            }
            for form in forms {
                if self.bytes + form.len() <= MAX_BYTES && !self.patterns.contains(&form) {
                    self.bytes += form.len();
                    self.patterns.insert(form);
                }
            }
        }
    }

    fn build(&mut self) {
        let (mut nodes, mut first) = (vec![self.nodes[0]], [NONE; 256]);
        nodes[0].child = NONE;
        for pattern in &self.patterns {
            let mut at = 0;
            for byte in pattern {
                at = match child(&nodes, &first, at, *byte) {
                    Some(next) => next,
                    None => push(&mut nodes, &mut first, at, *byte),
                };
            }
            nodes[at as usize].found = pattern.len() as u32;
        }
        // Shorter ones first: where a node falls back to is always known.
        let mut queue: std::collections::VecDeque<u32> =
            first.iter().copied().filter(|n| *n != NONE).collect();
        while let Some(at) = queue.pop_front() {
            let mut next = nodes[at as usize].child;
            while next != NONE {
                let byte = nodes[next as usize].byte;
                let fail = step(&nodes, &first, nodes[at as usize].fail, byte);
                let found = nodes[fail as usize].found;
                let node = &mut nodes[next as usize];
                (node.fail, node.found) = (fail, node.found.max(found));
                queue.push_back(next);
                next = node.sibling;
            }
        }
        (self.nodes, self.first) = (nodes.into(), Arc::new(first));
    }

    /// Takes one byte; how many bytes, this one the last, are the longest secret that ends here, 0 for none.
    pub(super) fn next(&self, state: &mut State, byte: u8) -> usize {
        state.0 = step(&self.nodes, &self.first, state.0, byte);
        self.nodes[state.0 as usize].found as usize
    }

    /// How many of the last bytes may be the beginning of a secret.
    pub(super) fn held(&self, state: State) -> usize {
        self.nodes[state.0 as usize].depth as usize
    }
}

fn child(nodes: &[Node], first: &[u32; 256], at: u32, byte: u8) -> Option<u32> {
    if at == 0 {
        return Some(first[usize::from(byte)]).filter(|child| *child != NONE);
    }
    let mut next = nodes[at as usize].child;
    while next != NONE && nodes[next as usize].byte != byte {
        next = nodes[next as usize].sibling;
    }
    Some(next).filter(|child| *child != NONE)
}

fn push(nodes: &mut Vec<Node>, first: &mut [u32; 256], at: u32, byte: u8) -> u32 {
    let new = nodes.len() as u32;
    let parent = nodes[at as usize];
    let sibling = if at == 0 { NONE } else { parent.child };
    nodes.push(Node { fail: 0, child: NONE, sibling, depth: parent.depth + 1, found: 0, byte });
    if at == 0 {
        first[usize::from(byte)] = new;
    } else {
        nodes[at as usize].child = new;
    }
    new
}

fn step(nodes: &[Node], first: &[u32; 256], mut at: u32, byte: u8) -> u32 {
    loop {
        match child(nodes, first, at, byte) {
            Some(next) => return next,
            None if at == 0 => return 0,
            None => at = nodes[at as usize].fail,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ends(mask: &Mask, text: &[u8]) -> Vec<(usize, usize)> {
        let mut state = State::default();
        let found = |(at, byte): (usize, &u8)| (at, mask.next(&mut state, *byte));
        text.iter().enumerate().map(found).filter(|(_, len)| *len > 0).collect()
    }

    #[test]
    fn the_longest_that_ends_at_a_byte_is_found_and_a_beginning_is_held() {
        let mask = Mask::of(["abcd", "bc", "cdx"]);
        assert_eq!(ends(&mask, b"abcdx"), [(2, 2), (3, 4), (4, 3)]);
        let mut state = State::default();
        for (byte, held) in [(b'x', 0), (b'a', 1), (b'b', 2), (b'c', 3), (b'a', 1), (b'z', 0)] {
            mask.next(&mut state, byte);
            assert_eq!(mask.held(state), held);
        }
        assert!(Mask::of(["", " \n"]).is_empty());
    }

    #[test]
    fn a_secret_is_known_by_its_lines_and_in_base64_wherever_it_stands() {
        let mask = Mask::of(["first line\n  {\nlast-line\n"]);
        assert!(!ends(&mask, b"only last-line here").is_empty());
        assert!(ends(&mask, b"a { brace").is_empty(), "what is short is no secret");
        let mask = Mask::of(["hunter2!"]);
        for before in ["", "a", "ab", "user:"] {
            for after in ["", "z", "zz"] {
                let encoded = STANDARD_NO_PAD.encode(format!("{before}hunter2!{after}"));
                assert!(!ends(&mask, encoded.as_bytes()).is_empty(), "{before} {after}: {encoded}");
            }
        }
    }
}
