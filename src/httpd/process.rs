//! The process that httpd runs in: its state, what is kept over reloads, children that it watches.

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::time::{Duration, Instant};

use wsgi_wire::config::Httpd;
use wsgi_wire::messages::Message;

use super::bindings;
use super::guard::guard;
use super::pool::Pool;
use super::server::Server;

/// The first pass over the configuration at the first start, after which the module is loaded again.
pub(crate) fn is_rehearsal() -> bool {
    state() == bindings::AP_SQ_MS_CREATE_PRE_CONFIG as c_int
}

/// The configuration is only tested (`-t`), and not dumped in some way.
pub(crate) fn is_test() -> bool {
    // SAFETY: takes its argument by value.
    let mode = unsafe { bindings::ap_state_query(bindings::AP_SQ_RUN_MODE as c_int) };
    mode == bindings::AP_SQ_RM_CONFIG_TEST as c_int
}

/// httpd's parent is about to end.
pub(crate) fn is_exiting() -> bool {
    state() == bindings::AP_SQ_MS_EXITING as c_int
}

fn state() -> c_int {
    // SAFETY: takes its argument by value.
    unsafe { bindings::ap_state_query(bindings::AP_SQ_MAIN_STATE as c_int) }
}

/// This configuration begins by `restart` and not by `graceful` or a first start. (The MPM clears
/// `is_ungraceful` before the configuration is read, and keeps what it was in `was_graceful`.)
pub(crate) fn restart_is_hard() -> bool {
    was_graceful() == Some(false)
}

/// This configuration begins by `graceful`.
pub(crate) fn restart_is_graceful() -> bool {
    was_graceful() == Some(true)
}

/// This configuration is not that of a first start: there are children already that serve.
pub(crate) fn is_restart() -> bool {
    was_graceful().is_some()
}

/// Nothing at a first start.
fn was_graceful() -> Option<bool> {
    // SAFETY: the record lives as long as httpd; NULL before an MPM is loaded.
    let retained = unsafe { bindings::ap_unixd_mpm_get_retained_data().as_ref() }?;
    (retained.my_generation > 0).then_some(retained.was_graceful != 0)
}

/// httpd's `User` and `Group`.
pub(crate) fn unprivileged_ids() -> (u32, u32) {
    // SAFETY: httpd's own record, written while the configuration is read, on this thread.
    unsafe { (bindings::ap_unixd_config.user_id, bindings::ap_unixd_config.group_id) }
}

/// Version of the running httpd.
pub(crate) fn version() -> (u32, u32, u32) {
    let mut version = bindings::ap_version_t { major: 0, minor: 0, patch: 0, add_string: std::ptr::null() };
    // SAFETY: the record to fill is valid.
    unsafe { bindings::ap_get_server_revision(&raw mut version) };
    let number = |part: c_int| u32::try_from(part).unwrap_or(0);
    (number(version.major), number(version.minor), number(version.patch))
}

/// What applications may know of httpd.
pub(crate) fn about() -> Httpd {
    let (threads, processes) = mpm_shape();
    // SAFETY: httpd makes these texts, which live as long as the configuration.
    let text = |text: *const c_char| unsafe { text.as_ref().map(|first| CStr::from_ptr(first)) };
    let text = |found| text(found).map_or_else(String::new, |text| text.to_string_lossy().into_owned());
    // SAFETY: takes nothing.
    let description = text(unsafe { bindings::ap_get_server_description() });
    // SAFETY: as above.
    let mpm_name = text(unsafe { bindings::ap_show_mpm() });
    // SAFETY: as above.
    let build_date = text(unsafe { bindings::ap_get_server_built() });
    Httpd { processes, threads, description, mpm_name, build_date }
}

/// Whether children run several threads, and how many; whether there are several children, and how many.
pub(crate) fn mpm_shape() -> (u32, u32) {
    (ask_mpm(bindings::AP_MPMQ_MAX_THREADS).max(1), ask_mpm(bindings::AP_MPMQ_MAX_DAEMONS).max(1))
}

