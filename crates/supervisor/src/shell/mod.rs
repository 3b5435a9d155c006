//! The part of the supervisor that acts: it waits for what can happen, turns it into events, and executes the actions
//! with which [`crate::decide`] answers. Nothing here waits for something that a daemon process, a child or a log
//! controls.

mod actions;
mod clock;
mod inherited;
mod load;
mod metrics;
mod parent;
mod process;
mod sandbox;
pub(crate) mod start;
mod store;
mod watch;

use std::collections::{BTreeMap, VecDeque};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use wsgi_sys::fd;
use wsgi_sys::poll::{PollFd, poll};
use wsgi_sys::process::Limit;
use wsgi_sys::scoreboard::Scoreboard;
use wsgi_wire::config::GroupConfig;
use wsgi_wire::engines::Engines;
use wsgi_wire::messages::Message;

use crate::decide::{Event, GroupId, Millis, ProcessId, State, decide, level};
use crate::log::Log;
use clock::Clock;
use metrics::Asking;
use process::{Output, Process};
use store::Store;

/// How long the loop sleeps when poll fails.
const NO_POLL: Duration = Duration::from_millis(20);
/// How often the supervisor looks at groups that may grow or shrink.
const SAMPLE: Duration = Duration::from_millis(100);
/// How many descriptors are kept in reserve: as many as come with one message, and some more.
const SPARE: usize = 4;
/// How often the supervisor looks at the rest.
const LOOK: Duration = Duration::from_secs(1);

/// A process group's configuration, scoreboard and log.
struct GroupEntry {
    config: GroupConfig,
    board: Scoreboard,
    log: Log,
    /// Requests that its processes had answered at the last look.
    served: u64,
}

/// The children of one configuration. They and httpd's parent hold the writing end of this pipe, so the supervisor sees
/// when all of them are gone.
struct Holder {
    pipe: OwnedFd,
    groups: Vec<GroupId>,
}

/// The descriptors that the supervisor starts with.
#[derive(Debug)]
pub struct Given {
    /// The socket to httpd's parent.
    pub parent: OwnedFd,
    /// The socket on which httpd's children send.
    pub children: OwnedFd,
    /// The engines' files.
    pub engines: Engines<OwnedFd>,
    /// The two ends of the [`Store`]: messages go into the first and come out of the second.
    pub store: (OwnedFd, OwnedFd),
    /// httpd's standard error.
    pub errors: OwnedFd,
    /// The pipe that tells of signals, one byte each.
    pub signals: OwnedFd,
}

/// Everything that the loop works with.
pub struct Shell {
    state: State,
    events: VecDeque<Event>,
    groups: BTreeMap<GroupId, GroupEntry>,
    processes: BTreeMap<ProcessId, Process>,
    outputs: BTreeMap<ProcessId, Output>,
    parent: Option<OwnedFd>,
    /// `None` once it has failed, which means that httpd is gone.
    children: Option<OwnedFd>,
    engines: Engines<OwnedFd>,
    store: Store,
    signals: OwnedFd,
    log: Log,
    pending: Option<parent::Pending>,
    /// Configurations that still have children, by number.
    holders: BTreeMap<u64, Holder>,
    parent_pid: i32,
    /// Descriptors in reserve. The supervisor closes them before it receives descriptors, so that there is room for the
    /// new ones even when the limit is reached. If there is no room for a descriptor, it is lost with its message.
    spare: Vec<OwnedFd>,
    /// Readable when httpd's parent has ended.
    parent_watch: Option<OwnedFd>,
    /// The process that started the supervisor: httpd's parent, normally.
    first_ppid: u32,
    /// The processes that want to know what httpd's scoreboard says.
    asking: Asking,
    clock: Clock,
    next_look: Millis,
    next_sample: Millis,
    /// Before this moment the supervisor does not say again that a child's descriptor was lost.
    next_complaint: Millis,
    /// The supervisor has taken over a configuration. Before that it cannot tell to which process a connection belongs.
    configured: bool,
    /// The log says already that the store is full.
    store_failed: bool,
    done: bool,
}

/// Which descriptor in the wait list it is.
#[derive(Debug, Clone, Copy)]
enum Source {
    Signals,
    Parent,
    ParentWatch,
    Children,
    /// Ends when the children of a configuration are gone.
    Holder(u64),
    Executed(ProcessId),
    Control(ProcessId),
    Output(ProcessId),
    Watch(ProcessId),
}

