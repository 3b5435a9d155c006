//! Entries of httpd's configuration: records for servers and directories, and directives.

use std::ffi::{c_char, c_void};
use std::ptr;

use crate::directive::{self, DROPPED, DirConfig, Id, Place, ServerConfig, TABLE};
use crate::httpd::bindings;
use crate::httpd::bytes;
use crate::httpd::command::Command;
use crate::httpd::guard::guard;
use crate::httpd::module::{OfDirectory, OfServer};
use crate::httpd::pool::Pool;
use crate::httpd::server::Server;
use crate::{live, startup};

/// # Safety
/// httpd passes a pool that outlives the record.
pub(super) unsafe extern "C" fn create_dir_config(p: *mut bindings::apr_pool_t, _dir: *mut c_char) -> *mut c_void {
    // SAFETY: the contract above.
    let pool = unsafe { Pool::from_raw(p) };
    guard(ptr::null_mut(), |_| {}, || pool.own(DirConfig::default()).cast())
}

/// # Safety
/// httpd passes a pool and two records that `create_dir_config` or this function made.
pub(super) unsafe extern "C" fn merge_dir_config(
    p: *mut bindings::apr_pool_t,
    base: *mut c_void,
    add: *mut c_void,
) -> *mut c_void {
    // SAFETY: the contract above.
    let (pool, base, add) = unsafe { (Pool::from_raw(p), &*base.cast::<DirConfig>(), &*add.cast::<DirConfig>()) };
    guard(ptr::null_mut(), |_| {}, || pool.own(DirConfig::merge(base, add)).cast())
}

/// # Safety
/// httpd passes a pool that outlives the record.
pub(super) unsafe extern "C" fn create_server_config(
    p: *mut bindings::apr_pool_t,
    _s: *mut bindings::server_rec,
) -> *mut c_void {
    // SAFETY: the contract above.
    let pool = unsafe { Pool::from_raw(p) };
    guard(ptr::null_mut(), |_| {}, || pool.own(ServerConfig::default()).cast())
}

/// # Safety
/// httpd passes a pool and two records that `create_server_config` or this function made.
pub(super) unsafe extern "C" fn merge_server_config(
    p: *mut bindings::apr_pool_t,
    base: *mut c_void,
    add: *mut c_void,
) -> *mut c_void {
    // SAFETY: the contract above.
    let (pool, base, add) = unsafe { (Pool::from_raw(p), &*base.cast::<ServerConfig>(), &*add.cast::<ServerConfig>()) };
    guard(ptr::null_mut(), |_| {}, || pool.own(ServerConfig::merge(base, add)).cast())
}

/// Every directive of the module.
///
/// # Safety
/// httpd passes the directive's record, the directory's record of this module, and a C string or NULL.
pub(super) unsafe extern "C" fn directive(
    cmd: *mut bindings::cmd_parms,
    mconfig: *mut c_void,
    args: *const c_char,
) -> *const c_char {
    // SAFETY: the contract above.
    let (command, args) = unsafe { (Command::from_raw(cmd), bytes(args)) };
    let dir = mconfig.cast::<DirConfig>();
    let failed = c"internal error while this directive was read".as_ptr();
    guard(
        failed,
        |_| {},
        // SAFETY: the contract above; `dir` is such a record, or NULL.
        || match unsafe { apply(command, dir, args) } {
            Ok(None) => ptr::null(),
            Ok(Some(inner)) => inner.as_ptr(),
            Err(text) => command.error(&text),
        },
    )
}

/// Why a directive cannot be stored.
const NOT_BEGUN: &str = "the module's configuration phase has not begun";

/// Stores a directive. An error of a directive inside a container is httpd's own text.
///
/// # Safety
/// `dir` is NULL or the directory's record, to which nobody has a reference.
unsafe fn apply<'c>(
    command: Command<'c>,
    dir: *mut DirConfig,
    args: &[u8],
) -> Result<Option<&'c std::ffi::CStr>, String> {
    let (file, line) = command.place();
    let in_htaccess = command.in_htaccess();
    let place = Place {
        file,
        line,
        server: live::server_key(command.server()),
        in_directory: command.in_directory() && !in_htaccess,
        in_htaccess,
    };
    let Some(row) = TABLE.get(command.number()) else {
        let gone = DROPPED.get(command.number() - TABLE.len()).ok_or("the directive has no row in the table")?;
        let warning = gone.warning(&place.defined());
        match live::get().filter(|_| in_htaccess) {
            Some(live) => live.advice.dropped(command.server(), warning),
            None => live::reading().ok_or(NOT_BEGUN)?.global.dropped.push(warning),
        }
        return Ok(None);
    };
    if in_htaccess {
        // SAFETY: the contract above.
        let dir = unsafe { dir.as_mut() }.ok_or("the directory has no record")?;
        // httpd names the file in the log, and not the line.
        let failed = |error: directive::DirectiveError| format!("line {line}: {error}");
        return directive::apply_htaccess(row.id, args, &place, dir).map(|()| None).map_err(failed);
    }
    let mut reading = live::reading().ok_or(NOT_BEGUN)?;
    let server = server_config(command.server()).ok_or("the server has no record")?;
    // SAFETY: the contract above; the reference ends with the call.
    let dir = unsafe { dir.as_mut() };
    directive::apply(row.id, args, &place, &mut reading.global, server, dir).map_err(|error| error.to_string())?;
    match row.id {
        Id::ScriptAliasMatch => reading.compile_last(server, command.pool()).map(|()| None),
        Id::InterpreterOptions => {
            // Each directive inside comes here again, and takes the records itself.
            drop(reading);
            let error = command.walk_children();
            live::reading().ok_or(NOT_BEGUN)?.global.close_interpreter_options();
            Ok(error)
        }
        Id::DaemonProcess => match reading.global.groups.last() {
            Some(group) => startup::check_names(group).map(|()| None),
            None => Ok(None),
        },
        _ => Ok(None),
    }
}

// SAFETY: the functions above give httpd this type for servers.
unsafe impl OfServer for ServerConfig {}
// SAFETY: and this one for directories.
unsafe impl OfDirectory for DirConfig {}

/// The record of a server, to be written while the configuration is read.
fn server_config<'c>(server: Server<'c>) -> Option<&'c mut ServerConfig> {
    // SAFETY: `create_server_config` made it, and reading the configuration is the only thing that happens.
    unsafe { server.config_record::<ServerConfig>().as_mut() }
}
