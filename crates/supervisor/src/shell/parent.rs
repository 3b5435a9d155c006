//! What httpd's parent says, and whether it still lives.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use wsgi_sys::fd;
use wsgi_sys::process::{exists, pidfd_open};
use wsgi_sys::scoreboard::Scoreboard;
use wsgi_sys::socket::{self, Received};
use wsgi_wire::config::GroupConfig;
use wsgi_wire::control::{AGAIN, Cause, MAX_MESSAGE, ParentMessage};
use wsgi_wire::messages::Message;

use super::{GroupEntry, Holder, Shell};
use crate::decide::{Event, Rules, seconds};
use crate::log::Log;

/// A configuration that is being received.
pub(super) struct Pending {
    groups: Vec<(GroupConfig, OwnedFd, OwnedFd)>,
}

fn rules(config: &GroupConfig) -> Rules {
    Rules {
        name: config.name.clone(),
        defined_at: config.defined_at.clone(),
        python: config.python.clone(),
        python_from: config.python_from.clone(),
        scripts: scripts(config),
        warmup: config.warmup.as_ref().map(|warmup| warmup.path.clone()).unwrap_or_default(),
        processes: config.processes,
        min: config.min_processes,
        max: config.max_processes,
        threads: config.threads,
        idle_timeout: config.idle_timeout_ms,
        rolling: config.rolling,
        eviction_timeout: config.eviction_timeout_ms,
        restart_interval: config.restart_interval_ms,
        startup_timeout: config.startup_timeout_ms,
        maximum_memory: config.maximum_memory,
        shutdown_timeout: config.shutdown_timeout_ms,
        graceful_timeout: config.graceful_timeout_ms,
        limits: limits(config),
    }
}

/// The limits of the life of a process, as an administrator writes them.
fn limits(config: &GroupConfig) -> Vec<(Cause, String)> {
    let times = [
        (Cause::InactivityTimeout, "inactivity-timeout", config.inactivity_timeout_ms),
        (Cause::RestartInterval, "restart-interval", config.restart_interval_ms),
        (Cause::RequestTimeout, "request-timeout", config.request_timeout_ms),
        (Cause::DeadlockTimeout, "deadlock-timeout", config.deadlock_timeout_ms),
        (Cause::StartupTimeout, "startup-timeout", config.startup_timeout_ms),
        (Cause::IdleTimeout, "idle-timeout", config.idle_timeout_ms),
    ];
    let times = times
        .into_iter()
        .filter(|(.., limit)| *limit > 0)
        .map(|(cause, option, limit)| (cause, format!("{option}={}", seconds(limit))));
    let requests = Some(config.maximum_requests).filter(|limit| *limit > 0);
    let cpu = Some(config.cpu_time_limit).filter(|limit| *limit > 0);
    let requests = requests.map(|limit| (Cause::MaximumRequests, format!("maximum-requests={limit}")));
    let cpu = cpu.map(|limit| (Cause::CpuTimeLimit, format!("cpu-time-limit={limit} s")));
    times.chain(requests).chain(cpu).collect()
}

/// What a process loads before it is ready.
fn scripts(config: &GroupConfig) -> String {
    let preload = config.preload.iter().map(|entry| entry.script.as_str());
    let mut all: Vec<&str> = config.main_script.as_deref().into_iter().collect();
    for script in preload {
        if !all.contains(&script) {
            all.push(script);
        }
    }
    all.join(", ")
}

impl Shell {
    pub(super) fn hear_parent(&mut self) {
        let mut buffer = vec![0; MAX_MESSAGE + 1];
        loop {
            self.spare.clear();
            let Some(parent) = &self.parent else { return };
            match socket::try_recv_with_fds(parent.as_fd(), &mut buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Ok(got) if got.len > 0 => self.message(&buffer[..got.len.min(buffer.len())], got),
                _ => return self.parent_is_gone("httpd's parent process has ended"),
            }
        }
    }

    pub(super) fn parent_is_gone(&mut self, why: &'static str) {
        (self.parent, self.parent_watch) = (None, None);
        self.stop(why);
    }

    fn message(&mut self, bytes: &[u8], got: Received) {
        let message = match serde_json::from_slice(bytes) {
            Ok(message) if !got.truncated => message,
            Ok(_) => return self.lost_descriptors(),
            Err(error) => return self.refuse(&format!("it does not understand a message of httpd: {error}")),
        };
        let mut fds = got.fds.into_iter();
        match message {
            ParentMessage::Begin { protocol, parent_pid, log_level } => {
                if let Some(log) = fds.next() {
                    // Otherwise the supervisor would hold the old log open after a rotation.
                    let _ = fd::replace_output(log.as_fd());
                    self.log = Log::new(log, log_level).in_place_of(&self.log);
                }
                if let Some(engine) = fds.next() {
                    self.engines.usual = engine;
                }
                self.begin(protocol, parent_pid);
            }
            ParentMessage::Group(config) => match (&mut self.pending, fds.next(), fds.next()) {
                (Some(pending), Some(board), Some(log)) => pending.groups.push((*config, board, log)),
                (Some(_), ..) => self.refuse("httpd sent a process group without its descriptors"),
                // The rest of a configuration that was refused.
                (None, ..) => {}
            },
            ParentMessage::Commit => self.commit(fds.next()),
            ParentMessage::Stop => self.stop("httpd stops"),
            ParentMessage::Restart => self.stop("httpd restarts"),
        }
    }

