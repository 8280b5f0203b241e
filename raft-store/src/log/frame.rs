//! Frames of the log's files: how a record lies on the disk, and what is found where one should be.
//!
//! `[magic u32][length u32][synced u64][crc32 of body u32][crc32 of head u32][body][end u8]`, little endian. Positions count the bytes
//! of all files of the log from its first on; a frame's position is part of its head's checksum, so that a frame is good in
//! its own place only. `synced` is the position up to which the log was known to be synced when the frame was written: what
//! is bad below the highest of them was on the disk once, and is damage, not a torn write.

/// The first bytes of each frame; the last of them is the version of the format.
const MAGIC: [u8; 4] = *b"TRL1";
/// Bytes before the body.
const HEAD: usize = 24;
/// The last byte: no zero, so that a write of which only the beginning arrived is known by it.
const END: u8 = 0x7e;
/// Bytes around the body.
pub(super) const AROUND: usize = HEAD + 1;
/// A disk writes at least so many bytes whole.
const SECTOR: u64 = 512;

/// Appends a frame, which is to stand at position `at`, for the body that `encode` appends; answers the frame's bytes. After
/// an error nothing is appended.
pub(super) fn put<E>(
    out: &mut Vec<u8>,
    at: u64,
    synced: u64,
    encode: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
) -> Result<u32, E> {
    let start = out.len();
    out.extend_from_slice(&[0; HEAD]);
    if let Err(error) = encode(out) {
        out.truncate(start);
        return Err(error);
    }
    let body = &out[start + HEAD..];
    let head = Head { length: body.len() as u32, synced, body_crc: crc32fast::hash(body) };
    out[start..start + HEAD].copy_from_slice(&head.bytes(at));
    out.push(END);
    Ok((out.len() - start) as u32)
}

struct Head {
    length: u32,
    synced: u64,
    body_crc: u32,
}

impl Head {
    fn bytes(&self, at: u64) -> [u8; HEAD] {
        let mut bytes = [0; HEAD];
        bytes[..4].copy_from_slice(&MAGIC);
        bytes[4..8].copy_from_slice(&self.length.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.synced.to_le_bytes());
        bytes[16..20].copy_from_slice(&self.body_crc.to_le_bytes());
        let crc = head_crc(&bytes[..20], at);
        bytes[20..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    fn read(bytes: &[u8], at: u64) -> Option<Self> {
        let bytes: &[u8; HEAD] = bytes.first_chunk()?;
        let crc = u32::from_le_bytes(bytes[20..].try_into().ok()?);
        (bytes[..4] == MAGIC && crc == head_crc(&bytes[..20], at)).then_some(Self {
            length: u32::from_le_bytes(bytes[4..8].try_into().ok()?),
            synced: u64::from_le_bytes(bytes[8..16].try_into().ok()?),
            body_crc: u32::from_le_bytes(bytes[16..20].try_into().ok()?),
        })
    }
}

fn head_crc(bytes: &[u8], at: u64) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&at.to_le_bytes());
    crc.update(bytes);
    crc.finalize()
}

/// What is at a place.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found<'a> {
    /// A frame, whole.
    Frame {
        /// See the module.
        synced: u64,
        body: &'a [u8],
    },
    /// Nothing but zeros in the place of a head, or no more bytes: the end, or a write of which nothing arrived here.
    Nothing,
    /// A part of a frame, of which some sector never arrived.
    Torn,
    /// All sectors arrived, with other bytes than were written.
    Damaged,
}

/// Looks at `bytes`, which stand at `offset` of a file that begins at position `start` and are all of it from there on.
pub(super) fn look(bytes: &[u8], start: u64, offset: u64) -> Found<'_> {
    let (head, rest) = bytes.split_at(HEAD.min(bytes.len()));
    if is_zeros(head) {
        return Found::Nothing;
    }
    let Some(found) = Head::read(head, start + offset) else {
        // A whole frame has its end behind the head, at the least.
        return if is_zeros(rest) || misses_a_sector(head, offset) { Found::Torn } else { Found::Damaged };
    };
    let length = found.length as usize;
    let (Some(body), Some(end)) = (rest.get(..length), rest.get(length)) else { return Found::Torn };
    if *end == END && crc32fast::hash(body) == found.body_crc {
        Found::Frame { synced: found.synced, body }
    } else if *end == 0 || misses_a_sector(&bytes[..AROUND + length], offset) {
        Found::Torn
    } else {
        Found::Damaged
    }
}

