//! The module as httpd knows it: the address of its record, its index, and the file that its image came from.
//!
//! `hooks` owns the record and hands its address down before anything else runs; the views of this floor pass it to httpd.

use std::ffi::{CStr, CString, OsStr};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

use super::bindings;

/// Set once for each load of the image, while httpd has one thread.
static RECORD: AtomicPtr<bindings::module> = AtomicPtr::new(ptr::null_mut());

/// Tells where the module's record is.
///
/// # Safety
/// `record` is the record that httpd loaded; it lives as long as the image.
pub(crate) unsafe fn set_record(record: *mut bindings::module) {
    RECORD.store(record, Ordering::Relaxed);
}

/// What httpd keeps of the module for a server.
///
/// # Safety
/// `create_server_config` and `merge_server_config` give httpd this type; there is no second implementation.
pub(crate) unsafe trait OfServer {}

/// What httpd keeps of the module for a directory, and merges for a request.
///
/// # Safety
/// `create_dir_config` and `merge_dir_config` give httpd this type; there is no second implementation.
pub(crate) unsafe trait OfDirectory {}

/// The record's address, as httpd's functions want it.
pub(super) fn record() -> *mut bindings::module {
    RECORD.load(Ordering::Relaxed)
}

/// The module's index in httpd's tables of log levels.
pub(super) fn index() -> i32 {
    // SAFETY: `set_record` gave the record of this image, or it is NULL; httpd sets the index when it loads the module.
    unsafe { record().as_ref() }.map_or(-1, |record| record.module_index)
}

/// The file that this image was loaded from.
pub(crate) fn image_path() -> Option<PathBuf> {
    // SAFETY: all fields of Dl_info are pointers, for which zero is a value.
    let mut info: libc::Dl_info = unsafe { std::mem::zeroed() };
    // SAFETY: the address is one of this image; the place for the answer is valid.
    let found = unsafe { libc::dladdr((&raw const RECORD).cast(), &raw mut info) };
    if found == 0 || info.dli_fname.is_null() {
        return None;
    }
    // SAFETY: dladdr gives a C string that lives as long as the image.
    let name = unsafe { CStr::from_ptr(info.dli_fname) };
    Some(PathBuf::from(OsStr::from_bytes(name.to_bytes())))
}

/// Keeps the image loaded until the process is gone, for a thread that runs in it to the end.
pub(crate) fn keep_image() {
    let path = image_path().and_then(|path| CString::new(path.into_os_string().into_vec()).ok());
    let Some(path) = path else { return };
    // SAFETY: the path is a C string; nothing is loaded, only a flag of what is loaded is set.
    unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_NOW | libc::RTLD_NOLOAD | libc::RTLD_NODELETE) };
}
