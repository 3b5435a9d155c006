//! A part of a file as the rest of a response: httpd sends it itself, by sendfile where it may, and frees
//! its thread for it where the MPM can finish writing without one.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::ptr;

use wsgi_sys::temporary;

use super::bindings as sys;
use super::output::{Output, Then};
use super::request::Request;

/// A part of a regular file.
#[derive(Debug)]
pub(crate) struct FileBody {
    /// The file, open for reading.
    pub(crate) file: OwnedFd,
    /// Of the part's first byte.
    pub(crate) offset: u64,
    /// In bytes.
    pub(crate) length: u64,
    /// `sendfile` may be used on it.
    pub(crate) sendfile: bool,
}

/// Why a file is no (complete) body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FileError {
    /// What was passed is no regular file, or is shorter than said.
    Unfit,
    /// It became shorter while it was sent.
    Shrunk,
    /// The client is gone, or a filter failed.
    Broken,
    /// httpd has no memory or descriptor for it.
    Refused,
}

/// Longest part in one bucket, bytes: what apr_brigade_insert_file allows.
const BUCKET: u64 = 1 << 30;

impl FileBody {
    fn is_there(&self) -> bool {
        let end = self.offset.checked_add(self.length);
        let size = temporary::regular_size(self.file.as_fd());
        size.zip(end).is_some_and(|(size, end)| end <= size)
    }
}

impl Output<'_> {
    /// Passes `body` and the end of the response.
    ///
    /// # Errors
    /// [`FileError`]; after `Unfit` and `Refused` nothing was passed, after the others the response is to be cut short.
    pub(crate) fn pass_file(&mut self, body: &FileBody) -> Result<(), FileError> {
        if !body.is_there() {
            return Err(FileError::Unfit);
        }
        self.queue_file(body)?;
        // Parts (Range) are cut out of what comes in one piece with the end of the response.
        let whole = self.request().headers_in().get(c"Range").is_some();
        if !whole {
            self.pass_on(Then::More).map_err(|_| FileError::Broken)?;
            if !body.is_there() {
                return Err(FileError::Shrunk);
            }
        }
        self.pass_on(Then::End).map_err(|_| FileError::Broken)
    }

    fn queue_file(&mut self, body: &FileBody) -> Result<(), FileError> {
        let pool = self.request().pool().raw();
        let sendfile = if body.sendfile { sys::APR_FOPEN_SENDFILE_ENABLED as i32 } else { 0 };
        let flags = sys::APR_FOPEN_READ as i32 | sendfile;
        let (mut lent, mut owned) = (ptr::null_mut(), ptr::null_mut());
        let mut fd = body.file.as_raw_fd();
        // SAFETY: the places for the answers are valid; httpd closes only the duplicate, which belongs to the pool
        // and moves with its bucket when the rest is written later.
        let status = unsafe {
            match sys::apr_os_file_put(&raw mut lent, &raw mut fd, flags, pool) {
                0 => sys::apr_file_dup(&raw mut owned, lent, pool),
                status => status,
            }
        };
        if status != 0 {
            return Err(FileError::Refused);
        }
        let (mut at, mut left) = (body.offset, body.length);
        while left > 0 {
            let part = left.min(BUCKET);
            let offset = i64::try_from(at).map_err(|_| FileError::Unfit)?;
            let allocator = self.allocator();
            // SAFETY: file, pool and allocator live as long as the request; the length is far below the type's limit.
            let bucket = unsafe {
                let bucket = sys::apr_bucket_file_create(owned, offset, part as sys::apr_size_t, pool, allocator);
                // httpd would die if the file became shorter under a mapping.
                sys::apr_bucket_file_enable_mmap(bucket, 0);
                bucket
            };
            self.append(bucket);
            at += part;
            left -= part;
        }
        Ok(())
    }
}

impl Request<'_> {
    /// Whether httpd's `EnableSendfile` is on for this request.
    pub(crate) fn allows_sendfile(self) -> bool {
        // SAFETY: the core's record of the directory is always there, of this type.
        let core = unsafe { sys::wsgi_core_dir_config(self.raw()).as_ref() };
        core.is_some_and(|core| core.enable_sendfile() == sys::ENABLE_SENDFILE_ON)
    }
}
