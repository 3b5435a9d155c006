//! The request's body, through httpd's input filters.

use std::ffi::c_char;
use std::os::fd::BorrowedFd;

use super::bindings as sys;
use super::request::Request;

/// Why the body could not be read to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BodyError {
    /// The client closed the connection.
    Gone,
    /// The client sent nothing for `Timeout`.
    TimedOut,
    /// httpd or a filter refused it, with this status.
    Refused(i32),
}

/// Reads the body of a request, once.
#[derive(Debug)]
pub(crate) struct Body<'r> {
    request: Request<'r>,
    brigade: *mut sys::apr_bucket_brigade,
    ended: bool,
}

impl<'r> Body<'r> {
    /// The body of `request`, which no one has read.
    pub(crate) fn new(request: Request<'r>) -> Self {
        Body { request, brigade: std::ptr::null_mut(), ended: false }
    }

    /// Its end has been read.
    pub(crate) fn ended(&self) -> bool {
        self.ended
    }

    /// Appends up to `most` bytes to `out`, waiting until there is at least one. 0 bytes is the end.
    ///
    /// # Errors
    /// [`BodyError`]; reading again gives the same kind of error or the end.
    pub(crate) fn read(&mut self, out: &mut Vec<u8>, most: usize) -> Result<usize, BodyError> {
        let before = out.len();
        while !self.ended && out.len() == before {
            self.fetch(most, sys::apr_read_type_e_APR_BLOCK_READ)?;
            self.drain(out)?;
        }
        Ok(out.len() - before)
    }

    /// Appends what is here of the body, up to `most` bytes. `false`: nothing is, and it has not ended.
    ///
    /// # Errors
    /// As [`Body::read`].
    pub(crate) fn read_now(&mut self, out: &mut Vec<u8>, most: usize) -> Result<bool, BodyError> {
        let before = out.len();
        self.fetch(most, sys::apr_read_type_e_APR_NONBLOCK_READ)?;
        self.drain(out)?;
        Ok(self.ended || out.len() > before)
    }

    /// The socket on which more of the body will be seen; `None` where the connection is not one of its own
    /// (an HTTP/2 stream).
    pub(crate) fn socket(&self) -> Option<BorrowedFd<'r>> {
        // SAFETY: the connection is the request's.
        let fd = unsafe { sys::wsgi_client_fd((*self.request.raw()).connection) };
        // SAFETY: httpd keeps the client's socket open as long as its connection.
        (fd >= 0).then(|| unsafe { BorrowedFd::borrow_raw(fd) })
    }

    /// Lets httpd's filters put up to `most` bytes into the brigade.
    fn fetch(&mut self, most: usize, wait: sys::apr_read_type_e) -> Result<(), BodyError> {
        let raw = self.request.raw();
        if self.brigade.is_null() {
            // SAFETY: pool and allocator belong to the request and its connection.
            self.brigade = unsafe { sys::apr_brigade_create((*raw).pool, (*(*raw).connection).bucket_alloc) };
        }
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        // SAFETY: filters and brigade are the request's.
        let status = unsafe {
            sys::ap_get_brigade((*raw).input_filters, self.brigade, sys::ap_input_mode_t_AP_MODE_READBYTES, wait, most)
        };
        if status == 0 || status == libc::EAGAIN && wait == sys::apr_read_type_e_APR_NONBLOCK_READ {
            return Ok(());
        }
        self.ended = true;
        Err(self.error(status))
    }

    fn error(&self, status: i32) -> BodyError {
        let aborted = self.request.is_aborted();
        // SAFETY: takes a status code and a default by value.
        let mapped = unsafe { sys::ap_map_http_request_error(status, sys::HTTP_BAD_REQUEST as i32) };
        match mapped {
            408 => BodyError::TimedOut,
            _ if aborted || status == sys::APR_EOF as i32 || status == libc::ECONNRESET => BodyError::Gone,
            mapped => BodyError::Refused(mapped),
        }
    }

    /// Moves the brigade's data into `out`.
    fn drain(&mut self, out: &mut Vec<u8>) -> Result<(), BodyError> {
        // SAFETY: the brigade is ours; each bucket is deleted by the clean-up below only.
        let mut bucket = unsafe { sys::wsgi_brigade_first(self.brigade) };
        let mut failed = None;
        while !bucket.is_null() && failed.is_none() && !self.ended {
            // SAFETY: a bucket of the brigade.
            if unsafe { sys::wsgi_bucket_is_eos(bucket) } != 0 {
                self.ended = true;
            } else {
                failed = append(bucket, out).err();
            }
            // SAFETY: a bucket of the brigade.
            bucket = unsafe { sys::wsgi_bucket_next(self.brigade, bucket) };
        }
        // SAFETY: the brigade is ours.
        unsafe { sys::apr_brigade_cleanup(self.brigade.cast()) };
        match failed {
            Some(status) => {
                self.ended = true;
                Err(self.error(status))
            }
            None => Ok(()),
        }
    }
}

fn append(bucket: *mut sys::apr_bucket, out: &mut Vec<u8>) -> Result<(), i32> {
    // SAFETY: a bucket of a brigade that the caller owns.
    if unsafe { sys::wsgi_bucket_is_metadata(bucket) } != 0 {
        return Ok(());
    }
    let mut data: *const c_char = std::ptr::null();
    let mut len: sys::apr_size_t = 0;
    // SAFETY: as above; the places for the answer are valid.
    let status = unsafe { sys::wsgi_bucket_read(bucket, &raw mut data, &raw mut len) };
    if status != 0 {
        return Err(status);
    }
    if len > 0 {
        // SAFETY: a successful read gives `len` bytes that stay until the bucket is deleted.
        out.extend_from_slice(unsafe { std::slice::from_raw_parts(data.cast::<u8>(), len as usize) });
    }
    Ok(())
}
