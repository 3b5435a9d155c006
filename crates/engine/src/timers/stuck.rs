//! The watchdog's decisions: which request has overrun its time, and what follows; when a process that gives up has
//! nothing left to wait for; and whether threads still get the GIL. Pure; times are of the monotonic clock.

#![forbid(unsafe_code)]

use std::time::Duration;

use wsgi_wire::config::GroupConfig;

/// If a look comes so much later than the look before, the whole process was stopped meanwhile.
const STOPPED: Duration = Duration::from_secs(5);

/// Milliseconds of an option, where 0 is "off".
fn limit(ms: u64) -> Option<Duration> {
    (ms > 0).then(|| Duration::from_millis(ms))
}

/// Timeouts of the group.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limits {
    /// `request-timeout`.
    pub request: Option<Duration>,
    /// `request-timeout` as it applies: as in mod_wsgi it grows with the number of threads, times 1 + ln(threads).
    pub scaled: Option<Duration>,
    /// `interrupt-timeout`.
    pub interrupt: Option<Duration>,
    /// `graceful-timeout`.
    pub graceful: Option<Duration>,
    /// `shutdown-timeout`.
    pub shutdown: Option<Duration>,
    /// `deadlock-timeout`.
    pub deadlock: Option<Duration>,
    /// `startup-timeout`.
    pub startup: Option<Duration>,
}

impl Limits {
    /// Those of a configuration.
    pub fn new(config: &GroupConfig) -> Limits {
        let request = limit(config.request_timeout_ms);
        let factor = 1.0 + f64::from(config.threads.max(1)).ln();
        Limits {
            request,
            scaled: request.map(|time| time.mul_f64(factor)),
            interrupt: limit(config.interrupt_timeout_ms),
            graceful: limit(config.graceful_timeout_ms),
            shutdown: limit(config.shutdown_timeout_ms),
            deadlock: limit(config.deadlock_timeout_ms),
            startup: limit(config.startup_timeout_ms),
        }
    }

    /// Whether there is anything to look for.
    pub fn any(&self) -> bool {
        self.request.is_some() || self.deadlock.is_some() || self.startup.is_some()
    }

    /// Whether a process that is about to end waits for a request of this age. It does not wait for a request that is
    /// older than `request-timeout` plus `interrupt-timeout`. Here `request-timeout` does not grow with the number of
    /// threads.
    pub fn counts(&self, age: Duration) -> bool {
        self.request.is_none_or(|request| age <= request + self.interrupt.unwrap_or_default())
    }

    /// Whether a process that has taken no requests for the time `since` may stop waiting for its running requests,
    /// which have these ages.
    pub fn is_drained(&self, ages: &[Duration], since: Duration) -> bool {
        let is_late = self.graceful.is_none_or(|graceful| since >= graceful);
        is_late || !ages.iter().any(|age| self.counts(*age))
    }
}

/// A request, by its thread and its number there.
pub type Id = (u32, u64);

/// A request that is being executed, as far as it matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// Which.
    pub id: Id,
    /// For how long.
    pub age: Duration,
    /// It waits for its client to send more of its body, and has not begun to respond.
    pub waits: bool,
}

/// What a look at the requests calls for.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// These have overrun, and the watchdog must interrupt them now.
    pub interrupt: Vec<Id>,
    /// These have overrun because their clients are slow. The watchdog must end them alone, and not their process.
    pub cut: Vec<Id>,
    /// These have overrun, and nothing is left to try.
    pub lost: Vec<Id>,
    /// No running request was interrupted or lost before, so the watchdog must show the stacks.
    pub begins: bool,
}

/// How long a request thread may take to notice that the watchdog has ended its request alone.
const NOTICE: Duration = Duration::from_secs(1);

/// What was done about a request that has overrun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Done {
    /// It was interrupted, at this age.
    Interrupted(Duration),
    /// It was ended alone, at this age.
    Cut(Duration),
    /// It was given up.
    Lost,
}

/// Requests that have overrun `request-timeout`.
#[derive(Debug, Default)]
pub struct Overruns {
    known: Vec<(Id, Done)>,
}

impl Overruns {
    fn done(&self, id: Id) -> Option<Done> {
        self.known.iter().find(|(other, _)| *other == id).map(|(_, done)| *done)
    }

    fn note(&mut self, id: Id, done: Done) {
        self.known.retain(|(other, _)| *other != id);
        self.known.push((id, done));
    }

