//! A supervisor that was let go, also by another version of this module, and the messages that every supervisor is told.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use wsgi_sys::process::kill;
use wsgi_sys::socket;
use wsgi_wire::control::{MAX_MESSAGE, ParentMessage};

use crate::httpd::process;
use crate::httpd::server::Server;

/// Key of [`Note`] in the process pool, the same for all versions.
pub(super) const NOTE_KEY: &str = "mod_wsgi-supervisor-note";
/// Key of [`StoreNote`] in the process pool, the same for all versions.
pub(super) const STORE_KEY: &str = "mod_wsgi-supervisor-store";
/// How long a supervisor may take to end if its groups set no limit (`shutdown-timeout=0`), in milliseconds.
pub(super) const DEFAULT_PATIENCE: u64 = 5000;

/// What another version of this module needs to know of the supervisor. Its layout must not change.
#[repr(C)]
pub(super) struct Note {
    /// Number of the control socket's descriptor; -1 when there is none.
    pub(super) control: i32,
    /// The supervisor; 0 when there is none.
    pub(super) pid: i32,
}

/// Numbers of the store's descriptors, -1 where there is none. When another version of this module lets the supervisor
/// go, it closes them, so that the supervisor's processes notice if the supervisor is lost. Its layout must not change.
#[repr(C)]
pub(super) struct StoreNote {
    pub(super) ends: [i32; 2],
}

/// A supervisor that was let go: it ends when its processes have finished, and at once (within
/// shutdown-timeout) when `control` is closed.
#[derive(Debug)]
pub(super) struct Former {
    pub(super) pid: i32,
    pub(super) control: Option<OwnedFd>,
    /// When a supervisor whose control socket is closed must be gone. If it still exists then (because it is stopped),
    /// it gets SIGKILL; its processes see that, and end.
    pub(super) until: Option<Instant>,
}

impl Former {
    /// Has it end all its processes and itself.
    pub(super) fn dismiss(&mut self, patience: Duration) {
        if let Some(control) = self.control.take() {
            // The message tells this from the end of an httpd that was killed. If the socket has no room for it, the
            // end of the file says enough.
            let message = if process::is_exiting() { ParentMessage::Stop } else { ParentMessage::Restart };
            let _ = encode(&message).map(|stop| socket::send_with_fds(control.as_fd(), &stop, &[]));
        }
        self.until.get_or_insert(Instant::now() + patience);
    }

    /// Kills it if it should be gone.
    pub(super) fn kill_if_overdue(&self) {
        if self.until.is_some_and(|until| Instant::now() >= until) {
            // If the supervisor has ended meanwhile, `kill` fails and that is all. Nobody else waits for it, so the
            // number is still its own.
            let _ = kill(self.pid, libc::SIGKILL);
        }
    }

    /// Tells the supervisor to finish: it goes on only for children of the old configuration. A supervisor that cannot
    /// be told, or does not understand, ends at once.
    pub(super) fn let_go(&mut self, main: Server<'_>) {
        let sent = self.control.as_ref().map(|control| {
            let (log, begin) = begin(main)?;
            let send = |message: &[u8], fds: &[BorrowedFd<'_>]| {
                socket::send_with_fds_waiting(control.as_fd(), message, fds).map_err(|error| error.to_string())
            };
            send(&begin, &[log.as_fd()])?;
            send(&encode(&ParentMessage::Commit)?, &[])
        });
        if !matches!(sent, Some(Ok(_))) {
            self.control = None;
        }
    }
}

/// The supervisor that another version of this module has left in this httpd.
pub(super) fn left_by_another_version(main: Server<'_>) -> Option<Former> {
    let note = process::kept::<Note>(main, NOTE_KEY)?;
    let (number, pid) = (std::mem::replace(&mut note.control, -1), std::mem::replace(&mut note.pid, 0));
    // SAFETY: nobody else uses the descriptor: the code that opened it has forgotten it, or nobody looks any more at
    // what that code keeps.
    let control = unsafe { process::take_over(number) };
    if let Some(store) = process::kept::<StoreNote>(main, STORE_KEY) {
        // SAFETY: as above.
        let [into, from] = std::mem::replace(&mut store.ends, [-1; 2]).map(|end| unsafe { process::take_over(end) });
        empty(into.zip(from));
    }
    let mut former = Former { pid, control, until: None };
    if process::restart_is_hard() {
        former.dismiss(Duration::from_millis(DEFAULT_PATIENCE));
    } else {
        former.let_go(main);
    }
    Some(former)
}

/// Empties and closes a store. Processes whose supervisor is lost find that out now. Closing it would not be enough:
/// processes that other modules have forked may hold copies of its ends.
pub(super) fn empty(store: Option<(OwnedFd, OwnedFd)>) {
    let Some((_, from)) = store else { return };
    let mut buffer = [0; 32];
    while socket::try_recv_with_fds(from.as_fd(), &mut buffer).is_ok_and(|got| got.len > 0) {}
}

/// The first message of a configuration, with its error log.
pub(super) fn begin(main: Server<'_>) -> Result<(OwnedFd, Vec<u8>), String> {
    let begin = ParentMessage::Begin {
        protocol: wsgi_wire::PROTOCOL,
        parent_pid: i32::try_from(std::process::id()).unwrap_or(0),
        log_level: u8::try_from(main.log_level().clamp(0, 15)).unwrap_or(4),
    };
    Ok((error_log(main.error_log_fd())?, encode(&begin)?))
}

pub(super) fn error_log(fd: Option<i32>) -> Result<OwnedFd, String> {
    process::duplicate(fd.unwrap_or(2)).map_err(|error| format!("error log: {error}"))
}

pub(super) fn encode(message: &ParentMessage) -> Result<Vec<u8>, String> {
    let bytes = serde_json::to_vec(message).map_err(|error| error.to_string())?;
    if bytes.len() > MAX_MESSAGE {
        return Err(format!(
            "the configuration of a process group takes {} bytes; at most {MAX_MESSAGE} are allowed (look at env= and env-file=)",
            bytes.len()
        ));
    }
    Ok(bytes)
}
