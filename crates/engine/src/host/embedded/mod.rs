//! Embedded mode: Python inside an httpd child, which opened libpython and then this library.
//!
//! Python is initialised, and finalised, on a native thread of its own with all signals blocked; requests
//! run on httpd's threads. The child offers a table of functions ([`wsgi_wire::host::Host`]).

use core::ffi::{c_char, c_void};
use core::ptr::NonNull;
use core::{ptr, slice};
use std::cell::Cell;
use std::ffi::CString;
use std::mem;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::parent_id;
use std::panic::{self, AssertUnwindSafe};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use wsgi_sys::{clock, forked, process, signal};
use wsgi_wire::PROTOCOL;
use wsgi_wire::config::{EmbedConfig, Preload};
use wsgi_wire::frame::InputFailure;
use wsgi_wire::host::{Host, READ_REFUSED, READ_TIMED_OUT};
use wsgi_wire::messages::Message;
use wsgi_wire::request::{self, DECIDE, MAIN};
use wsgi_wire::response::{Failure, FilePart};

use crate::log;
use crate::python::interp::{Facts, Interp};
use crate::python::interpreters;
use crate::python::{initialise, py, threads};
use crate::request::adapter::{self, Request};
use crate::request::exchange::Exchange;
use crate::request::host::{Body, Gone, Outcome, Sink};
use crate::request::telemetry::{self, slow};
use crate::request::{decide, fork, script, server_metrics, types};

/// What the child offers, and how its functions are called.
static HOST: OnceLock<Host> = OnceLock::new();
/// The thread that owns Python waits for a message here that says where to answer.
static FINISH: Mutex<Option<Sender<Sender<bool>>>> = Mutex::new(None);
static ENDING: AtomicBool = AtomicBool::new(false);
static ACTIVE: AtomicUsize = AtomicUsize::new(0);

/// The log of the server.
fn server_log(level: u8, text: &[u8]) {
    if let Some(host) = HOST.get() {
        // SAFETY: the child's function; a null request is allowed, and the text is a slice.
        unsafe { (host.log)(ptr::null_mut(), level, text.as_ptr(), text.len()) };
    }
}

/// Starts Python: [`wsgi_wire::host::Embed`].
///
/// # Safety
/// `config` points to `len` bytes, `host` to a table that stays what it is.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wsgi_engine_embed(config: *const u8, len: usize, host: *const Host) -> *const c_char {
    // SAFETY: by contract.
    let config = unsafe { slice::from_raw_parts(config, len) };
    // SAFETY: by contract; the table is copied.
    let host = unsafe { *host };
    let result = panic::catch_unwind(AssertUnwindSafe(|| embed(config, host)));
    let problem = match result {
        Ok(Ok(())) => return ptr::null(),
        Ok(Err(text)) => text,
        Err(payload) => {
            mem::forget(payload);
            "internal error of mod_wsgi".to_owned()
        }
    };
    CString::new(problem.replace('\0', "?")).unwrap_or_default().into_raw()
}

fn embed(config: &[u8], host: Host) -> Result<(), String> {
    let config: EmbedConfig =
        serde_json::from_slice(config).map_err(|error| format!("the configuration cannot be read: {error}"))?;
    if config.protocol != PROTOCOL || host.protocol != PROTOCOL {
        return Err(format!(
            "the engine is of mod_wsgi {}, and the module speaks protocol {}: files of two builds are installed together",
            wsgi_wire::build::text(),
            config.protocol
        ));
    }
    HOST.set(host).map_err(|_| "Python was started in this process before".to_owned())?;
    fork::prepare().map_err(|error| format!("cannot prepare for processes that applications fork: {error}"))?;
    log::set_process_log(server_log);
    log::set_process_level(config.log_level);
    if config.server_metrics {
        server_metrics::from_child(host.server_metrics);
    }
    let (finish, finishing) = mpsc::channel();
    let (started, starting) = mpsc::channel();
    let builder = std::thread::Builder::new().name("wsgi-python".to_owned()).stack_size(8 << 20);
    // Signals belong to httpd.
    let thread = signal::with_all_blocked(|| builder.spawn(move || own_python(&config, &started, &finishing)));
    thread.map_err(|error| format!("cannot start a thread: {error}"))?;
    starting.recv().map_err(|_| "Python could not be started".to_owned())??;
    *FINISH.lock().unwrap_or_else(PoisonError::into_inner) = Some(finish);
    Ok(())
}

