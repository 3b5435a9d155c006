//! The parent's side of the supervisor: starting it, telling it each configuration, starting it again.
//!
//! What must outlive a reload of the module (the process, its sockets, the scoreboards) is kept in
//! httpd's process pool as [`Kept`], found by a key that carries the version of its layout.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use wsgi_sys::process::{Ids, Program, spawn};
use wsgi_sys::scoreboard::{Geometry, Scoreboard};
use wsgi_sys::socket::{self, Kind};
use wsgi_wire::control::{MAX_MESSAGE, ParentMessage};
use wsgi_wire::pool::PoolConfig;

use super::pools::Pool as Group;
use super::{Board, companions};
use crate::httpd::log::Level;
use crate::httpd::pool::Pool;
use crate::httpd::process;
use crate::httpd::server::Server;

/// Key of [`Kept`] in the process pool. Change the number with the layout of anything in it.
const KEY: &str = "mod_wsgi-supervisor-1";

/// A process group's shared memory, under the group's name.
struct KeptBoard {
    name: String,
    id: u64,
    memory: OwnedFd,
    board: Arc<Scoreboard>,
}

/// A message with its descriptors, to be said again to a new supervisor.
struct Said {
    message: Vec<u8>,
    fds: Vec<OwnedFd>,
}

/// What lives as long as httpd's parent.
struct Kept {
    pid: i32,
    control: Option<OwnedFd>,
    /// The children's end, and the supervisor's, kept for the next supervisor.
    dispatch: (OwnedFd, OwnedFd),
    boards: Vec<KeptBoard>,
    next_id: u64,
    said: Vec<Said>,
    engine: Option<OwnedFd>,
    /// Whom the supervisor runs as; `None` is root, or whoever runs httpd.
    ids: Option<Ids>,
    /// Longest shutdown-timeout of the groups, for the end of httpd.
    patience_ms: u64,
}

