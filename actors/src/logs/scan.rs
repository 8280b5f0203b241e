//! How far one stream of a step has come: what it is in the middle of, and what of it is not to be shown.
//!
//! Must not know which bytes are secret, nor what commands mean.

use std::collections::VecDeque;

use super::mask::{Mask, State};

pub(super) const MASKED: &[u8] = b"***";

/// One stream of a step.
#[derive(Debug, Default)]
pub(super) struct Scan {
    /// Bytes so far.
    pub(super) pos: u64,
    pub(super) state: State,
    /// The last bytes, as many as may be the beginning of a secret, or more.
    pub(super) recent: Vec<u8>,
    pub(super) line: Line,
    /// The line so far, while it may be a command.
    pub(super) text: Vec<u8>,
    /// What is not to be shown, in order, none in another.
    pub(super) covers: VecDeque<Cover>,
    /// Lines that were commands: whoever begins in the middle of one would not know it for what it is.
    pub(super) commands: VecDeque<(u64, u64)>,
}

/// What a line is, as far as is known.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) enum Line {
    /// Nothing but white space, or one colon.
    #[default]
    Head,
    Command,
    Text,
    /// A mask that is too long; all of it is masked.
    Masked,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Cover {
    pub(super) from: u64,
    pub(super) to: u64,
    /// Nothing stands in its place.
    pub(super) gone: bool,
}

impl Scan {
    pub(super) fn cover(&mut self, mut cover: Cover) {
        while let Some(last) = self.covers.back().copied().filter(|last| last.to > cover.from) {
            self.covers.pop_back();
            cover.gone &= last.gone || last.from >= cover.from;
            (cover.from, cover.to) = (cover.from.min(last.from), cover.to.max(last.to));
        }
        self.covers.push_back(cover);
    }

    /// Everything before it is known for what it is.
    pub(super) fn known(&self, mask: &Mask) -> u64 {
        let text = if matches!(self.line, Line::Head | Line::Command) { self.text.len() } else { 0 };
        self.pos - (mask.held(self.state).max(text) as u64)
    }

    /// What goes on up to here would go on in part.
    pub(super) fn cuts(&self, at: u64) -> bool {
        self.covers.iter().any(|cover| cover.from < at && at < cover.to)
            || self.commands.iter().any(|(from, to)| *from < at && at < *to)
    }
}

/// A piece without what is covered; covers that end in it are used up.
pub(super) fn shown(begin: u64, bytes: &[u8], covers: &mut VecDeque<Cover>) -> Vec<u8> {
    let end = begin + bytes.len() as u64;
    let (mut out, mut at) = (Vec::with_capacity(bytes.len()), begin);
    while let Some(cover) = covers.front().copied().filter(|cover| cover.from < end) {
        let from = cover.from.max(begin);
        out.extend_from_slice(&bytes[(at - begin) as usize..(from.max(at) - begin) as usize]);
        if cover.from >= begin && !cover.gone {
            out.extend_from_slice(MASKED);
        }
        at = cover.to.clamp(at, end);
        if cover.to > end {
            return out;
        }
        covers.pop_front();
    }
    out.extend_from_slice(&bytes[(at - begin) as usize..]);
    out
}