fn facts(config: &EmbedConfig) -> Facts {
    Facts {
        process_group: String::new(),
        processes: config.processes,
        threads: config.threads,
        multithread: config.multithread,
        multiprocess: config.multiprocess,
        run_once: false,
        apache_version: config.apache_version,
        httpd: config.httpd.clone(),
        python: (config.python.clone(), config.python_from.clone()),
        free_threading: config.free_threading,
        python_path: config.python_path.clone(),
        layers: config.layers.clone(),
        keep_streams: config.keep_streams,
        home: None,
        case_insensitive: config.case_insensitive,
        embedded: true,
        started_us: clock::wall_us(),
        switch_interval_us: None,
        telemetry: config.telemetry.is_some(),
    }
}

/// What the thread that owns Python does.
fn own_python(config: &EmbedConfig, started: &Sender<Result<(), String>>, finishing: &Receiver<Sender<bool>>) {
    let begun = initialise::initialise(config).and_then(|gil| {
        let main = interpreters::start(gil, facts(config), types::NATIVES)?;
        // SAFETY: nothing below uses `gil`, and `main` holds its objects by `Stored`.
        unsafe { threads::adopt_current(gil, main) };
        tell_of_start(config, main);
        telemetry::start(config.telemetry.as_ref(), parent_id());
        import_scripts(main, &config.preload);
        Ok(())
    });
    let is_running = begun.is_ok();
    // The child waits for this.
    let _ = started.send(begun);
    let Ok(answer) = finishing.recv() else { return };
    let may_end = is_running && ACTIVE.load(Ordering::SeqCst) == 0;
    if may_end {
        interpreters::in_each(|gil, interp| interp.objects.events.tell_stopping(gil, ""));
    }
    let active = ACTIVE.load(Ordering::SeqCst);
    telemetry::stopping("", active);
    telemetry::stop(active);
    let ended = may_end && !config.keep_interpreters && end_python();
    let _ = answer.send(ended);
}

/// Says which Python this child has started. The thread is not attached.
fn tell_of_start(config: &EmbedConfig, main: &'static Interp) {
    let prefix = threads::attach(main, |gil| {
        let prefix = gil.import(c"sys").and_then(|sys| sys.getattr(c"prefix"));
        prefix.map(|prefix| prefix.text(gil)).unwrap_or_else(|raised| gil.fetch(raised).brief(gil))
    });
    let version = py::version().to_string_lossy();
    let number = version.split(' ').next().unwrap_or_default();
    let EmbedConfig { python, python_from, .. } = config;
    let text = format!(
        "embedded mode: Python {number} ({python}; {python_from}) has started in this child; its prefix is {prefix}, and each \
         application group gets an interpreter of its own"
    );
    log::info(&text);
}

/// Imports scripts into the embedded interpreters. The thread is not attached.
fn import_scripts(main: &'static Interp, preload: &[Preload]) {
    for Preload { script, application_group, .. } in preload {
        threads::attach(main, |gil| {
            interpreters::inside(gil, main, application_group, |gil, interp| script::import(gil, interp, script))
        });
    }
}

fn end_python() -> bool {
    let Some(main) = interpreters::main() else { return false };
    let may_finalise = threads::attach(main, interpreters::end_named);
    threads::mark_ended();
    if may_finalise {
        initialise::finalise(main);
    } else {
        threads::attach(main, |gil| interpreters::run_exit_functions(gil, main, ""));
    }
    may_finalise
}

/// Ends Python: [`wsgi_wire::host::Finish`].
///
/// A prefork child that gets SIGTERM calls this in its signal handler, and exit() after it. The same thread is then in
/// the middle of a request, or of this function, so the function may take no lock and allocate no memory. Whenever
/// Python is not finalised, the destructors of the thread leave it alone.
///
/// # Safety
/// No request is run after this.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wsgi_engine_finish(timeout_ms: u32) -> i32 {
    if forked::is_child() {
        return 1;
    }
    let was_ending = ENDING.swap(true, Ordering::SeqCst);
    if was_ending || IS_RUNNING.get() || ACTIVE.load(Ordering::SeqCst) > 0 {
        threads::mark_ended();
        return 1;
    }
    let ended = panic::catch_unwind(|| finish(Duration::from_millis(timeout_ms.into())));
    if let Ok(true) = ended {
        return 0;
    }
    threads::mark_ended();
    1
}

fn finish(limit: Duration) -> bool {
    let finish = FINISH.lock().unwrap_or_else(PoisonError::into_inner).take();
    let Some(finish) = finish else { return false };
    threads::release();
    let (answer, answered) = mpsc::channel();
    finish.send(answer).is_ok() && answered.recv_timeout(limit).unwrap_or(false)
}

