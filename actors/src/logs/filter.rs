//! What stands between a step's output and its log: secrets become `***`, and workflow commands are heard.
//!
//! Output comes in pieces and goes on in the same ones and in their order, each when nothing in it can still turn out to be a part
//! of a secret or of a command. Pieces that a secret runs through go on together ([`Group`]): whoever takes this up after
//! a restart begins behind a group, and never within a secret. Must not know files.

use std::collections::VecDeque;

use domain::Timestamp;
use workflow::steps::commands::{self, Command};

use super::frame::Stream;
use super::mask::{self, Mask, State};
use super::scan::{Cover, Line, Scan, shown};

/// Longest line that may be a command, in bytes.
const MAX_LINE: usize = 64 * 1024;
/// Bytes that are held at most; then what looks like the beginning of a secret is taken for one.
const MAX_HELD: usize = 512 * 1024;
/// A beginning of so many bytes is then masked; a shorter one tells nothing.
const MIN_BEGINNING: u64 = 4;
/// Masks that a job may add: each makes the automaton anew.
const MAX_ADDED: usize = 500;
/// Annotations of one level that are heard of one order: no more are kept of a step.
const MAX_TOLD: usize = 10;
const MASK_COMMAND: &[u8] = b"::add-mask::";

/// A piece of output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) at: Timestamp,
    pub(super) step: u16,
    pub(super) stream: Stream,
    /// Where the spool had been read up to, this piece included.
    pub(super) spool_end: u64,
    pub(super) bytes: Vec<u8>,
}

/// Pieces that belong together.
pub(super) type Group = Vec<Piece>;

/// A command, with the end in the spool of the piece that made it whole.
pub(super) type Heard = (u64, Command);

/// The state of it.
#[derive(Debug, Default)]
pub(super) struct Filter {
    mask: Mask,
    added: usize,
    /// Lines that are for debugging are kept.
    debug: bool,
    /// Annotations of the order so far, by level.
    told: [usize; 3],
    /// Commands are text until this token, or until the order is over.
    stopped: Option<String>,
    /// Why not all can be masked that is to be.
    unmasked: Option<String>,
    streams: [Scan; 2],
    /// With where in its stream each begins.
    held: VecDeque<(u64, Piece)>,
    held_bytes: usize,
}

fn index(stream: Stream) -> usize {
    usize::from(stream == Stream::Stderr)
}

impl Filter {
    /// Knows these secrets from the beginning, by their names.
    pub(super) fn new(secrets: &[(String, String)], debug: bool) -> Self {
        let (mask, left_out) = Mask::of(secrets);
        let unmasked = (!left_out.is_empty()).then(|| {
            let (names, most) = (left_out.join(", "), mask::MAX_BYTES);
            format!("the secrets are more than {most} bytes in the forms in which they are looked for: make {names} shorter")
        });
        Self { mask, debug, unmasked, ..Self::default() }
    }

    /// Why not all can be masked that is to be: what comes now is not to be shown.
    pub(super) fn unmasked(&self) -> Option<&str> {
        self.unmasked.as_deref()
    }

    /// A command that an earlier life of this node heard.
    pub(super) fn remember(&mut self, command: &Command) {
        match command {
            Command::Mask(secret) => self.learn(secret),
            Command::Stop(token) => self.stopped = Some(token.clone()).filter(|token| !token.is_empty()),
            _ => {}
        }
    }

    /// An order is over; in the next one commands are heard again.
    pub(super) fn order_is_over(&mut self) {
        self.stopped = None;
    }

    /// Where an earlier life of this node stopped, a stream was within a line.
    pub(super) fn within_line(&mut self, stream: Stream) {
        self.streams[index(stream)].line = Line::Text;
    }

    /// Bytes of spool from which on nothing went on yet; none when all did.
    #[cfg(test)]
    fn is_idle(&self) -> bool {
        self.held.is_empty()
    }

