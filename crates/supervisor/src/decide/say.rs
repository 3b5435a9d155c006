//! The lines that decisions write: what happened, to which group and process, with which limit, and
//! what comes next.

use wsgi_wire::control::Cause;
use wsgi_wire::messages::{Message, script_not_loaded};

use super::group::Group;
use super::process::{OWN_END, Phase, Process};
use super::{Action, Busy, Ended, Load, Millis, Out, ProcessId, Rules};

/// Why the supervisor ends a process that could not load its script and that waited for the mend. Another process waits
/// in its place, so the log has these lines at level debug only.
pub(super) const ANOTHER_FAILED: &str = "it could not load its script, and another process waits for the mend";

/// Milliseconds as seconds for a reader.
pub fn seconds(time: Millis) -> String {
    let tenths = (time + 50) / 100;
    if tenths % 10 == 0 { format!("{} s", tenths / 10) } else { format!("{}.{} s", tenths / 10, tenths % 10) }
}

/// Bytes for a reader.
fn size(bytes: u64) -> String {
    format!("{} MiB", bytes.div_ceil(1 << 20))
}

/// Why a process is replaced. Where an option sets the limit, the option's name comes first.
pub(super) fn words(cause: Cause) -> &'static str {
    match cause {
        Cause::ScriptReload => "its script has changed",
        Cause::MaximumRequests => "maximum-requests is reached",
        Cause::GracefulSignal | Cause::EvictionSignal => "it got SIGUSR1",
        Cause::InactivityTimeout => "inactivity-timeout is over",
        Cause::RestartInterval => "restart-interval is over",
        Cause::CpuTimeLimit => "cpu-time-limit is reached",
        Cause::MaximumMemory => "maximum-memory is exceeded",
        Cause::RequestTimeout => "request-timeout is over",
        Cause::DeadlockTimeout => "deadlock-timeout is over",
        Cause::StartupTimeout => "startup-timeout is over",
        Cause::IdleTimeout => "idle-timeout is over",
        Cause::NoDescriptor => "it has no descriptor left",
    }
}

fn plural(count: u64, one: &str, many: &str) -> String {
    if count == 1 { format!("1 {one}") } else { format!("{count} {many}") }
}

fn requests(count: u32) -> String {
    plural(u64::from(count), "request", "requests")
}

/// Numbers with up to this many digits tell one cause from another (the line of a file, for example); longer ones are
/// process ids.
const TELLING: usize = 4;

/// The cause without the parts that differ from attempt to attempt: addresses, and numbers with more than `telling`
/// digits.
fn essence(cause: &str, telling: usize) -> String {
    let mut out = String::with_capacity(cause.len());
    let mut rest = cause;
    while let Some(first) = rest.chars().next() {
        let address = rest.strip_prefix("0x").map(|rest| rest.trim_start_matches(|one: char| one.is_ascii_hexdigit()));
        let number = rest.trim_start_matches(|one: char| one.is_ascii_digit());
        let digits = rest.len() - number.len();
        rest = match address {
            Some(after) => {
                out.push_str("0x");
                after
            }
            None if digits > telling => {
                out.push('0');
                number
            }
            None => {
                let length = digits.max(first.len_utf8());
                out.push_str(&rest[..length]);
                &rest[length..]
            }
        };
    }
    out
}

/// The scripts that could not be loaded, as the engine's lines name them, each once.
fn not_loaded(output: &str) -> Option<String> {
    let mut all: Vec<&str> = output.lines().filter_map(script_not_loaded).collect();
    all.dedup();
    (!all.is_empty()).then(|| all.join(", "))
}

/// The line of `output` that names the exception. Advice of the engine may follow it. Without such a line: the last one.
fn exception(output: &str) -> Option<&str> {
    let is_name = |name: &str| name.chars().all(|one| one.is_alphanumeric() || "._".contains(one));
    let names_it = |line: &&str| {
        let name = line.split(':').next();
        name.is_some_and(|name| !name.is_empty() && is_name(name)) && Message::of_line(line).is_none()
    };
    output.lines().rev().find(names_it).or_else(|| output.lines().last())
}

