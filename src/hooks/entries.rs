//! The hooks: which of httpd's calls we answer, and one guarded entry for each.

use std::ffi::{c_char, c_int};
use std::ptr;

use wsgi_wire::messages::Message;

use super::auth;
use crate::httpd::bindings;
use crate::httpd::guard::{guard, install_panic_hook};
use crate::httpd::module;
use crate::httpd::pool::Pool;
use crate::httpd::process;
use crate::httpd::request::Request;
use crate::httpd::server::Server;
use crate::{handler, live, startup};

const DECLINED: c_int = bindings::DECLINED;
const FAILED: c_int = bindings::HTTP_INTERNAL_SERVER_ERROR as c_int;

/// # Safety
/// `record` is the module's record, `pool` the configuration's; httpd calls for this once for each load of the module.
pub(super) unsafe fn register_hooks(record: *mut bindings::module, pool: *mut bindings::apr_pool_t) {
    // SAFETY: the contract above.
    unsafe { module::set_record(record) };
    install_panic_hook();
    // SAFETY: the contract above.
    unsafe { auth::register(pool) };
    // SAFETY: the order lists are static and end with NULL; the functions match the hooks' types.
    unsafe {
        bindings::ap_hook_pre_config(Some(pre_config), ptr::null(), ptr::null(), MIDDLE);
        bindings::ap_hook_check_config(Some(check_config), ptr::null(), ptr::null(), MIDDLE);
        bindings::ap_hook_open_logs(Some(open_logs), ptr::null(), BEFORE_LOGS.0.as_ptr(), FIRST);
        bindings::ap_hook_test_config(Some(test_config), ptr::null(), ptr::null(), MIDDLE);
        bindings::ap_hook_post_config(Some(post_config), ptr::null(), ptr::null(), MIDDLE);
        bindings::ap_hook_optional_fn_retrieve(Some(mpm_is_next), ptr::null(), ptr::null(), LAST);
        bindings::ap_hook_monitor(Some(monitor), ptr::null(), ptr::null(), MIDDLE);
        bindings::ap_hook_child_init(Some(child_init), ptr::null(), ptr::null(), MIDDLE);
        bindings::wsgi_hook_child_stopping(Some(child_stopping));
        bindings::ap_hook_translate_name(Some(translate_name), AFTER.0.as_ptr(), BEFORE.0.as_ptr(), MIDDLE);
        bindings::ap_hook_fixups(Some(fixups), ptr::null(), ptr::null(), FIRST);
        bindings::ap_hook_log_transaction(Some(log_transaction), ptr::null(), ptr::null(), MIDDLE);
        bindings::ap_hook_handler(Some(handle), ptr::null(), ptr::null(), MIDDLE);
    }
}

const FIRST: c_int = bindings::APR_HOOK_REALLY_FIRST;
const LAST: c_int = bindings::APR_HOOK_REALLY_LAST as c_int;
const MIDDLE: c_int = bindings::APR_HOOK_MIDDLE as c_int;

/// Names of modules for httpd's ordering of hooks, which it looks at after the registration.
pub(super) struct Order<const N: usize>(pub(super) [*const c_char; N]);

// SAFETY: the pointers lead to constants and are never written.
unsafe impl<const N: usize> Sync for Order<N> {}

/// Modules that open logs after our hook: from then on errors go to those logs.
static BEFORE_LOGS: Order<2> = Order([c"core.c".as_ptr(), ptr::null()]);
/// Modules that translate URLs before ours.
static AFTER: Order<2> = Order([c"mod_alias.c".as_ptr(), ptr::null()]);
/// Modules that translate URLs after ours.
static BEFORE: Order<3> = Order([c"mod_userdir.c".as_ptr(), c"mod_vhost_alias.c".as_ptr(), ptr::null()]);

/// # Safety
/// httpd passes the pools of the configuration that is about to be read.
unsafe extern "C" fn pre_config(
    pconf: *mut bindings::apr_pool_t,
    _plog: *mut bindings::apr_pool_t,
    _ptemp: *mut bindings::apr_pool_t,
) -> c_int {
    // SAFETY: the contract above; the pool lives as long as the configuration.
    let pool = unsafe { Pool::from_raw(pconf) };
    guard(
        FAILED,
        |_| {},
        || {
            live::begin(pool);
            0
        },
    )
}

/// # Safety
/// httpd passes its pools and the main server.
unsafe extern "C" fn check_config(
    _pconf: *mut bindings::apr_pool_t,
    _plog: *mut bindings::apr_pool_t,
    _ptemp: *mut bindings::apr_pool_t,
    s: *mut bindings::server_rec,
) -> c_int {
    // SAFETY: the contract above.
    let server = unsafe { Server::from_raw(s) };
    guard(FAILED, |panic| server.report(Message::Internal, panic), || if startup::check(server) { 0 } else { FAILED })
}