    /// Words of the node without secrets.
    pub(super) fn words(&self, words: &str) -> String {
        let (mut scan, mut state) = (Scan::default(), State::default());
        for (at, byte) in words.bytes().enumerate() {
            let (found, to) = (self.mask.next(&mut state, byte) as u64, at as u64 + 1);
            if found > 0 {
                scan.cover(Cover { from: to - found, to, gone: false });
            }
        }
        String::from_utf8_lossy(&shown(0, words.as_bytes(), &mut scan.covers)).into_owned()
    }

    /// Takes a piece; what it says is heard.
    pub(super) fn push(&mut self, piece: Piece, heard: &mut Vec<Heard>) {
        let (of, end) = (index(piece.stream), piece.spool_end);
        let begin = self.streams[of].pos;
        let mut rest = piece.bytes.as_slice();
        while let Some((byte, after)) = rest.split_first() {
            let scan = &mut self.streams[of];
            if self.mask.is_empty() && scan.line == Line::Text {
                // Nothing before the end of the line says anything.
                let text = rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
                scan.pos += text as u64;
                rest = &rest[text..];
                if text > 0 {
                    continue;
                }
            }
            self.byte(of, *byte, end, heard);
            rest = after;
        }
        self.held_bytes += piece.bytes.len();
        self.held.push_back((begin, piece));
        if self.held_bytes > MAX_HELD {
            self.give_up_holding();
        }
    }

    fn byte(&mut self, of: usize, byte: u8, end: u64, heard: &mut Vec<Heard>) {
        let scan = &mut self.streams[of];
        scan.pos += 1;
        if !self.mask.is_empty() {
            let found = self.mask.next(&mut scan.state, byte) as u64;
            if self.mask.held(scan.state) == 0 {
                scan.recent.clear();
            } else {
                scan.recent.push(byte);
            }
            if found > 0 {
                scan.cover(Cover { from: scan.pos - found, to: scan.pos, gone: false });
            }
        }
        match (scan.line, byte) {
            (Line::Command, b'\n') => self.line_is_whole(of, 1, end, heard),
            (_, b'\n') => {
                scan.text.clear();
                scan.line = Line::Head;
            }
            (Line::Text, _) => {}
            (Line::Masked, _) => match scan.covers.back_mut() {
                Some(last) if last.to + 1 >= scan.pos => last.to = scan.pos,
                _ => scan.cover(Cover { from: scan.pos - 1, to: scan.pos, gone: false }),
            },
            (Line::Head, _) => {
                scan.text.push(byte);
                let colon = scan.text.len() > 1 && scan.text[scan.text.len() - 2] == b':';
                scan.line = match byte {
                    b':' if colon => Line::Command,
                    b':' => Line::Head,
                    b' ' | b'\t' | b'\r' if !colon && scan.text.len() < 256 => Line::Head,
                    _ => Line::Text,
                };
            }
            (Line::Command, _) => {
                scan.text.push(byte);
                if scan.text.len() > MAX_LINE {
                    let masks = scan.text.trim_ascii_start().starts_with(MASK_COMMAND);
                    let from = scan.pos - scan.text.len() as u64;
                    if masks {
                        scan.cover(Cover { from, to: scan.pos, gone: false });
                        let why =
                            format!("the job asks to mask a value of more than {MAX_LINE} bytes (add-mask)");
                        self.unmasked.get_or_insert(why);
                    }
                    scan.line = if masks { Line::Masked } else { Line::Text };
                }
            }
        }
        if self.streams[of].line == Line::Text {
            self.streams[of].text.clear();
        }
    }

