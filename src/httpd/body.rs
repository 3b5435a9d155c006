//! The request's body, through httpd's input filters.

use std::ffi::c_char;

use super::bindings;
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

/// `proto_num` of HTTP/1.1, the first version that has `100 Continue`.
const HTTP_1_1: i32 = 1001;

impl BodyError {
    /// What has happened, as a clause.
    pub(crate) fn text(self) -> &'static str {
        match self {
            BodyError::Gone => "the client closed the connection while it sent the request's body",
            BodyError::TimedOut => "the client sent nothing of the request's body within httpd's Timeout",
            BodyError::Refused(_) => "httpd refused the request's body",
        }
    }
}

/// Bytes asked for at a time when nobody wants them.
const DISCARD: usize = 64 << 10;

/// Statuses of a client that has left.
const GONE: [i32; 5] =
    [bindings::APR_EOF as i32, bindings::APR_INCOMPLETE as i32, libc::ECONNRESET, libc::ECONNABORTED, libc::EPIPE];

/// Reads the body of a request, once.
#[derive(Debug)]
pub(crate) struct Body<'r> {
    request: Request<'r>,
    brigade: *mut bindings::apr_bucket_brigade,
    ended: bool,
}

impl<'r> Body<'r> {
    /// The body of `request`, which no one has read.
    pub(crate) fn new(request: Request<'r>) -> Self {
        Body { request, brigade: std::ptr::null_mut(), ended: false }
    }

    /// Whether the client of `request` sends the body only when it gets `100 Continue`.
    pub(crate) fn waits_for_continue(request: Request<'_>) -> bool {
        let raw = request.raw();
        // SAFETY: the request's record.
        let (expects, version) = unsafe { ((*raw).expecting_100, (*raw).proto_num) };
        expects != 0 && version >= HTTP_1_1
    }