impl Busy {
    fn number(&self) -> String {
        if self.count == 0 { "no request".to_owned() } else { requests(self.count) }
    }

    fn details(&self) -> String {
        if self.oldest.is_empty() {
            return String::new();
        }
        let more = u64::from(self.count).saturating_sub(self.oldest.len() as u64);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        format!(" ({}{more})", self.oldest.join(", "))
    }
}

impl std::fmt::Display for Busy {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{}{}", self.number(), self.details())
    }
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
    pub(super) fn pid_text(&self) -> String {
        self.pid.map_or_else(|| "(not started)".to_owned(), |pid| pid.to_string())
    }

    /// How long it has existed; all log lines count its age in this way.
    fn age(&self, now: Millis) -> String {
        let age = seconds(now.saturating_sub(self.started));
        if self.adopted.is_some() { format!("{age} after it was found") } else { format!("after {age}") }
    }
}

impl Group {
    fn line(&self, process: ProcessId, rest: &str) -> String {
        let pid = self.processes.get(&process).map(Process::pid_text).unwrap_or_default();
        format!("process group \"{}\": process {pid} {rest}", self.rules.name)
    }

    pub(super) fn say_adopted(&self, process: ProcessId, out: &mut Out<'_>) {
        let rest = "was started by the lost supervisor; it serves until a new process takes its place";
        out.info(self.line(process, rest));
    }

    pub(super) fn say_started(&self, process: ProcessId, out: &mut Out<'_>) {
        let python = &self.rules.python;
        out.info(self.line(process, &format!("started{}: {python}", self.reason_to_start(process))));
    }

    fn reason_to_start(&self, process: ProcessId) -> String {
        let left = self.processes.get(&process).map_or("", |it| it.replaces.as_str());
        let replaced = self.processes.values().find_map(|it| {
            let cause = it.retiring.filter(|_| it.phase == Phase::Ready && it.marks.generation == self.generation)?;
            Some(format!(" to replace process {} ({})", it.pid_text(), words(cause)))
        });
        match self.attempts.failures {
            0 if self.old_ones_serve() => {
                let mut old = self.processes.values().filter(|it| it.marks.generation != self.generation);
                let found = old.all(|it| it.adopted.is_some());
                format!(
                    " ({})",
                    if found { "in place of a process of the lost supervisor" } else { "graceful restart" }
                )
            }
            0 if !left.is_empty() => format!(" to replace process {left}"),
            0 => replaced.filter(|_| self.urgent() == 0).unwrap_or_default(),
            failures => format!(" (attempt {})", u64::from(failures) + 1),
        }
    }

    /// `late`: the process was overdue, which counted as a failure.
    pub(super) fn say_ready(&self, process: ProcessId, late: bool, now: Millis, out: &mut Out<'_>) {
        let Some(it) = self.processes.get(&process) else { return };
        let age = seconds(now.saturating_sub(it.started));
        let age = if late { format!("{age}, just before it would have got SIGKILL") } else { age };
        let before = match self.attempts.failures.saturating_sub(u32::from(late)) {
            0 => String::new(),
            failures => {
                let failures = plural(u64::from(failures), "attempt", "attempts");
                format!("; before it {failures} to start failed in {}", seconds(self.attempts.lasted(now)))
            }
        };
        out.info(self.line(process, &format!("is ready after {age}{before}")));
    }

    pub(super) fn say_retiring(&self, process: ProcessId, cause: Cause, now: Millis, out: &mut Out<'_>) {
        let Some(it) = self.processes.get(&process) else { return };
        let next = match cause {
            Cause::RequestTimeout | Cause::DeadlockTimeout | Cause::StartupTimeout => "it takes no more requests",
            _ => "it serves until its replacement is ready",
        };
        // When starts failed, the log said so.
        let warns = self.wait_for_start(now).is_some() && self.attempts.failures == 0;
        let wait = self.words_of_wait(now).unwrap_or_default();
        let text = format!("is to be replaced {}: {}; {next}{wait}", it.age(now), self.words_with_limit(cause));
        let line = self.line(process, &text);
        if warns {
            out.report(Message::ReplacementDelayed, &line);
        } else {
            out.info(line);
        }
    }