fn millis(time: Duration) -> Millis {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

impl Shell {
    /// A supervisor that knows nothing yet.
    pub fn new(given: Given) -> Shell {
        let Given { parent, children, engines, store, errors, signals } = given;
        Shell {
            state: State::default(),
            events: VecDeque::new(),
            groups: BTreeMap::new(),
            processes: BTreeMap::new(),
            outputs: BTreeMap::new(),
            parent: Some(parent),
            children: Some(children),
            engines,
            store: Store::new(store, Limit::open_files()),
            signals,
            log: Log::new(errors, level::INFO),
            pending: None,
            holders: BTreeMap::new(),
            parent_pid: 0,
            spare: Vec::new(),
            parent_watch: None,
            first_ppid: std::os::unix::process::parent_id(),
            asking: Asking::default(),
            clock: Clock::new(),
            next_look: 0,
            next_sample: 0,
            next_complaint: 0,
            configured: false,
            store_failed: false,
            done: false,
        }
    }

    /// Runs until everything has ended.
    pub fn run(&mut self) {
        while !self.done {
            self.keep_spare();
            let patience = self.patience();
            for (source, readable, writable) in self.wait(patience) {
                self.attend(source, readable, writable);
            }
            if let Some(gap) = self.clock.round(millis(patience)) {
                self.report(
                    Message::Stood,
                    &format!(
                        "supervisor: it did not run for {} s (somebody stopped it, or the machine slept); it goes on",
                        gap / 1_000
                    ),
                );
            }
            self.look();
            self.events.push_back(Event::Tick);
            self.decide();
        }
    }

    /// Fills the reserve of descriptors again, as far as the system has any left.
    fn keep_spare(&mut self) {
        while self.spare.len() < SPARE {
            let Ok(copy) = fd::duplicate(self.signals.as_fd(), 3) else { return };
            self.spare.push(copy);
        }
    }

    /// Decides about all events, and about the events that come of these decisions.
    fn decide(&mut self) {
        while let Some(event) = self.events.pop_front() {
            for action in decide(&mut self.state, event, self.clock.now()) {
                self.execute(action);
            }
        }
        // Children tell clients how long the wait is.
        for (group, wait) in self.state.next_starts(self.clock.now()) {
            if let Some(entry) = self.groups.get(&group) {
                entry.board.set_next_start(wait.map(Duration::from_millis));
            }
        }
    }

    fn sources(&self) -> Vec<(Source, BorrowedFd<'_>, bool)> {
        let mut all = vec![(Source::Signals, self.signals.as_fd(), false)];
        let children = self.children.as_ref().filter(|_| self.configured);
        all.extend(children.map(|fd| (Source::Children, fd.as_fd(), false)));
        all.extend(self.parent.as_ref().map(|fd| (Source::Parent, fd.as_fd(), false)));
        all.extend(self.parent_watch.as_ref().map(|fd| (Source::ParentWatch, fd.as_fd(), false)));
        all.extend(self.holders.iter().map(|(number, it)| (Source::Holder(*number), it.pipe.as_fd(), false)));
        for (id, process) in &self.processes {
            all.extend(process.spawned.as_ref().map(|spawned| (Source::Executed(*id), spawned.report(), false)));
            let waiting = process.has_waiting();
            all.extend(process.control.as_ref().map(|fd| (Source::Control(*id), fd.as_fd(), waiting)));
            all.extend(process.watch.as_ref().map(|fd| (Source::Watch(*id), fd.as_fd(), false)));
        }
        for (id, output) in &self.outputs {
            all.extend(output.fd.as_ref().map(|fd| (Source::Output(*id), fd.as_fd(), false)));
        }
        all
    }

    /// Waits until something happens; returns what.
    fn wait(&self, patience: Duration) -> Vec<(Source, bool, bool)> {
        let sources = self.sources();
        let mut fds: Vec<PollFd<'_>> =
            sources.iter().map(|(_, fd, writable)| PollFd::new(*fd, true, *writable)).collect();
        match poll(&mut fds, Some(patience)) {
            Ok(_) => {
                let ready = sources.iter().zip(&fds).filter(|(_, fd)| fd.readable() || fd.writable());
                ready.map(|((source, _, _), fd)| (*source, fd.readable(), fd.writable())).collect()
            }
            // poll fails only for lack of memory. What the supervisor does by time goes on.
            Err(_) => {
                std::thread::sleep(NO_POLL);
                Vec::new()
            }
        }
    }

    fn patience(&self) -> Duration {
        let now = self.clock.now();
        let mut time = Duration::from_millis(self.next_look.saturating_sub(now));
        for at in [self.state.deadline(), self.asking.deadline()].into_iter().flatten() {
            time = time.min(Duration::from_millis(at.saturating_sub(now)));
        }
        if !self.state.scaling(false).is_empty() {
            time = time.min(Duration::from_millis(self.next_sample.saturating_sub(now)));
        }
        if let Some(soon) = self.state.next_look(now) {
            time = time.min(Duration::from_millis(soon));
        }
        time
    }

    fn attend(&mut self, source: Source, readable: bool, writable: bool) {
        match source {
            Source::Signals => self.signals_came(),
            Source::Parent => self.hear_parent(),
            Source::ParentWatch => self.parent_is_gone("httpd's parent process has ended"),
            Source::Children => self.hear_children(),
            Source::Holder(number) => {
                self.holders.remove(&number);
                self.tell_who_is_held();
            }
            Source::Executed(id) => self.executed(id),
            Source::Control(id) => {
                if writable {
                    if let Some(process) = self.processes.get_mut(&id) {
                        process.flush();
                    }
                }
                if readable {
                    self.hear_process(id);
                }
            }
            Source::Output(id) => self.read_output(id),
            Source::Watch(id) => self.adopted_ended(id),
        }
    }

    /// Writes a line into the main error log.
    fn info(&self, text: &str) {
        self.log.line(level::INFO, own_pid(), text.as_bytes());
    }

    /// Writes a warning or an error into the main error log.
    fn report(&self, message: Message, text: &str) {
        self.log.line(message.level(), own_pid(), message.line(text).as_bytes());
    }

    /// Writes a warning or an error into the error log of a group.
    fn report_of(&self, group: GroupId, message: Message, text: &str) {
        self.write_output(group, own_pid(), message.level(), message.line(text).as_bytes());
    }
}

/// The supervisor's own process id.
fn own_pid() -> i32 {
    i32::try_from(std::process::id()).unwrap_or(0)
}
