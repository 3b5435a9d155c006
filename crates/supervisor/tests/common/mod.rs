//! Runs the built supervisor as httpd's parent would, with a script in place of Python and the engine.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use wsgi_sys::process::{Program, exists, kill, spawn, try_wait, wait};
use wsgi_sys::scoreboard::{Geometry, Scoreboard, State};
use wsgi_sys::socket::{self, Kind};
use wsgi_sys::user;
use wsgi_wire::config::{GroupConfig, Identity};
use wsgi_wire::control::{Connect, ParentMessage};

/// Number of the group.
pub const GROUP: u64 = 9;
const PATIENCE: Duration = Duration::from_secs(20);

/// httpd's side.
pub struct Httpd {
    pub directory: PathBuf,
    pub board: Scoreboard,
    memory: OwnedFd,
    pub control: Option<OwnedFd>,
    dispatch: (OwnedFd, OwnedFd),
    store: (OwnedFd, OwnedFd),
    pub supervisor: i32,
    pub config: GroupConfig,
    pub parent_pid: i32,
}

/// Waits until `done`; the log is shown when it never is.
pub fn until(httpd: &Httpd, what: &str, mut done: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < end, "not within {PATIENCE:?}: {what}; log:\n{}", httpd.log());
        std::thread::sleep(Duration::from_millis(5));
    }
}