    /// As [`words`], with the value of the option.
    fn words_with_limit(&self, cause: Cause) -> String {
        let words = words(cause);
        let limit = self.rules.limits.iter().find(|(of, _)| *of == cause);
        match (limit, words.split_once(' ')) {
            (Some((_, option)), Some((_, rest))) => format!("{option} {rest}"),
            _ => words.to_owned(),
        }
    }

    /// Why the next start is delayed, and when it comes.
    fn words_of_wait(&self, now: Millis) -> Option<String> {
        let why = if self.attempts.failures > 0 {
            "a start has failed"
        } else {
            "several in a row ended soon after they were ready"
        };
        self.wait_for_start(now).map(|wait| format!("; {why}, the next start is in {}", seconds(wait)))
    }

    pub(super) fn say_draining(&self, process: ProcessId, now: Millis, out: &mut Out<'_>) {
        let Some(it) = self.processes.get(&process) else { return };
        let limit = match self.drain_limit(it.retiring) {
            (_, 0) => "without limit".to_owned(),
            (option, limit) => format!("up to {option}={}", seconds(limit)),
        };
        let why = match it.retiring {
            Some(cause) if words(cause) == it.ending => self.words_with_limit(cause),
            _ => it.ending.to_owned(),
        };
        let text = format!("is draining {limit}: {why}, {}", it.age(now));
        let line = self.line(process, &text);
        if it.ending == ANOTHER_FAILED {
            out.debug(line);
        } else {
            out.info(line);
        }
    }

    pub(super) fn say_drain_limit(&self, process: ProcessId, out: &mut Out<'_>) {
        let Some(it) = self.processes.get(&process) else { return };
        let (option, limit) = self.drain_limit(it.retiring);
        let (busy, limit) = (&it.busy, seconds(limit));
        let text = format!("still executes {busy} when {option}={limit} is over; it is stopped ({})", it.ending);
        out.report(Message::DrainTimeout, &self.line(process, &text));
    }

    pub(super) fn say_shutdown_timeout(&self, process: ProcessId, out: &mut Out<'_>) {
        let limit = seconds(self.rules.shutdown_timeout);
        let text = format!("has not stopped when shutdown-timeout={limit} is over; it gets SIGKILL");
        out.report(Message::ShutdownTimeout, &self.line(process, &text));
    }

    pub(super) fn say_violation(&self, process: ProcessId, what: &str, out: &mut Out<'_>) {
        out.report(Message::Violation, &self.line(process, &format!("{what}; it gets SIGKILL and is replaced")));
    }

    pub(super) fn say_no_slot(&self, out: &mut Out<'_>) {
        let text = format!(
            "process group \"{}\": no new process can start until an old one has finished its requests and ended",
            self.rules.name
        );
        out.report(Message::NoSlot, &text);
    }

    /// Which processes serve meanwhile.
    fn meanwhile(&self) -> String {
        match self.serving() {
            0 => "requests get 503 until a start succeeds".to_owned(),
            1 => "kept the running version: the running process goes on serving".to_owned(),
            many => format!("kept the running version: the {many} running processes go on serving"),
        }
    }

    fn next_try(&self, now: Millis) -> String {
        self.wait_for_start(now).map_or_else(String::new, |wait| format!("; next try in {}", seconds(wait.max(100))))
    }

    /// The line about the start of the attempt was an info line, so this one is too.
    fn say_again(&self, now: Millis, out: &mut Out<'_>) {
        let (name, tries, next) = (&self.rules.name, self.attempts.failures, self.next_try(now));
        out.info(format!("process group \"{name}\": attempt {tries} to start failed as before{next}"));
    }

