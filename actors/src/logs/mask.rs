//! Finds secrets in a stream of bytes, whatever pieces it comes in: the automaton of Aho and Corasick (1975).
//!
//! Must not know: what a log is, what is done with what is found.

use std::collections::BTreeSet;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

/// Bytes of all patterns, at most: each takes some thirty of memory.
pub(super) const MAX_BYTES: usize = 4 * 1024 * 1024;
/// A line of a secret of several lines is a pattern of its own from so many bytes on: a brace is not a secret.
const MIN_LINE: usize = 4;
/// A secret is known in base64 as well from so many bytes on.
const MIN_ENCODED: usize = 6;

/// Bytes that are written as they are in addresses: by RFC 3986 alone, by JavaScript, by Python.
const KEPT_IN_URLS: [&[u8]; 3] = [b"", b"!'()*", b"/"];

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

/// There is no room for all the forms of a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NoRoom;

impl Mask {
    /// Knows these secrets; the names of those for which there is no room.
    pub(super) fn of(secrets: &[(String, String)]) -> (Self, Vec<&str>) {
        let (mut mask, mut left_out) = (Self::default(), Vec::new());
        // As they are first: in whatever order they come, those that can be known are.
        for forms in [plain, encoded] {
            for (name, secret) in secrets {
                let whole = forms(secret).into_iter().all(|form| mask.take(form).is_ok());
                if !whole && !left_out.contains(&name.as_str()) {
                    left_out.push(name.as_str());
                }
            }
        }
        mask.build();
        (mask, left_out)
    }

    /// Knows one more from now on; false when it did already.
    pub(super) fn add(&mut self, secret: &str) -> Result<bool, NoRoom> {
        let before = self.patterns.len();
        let mut forms = plain(secret).into_iter().chain(encoded(secret));
        let taken = forms.try_for_each(|form| self.take(form));
        let more = self.patterns.len() > before;
        if more {
            self.build();
        }
        taken.map(|()| more)
    }

    /// True when there is nothing to find.
    pub(super) fn is_empty(&self) -> bool {
        self.patterns.is_empty()
    }

    fn take(&mut self, form: Vec<u8>) -> Result<(), NoRoom> {
        if self.patterns.contains(&form) {
            return Ok(());
        }
        if self.bytes + form.len() > MAX_BYTES {
            return Err(NoRoom);
        }
        self.bytes += form.len();
        self.patterns.insert(form);
        Ok(())
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

/// A secret as it is, whole and line by line.
fn texts(secret: &str) -> impl Iterator<Item = &str> {
    let secret = secret.trim_end_matches(['\r', '\n']);
    let whole = std::iter::once(secret).filter(|secret| !secret.trim().is_empty());
    whole.chain(secret.lines().map(str::trim).filter(move |line| line.len() >= MIN_LINE && *line != secret))
}

fn plain(secret: &str) -> Vec<Vec<u8>> {
    texts(secret).map(|text| text.as_bytes().to_vec()).collect()
}

/// The same as it may be printed by who hands it on: in base64 wherever it may stand in what is encoded, and as it is escaped in JSON, in
/// an address and in XML.
fn encoded(secret: &str) -> Vec<Vec<u8>> {
    let mut forms = Vec::new();
    for text in texts(secret) {
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
        let json = serde_json::Value::from(text).to_string().into_bytes();
        forms.push(json[1..json.len() - 1].to_vec());
        forms.extend(KEPT_IN_URLS.map(|kept| in_url(text, kept)));
        let xml = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
        forms.push(xml.clone().into_bytes());
        for apostrophe in ["&apos;", "&#39;"] {
            forms.push(xml.replace('"', "&quot;").replace('\'', apostrophe).into_bytes());
        }
    }
    forms
}

fn in_url(text: &str, kept: &[u8]) -> Vec<u8> {
    let mut escaped = Vec::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) || kept.contains(&byte) {
            escaped.push(byte);
        } else {
            escaped.extend(format!("%{byte:02X}").into_bytes());
        }
    }
    escaped
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

    fn named(secrets: &[&str]) -> Vec<(String, String)> {
        secrets.iter().enumerate().map(|(at, secret)| (format!("S{at}"), (*secret).to_owned())).collect()
    }

    fn known(secrets: &[&str]) -> Mask {
        let secrets = named(secrets);
        let (mask, left_out) = Mask::of(&secrets);
        assert!(left_out.is_empty(), "{left_out:?}");
        mask
    }

    #[test]
    fn a_secret_is_known_as_it_is_escaped() {
        let mask = known(&["p\"w<1>&'/ü x"]);
        for text in [
            r#"{"token":"p\"w<1>&'/ü x"}"#,
            "https://me:p%22w%3C1%3E%26%27%2F%C3%BC%20x@host/",
            "?p%22w%3C1%3E%26'%2F%C3%BC%20x",
            "?p%22w%3C1%3E%26%27/%C3%BC%20x",
            "<a>p\"w&lt;1&gt;&amp;'/ü x</a>",
            "<a b='p&quot;w&lt;1&gt;&amp;&apos;/ü x'>",
            "<a b='p&quot;w&lt;1&gt;&amp;&#39;/ü x'>",
        ] {
            assert!(!ends(&mask, text.as_bytes()).is_empty(), "{text}");
        }
    }

    #[test]
    fn for_what_there_is_no_room_is_named_and_the_others_are_known_as_they_are() {
        let (long, longer) = ("l".repeat(MAX_BYTES - 1000), "m".repeat(2000));
        let secrets = named(&[&long, &longer, "short-one"]);
        let (mask, left_out) = Mask::of(&secrets);
        assert_eq!(left_out, ["S1", "S0"]);
        assert!(!ends(&mask, b"the short-one").is_empty());
        let mut mask = known(&["a"]);
        assert_eq!(mask.add("other"), Ok(true));
        assert_eq!(mask.add("other"), Ok(false));
        assert_eq!(mask.add(&long), Err(NoRoom));
    }

    #[test]
    fn the_longest_that_ends_at_a_byte_is_found_and_a_beginning_is_held() {
        let mask = known(&["abcd", "bc", "cdx"]);
        assert_eq!(ends(&mask, b"abcdx"), [(2, 2), (3, 4), (4, 3)]);
        let mut state = State::default();
        for (byte, held) in [(b'x', 0), (b'a', 1), (b'b', 2), (b'c', 3), (b'a', 1), (b'z', 0)] {
            mask.next(&mut state, byte);
            assert_eq!(mask.held(state), held);
        }
        assert!(known(&["", " \n"]).is_empty());
    }

    #[test]
    fn a_secret_is_known_by_its_lines_and_in_base64_wherever_it_stands() {
        let mask = known(&["first line\n  {\nlast-line\n"]);
        assert!(!ends(&mask, b"only last-line here").is_empty());
        assert!(ends(&mask, b"a { brace").is_empty(), "what is short is no secret");
        let mask = known(&["hunter2!"]);
        for before in ["", "a", "ab", "user:"] {
            for after in ["", "z", "zz"] {
                let encoded = STANDARD_NO_PAD.encode(format!("{before}hunter2!{after}"));
                assert!(!ends(&mask, encoded.as_bytes()).is_empty(), "{before} {after}: {encoded}");
            }
        }
    }
}
