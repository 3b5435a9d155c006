//! A daemon process whose supervisor is gone for good: it finishes what it has, within limits. [`super`] calls this.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use wsgi_sys::{poll, process};

use crate::host::daemon::main_thread::Daemon;

/// How often such a process looks around.
const TICK: Duration = Duration::from_millis(100);
/// How long it serves at least.
const GRACE: Duration = Duration::from_secs(3);
/// How long it serves at most, where graceful-timeout sets no limit.
const LIMIT: Duration = Duration::from_secs(15);
/// How long the process may take to end when httpd has ended, where shutdown-timeout sets no limit; the supervisor has
/// the same limit.
const FINAL_WAIT: Duration = Duration::from_secs(3);

/// Timeouts of the group.
#[derive(Debug, Clone, Copy)]
struct Limits {
    graceful: Duration,
    shutdown: Duration,
}

/// Whether the process may end now. All durations are since the supervisor's end.
fn is_done(now: Duration, parent_gone: Option<Duration>, active: usize, connections: usize, limits: Limits) -> bool {
    let is_idle = active == 0 && (connections == 0 || now >= GRACE);
    is_idle || now >= limits.graceful || parent_gone.is_some_and(|since| now >= since + limits.shutdown)
}

impl Daemon {
    fn is_parent_gone(&self) -> bool {
        let Some(watch) = &self.parent_watch else { return !process::exists(self.parent) };
        poll::is_readable(watch.as_fd(), Duration::ZERO)
    }

    /// With `shutdown-timeout=0` nobody is left to end the process once httpd has ended.
    pub(super) fn end_with_parent(&self) {
        if self.config.shutdown_timeout_ms == 0 && self.is_parent_gone() {
            self.watchdog.end_within(FINAL_WAIT);
        }
    }

    /// Serves what connections there are.
    pub(super) fn serve_orphaned(&self) {
        let begin = Instant::now();
        let limits = Limits {
            graceful: match self.config.graceful_timeout_ms {
                0 => LIMIT,
                limit => Duration::from_millis(limit),
            },
            shutdown: Duration::from_millis(self.config.shutdown_timeout_ms),
        };
        let mut parent_gone = None;
        loop {
            let now = begin.elapsed();
            if parent_gone.is_none() && self.is_parent_gone() {
                parent_gone = Some(now);
            }
            if is_done(now, parent_gone, self.threads.active(), self.threads.connections(), limits) {
                return;
            }
            let has_signals = poll::is_readable(self.signals.as_fd(), TICK);
            if self.threads.is_to_end() || (has_signals && self.read_signals()) {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const LIMITS: Limits = Limits { graceful: Duration::from_secs(15), shutdown: Duration::from_secs(5) };

    #[test]
    fn an_orphan_ends_when_idle_but_not_at_once() {
        assert!(is_done(SECOND, None, 0, 0, LIMITS));
        assert!(!is_done(SECOND, None, 0, 3, LIMITS));
        assert!(is_done(3 * SECOND, None, 0, 3, LIMITS));
    }

    #[test]
    fn an_orphan_finishes_its_exchanges_within_limits() {
        assert!(!is_done(14 * SECOND, None, 1, 1, LIMITS));
        assert!(is_done(15 * SECOND, None, 1, 1, LIMITS));
        assert!(!is_done(8 * SECOND, Some(4 * SECOND), 1, 1, LIMITS));
        assert!(is_done(9 * SECOND, Some(4 * SECOND), 1, 1, LIMITS));
    }
}
