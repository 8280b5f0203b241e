//! Reads the journal when it is opened. A torn write at its end, which nobody was told of, is cut off; anything else that is
//! not as it was written is damage, and refused: what was acknowledged may be missing.

use std::io;
use std::path::Path;

use super::frame::{self, AROUND, Found, is_zeros};
use super::journal::{Contents, Place, SPARE, Segment};
use super::record::Record;
use crate::disk::SharedDisk;

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Recovered {
    pub contents: Contents,
    pub segments: std::collections::VecDeque<Segment>,
    /// Where the next frame goes.
    pub end: u64,
}

/// Why a log is not opened.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error(
        "the log in {dir} is damaged: {file}, byte {offset}: {why}. Nothing was changed, and this node must not vote with what \
         is left. Let it join anew from its peers: docs/operations.md, \"A node whose data is damaged\""
    )]
    Damaged { dir: String, file: String, offset: u64, why: String },
    #[error(
        "the log in {dir} was written by a development build before 0.1.0 ({file}), which this build does not read; finish \
         with that build, then begin with an empty data directory"
    )]
    OldFormat { dir: String, file: String },
}

impl From<Refused> for io::Error {
    fn from(refused: Refused) -> Self {
        io::Error::new(io::ErrorKind::InvalidData, refused)
    }
}

/// A place where no frame is.
struct Bad {
    segment: usize,
    offset: u64,
    why: String,
    /// It cannot come from a write that was under way.
    certain: bool,
}

/// Reads the journal in `dir`, which is made when needed. Blocking.
pub(super) fn recover(disk: &SharedDisk, dir: &Path) -> io::Result<Recovered> {
    disk.make_dir(dir)?;
    let segments = files(disk, dir)?;
    let mut found =
        Recovered { end: segments.first().map_or(0, |first| first.start), ..Recovered::default() };
    let mut bad = None;
    for (number, segment) in segments.iter().enumerate() {
        let bytes = read_all(segment)?;
        match replay(&mut found, segment, &bytes, number == 0) {
            // All of it up to the beginning of the next.
            (offset, Found::Nothing)
                if segments.get(number + 1).is_some_and(|next| next.start == segment.start + offset) => {}
            // The usual end.
            (offset, Found::Nothing)
                if number + 1 == segments.len() && offset > 0 && is_zeros(&bytes[offset as usize..]) => {}
            (offset, at) => {
                let (why, certain) = match at {
                    Found::Nothing => ("there is nothing where more should be".to_owned(), false),
                    Found::Torn => ("a frame is not whole".to_owned(), false),
                    Found::Damaged => ("other bytes than were written".to_owned(), true),
                    Found::Frame { body, .. } => (misfit(&found.contents, body), true),
                };
                bad = Some(Bad { segment: number, offset, why, certain });
                break;
            }
        }
    }
    if let Some(bad) = bad {
        judge(&segments, dir, bad).and_then(|bad| cut(disk, dir, &segments, &bad, &mut found))?;
    } else {
        found.segments = segments.into();
    }
    complete(&found.contents).map_err(|why| {
        let dir = dir.display().to_string();
        Refused::Damaged { dir, file: "its files together".to_owned(), offset: 0, why }
    })?;
    Ok(found)
}

/// The files of the journal in their order. What was only meant to become one is removed.
fn files(disk: &SharedDisk, dir: &Path) -> io::Result<Vec<Segment>> {
    let mut segments = Vec::new();
    for path in disk.list(dir)? {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name == SPARE {
            disk.remove(&path)?;
        } else if name.ends_with(".wal") {
            return Err(Refused::OldFormat { dir: dir.display().to_string(), file: name }.into());
        } else if let Some(start) =
            name.strip_suffix(".log").and_then(|start| u64::from_str_radix(start, 16).ok())
        {
            let file = disk.open(&path)?;
            segments.push(Segment { start, path, file });
        }
    }
    Ok(segments)
}

fn read_all(segment: &Segment) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; segment.file.size()? as usize];
    segment.file.read_exact_at(&mut bytes, 0)?;
    Ok(bytes)
}