/// # Safety
/// httpd passes its pools and the main server.
unsafe extern "C" fn open_logs(
    _pconf: *mut bindings::apr_pool_t,
    _plog: *mut bindings::apr_pool_t,
    _ptemp: *mut bindings::apr_pool_t,
    s: *mut bindings::server_rec,
) -> c_int {
    // SAFETY: the contract above.
    let server = unsafe { Server::from_raw(s) };
    guard(
        FAILED,
        |panic| server.report(Message::Internal, panic),
        || if startup::check_files(server) { 0 } else { FAILED },
    )
}

/// # Safety
/// httpd passes its pool and the main server.
unsafe extern "C" fn test_config(_pconf: *mut bindings::apr_pool_t, s: *mut bindings::server_rec) {
    // SAFETY: the contract above.
    let server = unsafe { Server::from_raw(s) };
    guard((), |panic| server.report(Message::Internal, panic), || startup::examine(server));
}

/// # Safety
/// httpd passes its pools and the main server.
unsafe extern "C" fn post_config(
    pconf: *mut bindings::apr_pool_t,
    _plog: *mut bindings::apr_pool_t,
    _ptemp: *mut bindings::apr_pool_t,
    s: *mut bindings::server_rec,
) -> c_int {
    // SAFETY: the contract above.
    let (pool, server) = unsafe { (Pool::from_raw(pconf), Server::from_raw(s)) };
    guard(
        FAILED,
        |panic| server.report(Message::Internal, panic),
        || if startup::start(pool, server) { 0 } else { FAILED },
    )
}

/// # Safety
/// httpd calls it after the last post_config, right before it runs its MPM. (There can be only one `mpm` hook.)
unsafe extern "C" fn mpm_is_next() {
    guard((), process::log_panic, startup::mpm_is_next);
}

/// # Safety
/// httpd's parent passes the configuration's pool and the main server.
unsafe extern "C" fn monitor(pconf: *mut bindings::apr_pool_t, s: *mut bindings::server_rec) -> c_int {
    // SAFETY: the contract above.
    let (pool, server) = unsafe { (Pool::from_raw(pconf), Server::from_raw(s)) };
    guard((), |panic| server.report(Message::Internal, panic), || startup::look_after(pool, server));
    DECLINED
}

/// # Safety
/// httpd passes the child's pool and the main server.
unsafe extern "C" fn child_init(pchild: *mut bindings::apr_pool_t, s: *mut bindings::server_rec) {
    // SAFETY: the contract above.
    let (pool, server) = unsafe { (Pool::from_raw(pchild), Server::from_raw(s)) };
    guard((), |panic| server.report(Message::Internal, panic), || startup::child(pool, server));
}

/// # Safety
/// httpd calls it in a child, under prefork even in a signal handler.
unsafe extern "C" fn child_stopping(_pchild: *mut bindings::apr_pool_t, graceful: c_int) {
    if graceful == 0 {
        startup::child_stops();
    }
}

/// # Safety
/// httpd passes a request that stays valid until this returns.
unsafe extern "C" fn translate_name(r: *mut bindings::request_rec) -> c_int {
    // SAFETY: the contract above; NULL is declined.
    let Some(request) = (unsafe { Request::from_raw(r) }) else { return DECLINED };
    guard(
        FAILED,
        |panic| request.report(Message::Internal, panic),
        || if handler::translate(request) { 0 } else { DECLINED },
    )
}

/// # Safety
/// httpd passes a request that stays valid until this returns.
unsafe extern "C" fn handle(r: *mut bindings::request_rec) -> c_int {
    // SAFETY: the contract above; NULL is declined.
    let Some(request) = (unsafe { Request::from_raw(r) }) else { return DECLINED };
    let answer = guard(Some(FAILED), |panic| request.report(Message::Internal, panic), || handler::run(request));
    answer.unwrap_or(DECLINED)
}

/// # Safety
/// httpd passes a request that stays valid until this returns.
unsafe extern "C" fn fixups(r: *mut bindings::request_rec) -> c_int {
    // SAFETY: the contract above; NULL is declined.
    if let Some(request) = unsafe { Request::from_raw(r) } {
        guard((), |panic| request.report(Message::Internal, panic), || handler::admit(request));
    }
    DECLINED
}

/// # Safety
/// httpd passes a request that stays valid until this returns.
unsafe extern "C" fn log_transaction(r: *mut bindings::request_rec) -> c_int {
    // SAFETY: the contract above; NULL is declined.
    if let Some(request) = unsafe { Request::from_raw(r) } {
        guard((), |panic| request.report(Message::Internal, panic), || handler::look_back(request));
    }
    DECLINED
}