    /// Says why a process could not start, unless the log says so already. Returns whether it was news.
    pub(super) fn say_cannot_start(&mut self, message: Message, cause: &str, now: Millis, out: &mut Out<'_>) -> bool {
        cause.clone_into(&mut self.trouble);
        if !self.attempts.is_news(essence(cause, 0)) {
            self.say_again(now, out);
            return false;
        }
        let rules = &self.rules;
        let from = if rules.python_from.is_empty() { String::new() } else { format!(" ({})", rules.python_from) };
        let (name, place, python) = (&rules.name, &rules.defined_at, &rules.python);
        let (until, next) = (self.meanwhile(), self.next_try(now));
        let text = format!(
            "process group \"{name}\" (defined at {place}): cannot start {python}{from}: {cause}; {until}{next}"
        );
        out.report(message, &text);
        true
    }

    /// Whether the last failure in the log is another one than this: a process that could not load its script, with
    /// these words.
    pub(super) fn is_news_of_loading(&mut self, output: &str) -> bool {
        self.attempts.is_news(format!("not loaded: {}", essence(output, TELLING)))
    }

    /// A process could not load its script. The output of the process is in the log.
    pub(super) fn say_not_loaded(
        &mut self,
        process: ProcessId,
        output: &str,
        news: bool,
        now: Millis,
        out: &mut Out<'_>,
    ) {
        let cause = exception(output).unwrap_or("its output says why");
        self.trouble = format!("could not load {}: {cause}", self.scripts());
        if !news {
            return self.say_again(now, out);
        }
        let until = match self.serving() {
            0 => "requests get 500 until a process can load it".to_owned(),
            _ => self.meanwhile(),
        };
        let next = format!("{}, or when one of its files changes", self.next_try(now));
        let scripts = not_loaded(output).unwrap_or_else(|| self.scripts().to_owned());
        let text = format!("could not load {scripts}: {cause}; {until}{next}");
        out.report(Message::NotLoaded, &self.line(process, &text));
    }

    fn scripts(&self) -> &str {
        if self.rules.scripts.is_empty() { "its scripts" } else { &self.rules.scripts }
    }

    /// What a process does before it is ready.
    fn before_ready(&self) -> String {
        let warmup = &self.rules.warmup;
        let asked = if warmup.is_empty() { String::new() } else { format!(", or answers warmup={warmup}") };
        format!("loads {}{asked}", self.scripts())
    }

    /// Why the supervisor gives up a process that is starting.
    pub(super) fn words_of_overdue(&self, it: &Process, why: &str, now: Millis) -> String {
        let (pid, age) = (it.pid_text(), seconds(now.saturating_sub(it.started)));
        let limit = match self.rules.startup_timeout {
            limit if limit > 0 && why != words(Cause::DeadlockTimeout) => {
                format!("when startup-timeout={} is over", seconds(limit))
            }
            _ => format!("({why})"),
        };
        format!(
            "process {pid} is not ready after {age} {limit}, while it {}; the log gets the stacks of its threads, and the process gets SIGKILL unless it is ready within {}",
            self.before_ready(),
            seconds(OWN_END)
        )
    }

    /// A start takes long, and nothing limits it.
    pub(super) fn say_slow(&self, process: ProcessId, now: Millis, out: &mut Out<'_>) {
        let Some(it) = self.processes.get(&process) else { return };
        let age = seconds(now.saturating_sub(it.started));
        let text = format!(
            "is not ready after {age}, while it {}; the supervisor waits for it without limit (startup-timeout= sets one)",
            self.before_ready()
        );
        out.report(Message::SlowStart, &self.line(process, &text));
        out.push(Action::Output { process, show: true });
    }

    pub(super) fn say_large(&self, process: ProcessId, bytes: u64, out: &mut Out<'_>) {
        let text =
            format!("has a resident set of {}, above maximum-memory={}", size(bytes), size(self.rules.maximum_memory));
        out.info(self.line(process, &text));
    }

    pub(super) fn say_limit_too_small(&self, process: ProcessId, bytes: u64, life: Millis, out: &mut Out<'_>) {
        let text = format!(
            "has a resident set of {}, above maximum-memory={}, only {} after it was ready: the limit is too small for the application; further replacements for it are 1 s to 60 s apart",
            size(bytes),
            size(self.rules.maximum_memory),
            seconds(life)
        );
        out.report(Message::MemoryLimitTooSmall, &self.line(process, &text));
    }