    /// A line that began as a command is at its end; `ending` bytes of it are the end of the line.
    fn line_is_whole(&mut self, of: usize, ending: u64, spool_end: u64, heard: &mut Vec<Heard>) {
        let scan = &mut self.streams[of];
        let text = std::mem::take(&mut scan.text);
        scan.line = Line::Head;
        let (to, from) = (scan.pos - ending, scan.pos - ending - text.len() as u64);
        let line = String::from_utf8_lossy(&text);
        let line = line.trim_end_matches('\r');
        if let Some(token) = &self.stopped {
            if commands::resumes(line, token) {
                scan.commands.push_back((from, scan.pos));
                self.stopped = None;
                heard.push((spool_end, Command::Stop(String::new())));
            }
            return;
        }
        let Some(command) = commands::parse(line) else { return };
        scan.commands.push_back((from, scan.pos));
        match &command {
            Command::Debug if !self.debug => {
                scan.cover(Cover { from, to: scan.pos, gone: true });
                return;
            }
            Command::Debug | Command::Shown => return,
            Command::Mask(secret) => {
                let value = text.trim_ascii_start().len().saturating_sub(MASK_COMMAND.len()) as u64;
                if value > 0 {
                    scan.cover(Cover { from: to - value, to, gone: false });
                }
                self.add_mask(&secret.clone());
            }
            Command::Stop(token) => self.stopped = Some(token.clone()).filter(|token| !token.is_empty()),
            Command::Annotate(said) => {
                let told = &mut self.told[said.level as usize];
                *told += 1;
                if *told > MAX_TOLD {
                    return;
                }
            }
            _ => {}
        }
        heard.push((spool_end, command));
    }

    fn learn(&mut self, secret: &str) {
        let why = match self.mask.add(secret) {
            Ok(new) => {
                self.added += usize::from(new);
                (self.added > MAX_ADDED)
                    .then(|| format!("the job asks to mask more than {MAX_ADDED} values (add-mask)"))
            }
            Err(mask::NoRoom) => Some(format!(
                "what the job asks to mask (add-mask) is more than {} bytes, with its secrets and in the forms in which they are looked for",
                mask::MAX_BYTES
            )),
        };
        self.unmasked = self.unmasked.take().or(why);
    }

    fn add_mask(&mut self, secret: &str) {
        self.learn(secret);
        for scan in &mut self.streams {
            // The automaton is another one: what may be a beginning is read once more.
            let recent = std::mem::take(&mut scan.recent);
            scan.state = State::default();
            for (at, byte) in recent.iter().enumerate() {
                let found = self.mask.next(&mut scan.state, *byte) as u64;
                let to = scan.pos - (recent.len() - at - 1) as u64;
                if found > 0 {
                    scan.cover(Cover { from: to - found, to, gone: false });
                }
            }
            let held = self.mask.held(scan.state);
            scan.recent = recent[recent.len() - held..].to_vec();
        }
    }

    /// What can go on.
    pub(super) fn ready(&mut self) -> Vec<Group> {
        let known = [self.streams[0].known(&self.mask), self.streams[1].known(&self.mask)];
        for scan in &mut self.streams {
            let (surplus, held) = (scan.recent.len(), self.mask.held(scan.state));
            scan.recent.drain(..surplus - held.min(surplus));
        }
        let (mut whole, mut groups, mut taken) = ([true; 2], Vec::new(), 0);
        for at in 0..self.held.len() {
            let (begin, piece) = &self.held[at - taken];
            let of = index(piece.stream);
            let end = begin + piece.bytes.len() as u64;
            whole[of] = end <= known[of] && !self.streams[of].cuts(end);
            if end > known[of] {
                break;
            }
            if whole == [true; 2] {
                let count = at + 1 - taken;
                groups.push(self.take(count));
                taken = at + 1;
            }
        }
        groups
    }

    /// An order is over: what is held is no beginning of anything any more.
    pub(super) fn flush(&mut self, spool_end: u64, heard: &mut Vec<Heard>) -> Option<Group> {
        for of in 0..2 {
            if self.streams[of].line == Line::Command {
                self.line_is_whole(of, 0, spool_end, heard);
            }
        }
        let group = self.take(self.held.len());
        (self.streams, self.told) = Default::default();
        Some(group).filter(|group| !group.is_empty())
    }

