//! Clocks: the monotonic one for timers, local time for log lines.

use std::mem::MaybeUninit;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Time since some fixed moment; never goes back, unlike the wall clock.
pub fn monotonic() -> Duration {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: writes `now`; the monotonic clock exists everywhere.
    let _ = unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) };
    Duration::new(u64::try_from(now.tv_sec).unwrap_or(0), u32::try_from(now.tv_nsec).unwrap_or(0))
}

/// Wall-clock time, microseconds since the epoch.
pub fn wall_us() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

/// Processor time of a thread.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ThreadTime {
    /// Spent in the program.
    pub user: Duration,
    /// Spent in the kernel for it.
    pub system: Duration,
}

/// Processor time that the calling thread has used.
pub fn thread_time() -> Option<ThreadTime> {
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: room for the answer.
    if unsafe { libc::getrusage(libc::RUSAGE_THREAD, usage.as_mut_ptr()) } != 0 {
        return None;
    }
    // SAFETY: all fields are integers, for which zero is a value; the call has filled them.
    let usage = unsafe { usage.assume_init() };
    Some(ThreadTime { user: duration(usage.ru_utime), system: duration(usage.ru_stime) })
}

pub(crate) fn duration(time: libc::timeval) -> Duration {
    let part = |number| u64::try_from(number).unwrap_or(0);
    Duration::from_secs(part(time.tv_sec)) + Duration::from_micros(part(time.tv_usec))
}

/// Local time, as log lines show it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LocalTime {
    /// Year.
    pub year: i32,
    /// 0 is January.
    pub month: usize,
    /// Day of the month, from 1.
    pub day: i32,
    /// 0 is Sunday.
    pub weekday: usize,
    /// Hour.
    pub hour: i32,
    /// Minute.
    pub minute: i32,
    /// Second.
    pub second: i32,
}

/// The local time at `seconds` since the epoch.
pub fn local_time(seconds: i64) -> LocalTime {
    let seconds = seconds as libc::time_t;
    let mut parts = MaybeUninit::<libc::tm>::zeroed();
    // SAFETY: both pointers are valid for the call; on failure the zeros stay.
    unsafe { libc::localtime_r(&raw const seconds, parts.as_mut_ptr()) };
    // SAFETY: all fields are integers and a pointer, for which zero is a value.
    let parts = unsafe { parts.assume_init() };
    LocalTime {
        year: parts.tm_year + 1900,
        month: usize::try_from(parts.tm_mon).unwrap_or(0).min(11),
        day: parts.tm_mday,
        weekday: usize::try_from(parts.tm_wday).unwrap_or(0).min(6),
        hour: parts.tm_hour,
        minute: parts.tm_min,
        second: parts.tm_sec,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_run() {
        let first = monotonic();
        assert!(monotonic() >= first);
        let used = thread_time().expect("Linux tells it");
        assert!(used.user + used.system < Duration::from_secs(3600));
        assert!(wall_us() > 1_700_000_000_000_000);
        let year = local_time(wall_us() / 1_000_000).year;
        assert!((2024..2200).contains(&year), "{year}");
    }
}
