//! The parent's side of the supervisor. httpd's parent starts the supervisor, tells it each configuration, and starts
//! another one when it is lost.
//!
//! [`Kept`] holds what must outlive a reload of the module: the process, its sockets, the scoreboards. It lives in
//! httpd's process pool under a key that names the very build of this code, because the layout of [`Kept`] belongs to
//! that build. After a package upgrade a `graceful` loads a module of another build, which does not look at this
//! [`Kept`]. That module only needs the way to the old supervisor. It finds the way in a [`Note`], whose layout never
//! changes.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use wsgi_sys::process::{Ids, Limit, Program, exists, spawn};
use wsgi_sys::socket::{self, Kind};
use wsgi_wire::config::GroupConfig;
use wsgi_wire::control::{AGAIN, MAX_MESSAGE, ParentMessage};
use wsgi_wire::messages::Message;

use super::boards::{Board, Boards};
use super::companions::{Companions, arguments, own_path};
use super::former::{
    DEFAULT_PATIENCE, Former, NOTE_KEY, Note, STORE_KEY, StoreNote, begin, empty, encode, error_log,
    left_by_another_version,
};
use super::groups::PlannedGroup;
use crate::httpd::log::Level;
use crate::httpd::pool::Pool;
use crate::httpd::process;
use crate::httpd::server::Server;

/// Key of [`Kept`] in the process pool: version, and a digest of the sources that decide its layout. httpd loads the module
/// anew at each `graceful`, and the supervisor must outlive that. Rust promises no layout to another build, so a module that
/// was upgraded meanwhile must not find this record; it finds [`super::former::Note`].
const KEY: &str = concat!("mod_wsgi-supervisor-", env!("CARGO_PKG_VERSION"), "-", env!("WSGI_LAYOUT"));
/// How often the parent tries to start a supervisor before it waits for httpd's next look, and the pause between two
/// attempts. What the system lacks in one moment may be there in the next.
const ATTEMPTS: u32 = 5;
const PAUSE: Duration = Duration::from_millis(40);

/// A message with its descriptors. The parent keeps it, so that it can send it again to a new supervisor.
struct KeptMessage {
    message: Vec<u8>,
    fds: Vec<OwnedFd>,
}

/// What lives as long as httpd's parent.
struct Kept {
    pid: i32,
    control: Option<OwnedFd>,
    former: Vec<Former>,
    /// The supervisor was lost, and could not be started again yet.
    wanted: bool,
    /// The children's end, and the supervisor's, kept for the next supervisor. `None` in children, which have a copy of
    /// their end in `daemon`.
    dispatch: Option<(OwnedFd, OwnedFd)>,
    /// Both ends of the store, in which a supervisor leaves what the next one needs if this one is lost. `None` in
    /// children.
    store: Option<(OwnedFd, OwnedFd)>,
    /// The [`StoreNote`] names the ends of `store`.
    noted: bool,
    boards: Boards,
    messages: Vec<KeptMessage>,
    /// The supervisor's file and the engine's; `None` until usable ones are found.
    files: Option<Companions>,
    /// Whom the supervisor runs as; `None` is root, or whoever runs httpd.
    ids: Option<Ids>,
    /// Longest shutdown-timeout of the groups, for the end of httpd.
    patience_ms: u64,
}