    pub(super) fn say_grows(&self, more: u32, load: &Load, out: &mut Out<'_>) {
        let Load { busy, threads, waiting, .. } = load;
        let more = plural(u64::from(more), "more process", "more processes");
        let text = format!(
            "process group \"{}\": {busy} of {threads} request threads are busy, {} waiting; the group gets {more} (max-processes={})",
            self.rules.name,
            requests(*waiting),
            self.rules.max
        );
        out.info(text);
    }

    pub(super) fn say_wakes(&self, out: &mut Out<'_>) {
        let Rules { name, max, .. } = &self.rules;
        let text = format!(
            "process group \"{name}\": a request waits and no process runs; the group gets 1 process (max-processes={max})"
        );
        out.info(text);
    }

    /// The last line about a process that had been ready, or that the supervisor stopped before it was.
    pub(super) fn say_exited(&self, it: &Process, ended: Ended, lost: bool, now: Millis, out: &mut Out<'_>) {
        let (name, pid) = (&self.rules.name, it.pid_text());
        let age = it.age(now);
        let busy = format!("{} in flight{}", it.busy.number(), it.busy.details());
        let stuck = matches!(it.retiring, Some(Cause::RequestTimeout | Cause::DeadlockTimeout | Cause::StartupTimeout));
        let early = matches!(it.phase, Phase::Draining { .. }) && ended != Ended::Status(0) && !stuck;
        // The process of a service ended because its script did, so it was not lost.
        let lost = lost && !(self.rules.threads == 0 && ended == Ended::Status(0));
        if lost || early {
            let next =
                if lost { self.words_of_wait(now).unwrap_or("; it is replaced".to_owned()) } else { String::new() };
            let text = format!("process group \"{name}\": process {pid} was lost: {ended} {age}, {busy}{next}");
            return out.report(Message::ProcessLost, &text);
        }
        let why = if it.ending.is_empty() { "its script has ended" } else { it.ending };
        // Nothing in flight says only that httpd's children have given up what the process may still have executed.
        let busy = if it.busy.count == 0 { String::new() } else { format!(", {busy}") };
        let text = format!("process group \"{name}\": process {pid} is gone ({why}): {ended} {age}{busy}");
        match it.busy.count {
            1.. => out.report(Message::EndedWithRequests, &text),
            0 if why == ANOTHER_FAILED => out.debug(text),
            0 => out.info(text),
        }
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
    fn what_is_in_flight_is_named() {
        let busy = |count, oldest: &[&str]| Busy { count, oldest: oldest.iter().map(|&one| one.to_owned()).collect() };
        assert_eq!(busy(0, &[]).to_string(), "no request");
        assert_eq!(busy(1, &["GET /x for 3 s"]).to_string(), "1 request (GET /x for 3 s)");
        assert_eq!(busy(3, &["GET /x for 3 s"]).to_string(), "3 requests (GET /x for 3 s and 2 more)");
    }

    #[test]
    fn the_exception_is_named_and_not_the_advice_after_it() {
        let output = "WSGI0110: Unable to execute Python script file '/a'.\nWSGI0174: ModuleNotFoundError exception raised\nTraceback (most recent call last):\n  File \"/a\"\nModuleNotFoundError: No module named 'x'\n/usr/bin/python3 looked for the module (the default); sys.path was []";
        assert_eq!(exception(output), Some("ModuleNotFoundError: No module named 'x'"));
        assert_eq!(exception("bottle.BottleException: two\n  lines, and more"), Some("bottle.BottleException: two"));
        assert_eq!((exception("no exception at all"), exception("")), (Some("no exception at all"), None));
    }

    #[test]
    fn numbers_make_no_new_cause() {
        assert_eq!(essence("thread 0x7f01 of 123", 0), essence("thread 0x7a of 4", 0));
        assert_ne!(essence("no module named x", 0), essence("no module named y", 0));
        assert_ne!(essence("line 12", TELLING), essence("line 13", TELLING));
        assert_eq!(essence("process 12345 é", TELLING), essence("process 1234567 é", TELLING));
    }
}