/// Runs one request: [`wsgi_wire::host::Run`].
///
/// # Safety
/// `payload` points to `len` bytes; `request` is what the functions of the table want.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wsgi_engine_run(payload: *const u8, len: usize, request: *mut c_void) -> i32 {
    // SAFETY: by contract.
    let payload = unsafe { slice::from_raw_parts(payload, len) };
    let Some(host) = HOST.get() else { return Failure::Interpreter as i32 };
    let was_running = IS_RUNNING.replace(true);
    ACTIVE.fetch_add(1, Ordering::SeqCst);
    let result = panic::catch_unwind(AssertUnwindSafe(|| run(payload, host, request)));
    if forked::is_child() {
        // A panic has brought a forked process here. The request belongs to httpd's child and not to this process.
        process::exit_now(1);
    }
    ACTIVE.fetch_sub(1, Ordering::SeqCst);
    IS_RUNNING.set(was_running);
    match result {
        Ok(Ok(())) => 0,
        Ok(Err(failure)) => failure as i32,
        Err(cause) => {
            mem::forget(cause);
            log::report(Message::InternalOfRequest, "internal error of mod_wsgi while a request was executed");
            Failure::Application as i32
        }
    }
}

thread_local! {
    /// The thread is in [`wsgi_engine_run`]. Without a destructor, so that a signal handler may read it.
    static IS_RUNNING: Cell<bool> = const { Cell::new(false) };
    static THREAD_ID: Cell<u32> = const { Cell::new(0) };
}

/// Signals that httpd's threads block, as they block all, and that programs need which an application starts there, as
/// these inherit the mask. Without SIGCHLD the forkserver of multiprocessing never learns that a process has ended, and
/// without SIGTERM nothing ends by `terminate()`. This process hardly notices: the system hands SIGTERM to its main
/// thread, if that does not block it, and SIGCHLD does nothing.
const OF_PROGRAMS: [i32; 2] = [libc::SIGCHLD, libc::SIGTERM];

/// The calling thread's number, from 1; 0 where a child has one thread.
fn thread_id() -> u32 {
    let Some(facts) = interpreters::facts().filter(|facts| facts.multithread) else { return 0 };
    static LAST: AtomicU32 = AtomicU32::new(0);
    THREAD_ID.with(|id| {
        if id.get() == 0 {
            id.set(LAST.fetch_add(1, Ordering::Relaxed) + 1);
            // `httpd -X` waits for SIGTERM in another way, which this would disturb.
            if !facts.keep_streams {
                signal::unblock(&OF_PROGRAMS);
            }
        }
        id.get()
    })
}

fn run(payload: &[u8], host: &Host, request: *mut c_void) -> Result<(), Failure> {
    if ENDING.load(Ordering::SeqCst) {
        return Err(Failure::Interpreter);
    }
    let (head, variables) = request::decode(payload).map_err(|_| Failure::Protocol)?;
    let application_group = if head.flags & MAIN != 0 { b"" } else { head.application_group };
    // It ends behind the exchange, when the response is sent.
    let claim = match head.flags & DECIDE {
        0 => slow::claim(thread_id(), &head, &variables, clock::wall_us()),
        _ => None,
    };
    let interp = interpreters::of_application_group(application_group).ok_or(Failure::Interpreter)?;
    let lock = Mutex::new(());
    let calls = Calls { host, request, lock: &lock };
    let (mut body, mut sink) =
        (Incoming(&calls), Outgoing { calls: &calls, head: None, answer: None, kept: Vec::new() });
    let (outcome, sent) = {
        let exchange = pin!(Exchange::new(&mut body, &mut sink, thread_id(), head.log_level));
        let exchange = exchange.as_ref();
        exchange.watch.note(claim.as_ref());
        let turn = interp.turns().begin();
        let outcome = threads::attach(interp, |gil| {
            let request = Request { head, variables, taken_us: 0 };
            match head.flags & DECIDE {
                0 => adapter::run(gil, interp, exchange, request),
                _ => decide::run(gil, interp, exchange, &request, payload),
            }
        });
        drop(turn);
        // At the end of this block the exchange waits for another thread of the application that still reads.
        (outcome, exchange.end(outcome))
    };
    match (outcome, sent) {
        (Outcome::Complete, Ok(())) => Ok(()),
        (Outcome::Complete, Err(Gone)) => Err(Failure::ClientGone),
        (Outcome::Failed(failure), _) => Err(failure),
        (Outcome::Stale, _) => Err(Failure::Load),
    }
}

/// The child's functions for one request. Only one thread at a time may use httpd's request, but an application may
/// read and write in two. So a thread holds the lock during each call, and never where it takes the GIL.
struct Calls<'h> {
    host: &'h Host,
    request: *mut c_void,
    lock: &'h Mutex<()>,
}