    /// Sends `100 Continue`, if the client waits for it. httpd itself does so only when somebody reads and waits.
    pub(crate) fn invite(&self) {
        if !Self::waits_for_continue(self.request) {
            return;
        }
        let raw = self.request.raw();
        // SAFETY: the request's record, whose response has not begun; httpd takes the status of the interim response from it.
        let kept = unsafe { ((*raw).status, (*raw).status_line) };
        // SAFETY: as above.
        unsafe { ((*raw).status, (*raw).status_line) = (bindings::HTTP_CONTINUE as i32, std::ptr::null()) };
        // SAFETY: as above. It notes in the record that nobody waits any more.
        unsafe { bindings::ap_send_interim_response(raw, 0) };
        // SAFETY: as above.
        unsafe { ((*raw).status, (*raw).status_line) = kept };
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
            if !self.has_buckets() {
                self.fetch(most, bindings::apr_read_type_e_APR_BLOCK_READ)?;
            }
            self.drain(|bytes| {
                out.extend_from_slice(bytes);
                bytes.len()
            })?;
        }
        Ok(out.len() - before)
    }

    /// Fills the front of `buffer`, waiting until there is at least one byte. 0 bytes is the end.
    ///
    /// # Errors
    /// As [`Body::read`].
    pub(crate) fn read_into(&mut self, buffer: &mut [u8]) -> Result<usize, BodyError> {
        let mut filled = 0;
        while !self.ended && filled == 0 {
            if !self.has_buckets() {
                self.fetch(buffer.len(), bindings::apr_read_type_e_APR_BLOCK_READ)?;
            }
            self.drain(|bytes| {
                let count = bytes.len().min(buffer.len() - filled);
                buffer[filled..filled + count].copy_from_slice(&bytes[..count]);
                filled += count;
                count
            })?;
        }
        Ok(filled)
    }

    /// Appends what is here of the body, up to `most` bytes. `false`: nothing is, and it has not ended.
    ///
    /// # Errors
    /// As [`Body::read`].
    pub(crate) fn read_now(&mut self, out: &mut Vec<u8>, most: usize) -> Result<bool, BodyError> {
        let before = out.len();
        if !self.has_buckets() {
            self.fetch(most, bindings::apr_read_type_e_APR_NONBLOCK_READ)?;
        }
        self.drain(|bytes| {
            out.extend_from_slice(bytes);
            bytes.len()
        })?;
        Ok(self.ended || out.len() > before)
    }

    /// Reads to the end, and drops it.
    ///
    /// # Errors
    /// As [`Body::read`].
    pub(crate) fn discard(&mut self) -> Result<(), BodyError> {
        if !self.ended {
            self.invite();
        }
        while !self.ended {
            if !self.has_buckets() {
                self.fetch(DISCARD, bindings::apr_read_type_e_APR_BLOCK_READ)?;
            }
            self.drain(<[u8]>::len)?;
        }
        Ok(())
    }

    /// Some of what httpd gave was not taken yet.
    fn has_buckets(&self) -> bool {
        // SAFETY: the brigade is ours, if there is one.
        !self.brigade.is_null() && !unsafe { bindings::wsgi_brigade_first(self.brigade) }.is_null()
    }

    /// Lets httpd's filters put up to `most` bytes into the brigade.
    fn fetch(&mut self, most: usize, wait: bindings::apr_read_type_e) -> Result<(), BodyError> {
        let raw = self.request.raw();
        if self.brigade.is_null() {
            // SAFETY: pool and allocator belong to the request and its connection.
            self.brigade = unsafe { bindings::apr_brigade_create((*raw).pool, (*(*raw).connection).bucket_alloc) };
        }
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        // SAFETY: filters and brigade are the request's.
        let status = unsafe {
            bindings::ap_get_brigade(
                (*raw).input_filters,
                self.brigade,
                bindings::ap_input_mode_t_AP_MODE_READBYTES,
                wait,
                most,
            )
        };
        if status == 0 || status == libc::EAGAIN && wait == bindings::apr_read_type_e_APR_NONBLOCK_READ {
            return Ok(());
        }
        self.ended = true;
        Err(self.error(status))
    }

    fn error(&self, status: i32) -> BodyError {
        let aborted = self.request.is_aborted();
        // SAFETY: takes a status code and a default by value.
        let mapped = unsafe { bindings::ap_map_http_request_error(status, bindings::HTTP_BAD_REQUEST as i32) };
        // The end before the announced one is a 400 for httpd, and mod_ssl has statuses of its own.
        let ended = || self.request.client_socket().is_some_and(wsgi_sys::stream::has_ended);
        match mapped {
            408 => BodyError::TimedOut,
            _ if aborted || GONE.contains(&status) => BodyError::Gone,
            400 if ended() => BodyError::Gone,
            mapped => BodyError::Refused(mapped),
        }
    }

    /// Gives the brigade's data to `take`, which says how much it took; what it does not take stays.
    fn drain(&mut self, mut take: impl FnMut(&[u8]) -> usize) -> Result<(), BodyError> {
        while !self.ended {
            // SAFETY: the brigade is ours.
            let bucket = unsafe { bindings::wsgi_brigade_first(self.brigade) };
            if bucket.is_null() {
                return Ok(());
            }
            // SAFETY: a bucket of the brigade.
            if unsafe { bindings::wsgi_bucket_is_eos(bucket) } != 0 {
                self.ended = true;
            } else if let Some(bytes) = bytes_of(bucket).map_err(|status| self.fail(status))? {
                let taken = take(bytes);
                if taken == 0 {
                    return Ok(());
                }
                if taken < bytes.len() {
                    // SAFETY: a bucket of the brigade, longer than `taken`; the first part is deleted below.
                    unsafe { bindings::wsgi_bucket_split(bucket, taken as bindings::apr_size_t) };
                    // SAFETY: as above.
                    unsafe { bindings::wsgi_bucket_delete(bucket) };
                    return Ok(());
                }
            }
            // SAFETY: a bucket of the brigade.
            unsafe { bindings::wsgi_bucket_delete(bucket) };
        }
        Ok(())
    }

    fn fail(&mut self, status: i32) -> BodyError {
        self.ended = true;
        self.error(status)
    }
}

/// The bytes of a bucket, which stay until it is deleted; `None`: it holds none.
fn bytes_of<'b>(bucket: *mut bindings::apr_bucket) -> Result<Option<&'b [u8]>, i32> {
    // SAFETY: a bucket of a brigade that the caller owns.
    if unsafe { bindings::wsgi_bucket_is_metadata(bucket) } != 0 {
        return Ok(None);
    }
    let mut data: *const c_char = std::ptr::null();
    let mut len: bindings::apr_size_t = 0;
    // SAFETY: as above; the places for the answer are valid.
    let status = unsafe { bindings::wsgi_bucket_read(bucket, &raw mut data, &raw mut len) };
    if status != 0 {
        return Err(status);
    }
    if len == 0 {
        return Ok(None);
    }
    // SAFETY: a successful read gives `len` bytes that stay until the bucket is deleted.
    Ok(Some(unsafe { std::slice::from_raw_parts(data.cast::<u8>(), len as usize) }))
}
