//! Borrowed views of httpd's and APR's records. The bottom floor: it decides nothing and imports none of
//! the other modules.
//!
//! A view is `Copy`, owns nothing, and lives as long as the call from httpd that lent the record.

#![allow(clippy::multiple_unsafe_ops_per_block, reason = "one record of httpd's, one fact that makes it valid")]

pub(crate) mod bindings;
pub(crate) mod body;
pub(crate) mod client;
pub(crate) mod command;
pub(crate) mod file;
mod file_bucket;
pub(crate) mod guard;
pub(crate) mod log;
pub(crate) mod module;
pub(crate) mod output;
pub(crate) mod pool;
pub(crate) mod process;
pub(crate) mod regex;
pub(crate) mod request;
pub(crate) mod scoreboard;
pub(crate) mod server;
pub(crate) mod table;
pub(crate) mod tree;

use std::ffi::{CStr, c_char};

/// The bytes of a C string of httpd's; NULL is empty.
///
/// # Safety
/// `text` is NULL or a C string that is neither changed nor freed for `'a`.
pub(crate) unsafe fn bytes<'a>(text: *const c_char) -> &'a [u8] {
    if text.is_null() {
        return b"";
    }
    // SAFETY: the caller's promise, and it is not NULL.
    unsafe { CStr::from_ptr(text) }.to_bytes()
}

/// As [`bytes`], with NULL told apart.
///
/// # Safety
/// As [`bytes`].
pub(crate) unsafe fn optional<'a>(text: *const c_char) -> Option<&'a [u8]> {
    // SAFETY: the caller's promise.
    (!text.is_null()).then(|| unsafe { bytes(text) })
}

/// The words of a line, as httpd's directives have them: apart by spaces, with quotes around those that hold some.
///
/// # Safety
/// `line` is NULL or a C string.
pub(crate) unsafe fn words<'p>(pool: pool::Pool<'p>, line: *const c_char) -> Vec<&'p [u8]> {
    let (mut rest, mut found) = (line, Vec::new());
    // SAFETY: `rest` moves on through the line, to its end at most; each word is copied into the pool.
    while !rest.is_null() && unsafe { *rest } != 0 {
        // SAFETY: as above.
        let word = unsafe { bytes(bindings::ap_getword_conf(pool.raw(), &raw mut rest)) };
        if !word.is_empty() {
            found.push(word);
        }
    }
    found
}