impl Httpd {
    /// Starts a supervisor; `name` names the test's directory.
    pub fn start(name: &str, processes: u32) -> Httpd {
        let directory = std::env::temp_dir().join(format!("wsgi-supervisor-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&directory);
        fs::create_dir_all(&directory).expect("directory");
        fs::set_permissions(&directory, fs::Permissions::from_mode(0o755)).expect("mode");
        let python = directory.join("python");
        fs::write(&python, include_str!("fake.py")).expect("script");
        fs::set_permissions(&python, fs::Permissions::from_mode(0o755)).expect("mode");
        let (memory, board) = Scoreboard::create(Geometry::for_group(processes, 4, 10)).expect("scoreboard");
        let dispatch = socket::pair(Kind::Datagram).expect("pair");
        let store = socket::pair(Kind::SeqPacket).expect("pair");
        let config = config(&directory, processes);
        let parent_pid = i32::try_from(std::process::id()).expect("pid");
        let (control, supervisor) = (None, 0);
        let mut httpd = Httpd { directory, board, memory, control, dispatch, store, supervisor, config, parent_pid };
        httpd.behave("ready");
        httpd.supervise();
        httpd
    }

    /// What processes that start from now on do.
    pub fn behave(&self, how: &str) {
        fs::write(self.directory.join("behaviour"), how).expect("behaviour");
    }

    /// Starts a (further) supervisor.
    pub fn supervise(&mut self) {
        let (control, theirs) = socket::pair(Kind::SeqPacket).expect("pair");
        let null = File::open("/dev/null").expect("/dev/null");
        let engine = self.directory.join("engine");
        fs::write(&engine, "engine").expect("engine");
        let (engine, log) = (File::open(engine).expect("engine"), self.log_file());
        let descriptors = vec![
            (0, null.as_fd()),
            (1, log.as_fd()),
            (2, log.as_fd()),
            (3, theirs.as_fd()),
            (4, self.dispatch.1.as_fd()),
            (5, engine.as_fd()),
            (6, self.store.0.as_fd()),
            (7, self.store.1.as_fd()),
            // It must not keep what it was not given.
            (9, null.as_fd()),
        ];
        let program = Program {
            path: std::ffi::CString::new(env!("CARGO_BIN_EXE_wsgi-supervisor")).expect("path"),
            arguments: vec![c"wsgi-supervisor".into()],
            environment: Vec::new(),
            descriptors,
            session: true,
            directory: None,
            ..Program::default()
        };
        self.supervisor = spawn(&program).and_then(wsgi_sys::process::Spawned::wait_executed).expect("supervisor");
        self.control = Some(control);
    }

    /// Kills the supervisor and starts another one, with the configuration.
    pub fn replace_supervisor(&mut self) {
        kill(self.supervisor, libc::SIGKILL).expect("kill");
        wait(self.supervisor).expect("wait");
        self.supervise();
        self.configure();
    }

    /// What a supervisor has kept for the next one is lost.
    pub fn empty_store(&mut self) {
        self.store = socket::pair(Kind::SeqPacket).expect("pair");
    }

    fn log_file(&self) -> OwnedFd {
        File::options().create(true).append(true).open(self.directory.join("log")).expect("log").into()
    }

    /// The error log.
    pub fn log(&self) -> String {
        fs::read_to_string(self.directory.join("log")).unwrap_or_default()
    }

    /// How often `text` is in the error log.
    pub fn logged(&self, text: &str) -> usize {
        self.log().matches(text).count()
    }

    fn say(&self, message: &ParentMessage, fds: &[BorrowedFd<'_>]) {
        let bytes = serde_json::to_vec(message).expect("JSON");
        let control = self.control.as_ref().expect("a supervisor");
        socket::send_with_fds_waiting(control.as_fd(), &bytes, fds).expect("sent");
    }

    /// Sends the configuration.
    pub fn configure(&self) {
        let log = self.log_file();
        let protocol = wsgi_wire::PROTOCOL;
        self.say(&ParentMessage::Begin { protocol, parent_pid: self.parent_pid, log_level: 7 }, &[log.as_fd()]);
        let group = ParentMessage::Group(Box::new(self.config.clone()));
        self.say(&group, &[self.memory.as_fd(), log.as_fd()]);
        self.say(&ParentMessage::Commit, &[]);
    }

    /// Says that httpd stops.
    pub fn stop(&self) {
        self.say(&ParentMessage::Stop, &[]);
    }

    /// Process ids of the slots in this state.
    pub fn pids(&self, state: State) -> Vec<i32> {
        let slots = (0..self.board.slots()).filter(|slot| self.board.state(*slot) == state);
        slots.map(|slot| i32::try_from(self.board.pid(slot)).expect("pid")).collect()
    }

    /// Waits until so many processes are ready; their ids.
    pub fn ready(&self, count: usize) -> Vec<i32> {
        until(self, "ready processes", || self.pids(State::Ready).len() == count);
        self.pids(State::Ready)
    }

    /// Connects as a child does; the process id that the daemon process writes, or nothing.
    pub fn connect(&self, slot: u32, epoch: u32) -> String {
        let (ours, theirs) = socket::pair(Kind::Stream).expect("pair");
        let wanted = Connect { group: GROUP, slot, epoch }.encode();
        socket::send_with_fds_waiting(self.dispatch.0.as_fd(), &wanted, &[theirs.as_fd()]).expect("sent");
        drop(theirs);
        io::read_to_string(File::from(ours)).unwrap_or_default()
    }

    /// Asks for many connections without waiting for them.
    pub fn flood(&self, wanted: Connect, count: usize) {
        for _ in 0..count {
            let (_ours, theirs) = socket::pair(Kind::Stream).expect("pair");
            let wanted = wanted.encode();
            socket::send_with_fds_waiting(self.dispatch.0.as_fd(), &wanted, &[theirs.as_fd()]).expect("sent");
        }
    }

    /// Says something for which no descriptor is needed.
    pub fn want(&self, wanted: Connect) {
        socket::send_with_fds_waiting(self.dispatch.0.as_fd(), &wanted.encode(), &[]).expect("sent");
    }

    /// Waits until the supervisor has ended; its exit status.
    pub fn ended(&self) -> Option<i32> {
        let mut status = None;
        until(self, "the supervisor's end", || {
            status = try_wait(self.supervisor).expect("our child");
            status.is_some()
        });
        status.and_then(|status| status.code())
    }

    /// Waits until none of the processes exists.
    pub fn gone(&self, pids: &[i32]) {
        until(self, "the end of the processes", || !pids.iter().any(|pid| lives(*pid)));
    }

    /// Numbers of the supervisor's descriptors.
    pub fn descriptors(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.supervisor)).expect("/proc").count()
    }
}

/// Whether the process runs; one that nobody waits for does not.
pub fn lives(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    exists(pid) && !stat.contains(") Z ")
}

impl Drop for Httpd {
    fn drop(&mut self) {
        self.control = None;
        if self.supervisor != 0 {
            let end = Instant::now() + Duration::from_secs(10);
            while matches!(try_wait(self.supervisor), Ok(None)) && Instant::now() < end {
                std::thread::sleep(Duration::from_millis(5));
            }
            let _ = kill(self.supervisor, libc::SIGKILL);
        }
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// As root the processes run as another user; otherwise as ourselves.
fn config(directory: &std::path::Path, processes: u32) -> GroupConfig {
    let nobody = Identity { uid: 65534, gid: 65534, groups: vec![], name: "nobody".to_owned(), home: "/".to_owned() };
    GroupConfig {
        free_threading: false,
        id: GROUP,
        name: "site".to_owned(),
        defined_at: "httpd.conf:3".to_owned(),
        processes,
        threads: 4,
        multiprocess: processes > 1,
        python: directory.join("python").display().to_string(),
        python_from: "python-home=/srv/venv".to_owned(),
        identity: (user::effective_uid() == 0).then_some(nobody),
        home: None,
        in_users_home: false,
        umask: None,
        display_name: None,
        env: vec![("FAKE".to_owned(), directory.join("behaviour").display().to_string())],
        python_options: Default::default(),
        utf8_mode: true,
        python_path: Vec::new(),
        layers: Vec::new(),
        main_script: None,
        preload: Vec::new(),
        targets: Vec::new(),
        maximum_requests: 0,
        inactivity_timeout_ms: 0,
        min_processes: processes,
        max_processes: processes.max(1),
        idle_timeout_ms: 60_000,
        warmup: None,
        rolling: false,
        restart_interval_ms: 0,
        startup_timeout_ms: 0,
        deadlock_timeout_ms: 300_000,
        request_timeout_ms: 0,
        interrupt_timeout_ms: 0,
        eviction_timeout_ms: 0,
        cpu_time_limit: 0,
        maximum_memory: 0,
        memory_limit: 0,
        virtual_memory_limit: 0,
        cpu_priority: None,
        stack_size: None,
        switch_interval_us: None,
        chroot: None,
        locale: None,
        shutdown_timeout_ms: 1_000,
        graceful_timeout_ms: 3_000,
        server_metrics: false,
        telemetry: None,
        checks_owner: false,
        keep_interpreters: false,
        case_insensitive: false,
        log_level: 7,
        apache_version: (2, 4, 62),
        httpd: Default::default(),
    }
}
