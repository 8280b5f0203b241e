//! How a job's memory is shared by its container and its services: all of them together have what the job has, for that is what its
//! node has promised it. A processor is another thing: what one of them does not use the others may, so each may have all. Pure.

use domain::Resources;

use super::Error;

const MIB: u64 = 1 << 20;

/// The resources of a job's own container, then those of each service. A service has the memory that its options name, in bytes;
/// those that name none have equal parts, as the job's container has, of what is left.
///
/// # Errors
/// [`Error::Refused`]: nothing would be left.
pub fn shares(job: Resources, named: &[Option<u64>]) -> Result<(Resources, Vec<Resources>), Error> {
    if job.memory_mib == 0 || named.is_empty() {
        let of = |named: &Option<u64>| Resources { memory_mib: named.map_or(0, mib), ..job };
        return Ok((job, named.iter().map(of).collect()));
    }
    let taken: u64 = named.iter().flatten().map(|bytes| u64::from(mib(*bytes))).sum();
    let unnamed = named.iter().filter(|named| named.is_none()).count() as u64;
    let left = u64::from(job.memory_mib).saturating_sub(taken);
    let each = left / (unnamed + 1);
    if each == 0 {
        let why = format!(
            "its services have {taken} MiB by their --memory, the job has {} in all, and that is for its own container, too: \
             ask for less there, or for more for the job (x-troupe.resources.memory)",
            job.memory_mib
        );
        return Err(Error::Refused { action: "share the job's memory", why });
    }
    let share = |memory: u64| Resources { memory_mib: u32::try_from(memory).unwrap_or(u32::MAX), ..job };
    let services = named.iter().map(|named| share(named.map_or(each, |bytes| u64::from(mib(bytes)))));
    Ok((share(left - each * unnamed), services.collect()))
}

/// Whole ones, rounded up.
fn mib(bytes: u64) -> u32 {
    u32::try_from(bytes.div_ceil(MIB)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn memory(job: u32, named: &[Option<u64>]) -> Result<(u32, Vec<u32>), Error> {
        let job = Resources { cpu_millis: 500, memory_mib: job };
        let (own, services) = shares(job, named)?;
        assert!(services.iter().chain([&own]).all(|share| share.cpu_millis == 500));
        Ok((own.memory_mib, services.into_iter().map(|share| share.memory_mib).collect()))
    }

    #[test]
    fn all_together_have_what_the_job_has() -> Result<(), Error> {
        let (m64, m100) = (Some(64 * MIB), Some(100 * MIB - 1));
        assert_eq!(memory(1000, &[])?, (1000, vec![]));
        assert_eq!(memory(1000, &[None])?, (500, vec![500]));
        assert_eq!(memory(1000, &[None, None])?, (334, vec![333, 333]));
        assert_eq!(memory(1000, &[m64])?, (936, vec![64]));
        assert_eq!(memory(1000, &[m64, None, m100])?, (418, vec![64, 418, 100]));
        assert_eq!(memory(0, &[m64, None])?, (0, vec![64, 0]), "without a limit of the job");
        for named in [&[m100][..], &[m64, None]] {
            let why = memory(65, named).err().map(|e| e.to_string()).unwrap_or_default();
            assert!(why.contains("65 in all"), "{why}");
        }
        Ok(())
    }
}