/// Whether there is nothing but zeros. Compares blocks: files are made of many.
pub(super) fn is_zeros(bytes: &[u8]) -> bool {
    const BLOCK: [u8; 4096] = [0; 4096];
    bytes.chunks(BLOCK.len()).all(|block| block == &BLOCK[..block.len()])
}

/// Whether the frame's part of some sector is zeros: files are made of zeros, and a sector that never arrived still is.
fn misses_a_sector(frame: &[u8], offset: u64) -> bool {
    let first = (SECTOR - offset % SECTOR) as usize;
    let (head, rest) = frame.split_at(first.min(frame.len()));
    std::iter::once(head).chain(rest.chunks(SECTOR as usize)).any(is_zeros)
}

/// The highest `synced` of whole frames anywhere in `bytes`, which stand at `offset` of a file that begins at `start`: for
/// what follows a place that is no frame.
pub(super) fn highest_synced(bytes: &[u8], start: u64, offset: u64) -> u64 {
    let mut highest = 0;
    let mut at = 0;
    while let Some(next) = bytes.get(at..).and_then(|rest| rest.windows(4).position(|four| four == MAGIC)) {
        at += next;
        match look(&bytes[at..], start, offset + at as u64) {
            Found::Frame { synced, body } => {
                highest = highest.max(synced);
                at += AROUND + body.len();
            }
            _ => at += 1,
        }
    }
    highest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn push(bytes: &mut Vec<u8>, at: u64, synced: u64, body: &[u8]) {
        let before = bytes.len();
        let put = put(bytes, at, synced, |out| {
            out.extend_from_slice(body);
            Ok::<_, ()>(())
        });
        assert_eq!(put, Ok((bytes.len() - before) as u32));
    }

    fn frame(at: u64, body: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        push(&mut bytes, at, 77, body);
        bytes
    }

    #[test]
    fn of_a_body_that_cannot_be_encoded_nothing_is_left() {
        let mut bytes = frame(0, b"before it");
        let before = bytes.clone();
        let put = put(&mut bytes, before.len() as u64, 0, |out| {
            out.push(1);
            Err("half-way")
        });
        assert_eq!((put, bytes), (Err("half-way"), before));
    }

    #[test]
    fn a_frame_is_good_in_its_own_place_only() {
        let bytes = frame(1000, b"body");
        assert_eq!(look(&bytes, 900, 100), Found::Frame { synced: 77, body: b"body" });
        assert_eq!(look(&bytes, 900, 101), Found::Damaged);
    }

    #[test]
    fn every_flipped_bit_is_damage() {
        let good = frame(100, &[7; 3000]);
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(look(&bad, 0, 100), Found::Damaged, "bit {bit}");
        }
    }

    #[test]
    fn every_sector_that_is_missing_and_every_cut_is_a_torn_write() {
        let (good, offset) = (frame(500, &[7; 3000]), 500_u64);
        for cut in 1..good.len() {
            assert_eq!(look(&good[..cut], 0, offset), Found::Torn, "cut at {cut}");
            // The same, in a file that is longer already.
            let mut short = good.clone();
            short[cut..].fill(0);
            assert_eq!(look(&short, 0, offset), Found::Torn, "zeros from {cut}");
        }
        for sector in 0..7 {
            let mut holed = good.clone();
            let from = (sector * 512_usize).saturating_sub(500).min(good.len());
            let to = ((sector + 1) * 512_usize).saturating_sub(500).min(good.len());
            holed[from..to].fill(0);
            if from < to {
                assert_ne!(look(&holed, 0, offset), Found::Damaged, "sector {sector}");
            }
        }
        assert_eq!(look(&[], 0, 0), Found::Nothing);
        assert_eq!(look(&[0; 4096], 0, 0), Found::Nothing);
    }

    #[test]
    fn frames_behind_a_bad_place_are_found() {
        let mut bytes = vec![1, 2, 3, b'T', b'R', b'L', b'1', 0, 0];
        let at = bytes.len() as u64;
        push(&mut bytes, 10_000 + at, 9_000, b"behind it");
        assert_eq!(highest_synced(&bytes, 10_000, 0), 9_000);
        assert_eq!(highest_synced(&bytes, 10_001, 0), 0);
    }
}
