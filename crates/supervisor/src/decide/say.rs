//! The lines that decisions write: what happened, to which group and process, with which limit, and
//! what comes next.

use super::pool::Pool;
use super::process::{Phase, Process};
use super::{Ended, Millis, Out, ProcessId, level};

/// Milliseconds as seconds for a reader.
fn seconds(time: Millis) -> String {
    let tenths = (time + 50) / 100;
    if tenths % 10 == 0 { format!("{} s", tenths / 10) } else { format!("{}.{} s", tenths / 10, tenths % 10) }
}

fn plural(count: u64, one: &str, many: &str) -> String {
    if count == 1 { format!("1 {one}") } else { format!("{count} {many}") }
}

fn requests(count: u32) -> String {
    plural(u64::from(count), "request", "requests")
}

/// The cause without what differs from attempt to attempt (process ids, addresses).
fn essence(cause: &str) -> String {
    let mut out = String::with_capacity(cause.len());
    for character in cause.chars() {
        let character = if character.is_ascii_digit() { '0' } else { character };
        if !(character == '0' && out.ends_with('0')) {
            out.push(character);
        }
    }
    out
}

impl std::fmt::Display for Ended {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Ended::Status(status) => write!(out, "exited with status {status}"),
            Ended::Signal(signal) => write!(out, "killed by {}", wsgi_sys::signal::name(*signal)),
            Ended::Unknown => write!(out, "ended"),
        }
    }
}

impl Process {
    fn pid_text(&self) -> String {
        self.pid.map_or_else(|| "(not started)".to_owned(), |pid| pid.to_string())
    }
}

impl Pool {
    fn line(&self, process: ProcessId, rest: &str) -> String {
        let pid = self.processes.get(&process).map(Process::pid_text).unwrap_or_default();
        format!("process group \"{}\": process {pid} {rest}", self.rules.name)
    }

    pub(super) fn say_started(&self, process: ProcessId, out: &mut Out<'_>) {
        out.log(level::INFO, self.line(process, &format!("started: {}", self.rules.python)));
    }

    pub(super) fn say_ready(&self, process: ProcessId, now: Millis, out: &mut Out<'_>) {
        let Some(it) = self.processes.get(&process) else { return };
        let age = seconds(now.saturating_sub(it.started));
        let text = match self.failures {
            0 => format!("is ready after {age}"),
            failures => {
                let failures = plural(u64::from(failures), "failed attempt", "failed attempts");
                format!("is ready after {age}; {failures} to start came before it")
            }
        };
        let level = if self.failures > 0 { level::WARNING } else { level::INFO };
        out.log(level, self.line(process, &text));
    }

    pub(super) fn say_draining(&self, process: ProcessId, out: &mut Out<'_>) {
        let Some(it) = self.processes.get(&process) else { return };
        let limit = match self.rules.graceful_timeout {
            0 => "without limit".to_owned(),
            limit => format!("up to graceful-timeout={}", seconds(limit)),
        };
        out.log(level::INFO, self.line(process, &format!("is draining {limit}: {}", it.ending)));
    }

    pub(super) fn say_graceful_timeout(&self, process: ProcessId, out: &mut Out<'_>) {
        let Some(it) = self.processes.get(&process) else { return };
        let limit = seconds(self.rules.graceful_timeout);
        let busy = requests(it.in_flight);
        let text =
            format!("still executes {busy} when graceful-timeout={limit} is over; it is stopped ({})", it.ending);
        out.log(level::WARNING, self.line(process, &text));
    }

    pub(super) fn say_shutdown_timeout(&self, process: ProcessId, out: &mut Out<'_>) {
        let limit = seconds(self.rules.shutdown_timeout);
        let text = format!("has not stopped when shutdown-timeout={limit} is over; it gets SIGKILL");
        out.log(level::WARNING, self.line(process, &text));
    }

    pub(super) fn say_violation(&self, process: ProcessId, what: &str, out: &mut Out<'_>) {
        out.log(level::ERROR, self.line(process, &format!("{what}; it gets SIGKILL and is replaced")));
    }

    pub(super) fn say_no_slot(&self, out: &mut Out<'_>) {
        let text = format!(
            "process group \"{}\": no room for a new process until an old one has finished its requests",
            self.rules.name
        );
        out.log(level::WARNING, text);
    }

    /// Says why a process could not start, unless it was said before. Returns whether it was news.
    pub(super) fn say_cannot_start(&mut self, cause: &str, now: Millis, out: &mut Out<'_>) -> bool {
        let key = essence(cause);
        if self.reported.as_ref() == Some(&key) {
            let (name, tries) = (&self.rules.name, self.failures);
            out.log(level::DEBUG, format!("process group \"{name}\": attempt {tries} to start failed as before"));
            return false;
        }
        let rules = &self.rules;
        let from = if rules.python_from.is_empty() { String::new() } else { format!(" ({})", rules.python_from) };
        let until = match self.serving() {
            0 => "requests get 503 until a start succeeds".to_owned(),
            1 => "the running process goes on serving".to_owned(),
            many => format!("the {many} running processes go on serving"),
        };
        let next = self.wait_for_start(now).map_or_else(String::new, |wait| format!("; next try in {}", seconds(wait)));
        let (name, place, python) = (&rules.name, &rules.defined_at, &rules.python);
        out.log(
            level::ERROR,
            format!(
                "process group \"{name}\" (defined at {place}): cannot start {python}{from}: {cause}; {until}{next}"
            ),
        );
        self.reported = Some(key);
        true
    }

    /// The last line about a process that had been ready, or that was stopped before.
    pub(super) fn say_exited(&self, it: &Process, ended: Ended, lost: bool, now: Millis, out: &mut Out<'_>) {
        let (name, pid) = (&self.rules.name, it.pid_text());
        let age = seconds(now.saturating_sub(it.started));
        let age = if it.adopted { format!("{age} after it was found") } else { format!("after {age}") };
        let busy = match it.in_flight {
            0 => "no request in flight".to_owned(),
            count => format!("{} in flight", requests(count)),
        };
        let early = matches!(it.phase, Phase::Draining { .. }) && ended != Ended::Status(0);
        if lost || early {
            let next = match self.wait_for_start(now) {
                _ if !lost => String::new(),
                Some(wait) => format!("; it was not the first in a row, the next start is in {}", seconds(wait)),
                None => "; it is replaced".to_owned(),
            };
            let text = format!("process group \"{name}\": process {pid} was lost: {ended} {age}, {busy}{next}");
            return out.log(level::ERROR, text);
        }
        let why = it.ending;
        let text = format!("process group \"{name}\": process {pid} is gone ({why}): {ended} {age}, {busy}");
        let level = if it.in_flight > 0 { level::WARNING } else { level::INFO };
        out.log(level, text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_counts_read_well() {
        let texts = [0, 1, 1_000, 1_250, 60_000].map(seconds);
        assert_eq!(texts, ["0 s", "0 s", "1 s", "1.3 s", "60 s"]);
        assert_eq!((requests(1), requests(2)), ("1 request".to_owned(), "2 requests".to_owned()));
        assert_eq!(Ended::Signal(11).to_string(), "killed by SIGSEGV");
    }

    #[test]
    fn numbers_make_no_new_cause() {
        assert_eq!(essence("thread 0x7f01 of 123"), essence("thread 0x7f99 of 4"));
        assert_ne!(essence("no module named x"), essence("no module named y"));
    }
}