// SAFETY: the child's functions may be called by any thread, one at a time, which `lock` sees to.
unsafe impl Send for Calls<'_> {}
// SAFETY: as above.
unsafe impl Sync for Calls<'_> {}

impl Calls<'_> {
    fn enter(&self) -> MutexGuard<'_, ()> {
        self.lock.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn head(&self, payload: &[u8]) -> Result<(), Gone> {
        let _one = self.enter();
        // SAFETY: the child's function, for the request that it passed; the payload is a slice.
        match unsafe { (self.host.head)(self.request, payload.as_ptr(), payload.len()) } {
            0 => Ok(()),
            _ => Err(Gone),
        }
    }

    fn answer(&self, payload: &[u8]) -> Result<(), Gone> {
        let _one = self.enter();
        // SAFETY: as above.
        match unsafe { (self.host.answer)(self.request, payload.as_ptr(), payload.len()) } {
            0 => Ok(()),
            _ => Err(Gone),
        }
    }

    fn data(&self, bytes: &[u8], flush: bool) -> Result<(), Gone> {
        let _one = self.enter();
        // SAFETY: as above.
        match unsafe { (self.host.data)(self.request, bytes.as_ptr(), bytes.len(), flush.into()) } {
            0 => Ok(()),
            _ => Err(Gone),
        }
    }
}

struct Incoming<'c>(&'c Calls<'c>);

impl Body for Incoming<'_> {
    fn read(&mut self, buf: &mut [u8]) -> Result<usize, InputFailure> {
        let calls = self.0;
        let _one = calls.enter();
        // SAFETY: the child's function, for the request that it passed; the memory is a slice.
        let got = unsafe { (calls.host.read_body)(calls.request, buf.as_mut_ptr(), buf.len()) };
        usize::try_from(got).map(|count| count.min(buf.len())).map_err(|_| match got {
            READ_TIMED_OUT => InputFailure::TimedOut,
            READ_REFUSED => InputFailure::Refused,
            _ => InputFailure::Gone,
        })
    }
}

struct Outgoing<'c> {
    calls: &'c Calls<'c>,
    head: Option<Vec<u8>>,
    answer: Option<Vec<u8>>,
    kept: Vec<u8>,
}

impl Outgoing<'_> {
    fn send_head(&mut self) -> Result<(), Gone> {
        self.head.take().map_or(Ok(()), |head| self.calls.head(&head))
    }
}

impl Sink for Outgoing<'_> {
    fn head(&mut self, payload: &[u8]) {
        self.head = Some(payload.to_vec());
    }

    fn keep(&mut self, bytes: &[u8]) {
        self.kept.extend_from_slice(bytes);
    }

    fn send(&mut self, bytes: &[u8]) -> Result<(), Gone> {
        self.send_head()?;
        let kept = mem::take(&mut self.kept);
        if !kept.is_empty() {
            self.calls.data(&kept, true)?;
        }
        if bytes.is_empty() { Ok(()) } else { self.calls.data(bytes, true) }
    }

    fn try_send(&mut self, _bytes: &[u8]) -> Option<Result<bool, Gone>> {
        None
    }

    fn file(&mut self, file: OwnedFd, part: FilePart) -> Result<(), Gone> {
        self.send_head()?;
        let _one = self.calls.enter();
        // SAFETY: the child's function, for the request that it passed; the descriptor is open during the call.
        let taken = unsafe { (self.calls.host.file)(self.calls.request, file.as_raw_fd(), part.offset, part.length) };
        if taken == 0 { Ok(()) } else { Err(Gone) }
    }

    fn record(&self) -> Option<NonNull<c_void>> {
        // SAFETY: the child's function, for the request that it passed.
        NonNull::new(unsafe { (self.calls.host.record)(self.calls.request) })
    }

    fn answer(&mut self, payload: &[u8]) {
        self.answer = Some(payload.to_vec());
    }

    fn confirm(&mut self) {}

    fn log(&mut self, level: u8, text: &[u8], _now: bool) {
        let _one = self.calls.enter();
        // SAFETY: the child's function, for the request that it passed; the text is a slice.
        unsafe { (self.calls.host.log)(self.calls.request, level, text.as_ptr(), text.len()) };
    }

    fn end(&mut self, outcome: Outcome) -> Result<(), Gone> {
        if let Some(answer) = self.answer.take().filter(|_| outcome == Outcome::Complete) {
            return self.calls.answer(&answer);
        }
        self.send_head()?;
        if self.kept.is_empty() {
            return Ok(());
        }
        self.calls.data(&self.kept, outcome != Outcome::Complete)
    }
}
