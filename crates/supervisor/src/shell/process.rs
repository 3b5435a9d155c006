//! What the shell holds of one daemon process: its control socket, the messages that wait to be sent on it, and its
//! output.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use wsgi_sys::process::Spawned;
use wsgi_sys::{fd, socket};
use wsgi_wire::control::{self, Cause, FromDaemon, Stored, ToDaemon};
use wsgi_wire::loaded::Loaded;

use crate::decide::{GroupId, Millis, level};
use crate::handed::Known;
use wsgi_wire::lines::Lines;

/// Most connections that wait while the process does not read its control socket.
const MAX_WAITING: usize = 64;
/// A process listens while fewer bytes of its messages than this are unread, as the kernel counts them: some ten
/// messages.
const MAX_UNREAD: usize = 8 << 10;
/// How many lines are kept of what a process writes before it is ready.
const FIRST_LINES: usize = 20;
/// Most bytes that are kept of a quiet process's output.
const MAX_KEPT: usize = 64 << 10;
/// How many times one process's output is read in one round, at most, so that no process holds up the others.
const ROUND: usize = 4;

/// A daemon process.
#[derive(Debug)]
pub struct Process {
    pub group: GroupId,
    pub pid: i32,
    pub slot: u32,
    pub epoch: u32,
    /// Present until the supervisor knows whether Python was executed.
    pub spawned: Option<Spawned>,
    /// `None`: the process has closed it, or the store did not hold it.
    pub control: Option<OwnedFd>,
    /// When the process closed its control socket.
    pub closed_at: Option<Millis>,
    /// The supervisor has marked it as ready or draining, so connections for it may come.
    pub open: bool,
    /// Readable when the process ends. Only for a process that is no child of this supervisor.
    pub watch: Option<OwnedFd>,
    /// An earlier supervisor started it, so it is no child of this one.
    pub adopted: bool,
    /// What the supervisor knows about its scripts.
    pub known: Known,
    waiting: VecDeque<Message>,
    /// The kernel takes no more messages for now, although there is room in the socket.
    stalled: bool,
}

#[derive(Debug)]
enum Message {
    With(ToDaemon, OwnedFd),
    Plain(ToDaemon),
    Stop(Option<Cause>),
}

/// What came over the control socket.
#[derive(Debug)]
pub enum Heard {
    /// Nothing more now.
    Nothing,
    /// A message.
    Message(FromDaemon),
    /// The process has loaded a script; `true` if that is news.
    Loaded(bool),
    /// Something that is no message.
    Noise(String),
    /// The process closed the socket.
    Closed,
}

impl Process {
    /// A process in a slot.
    pub fn new(group: GroupId, pid: i32, slot: u32, epoch: u32) -> Process {
        Process {
            group,
            pid,
            slot,
            epoch,
            spawned: None,
            control: None,
            closed_at: None,
            open: false,
            watch: None,
            adopted: false,
            known: Known::default(),
            waiting: VecDeque::new(),
            stalled: false,
        }
    }

    /// What the next supervisor learns of this process.
    pub fn stored(&self) -> Stored {
        let pid = u32::try_from(self.pid).unwrap_or(0);
        Stored { group: self.group, slot: self.slot, epoch: self.epoch, pid }
    }

    /// Whether a message waits for room in the socket.
    pub fn has_waiting(&self) -> bool {
        !self.waiting.is_empty() && !self.stalled
    }

    /// Whether the kernel refuses the messages that wait. No event tells when that ends.
    pub fn is_stalled(&self) -> bool {
        self.stalled
    }

    /// Hands on a connection, or another message with a descriptor. Drops it if too many wait already; the child then
    /// tries another process.
    pub fn hand(&mut self, message: ToDaemon, descriptor: OwnedFd) {
        if self.waiting.len() < MAX_WAITING && self.control.is_some() {
            self.waiting.push_back(Message::With(message, descriptor));
            self.flush();
        }
    }

    /// Whether the process reads its messages: few of them are under way. (Each answer takes memory until the process
    /// reads it.)
    pub fn listens(&self) -> bool {
        let unread = self.control.as_ref().and_then(|control| socket::unread(control.as_fd()).ok());
        self.waiting.is_empty() && unread.is_some_and(|bytes| bytes < MAX_UNREAD)
    }

    /// Asks the process to stop, and tells why if it is being replaced. Drops the connections that still wait to be sent.
    pub fn stop(&mut self, cause: Option<Cause>) {
        self.waiting.clear();
        self.waiting.push_back(Message::Stop(cause));
        self.flush();
    }

    /// Sends a message without a descriptor.
    pub fn tell(&mut self, message: ToDaemon) {
        self.waiting.push_back(Message::Plain(message));
        self.flush();
    }

