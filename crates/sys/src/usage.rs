//! What this process has used: processor time and memory, for the metrics of applications.

use std::fs;
use std::mem::MaybeUninit;
use std::time::Duration;

use crate::clock::duration;

/// What this process has used until now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Processor time spent in the program.
    pub user: Duration,
    /// Processor time spent in the kernel for it.
    pub system: Duration,
    /// The largest resident set that it had, bytes.
    pub largest: u64,
}

/// What this process has used.
pub fn of_process() -> Usage {
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: room for the answer; on failure the zeros stay.
    let _ = unsafe { libc::getrusage(libc::RUSAGE_SELF, usage.as_mut_ptr()) };
    // SAFETY: all fields are integers, for which zero is a value.
    let usage = unsafe { usage.assume_init() };
    Usage {
        user: duration(usage.ru_utime),
        system: duration(usage.ru_stime),
        largest: u64::try_from(usage.ru_maxrss).unwrap_or(0) << 10,
    }
}

/// The resident set of this process now, bytes; 0 when the system does not tell.
pub fn resident() -> u64 {
    let pages = fs::read_to_string("/proc/self/statm").ok().and_then(|text| pages(&text));
    // SAFETY: takes a number.
    let size = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    pages.unwrap_or(0) * u64::try_from(size).unwrap_or(0)
}

/// The resident set in proc(5)'s `statm`, in pages.
fn pages(statm: &str) -> Option<u64> {
    statm.split_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_uses_something() {
        let (usage, resident) = (of_process(), resident());
        assert!(usage.largest > 100 << 10 && resident > 100 << 10, "{usage:?} {resident}");
        assert_eq!(pages("2500 1200 900 10 0 300 0\n"), Some(1200));
        assert_eq!(pages(""), None);
    }
}