    /// The system has dropped the descriptors of a message. The parent sends everything again in some seconds.
    fn lost_descriptors(&mut self) {
        if let Some(parent) = &self.parent {
            // If there is no room for this message, an earlier one is still unread.
            let _ = socket::send_with_fds(parent.as_fd(), AGAIN, &[]);
        }
        self.refuse("it has no descriptor left for a message of httpd: the limit of open files is reached");
    }

    /// The supervisor cannot use the configuration; the processes that run go on.
    fn refuse(&mut self, why: &str) {
        self.pending = None;
        self.report(Message::NotUnderstood, &format!("supervisor: {why}; it keeps its former configuration"));
    }

    fn begin(&mut self, protocol: u32, parent_pid: i32) {
        if protocol != wsgi_wire::PROTOCOL {
            let ours = wsgi_wire::build::text();
            let text = format!(
                "supervisor: it belongs to mod_wsgi {ours}, and the module speaks protocol {protocol}; it ends, so that \
                 httpd starts the supervisor that fits"
            );
            self.report(Message::OtherVersion, &text);
            return self.stop("the module has another version");
        }
        self.pending = Some(Pending { groups: Vec::new() });
        if parent_pid != self.parent_pid {
            if let Some(text) = super::sandbox::text() {
                self.info(&format!("supervisor: {text}"));
            }
            self.parent_pid = parent_pid;
            // Without a pidfd, the look at each second notices the parent's end.
            self.parent_watch = pidfd_open(parent_pid).ok();
        }
    }

    fn commit(&mut self, children: Option<OwnedFd>) {
        let Some(Pending { groups }) = self.pending.take() else { return };
        if self.state.stopping() {
            return;
        }
        let mut named = Vec::new();
        for (config, board, log) in groups {
            let (id, rules) = (config.id, rules(&config));
            if let Err(error) = self.take_group(config, &board, log) {
                let name = &rules.name;
                {
                    let text = format!("process group \"{name}\": its scoreboard cannot be used: {error}");
                    self.report(Message::BoardUnusable, &text);
                };
                continue;
            }
            named.push((id, rules));
        }
        if let Some(pipe) = children {
            let number = self.holders.last_key_value().map_or(0, |(last, _)| last + 1);
            self.holders.insert(number, Holder { pipe, groups: named.iter().map(|(id, _)| *id).collect() });
        }
        if !std::mem::replace(&mut self.configured, true) {
            self.take_over();
        }
        self.events.push_back(Event::Configured { groups: named });
        self.tell_who_is_held();
    }

    pub(super) fn tell_who_is_held(&mut self) {
        for group in self.groups.keys() {
            let held = self.holders.values().any(|holder| holder.groups.contains(group));
            self.events.push_back(Event::Held { group: *group, held });
        }
    }

    fn take_group(&mut self, config: GroupConfig, board: &OwnedFd, log: OwnedFd) -> io::Result<()> {
        let log = Log::new(log, config.log_level);
        if let Some(entry) = self.groups.get_mut(&config.id) {
            // Processes of another user, or in another root directory, do not learn what these processes say.
            let same = (&config.identity, &config.chroot) == (&entry.config.identity, &entry.config.chroot);
            let targets = same.then_some(config.targets.as_slice());
            let mine = self.processes.values_mut().filter(|process| process.group == config.id);
            mine.for_each(|process| process.known.reconfigured(targets));
            (entry.config, entry.log) = (config, log.in_place_of(&entry.log));
            return Ok(());
        }
        let board = Scoreboard::map(board.as_fd())?;
        self.groups.insert(config.id, GroupEntry { config, board, log, served: 0 });
        Ok(())
    }

    /// httpd's other children hold copies of the parent's descriptors, so these descriptors alone do not tell that the
    /// parent has ended.
    pub(super) fn look_for_parent(&mut self) {
        let orphaned = std::os::unix::process::parent_id() != self.first_ppid;
        let gone = self.parent_pid > 0 && !exists(self.parent_pid);
        if (orphaned || gone) && !self.state.stopping() {
            self.parent_is_gone("httpd's parent process has ended");
        }
    }
}
