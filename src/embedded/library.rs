//! Opens libpython and the engine in this child, and calls the engine.

#![allow(clippy::multiple_unsafe_ops_per_block, reason = "one record of httpd's, one fact that makes it valid")]

use std::ffi::{CStr, CString, c_int, c_void};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use wsgi_wire::host::{EMBED_SYMBOL, Embed, FINISH_SYMBOL, Finish, RUN_SYMBOL, Run};

use super::host::{HOST, Passed};

/// The running engine. Its library is never closed: Python cannot be unloaded.
#[derive(Debug)]
pub(super) struct Engine {
    run: Run,
    finish: Finish,
}

impl Engine {
    /// Runs one request on this thread. 0, or a failure's number.
    pub(super) fn run(&self, payload: &[u8], passed: &mut Passed<'_>) -> i32 {
        // SAFETY: the payload is valid for the call, and the engine passes `passed` back to the functions of
        // `host` only, one at a time as `Host` says, before it returns.
        unsafe { (self.run)(payload.as_ptr(), payload.len(), std::ptr::from_mut(passed).cast()) }
    }

    /// Ends Python, waiting at most `limit_ms`.
    pub(super) fn finish(&self, limit_ms: u32) {
        // SAFETY: the engine's function takes its argument by value and may be called once it runs.
        unsafe { (self.finish)(limit_ms) };
    }
}

/// Opens `libpython` for all of the process, then the engine behind `engine_file`, and starts Python.
///
/// # Errors
/// A sentence that names the library that failed, or Python's own words.
pub(super) fn start(libpython: &Path, engine_file: &OwnedFd, config: &[u8]) -> Result<Engine, String> {
    let python = CString::new(libpython.as_os_str().as_bytes()).map_err(|error| error.to_string())?;
    open(&python, libc::RTLD_NOW | libc::RTLD_GLOBAL)?;
    // By descriptor: its path may lead through directories that httpd's user cannot enter.
    let path = CString::new(format!("/dev/fd/{}", engine_file.as_raw_fd())).map_err(|error| error.to_string())?;
    let engine = open(&path, libc::RTLD_NOW | libc::RTLD_LOCAL)?;
    let embed = symbol(engine, EMBED_SYMBOL)?;
    let run = symbol(engine, RUN_SYMBOL)?;
    let finish = symbol(engine, FINISH_SYMBOL)?;
    // SAFETY: the symbols are those that `wsgi_wire::host` names, with the types that it gives them.
    let (embed, run, finish) = unsafe {
        (
            std::mem::transmute::<*mut c_void, Embed>(embed),
            std::mem::transmute::<*mut c_void, Run>(run),
            std::mem::transmute::<*mut c_void, Finish>(finish),
        )
    };
    // SAFETY: the configuration is valid for the call, the table for the life of the process.
    let error = unsafe { embed(config.as_ptr(), config.len(), &raw const HOST) };
    if error.is_null() {
        return Ok(Engine { run, finish });
    }
    // SAFETY: the engine gives a C string that lives as long as the process.
    let error = unsafe { CStr::from_ptr(error) };
    Err(format!("cannot start embedded Python: {}", error.to_string_lossy()))
}

fn open(path: &CStr, flags: c_int) -> Result<*mut c_void, String> {
    // SAFETY: the path is a C string. The library's own initialisers are as trustworthy as the library.
    let handle = unsafe { libc::dlopen(path.as_ptr(), flags) };
    if handle.is_null() { Err(format!("cannot start embedded Python: {}", last_error())) } else { Ok(handle) }
}

fn symbol(library: *mut c_void, name: &CStr) -> Result<*mut c_void, String> {
    // SAFETY: an open library and a C string.
    let found = unsafe { libc::dlsym(library, name.as_ptr()) };
    if found.is_null() { Err(format!("the engine does not fit this module: {}", last_error())) } else { Ok(found) }
}

fn last_error() -> String {
    // SAFETY: gives a C string of this thread, or NULL.
    let text = unsafe { libc::dlerror() };
    if text.is_null() {
        return "unknown error".into();
    }
    // SAFETY: not NULL, and valid until the next call on this thread.
    unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
}