    /// Looks at what is being executed.
    pub fn look(&mut self, limits: &Limits, running: &[Seen]) -> Found {
        let mut found = Found::default();
        let Some(limit) = limits.scaled else { return found };
        self.known.retain(|(id, _)| running.iter().any(|seen| seen.id == *id));
        found.begins = !self.known.iter().any(|(_, done)| matches!(done, Done::Interrupted(_) | Done::Lost));
        for Seen { id, age, waits } in running.iter().copied().filter(|seen| seen.age > limit) {
            let done = match (self.done(id), limits.interrupt) {
                (Some(Done::Lost), _) => continue,
                (Some(Done::Interrupted(then)), Some(time)) if age <= then + time => continue,
                (Some(Done::Cut(then)), _) if age <= then + NOTICE => continue,
                (None, _) if waits => Done::Cut(age),
                (None | Some(Done::Cut(_)), Some(_)) => Done::Interrupted(age),
                _ => Done::Lost,
            };
            self.note(id, done);
            match done {
                Done::Interrupted(_) => found.interrupt.push(id),
                Done::Cut(_) => found.cut.push(id),
                Done::Lost => found.lost.push(id),
            }
        }
        found.begins &= !(found.interrupt.is_empty() && found.lost.is_empty());
        found
    }

    /// How long the watchdog has nothing to look for: until the next of these requests can overrun, or has used up the
    /// time that it was given. A request that has yet to come has longer than `most`.
    pub fn wait(&self, limits: &Limits, running: &[Seen], most: Duration) -> Duration {
        let Some(limit) = limits.scaled else { return most };
        let left = running.iter().filter_map(|seen| {
            let end = match self.done(seen.id) {
                None => limit,
                Some(Done::Interrupted(then)) => then + limits.interrupt.unwrap_or_default(),
                Some(Done::Cut(then)) => then + NOTICE,
                Some(Done::Lost) => return None,
            };
            // A moment more, so that the request is then over the limit, and not just at it.
            Some(end.saturating_sub(seen.age) + Duration::from_millis(1))
        });
        left.fold(most, Duration::min)
    }
}

/// Whether threads that want the GIL still get it.
#[derive(Debug, Default)]
pub struct Pulse {
    looked: Duration,
    /// Silence counts from here at the earliest.
    from: Duration,
}