    fn give_up_holding(&mut self) {
        for scan in &mut self.streams {
            let held = self.mask.held(scan.state) as u64;
            if held >= MIN_BEGINNING {
                scan.cover(Cover { from: scan.pos - held, to: scan.pos, gone: false });
            }
            (scan.state, scan.line) =
                (State::default(), if scan.text.is_empty() { scan.line } else { Line::Text });
            scan.recent.clear();
            scan.text.clear();
        }
    }

    /// The first held pieces, as they may be shown.
    fn take(&mut self, count: usize) -> Group {
        let mut group = Vec::with_capacity(count);
        for (begin, mut piece) in self.held.drain(..count) {
            self.held_bytes -= piece.bytes.len();
            let scan = &mut self.streams[index(piece.stream)];
            let end = begin + piece.bytes.len() as u64;
            scan.commands.retain(|(_, to)| *to > end);
            piece.bytes = shown(begin, &piece.bytes, &mut scan.covers);
            group.push(piece);
        }
        group
    }
}

#[cfg(test)]
mod tests {
    use super::super::scan::MASKED;
    use super::*;

    /// Gives a filter texts of both streams; what comes out of each, how many groups, and what was heard.
    fn through(filter: &mut Filter, pieces: &[(Stream, &[u8])]) -> ([Vec<u8>; 2], Vec<Group>, Vec<Command>) {
        let (mut heard, mut groups) = (Vec::new(), Vec::new());
        for (at, (stream, bytes)) in pieces.iter().enumerate() {
            let spool_end = at as u64 + 1;
            let piece =
                Piece { at: Timestamp(1), step: 0, stream: *stream, spool_end, bytes: bytes.to_vec() };
            filter.push(piece, &mut heard);
            groups.extend(filter.ready());
        }
        groups.extend(filter.flush(pieces.len() as u64, &mut heard));
        assert!(filter.is_idle());
        let ends: Vec<_> = groups.iter().flatten().map(|piece| piece.spool_end).collect();
        assert_eq!(ends, (1..=pieces.len() as u64).collect::<Vec<_>>(), "each once, in order");
        let mut out = [Vec::new(), Vec::new()];
        for piece in groups.iter().flatten() {
            out[index(piece.stream)].extend_from_slice(&piece.bytes);
        }
        (out, groups, heard.into_iter().map(|(_, command)| command).collect())
    }

    fn secret(words: &[&str]) -> Filter {
        Filter::new(&words.iter().map(|word| ("S".to_owned(), (*word).to_owned())).collect::<Vec<_>>(), false)
    }

    fn text(filter: &mut Filter, whole: &str, cuts: usize) -> String {
        let pieces: Vec<_> = whole.as_bytes().chunks(cuts).map(|bytes| (Stream::Stdout, bytes)).collect();
        String::from_utf8(through(filter, &pieces).0[0].clone()).unwrap_or_default()
    }

    #[test]
    fn a_secret_is_masked_however_it_is_cut() {
        let whole = "say hunter2 and hunter and\nline one\nline two\nhunthunter2hunter2 end hunter";
        let wanted = "say *** and hunter and\n***\nhunt****** end hunter";
        for cuts in 1..whole.len() + 1 {
            assert_eq!(text(&mut secret(&["hunter2", "line one\nline two"]), whole, cuts), wanted, "{cuts}");
        }
    }

    #[test]
    fn two_streams_do_not_mix_and_their_order_stays() {
        let (out, groups, _) = through(
            &mut secret(&["secret"]),
            &[
                (Stream::Stdout, b"a se"),
                (Stream::Stderr, b"se"),
                (Stream::Stdout, b"cret b"),
                (Stream::Stderr, b"e"),
                (Stream::Stdout, b"tail"),
            ],
        );
        assert_eq!(out, [b"a *** btail".to_vec(), b"see".to_vec()]);
        let sizes: Vec<_> = groups.iter().map(Vec::len).collect();
        assert_eq!(sizes, [3, 1, 1], "nothing goes on in the middle of a secret");
    }