/// Places for children, old ones that finish included: MaxRequestWorkers / ThreadsPerChild, and for event ServerLimit.
pub(crate) fn places() -> u32 {
    // SAFETY: returns a constant of the MPM, or one of httpd's where none is loaded.
    let name = unsafe { CStr::from_ptr(bindings::ap_show_mpm()) };
    ask_mpm(if name == c"event" { bindings::AP_MPMQ_HARD_LIMIT_DAEMONS } else { bindings::AP_MPMQ_MAX_DAEMONS })
}

fn ask_mpm(query: u32) -> u32 {
    let mut answer: c_int = 0;
    // SAFETY: the place for the answer is valid.
    unsafe { bindings::ap_mpm_query(query as c_int, &raw mut answer) };
    u32::try_from(answer).unwrap_or(0)
}

/// Adds to the `Server` header, as far as `ServerTokens` allows.
pub(crate) fn add_banner(pconf: Pool<'_>, text: &str) {
    let text = pconf.string(text.as_bytes());
    // SAFETY: pool and text are valid; httpd copies the text.
    unsafe { bindings::ap_add_version_component(pconf.raw(), text) };
}

/// What [`keep`] kept under `key`.
pub(crate) fn kept<T: 'static>(main: Server<'_>, key: &str) -> Option<&'static mut T> {
    // SAFETY: only `keep` stores there, with a type that belongs to the key; the parent has one thread, and a
    // child looks only while it starts.
    unsafe { main.process_pool().kept(key).cast::<T>().as_mut() }
}

/// Keeps `value` as long as the process lives. It is never dropped.
pub(crate) fn keep<T: 'static>(main: Server<'_>, key: &str, value: T) -> &'static mut T {
    let value = Box::leak(Box::new(value));
    main.process_pool().keep(key, std::ptr::from_mut(value).cast());
    value
}

/// The function that httpd's parent calls when a watched process is gone. Its arguments: main server, configuration's
/// pool, process id, exit status in words.
pub(crate) type Gone = fn(Server<'_>, Pool<'_>, i32, &str);

struct Watched {
    process: bindings::apr_proc_t,
    pconf: *mut bindings::apr_pool_t,
    gone: Gone,
}

/// Has httpd's parent call `gone` when the process `pid` ends, as long as the configuration lives.
pub(crate) fn watch(pconf: Pool<'_>, pid: i32, gone: Gone) {
    // SAFETY: an apr_proc_t of zeroes is valid: no pipes.
    let mut process: bindings::apr_proc_t = unsafe { std::mem::zeroed() };
    process.pid = pid;
    let watched = pconf.own(Watched { process, pconf: pconf.raw(), gone });
    // SAFETY: `watched` lives in the pool, which unregisters the process before it drops the record.
    unsafe {
        bindings::apr_proc_other_child_register(
            &raw mut (*watched).process,
            Some(maintain),
            watched.cast(),
            std::ptr::null_mut(),
            pconf.raw(),
        );
    }
}

/// # Safety
/// httpd passes the record that [`watch`] registered.
unsafe extern "C" fn maintain(reason: c_int, data: *mut c_void, status: c_int) {
    if reason != bindings::APR_OC_REASON_DEATH as c_int && reason != bindings::APR_OC_REASON_LOST as c_int {
        return;
    }
    // SAFETY: the contract above.
    let watched = unsafe { &*data.cast::<Watched>() };
    let (pconf, pid, gone) = (watched.pconf, watched.process.pid, watched.gone);
    // SAFETY: the record was registered with APR, and is told of once.
    unsafe { bindings::apr_proc_other_child_unregister(data) };
    let mut mpm: c_int = 0;
    // SAFETY: the place for the answer is valid.
    unsafe { bindings::ap_mpm_query(bindings::AP_MPMQ_MPM_STATE as c_int, &raw mut mpm) };
    // SAFETY: httpd sets its main server before it runs.
    let main = unsafe { Server::from_raw(bindings::ap_server_conf) };
    if mpm == bindings::AP_MPMQ_STOPPING as c_int || is_exiting() {
        return;
    }
    // SAFETY: the configuration that registered the process is still in force.
    let pool = unsafe { Pool::from_raw(pconf) };
    guard((), |panic| main.report(Message::Internal, panic), || gone(main, pool, pid, &in_words(status)));
}