fn kept(main: Server<'_>) -> Option<&'static mut Kept> {
    process::kept::<Kept>(main, KEY)
}

/// Tells the supervisor the configuration. If none runs, starts one from `files`. Returns each group's scoreboard, and
/// a descriptor that children hold as long as they live: from it the supervisor sees when the last child is gone.
///
/// Without files a running supervisor goes on, even after `restart`. If none runs and none can be started, a running
/// httpd goes on all the same: it tries again every few seconds, and requests for the groups get 503.
///
/// # Errors
/// A sentence; httpd must not start then.
pub(super) fn apply(
    main: Server<'_>,
    pconf: Pool<'_>,
    groups: &[PlannedGroup],
    files: Option<&Companions>,
) -> Result<(Vec<Board>, Option<OwnedFd>), String> {
    let note = process::kept::<Note>(main, NOTE_KEY);
    if groups.is_empty() && kept(main).is_none() && note.is_none() {
        return Ok((Vec::new(), None));
    }
    let kept = match kept(main) {
        Some(kept) => kept,
        None => {
            let new = new().map_err(|error| format!("cannot prepare the supervisor: {error}"))?;
            process::keep(main, KEY, new)
        }
    };
    let store = process::kept::<StoreNote>(main, STORE_KEY);
    if note.is_some_and(|note| note.pid != kept.pid)
        || store.is_some_and(|store| !kept.noted || store.ends != kept.store_ends())
    {
        kept.follow_another_version(main).map_err(|error| format!("cannot prepare the supervisor: {error}"))?;
    }
    let ids = least_ids(groups);
    let hard = process::restart_is_hard() && files.is_some();
    // A supervisor that has given root up cannot start processes of other users. Without groups httpd needs no
    // supervisor.
    if hard || groups.is_empty() || (kept.pid != 0 && kept.ids.is_some() && kept.ids != ids) {
        kept.start_over(main, hard).map_err(|error| format!("cannot prepare the supervisor: {error}"))?;
    }
    if std::mem::take(&mut kept.wanted) {
        kept.boards.set_fault(None);
    }
    if kept.pid == 0 {
        kept.ids = ids;
    }
    kept.files = files.map(Companions::again).transpose().map_err(|error| error.to_string())?;
    let patience = |group: &PlannedGroup| Some(group.config.shutdown_timeout_ms).filter(|limit| *limit > 0);
    kept.patience_ms = groups.iter().map(|group| patience(group).unwrap_or(DEFAULT_PATIENCE)).max().unwrap_or(0);
    let boards =
        kept.boards.for_groups(main, groups).map_err(|error| format!("no shared memory for a scoreboard: {error}"))?;
    let (children, presence) = wsgi_sys::fd::pipe().map_err(|error| error.to_string())?;
    kept.messages = messages(main, kept, groups, children)?;
    if !groups.is_empty() {
        let sent = (kept.pid != 0).then(|| kept.tell_all());
        if let Some(Err(error)) = &sent {
            let pid = kept.pid;
            main.report(
                Message::SupervisorUnreachable,
                &format!("httpd cannot send the configuration to supervisor {pid} ({error}), which was lost; httpd starts another one"),
            );
        }
        if !matches!(sent, Some(Ok(()))) {
            match kept.start_with_retries(main) {
                Err(error) if process::is_restart() => kept.do_without(main, &error),
                started => started?,
            }
        }
    }
    kept.note(main);
    kept.watch_all(pconf);
    process::at_cleanup(pconf, end);
    Ok((boards, Some(presence)))
}

fn new() -> io::Result<Kept> {
    let (dispatch, store) = (Some(socket::pair(Kind::Datagram)?), Some(socket::pair(Kind::SeqPacket)?));
    let (boards, messages) = (Boards::new(), Vec::new());
    Ok(Kept {
        pid: 0,
        control: None,
        former: Vec::new(),
        wanted: false,
        dispatch,
        store,
        noted: false,
        boards,
        messages,
        files: None,
        ids: None,
        patience_ms: 0,
    })
}

/// The identity that is enough for all groups. `None`: the supervisor must keep httpd's own, because a group names
/// none, or the groups name several, or one needs what only root may do.
fn least_ids(groups: &[PlannedGroup]) -> Option<Ids> {
    let needs_root = |group: &PlannedGroup| {
        let config = &group.config;
        let grace = config.shutdown_timeout_ms.div_ceil(1000);
        let limits = Limit::all(config.cpu_time_limit.into(), grace, config.memory_limit, config.virtual_memory_limit);
        config.chroot.is_some()
            || config.cpu_priority.is_some_and(|priority| priority < 0)
            || limits.iter().any(Limit::needs_privilege)
    };
    if groups.iter().any(needs_root) {
        return None;
    }
    let mut all = groups.iter().map(|group| group.config.identity.as_ref());
    let first = all.next()??;
    let same = all.all(|other| {
        other.is_some_and(|other| (other.uid, other.gid) == (first.uid, first.gid) && other.groups == first.groups)
    });
    same.then(|| Ids { uid: first.uid, gid: first.gid, groups: first.groups.clone() })
}

impl Kept {
    /// Lets the supervisor go, and shares nothing with the next one. After `graceful` the old supervisor goes on for
    /// the children of the old configuration until they are done. A restart (`hard`) ends all its processes, and the
    /// next supervisor starts from the files that are installed now.
    fn start_over(&mut self, main: Server<'_>, hard: bool) -> io::Result<()> {
        self.dispatch = Some(socket::pair(Kind::Datagram)?);
        empty(self.store.replace(socket::pair(Kind::SeqPacket)?));
        self.noted = false;
        self.boards.clear();
        self.put_aside();
        if hard {
            let patience = self.patience();
            self.former.iter_mut().for_each(|former| former.dismiss(patience));
        } else if let Some(former) = self.former.last_mut().filter(|former| former.control.is_some()) {
            former.let_go(main);
        }
        Ok(())
    }

    /// Makes the supervisor, if there is one, a former one.
    fn put_aside(&mut self) {
        let (pid, control) = (std::mem::take(&mut self.pid), self.control.take());
        if pid != 0 {
            self.former.push(Former { pid, control, until: None });
        }
    }

    /// How long a supervisor may take to end. It kills what has not ended a moment after `shutdown-timeout`, and on a
    /// busy machine it does so late.
    fn patience(&self) -> Duration {
        Duration::from_millis(self.patience_ms + 3000)
    }

    /// Follows another version of the module. The [`Note`] names a supervisor that we do not know: the other version
    /// has started it, and has let ours go if there was one.
    fn follow_another_version(&mut self, main: Server<'_>) -> io::Result<()> {
        // The other version has closed these descriptors, and their numbers may belong to somebody else now.
        std::mem::forget(self.control.take());
        if std::mem::take(&mut self.noted) {
            std::mem::forget(self.store.take());
            // The supervisor that the other version has let go may still read the old socket.
            self.dispatch = Some(socket::pair(Kind::Datagram)?);
        }
        self.pid = 0;
        self.boards.clear();
        self.former.extend(left_by_another_version(main));
        self.store = Some(socket::pair(Kind::SeqPacket)?);
        Ok(())
    }

    /// Asks httpd to tell us when one of our supervisors has ended; nobody else would wait for it.
    fn watch_all(&mut self, pconf: Pool<'_>) {
        self.former.retain(|former| exists(former.pid));
        let former = self.former.iter().map(|former| former.pid);
        former.chain([self.pid]).filter(|pid| *pid != 0).for_each(|pid| process::watch(pconf, pid, gone));
    }

    fn store_ends(&self) -> [i32; 2] {
        self.store.as_ref().map_or([-1; 2], |ends| [ends.0.as_raw_fd(), ends.1.as_raw_fd()])
    }

    /// Writes down what another version of the module needs.
    fn note(&mut self, main: Server<'_>) {
        let ends = self.store_ends();
        match process::kept::<StoreNote>(main, STORE_KEY) {
            Some(found) => found.ends = ends,
            None => drop(process::keep(main, STORE_KEY, StoreNote { ends })),
        }
        self.noted = true;
        let note = Note { control: self.control.as_ref().map_or(-1, |fd| fd.as_raw_fd()), pid: self.pid };
        match process::kept::<Note>(main, NOTE_KEY) {
            Some(found) => *found = note,
            None => drop(process::keep(main, NOTE_KEY, note)),
        }
    }

    /// Starts a supervisor and sends it the configuration; tries several times.
    fn start_with_retries(&mut self, main: Server<'_>) -> Result<(), String> {
        let mut tried = 0;
        loop {
            // Closing the socket ends a supervisor that did not get the configuration.
            self.control = None;
            self.put_aside();
            let started = self.start(main).and_then(|()| self.tell_all().map_err(|error| error.to_string()));
            tried += 1;
            match started {
                Err(_) if tried < ATTEMPTS => std::thread::sleep(PAUSE),
                other => return other,
            }
        }
    }

    /// Starts a supervisor.
    fn start(&mut self, main: Server<'_>) -> Result<(), String> {
        if self.files.is_none() {
            self.files = Some(Companions::open()?);
        }
        let files = self.files.as_ref().ok_or("there is no supervisor to be started")?;
        let failed = |error: io::Error| format!("cannot start the supervisor: {error}");
        let (ours, theirs) = socket::pair(Kind::SeqPacket).map_err(failed)?;
        let _ = socket::set_send_buffer(ours.as_fd(), 4 * MAX_MESSAGE);
        let null = File::open("/dev/null").map_err(failed)?;
        let errors = process::stderr();
        const CHILD: &str = "only httpd's parent has a supervisor";
        let store = self.store.as_ref().ok_or(CHILD)?;
        let dispatch = self.dispatch.as_ref().ok_or(CHILD)?;
        let mut descriptors = vec![
            (0, null.as_fd()),
            (1, errors),
            (2, errors),
            (3, theirs.as_fd()),
            (4, dispatch.1.as_fd()),
            (5, files.engines.usual.as_fd()),
            (6, store.0.as_fd()),
            (7, store.1.as_fd()),
        ];
        descriptors.extend((8..).zip(files.engines.free.iter().map(|(_, engine)| engine.as_fd())));
        let own = 8 + files.engines.free.len() as i32;
        descriptors.push((own, files.supervisor.as_fd()));
        let program = Program {
            path: own_path(own),
            arguments: arguments(&[c"wsgi-supervisor"], &files.engines),
            environment: process::environment(),
            descriptors,
            session: true,
            ids: self.ids.clone(),
            directory: Some(c"/".into()),
            ..Program::default()
        };
        self.pid = spawn(&program).and_then(wsgi_sys::process::Spawned::wait_executed).map_err(failed)?;
        self.control = Some(ours);
        main.log(Level::Info, &format!("supervisor {} started", self.pid));
        Ok(())
    }

    /// Whether the supervisor asks for the configuration again, because it could not take it over for want of
    /// descriptors.
    fn is_asked_again(&self) -> bool {
        let Some(control) = &self.control else { return false };
        let mut buffer = [0; 16];
        let mut asked = false;
        while let Ok(got) = socket::try_recv_with_fds(control.as_fd(), &mut buffer) {
            if got.len == 0 {
                break;
            }
            asked |= buffer[..got.len] == *AGAIN;
        }
        asked
    }

    /// Says the whole configuration.
    fn tell_all(&mut self) -> io::Result<()> {
        let control = self.control.as_ref().ok_or(io::ErrorKind::NotConnected)?;
        // A supervisor maps no scoreboard whose header code in a child has written to.
        for kept in self.boards.all_mut() {
            kept.written_to |= !kept.board.is_intact();
            kept.board.restore();
        }
        for kept in &self.messages {
            let fds: Vec<BorrowedFd<'_>> = kept.fds.iter().map(AsFd::as_fd).collect();
            socket::send_with_fds_waiting(control.as_fd(), &kept.message, &fds)?;
        }
        Ok(())
    }
}

/// The messages of this configuration.
fn messages(
    main: Server<'_>,
    kept: &Kept,
    groups: &[PlannedGroup],
    children: OwnedFd,
) -> Result<Vec<KeptMessage>, String> {
    let (log, message) = begin(main)?;
    let mut all = vec![KeptMessage { message, fds: vec![log] }];
    for (group, board) in groups.iter().zip(kept.boards.all()) {
        let config = GroupConfig { id: board.id, ..group.config.clone() };
        let memory = board.memory.try_clone().map_err(|error| error.to_string())?;
        all.push(KeptMessage { message: of_group(config)?, fds: vec![memory, error_log(group.log)?] });
    }
    all.push(KeptMessage { message: encode(&ParentMessage::Commit)?, fds: vec![children] });
    Ok(all)
}

/// The message about a group. If it is too long, it leaves out the targets, which are only there for comparison.
fn of_group(config: GroupConfig) -> Result<Vec<u8>, String> {
    let short = GroupConfig { targets: Vec::new(), ..config.clone() };
    encode(&ParentMessage::Group(Box::new(config))).or_else(|_| encode(&ParentMessage::Group(Box::new(short))))
}

/// A supervisor is gone: httpd's parent calls this within a second.
fn gone(main: Server<'_>, pconf: Pool<'_>, pid: i32, how: &str) {
    let Some(kept) = kept(main) else { return };
    kept.former.retain(|former| former.pid != pid);
    if pid == kept.pid {
        main.report(Message::SupervisorLost, &format!("supervisor {pid} was lost ({how}); httpd starts another one"));
        (kept.pid, kept.control) = (0, None);
        kept.bring_back(main, pconf);
    } else if kept.wanted {
        kept.bring_back(main, pconf);
    }
}

/// httpd's parent calls this every few seconds.
pub(super) fn look_after(main: Server<'_>, pconf: Pool<'_>) {
    let Some(kept) = kept(main) else { return };
    kept.former.iter().for_each(Former::kill_if_overdue);
    if kept.is_asked_again() && kept.tell_all().is_err() {
        main.report(Message::NotTakenOver, "the supervisor has not taken over the configuration, and httpd cannot send it again; its processes run with the former one");
    }
    if kept.wanted {
        kept.bring_back(main, pconf);
    }
}

impl Kept {
    /// Starts a supervisor in place of one that was lost. If that fails, the parent tries again later.
    fn bring_back(&mut self, main: Server<'_>, pconf: Pool<'_>) {
        let before = self.former.len();
        match self.start_with_retries(main) {
            Err(error) => self.do_without(main, &error),
            Ok(()) => {
                self.wanted = false;
                self.boards.set_fault(None);
                process::watch(pconf, self.pid, gone);
            }
        }
        self.former.iter().skip(before).for_each(|former| process::watch(pconf, former.pid, gone));
        self.note(main);
    }
}

impl Kept {
    /// Goes on without a supervisor, because none can be started for now. Processes that serve go on. The scoreboards
    /// get the fault, so that requests for groups without processes need not wait.
    fn do_without(&mut self, main: Server<'_>, error: &str) {
        self.control = None;
        self.put_aside();
        self.boards.set_fault(Some(error));
        let text = format!(
            "{error}; nobody watches the daemon processes until a supervisor has started; httpd tries again every few seconds"
        );
        let again = std::mem::replace(&mut self.wanted, true);
        if again {
            main.log(Level::Debug, &text);
        } else {
            main.report(Message::NoSupervisor, &text);
        }
    }
}

/// httpd calls this when it drops the configuration. If httpd ends with it, the supervisors must end too, and we wait
/// for them.
fn end(main: Server<'_>) {
    if !process::is_exiting() {
        return;
    }
    let Some(kept) = kept(main) else { return };
    // Processes that a lost supervisor has left learn of the end now.
    kept.store = None;
    kept.put_aside();
    let patience = kept.patience();
    kept.former.iter_mut().for_each(|former| former.dismiss(patience));
    for former in kept.former.drain(..) {
        process::wait_for(former.pid, former.until.unwrap_or_else(Instant::now));
        former.kill_if_overdue();
    }
}

/// The socket on which children send connections; `None` without process groups.
///
/// # Errors
/// When descriptors are exhausted.
pub(super) fn dispatch_end(main: Server<'_>) -> Result<Option<OwnedFd>, String> {
    let dispatch = kept(main).and_then(|kept| kept.dispatch.as_ref());
    dispatch.map(|ends| ends.0.try_clone()).transpose().map_err(|error| error.to_string())
}

/// In a child: closes what only the parent may hold, so that the supervisor sees the parent's end, no child reads what
/// others send, and code in a child finds no descriptor of a scoreboard. What the child needs is in
/// `daemon` and `embedded`: its end of the dispatch socket, the engine's file, the mapped scoreboards.
pub(super) fn forget_in_child(main: Server<'_>) {
    let Some(kept) = kept(main) else { return };
    (kept.control, kept.store, kept.dispatch, kept.files) = (None, None, None, None);
    kept.former.clear();
    kept.messages.clear();
    kept.boards.clear();
}