    #[test]
    fn a_mask_holds_from_its_line_on_and_is_not_shown_itself() {
        let whole =
            "tok-en before\n::add-mask::tok-en\nthen tok-en\r\n  ::add-mask::two%0Alines-of\nlines-of it\n";
        let wanted = "tok-en before\n::add-mask::***\nthen ***\r\n  ::add-mask::***\n*** it\n";
        for cuts in 1..whole.len() + 1 {
            assert_eq!(text(&mut Filter::default(), whole, cuts), wanted, "{cuts}");
        }
    }

    #[test]
    fn commands_are_heard_until_they_are_stopped() {
        let whole = b"::error::one\n::debug::hidden\n::stop-commands::T\n::error::no\n::T::\nx ::error::no\n::notice::two";
        for cuts in 1..whole.len() + 1 {
            let pieces: Vec<_> = whole.chunks(cuts).map(|bytes| (Stream::Stderr, bytes)).collect();
            let (out, _, heard) = through(&mut Filter::default(), &pieces);
            let messages: Vec<_> = heard
                .iter()
                .map(|command| match command {
                    Command::Annotate(said) => said.message.as_str(),
                    Command::Stop(token) => token.as_str(),
                    _ => "?",
                })
                .collect();
            assert_eq!(messages, ["one", "T", "", "two"], "{cuts}");
            assert!(!String::from_utf8_lossy(&out[1]).contains("hidden"), "{cuts}");
        }
    }

    #[test]
    fn commands_that_were_stopped_are_heard_again_in_the_next_order() {
        let mut filter = Filter::default();
        let first = b"::stop-commands::T\n::add-mask::tok-en\n";
        through(&mut filter, &[(Stream::Stdout, first)]);
        filter.order_is_over();
        assert_eq!(text(&mut filter, "::add-mask::tok-en\ntok-en\n", 64), "::add-mask::***\n***\n");
    }

    #[test]
    fn what_cannot_be_masked_is_said_and_what_is_masked_already_costs_nothing() {
        let masks = |count: usize| -> String {
            (0..count).map(|n| format!("::add-mask::value-{}\n", n % MAX_ADDED)).collect()
        };
        let mut filter = Filter::default();
        text(&mut filter, &masks(2 * MAX_ADDED), 4096);
        assert_eq!(filter.unmasked(), None);
        text(&mut filter, "::add-mask::one more\n", 4096);
        assert!(filter.unmasked().is_some_and(|why| why.contains("more than 500 values")));
        let mut filter = Filter::default();
        text(&mut filter, &format!("::add-mask::{}\n", "y".repeat(2 * MAX_LINE)), 4096);
        assert!(filter.unmasked().is_some_and(|why| why.contains("of more than 65536 bytes")));
        let secrets = [("BIG".to_owned(), "x".repeat(mask::MAX_BYTES))];
        let filter = Filter::new(&secrets, false);
        assert!(filter.unmasked().is_some_and(|why| why.contains("make BIG shorter") && !why.contains("xx")));
    }

    #[test]
    fn what_is_held_is_bounded() {
        let mut filter = secret(&["secret-of-some-length"]);
        let flood = vec![b'x'; 32 * 1024];
        let mut pieces: Vec<(Stream, &[u8])> = vec![(Stream::Stdout, b"secret-of-some")];
        pieces.extend((0..100).map(|_| (Stream::Stderr, flood.as_slice())));
        let (out, groups, _) = through(&mut filter, &pieces);
        assert_eq!(out[0], MASKED, "a beginning is taken for a secret");
        assert!(groups.len() > 50 && out[1].len() == 100 * flood.len(), "{}", groups.len());
        let long = [MASK_COMMAND, &vec![b'y'; 2 * MAX_LINE], b"\nnext"].concat();
        let (out, _, heard) = through(&mut Filter::default(), &[(Stream::Stdout, &long)]);
        assert_eq!((out[0].as_slice(), heard), (&b"***\nnext"[..], vec![]));
    }
}
