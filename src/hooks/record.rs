//! The `module` record that `LoadModule wsgi_module` looks up, with the directive table behind it.
//!
//! It stands here and not in C because rustc exports only Rust symbols from a cdylib.

use std::ffi::CStr;
use std::ptr;

use super::{config, entries};
use crate::directive::{DROPPED, Places, TABLE};
use crate::httpd::bindings;

/// Looked up by name; httpd writes its index and handle into it while it is single-threaded.
#[unsafe(no_mangle)]
#[allow(non_upper_case_globals)]
static mut wsgi_module: bindings::module = bindings::module {
    version: bindings::MODULE_MAGIC_NUMBER_MAJOR as i32,
    minor_version: bindings::MODULE_MAGIC_NUMBER_MINOR as i32,
    module_index: -1,
    // <IfModule mod_wsgi.c> and lists of hook order match on this name.
    name: c"mod_wsgi.c".as_ptr(),
    dynamic_load_handle: ptr::null_mut(),
    next: ptr::null_mut(),
    magic: bindings::MODULE_MAGIC_COOKIE as _,
    rewrite_args: None,
    create_dir_config: Some(config::create_dir_config),
    merge_dir_config: Some(config::merge_dir_config),
    create_server_config: Some(config::create_server_config),
    merge_server_config: Some(config::merge_server_config),
    cmds: (&raw const COMMANDS.0).cast(),
    register_hooks: Some(register_hooks),
    flags: 0,
};

/// # Safety
/// httpd calls it once for each load of the module, with its configuration's pool.
unsafe extern "C" fn register_hooks(p: *mut bindings::apr_pool_t) {
    // SAFETY: the record lives as long as the image, and this is the call that is meant.
    unsafe { entries::register_hooks(&raw mut wsgi_module, p) };
}

/// How many directives httpd is to know: those of the table, and those that are gone.
const COUNT: usize = TABLE.len() + DROPPED.len();

/// httpd's rows, one for each directive, and the end mark.
struct Commands([bindings::command_rec; COUNT + 1]);

// SAFETY: the rows are never written; their pointers lead to constants.
unsafe impl Sync for Commands {}

static COMMANDS: Commands = Commands({
    let mut rows = [END; COUNT + 1];
    let mut at = 0;
    while at < COUNT {
        rows[at] = if at < TABLE.len() {
            command(TABLE[at].name, TABLE[at].help, TABLE[at].places, at)
        } else {
            let gone = &DROPPED[at - TABLE.len()];
            command(gone.name, GONE, gone.places, at)
        };
        at += 1;
    }
    rows
});

/// What `httpd -L` says of directives that are gone.
const GONE: &CStr = c"Of an older mod_wsgi; it does nothing.";

const END: bindings::command_rec = bindings::command_rec {
    name: ptr::null(),
    func: bindings::cmd_func { raw_args: None },
    cmd_data: ptr::null_mut(),
    req_override: 0,
    args_how: bindings::cmd_how_RAW_ARGS,
    errmsg: ptr::null(),
};

/// The row for httpd: raw arguments, which `directive` reads itself, so that its errors can name them.
const fn command(name: &'static CStr, help: &'static CStr, places: Places, number: usize) -> bindings::command_rec {
    bindings::command_rec {
        name: name.as_ptr(),
        func: bindings::cmd_func { raw_args: Some(config::directive) },
        cmd_data: ptr::without_provenance_mut(number),
        req_override: mask(places),
        args_how: bindings::cmd_how_RAW_ARGS,
        errmsg: help.as_ptr(),
    }
}

/// httpd's mask for a set of places.
const fn mask(places: Places) -> i32 {
    let mut mask = 0;
    if places.contains(Places::SERVER) {
        mask |= bindings::RSRC_CONF;
    }
    if places.contains(Places::DIR) {
        mask |= bindings::ACCESS_CONF;
    }
    if places.contains(Places::FILE_INFO) {
        mask |= bindings::OR_FILEINFO;
    }
    if places.contains(Places::AUTH_CONFIG) {
        mask |= bindings::OR_AUTHCFG;
    }
    mask as i32
}