fn in_words(status: c_int) -> String {
    if libc::WIFSIGNALED(status) {
        format!("signal {}", libc::WTERMSIG(status))
    } else {
        format!("exit status {}", libc::WEXITSTATUS(status))
    }
}

struct Ending(fn(Server<'_>));

impl Drop for Ending {
    fn drop(&mut self) {
        // SAFETY: httpd's main server stays readable until the configuration's pool is gone.
        let main = unsafe { Server::from_raw(bindings::ap_server_conf) };
        (self.0)(main);
    }
}

/// Calls `ending` when the configuration's pool is cleared, in the parent only.
pub(crate) fn at_cleanup(pconf: Pool<'_>, ending: fn(Server<'_>)) {
    pconf.own(Ending(ending));
}

/// Waits until `deadline` for a child process to end.
pub(crate) fn wait_for(pid: i32, deadline: Instant) {
    while pid > 0 && matches!(wsgi_sys::process::try_wait(pid), Ok(None)) && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// httpd's standard error: the error log of the main server once it is open.
pub(crate) fn stderr() -> BorrowedFd<'static> {
    // SAFETY: httpd keeps descriptor 2 open for its whole life.
    unsafe { BorrowedFd::borrow_raw(2) }
}

/// A copy of one of httpd's own descriptors.
pub(crate) fn duplicate(fd: i32) -> io::Result<OwnedFd> {
    // SAFETY: the caller got the number from a record of httpd's that holds it open.
    wsgi_sys::fd::duplicate(unsafe { BorrowedFd::borrow_raw(fd) }.as_fd(), 10)
}

/// Takes a descriptor by its number; `None` for a negative one.
///
/// # Safety
/// The number is an open descriptor that nothing else will close.
pub(crate) unsafe fn take_over(number: i32) -> Option<OwnedFd> {
    // SAFETY: the contract above.
    (number >= 0).then(|| unsafe { OwnedFd::from_raw_fd(number) })
}

/// The environment of this process, as exec wants it.
pub(crate) fn environment() -> Vec<CString> {
    let pair = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
        let mut text = name.into_vec();
        text.push(b'=');
        text.extend_from_slice(value.as_bytes());
        CString::new(text).ok()
    };
    std::env::vars_os().filter_map(pair).collect()
}

/// Sets a variable of this process. For hooks that httpd calls before the process starts threads (`child_init`).
pub(crate) fn set_variable(name: &str, value: &str) {
    // SAFETY: a child has one thread then. mod_watchdog may have started its own before, which sets no variable; the C
    // library leaves what that may be reading as it is, in memory that it does not free.
    unsafe { std::env::set_var(name, value) };
}

/// Whether httpd was started with `-D` and this name.
pub(crate) fn is_defined(name: &std::ffi::CStr) -> bool {
    // SAFETY: looks the C string up in a list that is complete before any hook runs.
    unsafe { bindings::ap_exists_config_define(name.as_ptr()) != 0 }
}

/// Whether this is the only process, started by somebody who looks at it: `httpd -X` or `-DONE_PROCESS`.
pub(crate) fn is_single() -> bool {
    [c"DEBUG", c"ONE_PROCESS"].into_iter().any(is_defined)
}

/// The module's log level of the main server.
pub(crate) fn main_log_level() -> u8 {
    // SAFETY: httpd's main server lives as long as any child.
    let level = unsafe { Server::from_raw(bindings::ap_server_conf) }.log_level();
    u8::try_from(level.clamp(0, 15)).unwrap_or(15)
}

/// Writes a record that belongs to no request into the main server's log.
pub(crate) fn log_main(level: i32, text: &[u8]) {
    // SAFETY: httpd's main server lives as long as any child.
    unsafe { Server::from_raw(bindings::ap_server_conf) }.log_record(level, text);
}

/// Writes a warning or an error that belongs to no request into the main server's log.
pub(crate) fn report_main(message: Message, text: &str) {
    log_main(message.level().into(), message.line(text).as_bytes());
}

/// For `guard` where no request is at hand.
pub(crate) fn log_panic(text: &str) {
    report_main(Message::Internal, text);
}