    /// Sends the messages that wait, as far as there is room.
    pub fn flush(&mut self) {
        self.stalled = false;
        let Some(control) = &self.control else { return self.waiting.clear() };
        while let Some(message) = self.waiting.front() {
            let sent = match message {
                Message::With(message, fd) => socket::send_with_fds(control.as_fd(), &[*message as u8], &[fd.as_fd()]),
                Message::Stop(cause) => socket::send_with_fds(control.as_fd(), &control::stop(*cause), &[]),
                Message::Plain(message) => socket::send_with_fds(control.as_fd(), &[*message as u8], &[]),
            };
            match sent {
                Ok(_) => drop(self.waiting.pop_front()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                // The process leaves too many descriptors unread; no event tells when that ends.
                Err(error) if matches!(error.raw_os_error(), Some(libc::ETOOMANYREFS | libc::ENOBUFS)) => {
                    self.stalled = true;
                    return;
                }
                Err(_) => return self.waiting.clear(),
            }
        }
    }

    /// The next message of the process.
    pub fn hear(&mut self) -> Heard {
        let Some(control) = &self.control else { return Heard::Nothing };
        let mut buffer = [0; Loaded::MAX_SIZE];
        match socket::try_recv_with_fds(control.as_fd(), &mut buffer) {
            Ok(got) if got.len == 0 => Heard::Closed,
            Ok(got) if got.truncated || !got.fds.is_empty() => {
                Heard::Noise("sent a message on its control socket that is too long or carries descriptors".to_owned())
            }
            Ok(got) => {
                let message = &buffer[..got.len];
                let heard = match message.first() {
                    Some(&Loaded::TAG) => Loaded::decode(message).map(|loaded| Heard::Loaded(self.known.note(&loaded))),
                    _ => FromDaemon::decode(message).map(Heard::Message),
                };
                heard.unwrap_or_else(|error| {
                    Heard::Noise(format!("sent an unknown message on its control socket: {error}"))
                })
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Heard::Nothing,
            Err(_) => Heard::Closed,
        }
    }
}

/// The pipe of a process's stdout and stderr. It outlives the process as long as something else holds the pipe.
#[derive(Debug)]
pub struct Output {
    /// `None` once it has ended.
    pub fd: Option<OwnedFd>,
    pub group: GroupId,
    pub pid: i32,
    lines: Lines,
    /// Its first lines, until it is ready.
    first: Option<Vec<String>>,
    last: String,
    /// Lines that are kept and not written yet; `None` if lines are written as they come.
    kept: Option<Vec<(u8, Vec<u8>)>>,
    kept_bytes: usize,
}

impl Output {
    /// The output of a process that starts. `quiet`: keep it until [`Output::release`].
    pub fn new(fd: OwnedFd, group: GroupId, pid: i32, quiet: bool) -> Output {
        let kept = quiet.then(Vec::new);
        Output {
            fd: Some(fd),
            group,
            pid,
            lines: Lines::default(),
            first: Some(Vec::new()),
            last: String::new(),
            kept,
            kept_bytes: 0,
        }
    }

    /// Reads what is there and gives each line to `write`, with its level. Returns `false` at the end of the pipe.
    pub fn read(&mut self, mut write: impl FnMut(u8, &[u8])) -> bool {
        let mut buffer = [0; 16 << 10];
        for _ in 0..ROUND {
            let Some(pipe) = &self.fd else { return false };
            match fd::read(pipe.as_fd(), &mut buffer) {
                Ok(0) => {
                    self.fd = None;
                    self.finish(&mut write);
                    return false;
                }
                Ok(len) => {
                    let mut lines = std::mem::take(&mut self.lines);
                    lines.push(&buffer[..len], |line| self.line(line, &mut write));
                    self.lines = lines;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return true,
                Err(_) => {
                    self.fd = None;
                    return false;
                }
            }
        }
        true
    }

    /// The process has ended, so an unfinished line counts as a line.
    pub fn finish(&mut self, mut write: impl FnMut(u8, &[u8])) {
        let mut lines = std::mem::take(&mut self.lines);
        lines.finish(|line| self.line(line, &mut write));
    }

    fn line(&mut self, line: &[u8], write: &mut impl FnMut(u8, &[u8])) {
        let (level, line) = wsgi_wire::output::read(line);
        let level = level.unwrap_or(level::ERROR);
        // A line about the process's life, such as that it loads a script, is no last word.
        if let Some(first) = self.first.as_mut().filter(|_| level < level::INFO) {
            let text = String::from_utf8_lossy(line);
            if first.len() < FIRST_LINES {
                first.push(text.chars().take(400).collect());
            }
            if !text.trim().is_empty() {
                self.last = text.trim().chars().take(400).collect();
            }
        }
        match &mut self.kept {
            Some(kept) => {
                self.kept_bytes += line.len();
                kept.push((level, line.to_vec()));
                if self.kept_bytes > MAX_KEPT || kept.len() > 1_000 {
                    self.release(true, write);
                }
            }
            None => write(level, line),
        }
    }

    /// Writes the lines that were kept, or forgets them. From now on lines are written as they come.
    pub fn release(&mut self, show: bool, write: &mut impl FnMut(u8, &[u8])) {
        if let Some(kept) = self.kept.take().filter(|_| show) {
            kept.iter().for_each(|(level, line)| write(*level, line));
        }
    }

    /// The process is ready, so its first lines do not matter any more.
    pub fn forget_start(&mut self) {
        self.first = None;
    }

    /// The first lines and the last line of a process that never was ready.
    pub fn first_and_last_lines(&self) -> (&[String], &str) {
        (self.first.as_deref().unwrap_or_default(), &self.last)
    }
}