fn kept(main: Server<'_>) -> Option<&'static mut Kept> {
    process::kept::<Kept>(main, KEY)
}

/// Tells the supervisor the configuration, starting it if there is none. Returns each group's scoreboard.
///
/// # Errors
/// A sentence; httpd must not start then.
pub(super) fn apply(
    main: Server<'_>,
    pconf: Pool<'_>,
    groups: &[Group],
    engine: &OwnedFd,
) -> Result<Vec<Board>, String> {
    if groups.is_empty() && kept(main).is_none() {
        return Ok(Vec::new());
    }
    let kept = match kept(main) {
        Some(kept) => kept,
        None => process::keep(main, KEY, new().map_err(|error| format!("cannot prepare the supervisor: {error}"))?),
    };
    let ids = least_ids(groups);
    // One that has given root up cannot start processes of other users.
    if process::restart_is_hard() || (kept.pid != 0 && kept.ids.is_some() && kept.ids != ids) {
        kept.start_over().map_err(|error| format!("cannot prepare the supervisor: {error}"))?;
    }
    if kept.pid == 0 {
        kept.ids = ids;
    }
    kept.engine = Some(engine.try_clone().map_err(|error| error.to_string())?);
    kept.patience_ms = groups.iter().map(|group| group.config.shutdown_timeout_ms).max().unwrap_or(0);
    let boards = kept.boards_for(groups).map_err(|error| format!("no shared memory for a scoreboard: {error}"))?;
    kept.said = say(main, kept, groups)?;
    if kept.pid == 0 {
        kept.start(main)?;
    }
    kept.tell_all().or_else(|_| kept.start(main).and_then(|()| kept.tell_all().map_err(|error| error.to_string())))?;
    process::watch(pconf, kept.pid, respawn);
    process::at_cleanup(pconf, end);
    Ok(boards)
}

fn new() -> io::Result<Kept> {
    let dispatch = socket::pair(Kind::Datagram)?;
    let (boards, said) = (Vec::new(), Vec::new());
    Ok(Kept { pid: 0, control: None, dispatch, boards, next_id: 1, said, engine: None, ids: None, patience_ms: 0 })
}

/// The identity that is enough for all groups; `None` when they need several, and so root.
fn least_ids(groups: &[Group]) -> Option<Ids> {
    let mut all = groups.iter().map(|group| group.config.identity.as_ref());
    let first = all.next()??;
    let same = all.all(|other| {
        other.is_some_and(|other| (other.uid, other.gid) == (first.uid, first.gid) && other.groups == first.groups)
    });
    same.then(|| Ids { uid: first.uid, gid: first.gid, groups: first.groups.clone() })
}

impl Kept {
    /// Lets the supervisor go, which then ends all its processes, and shares nothing with the next one: a
    /// restart, unlike `graceful`, begins anew, and with the files that are installed now.
    fn start_over(&mut self) -> io::Result<()> {
        self.dispatch = socket::pair(Kind::Datagram)?;
        self.control = None;
        self.boards.clear();
        self.pid = 0;
        Ok(())
    }

    /// A scoreboard for each group: the one that its name had, if the group still fits.
    fn boards_for(&mut self, groups: &[Group]) -> io::Result<Vec<Board>> {
        let mut old = std::mem::take(&mut self.boards);
        let mut boards = Vec::new();
        for group in groups {
            let (config, backlog) = (&group.config, group.backlog);
            let fits = |kept: &KeptBoard| {
                kept.name == config.name && kept.board.geometry().holds(config.processes, config.threads, backlog)
            };
            let kept = match old.iter().position(fits) {
                Some(at) => old.swap_remove(at),
                None => {
                    let geometry = Geometry::for_group(config.processes, config.threads, backlog);
                    let (memory, board) = Scoreboard::create(geometry)?;
                    self.next_id += 1;
                    KeptBoard { name: config.name.clone(), id: self.next_id, memory, board: Arc::new(board) }
                }
            };
            boards.push((kept.id, Arc::clone(&kept.board)));
            self.boards.push(kept);
        }
        Ok(boards)
    }

    /// Starts a supervisor.
    fn start(&mut self, main: Server<'_>) -> Result<(), String> {
        let path = companions::supervisor()?;
        let failed = |error: io::Error| format!("cannot start {}: {error}", path.display());
        let (ours, theirs) = socket::pair(Kind::SeqPacket).map_err(failed)?;
        let _ = socket::set_send_buffer(ours.as_fd(), 4 * MAX_MESSAGE);
        let null = File::open("/dev/null").map_err(failed)?;
        let errors = process::stderr();
        let engine = self.engine.as_ref().ok_or("the engine is not open")?;
        // By descriptor, because the path may lead through directories that only root can enter.
        let program = File::open(&path).map_err(failed)?;
        let descriptors = vec![
            (0, null.as_fd()),
            (1, errors),
            (2, errors),
            (3, theirs.as_fd()),
            (4, self.dispatch.1.as_fd()),
            (5, engine.as_fd()),
            (6, program.as_fd()),
        ];
        let program = Program {
            path: c"/dev/fd/6".into(),
            arguments: vec![c"wsgi-supervisor".into()],
            environment: process::environment(),
            descriptors,
            session: true,
            ids: self.ids.clone(),
            umask: None,
            directory: Some(c"/".into()),
        };
        self.pid = spawn(&program).and_then(wsgi_sys::process::Spawned::wait_executed).map_err(failed)?;
        self.control = Some(ours);
        main.log(Level::Info, &format!("supervisor {} started", self.pid));
        Ok(())
    }

    /// Says the whole configuration.
    fn tell_all(&self) -> io::Result<()> {
        let control = self.control.as_ref().ok_or(io::ErrorKind::NotConnected)?;
        for said in &self.said {
            let fds: Vec<BorrowedFd<'_>> = said.fds.iter().map(AsFd::as_fd).collect();
            socket::send_with_fds_waiting(control.as_fd(), &said.message, &fds)?;
        }
        Ok(())
    }
}

/// The messages of this configuration.
fn say(main: Server<'_>, kept: &Kept, groups: &[Group]) -> Result<Vec<Said>, String> {
    let log = |fd: Option<i32>| process::duplicate(fd.unwrap_or(2)).map_err(|error| format!("error log: {error}"));
    let begin = ParentMessage::Begin {
        protocol: wsgi_wire::PROTOCOL,
        parent_pid: i32::try_from(std::process::id()).unwrap_or(0),
        log_level: u8::try_from(main.log_level().clamp(0, 15)).unwrap_or(4),
    };
    let mut all = vec![Said { message: encode(&begin)?, fds: vec![log(main.error_log_fd())?] }];
    for (group, board) in groups.iter().zip(&kept.boards) {
        let config = PoolConfig { id: board.id, ..group.config.clone() };
        let memory = board.memory.try_clone().map_err(|error| error.to_string())?;
        all.push(Said { message: encode(&ParentMessage::Pool(Box::new(config)))?, fds: vec![memory, log(group.log)?] });
    }
    all.push(Said { message: encode(&ParentMessage::Commit)?, fds: Vec::new() });
    Ok(all)
}

fn encode(message: &ParentMessage) -> Result<Vec<u8>, String> {
    let bytes = serde_json::to_vec(message).map_err(|error| error.to_string())?;
    if bytes.len() > MAX_MESSAGE {
        return Err(format!(
            "the configuration of a process group takes {} bytes; at most {MAX_MESSAGE} are allowed (look at env=)",
            bytes.len()
        ));
    }
    Ok(bytes)
}

/// The supervisor is gone: httpd's parent calls this within a second.
fn respawn(main: Server<'_>, pconf: Pool<'_>, how: &str) {
    let Some(kept) = kept(main) else { return };
    main.log(Level::Error, &format!("supervisor {} was lost ({how}); starting another one", kept.pid));
    kept.control = None;
    let told = kept.start(main).and_then(|()| kept.tell_all().map_err(|error| error.to_string()));
    match told {
        Ok(()) => process::watch(pconf, kept.pid, respawn),
        Err(error) => {
            kept.pid = 0;
            main.log(Level::Crit, &format!("{error}; daemon processes are not watched until the next restart"));
        }
    }
}

/// The configuration goes. When httpd ends with it, so does the supervisor, and we wait for it.
fn end(main: Server<'_>) {
    if !process::is_exiting() {
        return;
    }
    let Some(kept) = kept(main) else { return };
    kept.control = None;
    process::wait_for(kept.pid, kept.patience_ms + 1000);
    kept.pid = 0;
}

/// The socket on which children send connections; `None` without process groups.
///
/// # Errors
/// When descriptors are exhausted.
pub(super) fn dispatch_end(main: Server<'_>) -> Result<Option<OwnedFd>, String> {
    kept(main).map(|kept| kept.dispatch.0.try_clone()).transpose().map_err(|error| error.to_string())
}

/// In a child: closes what only the parent may hold, so that the supervisor sees the parent's end, and
/// no child reads what others send.
pub(super) fn forget_in_child(main: Server<'_>) {
    let Some(kept) = kept(main) else { return };
    kept.control = None;
    kept.said.clear();
    if let Ok(own) = kept.dispatch.0.try_clone() {
        kept.dispatch.1 = own;
    }
}