impl Pulse {
    /// How long no thread has got the GIL, when that is longer than `limit`. `had`: when a thread last got it. Time in
    /// which the process was stopped (SIGSTOP, a debugger) does not count.
    pub fn look(&mut self, limit: Option<Duration>, now: Duration, had: Duration) -> Option<Duration> {
        if now.saturating_sub(self.looked) > STOPPED {
            self.from = now;
        }
        self.looked = now;
        let silent = now.saturating_sub(had.max(self.from));
        limit.filter(|limit| silent > *limit).map(|_| silent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    fn limits(request: u64, interrupt: u64) -> Limits {
        Limits {
            request: limit(request * 1000),
            scaled: limit(request * 1000),
            interrupt: limit(interrupt * 1000),
            graceful: Some(seconds(15)),
            shutdown: Some(seconds(5)),
            deadlock: None,
            startup: None,
        }
    }

    fn seen(id: Id, age: u64) -> Seen {
        Seen { id, age: seconds(age), waits: false }
    }

    fn found(interrupt: &[Id], cut: &[Id], lost: &[Id], begins: bool) -> Found {
        Found { interrupt: interrupt.to_vec(), cut: cut.to_vec(), lost: lost.to_vec(), begins }
    }

    #[test]
    fn without_interruption_an_overrun_is_lost_at_once_and_told_once() {
        let (mut overruns, limits) = (Overruns::default(), limits(10, 0));
        assert_eq!(overruns.look(&limits, &[seen((1, 1), 10)]), Found::default());
        let both = [seen((1, 1), 11), seen((2, 5), 3)];
        assert_eq!(overruns.look(&limits, &both), found(&[], &[], &[(1, 1)], true));
        assert_eq!(overruns.look(&limits, &both), Found::default());
        // The next one overruns while the process waits for it.
        let both = [seen((1, 1), 19), seen((2, 5), 11)];
        assert_eq!(overruns.look(&limits, &both), found(&[], &[], &[(2, 5)], false));
    }

    #[test]
    fn an_interrupted_request_has_its_time_and_is_interrupted_once() {
        let (mut overruns, limits) = (Overruns::default(), limits(10, 4));
        assert_eq!(overruns.look(&limits, &[seen((1, 1), 12)]), found(&[(1, 1)], &[], &[], true));
        assert_eq!(overruns.look(&limits, &[seen((1, 1), 16)]), Found::default());
        // Another one overruns meanwhile: the stacks have been shown.
        let both = [seen((1, 1), 16), seen((2, 1), 11)];
        assert_eq!(overruns.look(&limits, &both), found(&[(2, 1)], &[], &[], false));
        let both = [seen((1, 1), 17), seen((2, 1), 12)];
        assert_eq!(overruns.look(&limits, &both), found(&[], &[], &[(1, 1)], false));
    }

    #[test]
    fn when_all_have_ended_the_next_overrun_shows_stacks_again() {
        let (mut overruns, limits) = (Overruns::default(), limits(10, 4));
        assert!(overruns.look(&limits, &[seen((1, 1), 12)]).begins);
        assert!(!overruns.look(&limits, &[seen((1, 2), 1)]).begins);
        assert!(overruns.look(&limits, &[seen((1, 2), 12)]).begins);
    }

    #[test]
    fn a_request_that_waits_for_its_client_is_ended_alone_unless_it_goes_on() {
        let goes_on = [(0, found(&[], &[], &[(1, 1)], true)), (4, found(&[(1, 1)], &[], &[], true))];
        for (interrupt, follows) in goes_on {
            let (mut overruns, limits) = (Overruns::default(), limits(10, interrupt));
            let waiting = |age| [Seen { waits: true, ..seen((1, 1), age) }];
            assert_eq!(overruns.look(&limits, &waiting(11)), found(&[], &[(1, 1)], &[], false));
            assert_eq!(overruns.look(&limits, &waiting(12)), Found::default());
            assert_eq!(overruns.wait(&limits, &waiting(12), seconds(1)), Duration::from_millis(1));
            assert_eq!(overruns.look(&limits, &[seen((1, 1), 13)]), follows);
        }
    }

    #[test]
    fn nothing_is_looked_for_without_the_option() {
        let (mut overruns, limits) = (Overruns::default(), limits(0, 4));
        assert_eq!(overruns.look(&limits, &[seen((1, 1), 999)]), Found::default());
        assert_eq!(overruns.wait(&limits, &[seen((1, 1), 999)], seconds(1)), seconds(1));
    }

    #[test]
    fn the_next_look_is_when_the_next_request_can_be_over() {
        let (mut overruns, limits) = (Overruns::default(), limits(10, 4));
        let moment = Duration::from_millis(1);
        assert_eq!(overruns.wait(&limits, &[seen((1, 1), 2)], seconds(1)), seconds(1));
        let near = Seen { age: Duration::from_millis(9_800), ..seen((1, 1), 0) };
        assert_eq!(overruns.wait(&limits, &[near], seconds(1)), Duration::from_millis(200) + moment);
        overruns.look(&limits, &[seen((1, 1), 11)]);
        assert_eq!(overruns.wait(&limits, &[seen((1, 1), 11)], seconds(1)), seconds(1));
        assert_eq!(overruns.wait(&limits, &[seen((1, 1), 15)], seconds(1)), moment);
        overruns.look(&limits, &[seen((1, 1), 16)]);
        assert_eq!(overruns.wait(&limits, &[seen((1, 1), 16)], seconds(1)), seconds(1));
    }

    #[test]
    fn siblings_are_waited_for_unless_they_are_too_old_themselves() {
        let limits = limits(10, 4);
        assert!(limits.is_drained(&[], seconds(0)));
        assert!(limits.is_drained(&[seconds(15)], seconds(0)));
        assert!(!limits.is_drained(&[seconds(15), seconds(14)], seconds(0)));
        assert!(limits.is_drained(&[seconds(1)], seconds(15)));
        assert!(Limits { graceful: None, ..limits }.is_drained(&[seconds(1)], seconds(0)));
    }

    #[test]
    fn a_process_that_was_stopped_is_no_deadlock() {
        let mut pulse = Pulse::default();
        let limit = Some(seconds(3));
        assert_eq!(pulse.look(limit, seconds(100), seconds(99)), None);
        assert_eq!(pulse.look(limit, seconds(101), seconds(99)), None);
        assert_eq!(pulse.look(limit, seconds(104), seconds(99)), Some(seconds(4)));
        assert_eq!(pulse.look(None, seconds(104), seconds(99)), None);
        assert_eq!(pulse.look(limit, seconds(200), seconds(104)), None, "stopped meanwhile");
        assert_eq!(pulse.look(limit, seconds(204), seconds(104)), Some(seconds(4)));
    }
}