/// Takes up the frames of a file; answers what stands in the way, and where.
fn replay<'a>(found: &mut Recovered, segment: &Segment, bytes: &'a [u8], first: bool) -> (u64, Found<'a>) {
    let mut offset = 0;
    loop {
        let at = frame::look(&bytes[offset as usize..], segment.start, offset);
        let Found::Frame { body, .. } = &at else { return (offset, at) };
        let place = Place { at: segment.start + offset, bytes: (AROUND + body.len()) as u32 };
        let taken = match Record::decode(body) {
            Ok(record) => take(&mut found.contents, record, place, first && offset == 0),
            Err(_) => false,
        };
        if !taken {
            return (offset, at);
        }
        offset += u64::from(place.bytes);
        found.end = segment.start + offset;
    }
}

/// Takes up a record; answers whether it fits to what came before.
fn take(contents: &mut Contents, record: Record, place: Place, first: bool) -> bool {
    match record {
        Record::Standing(standing) if first => {
            contents.first = standing.last.map_or(0, |last| last.index + 1);
            contents.standing = standing;
        }
        Record::Standing(standing) => return standing == contents.standing,
        _ if first => return false,
        Record::Entry(entry) if contents.follows(entry.log_id.index) => contents.push(entry.log_id, place),
        Record::Entry(_) => return false,
        Record::Vote(vote) => contents.standing.vote = Some(vote),
        Record::Committed(id) => contents.standing.committed = Some(id),
        Record::Truncate(last) => contents.truncate_after(last),
        Record::Purge(id) => contents.purge(id),
    }
    true
}

fn misfit(contents: &Contents, body: &[u8]) -> String {
    match Record::decode(body) {
        Ok(Record::Entry(entry)) => {
            let last = contents.standing.last.map(|last| last.index);
            format!("entry {} does not follow the one before it, {last:?}", entry.log_id.index)
        }
        Ok(_) => "a record that does not fit to those before it".to_owned(),
        Err(error) => error.to_string(),
    }
}

/// Whether it is a write that nobody was told of.
fn judge(segments: &[Segment], dir: &Path, bad: Bad) -> io::Result<Bad> {
    let segment = &segments[bad.segment];
    let mut synced = 0;
    for later in &segments[bad.segment..] {
        let bytes = read_all(later)?;
        let from = if later.start == segment.start { bad.offset } else { 0 };
        synced = synced.max(frame::highest_synced(&bytes[from as usize..], later.start, from));
    }
    // The first file of a journal is synced before anything is written to it.
    let first = bad.segment == 0 && bad.offset == 0 && segment.start > 0;
    if bad.certain || first || synced > segment.start + bad.offset {
        let file = segment.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let (dir, offset, why) = (dir.display().to_string(), bad.offset, bad.why);
        return Err(Refused::Damaged { dir, file, offset, why }.into());
    }
    Ok(bad)
}

/// Cuts off a torn end, the newest file first, so that nothing has a hole when this is cut short as well.
fn cut(
    disk: &SharedDisk,
    dir: &Path,
    segments: &[Segment],
    bad: &Bad,
    found: &mut Recovered,
) -> io::Result<()> {
    // A file without a single frame goes as well: each begins with how things stand.
    let kept = if bad.offset == 0 { bad.segment } else { bad.segment + 1 };
    for segment in segments[kept..].iter().rev() {
        disk.remove(&segment.path)?;
        disk.sync_dir(dir)?;
    }
    if bad.offset > 0 {
        let segment = &segments[bad.segment];
        let length = segment.file.size()?;
        tracing::info!(file = %segment.path.display(), offset = bad.offset, why = bad.why, "a torn write at the end of the log is cut off");
        segment.file.set_len(bad.offset)?;
        // Only the speed of what comes next depends on it.
        if let Err(error) = segment.file.reserve(length) {
            tracing::debug!(%error, "no space is reserved");
        }
        segment.file.sync()?;
    }
    found.segments = segments[..kept].iter().cloned().collect();
    Ok(())
}

/// Whether each entry that should be there is.
fn complete(contents: &Contents) -> Result<(), String> {
    let (standing, range) = (&contents.standing, contents.range());
    let first = standing.purged.map(|purged| purged.index + 1);
    match (first, standing.last) {
        (Some(first), Some(last)) if last.index + 1 > first && range.start > first => {
            Err(format!("entries {first} to {} are missing", range.start - 1))
        }
        (None, Some(last)) if range.is_empty() => Err(format!("entries up to {} are missing", last.index)),
        _ => Ok(()),
    }
}
