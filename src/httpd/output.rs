//! The response, through httpd's output filters.

use wsgi_sys::memory::Area;
use wsgi_wire::response::FilePart;

use super::bindings;
use super::request::Request;

/// The client is gone, or a filter failed: nothing more can be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Broken;

/// What follows the bytes of one [`Output::pass`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Then {
    /// More, soon: filters may keep what they have.
    More,
    /// Nothing for a while: what filters have must reach the client.
    Flush,
    /// The response ends here.
    End,
}

/// Sends the response of one request.
#[derive(Debug)]
pub(crate) struct Output<'r> {
    request: Request<'r>,
    brigade: *mut bindings::apr_bucket_brigade,
    /// Filters have seen some of the response.
    passed: bool,
    /// The client took nothing for as long as httpd waits.
    timed_out: bool,
}

impl<'r> Output<'r> {
    /// The output of `request`.
    pub(crate) fn new(request: Request<'r>) -> Self {
        Output { request, brigade: std::ptr::null_mut(), passed: false, timed_out: false }
    }

    /// The request.
    pub(super) fn request(&self) -> Request<'r> {
        self.request
    }

    pub(super) fn allocator(&self) -> *mut bindings::apr_bucket_alloc_t {
        // SAFETY: the request and its connection are valid.
        unsafe { (*(*self.request.raw()).connection).bucket_alloc }
    }

    fn brigade(&mut self) -> *mut bindings::apr_bucket_brigade {
        if self.brigade.is_null() {
            let allocator = self.allocator();
            // SAFETY: the pool is the request's.
            self.brigade = unsafe { bindings::apr_brigade_create((*self.request.raw()).pool, allocator) };
        }
        self.brigade
    }

    pub(super) fn append(&mut self, bucket: *mut bindings::apr_bucket) {
        let brigade = self.brigade();
        // SAFETY: the brigade is ours and takes the new bucket.
        unsafe { bindings::wsgi_brigade_insert_tail(brigade, bucket) };
    }

    /// Appends memory that only the next pass needs.
    ///
    /// # Safety
    /// The caller passes the brigade on before it does anything else. Until that pass has returned, whatever the filters
    /// do with the `len` bytes at `start` is allowed.
    pub(super) unsafe fn append_memory(&mut self, start: *const u8, len: usize) {
        let allocator = self.allocator();
        // SAFETY: a transient bucket's bytes are copied by any filter that keeps them beyond the pass.
        let bucket =
            unsafe { bindings::apr_bucket_transient_create(start.cast(), len as bindings::apr_size_t, allocator) };
        self.append(bucket);
    }

    /// Appends a copy of the `len` bytes at `start`.
    ///
    /// # Safety
    /// The bytes can be read; others may write to them meanwhile.
    unsafe fn append_copy(&mut self, start: *const u8, len: usize) {
        let allocator = self.allocator();
        // SAFETY: APR copies what comes without a function to free it, by memcpy.
        let bucket =
            unsafe { bindings::apr_bucket_heap_create(start.cast(), len as bindings::apr_size_t, None, allocator) };
        self.append(bucket);
    }

    /// Keeps a copy of `bytes` for the next pass.
    pub(crate) fn keep(&mut self, bytes: &[u8]) {
        // SAFETY: a slice.
        unsafe { self.append_copy(bytes.as_ptr(), bytes.len()) };
    }

    /// Passes what was kept, then `pieces`, down the filters.
    ///
    /// # Errors
    /// [`Broken`] when the client is gone.
    pub(crate) fn pass<'b>(&mut self, pieces: impl IntoIterator<Item = &'b [u8]>, then: Then) -> Result<(), Broken> {
        for piece in pieces.into_iter().filter(|piece| !piece.is_empty()) {
            // SAFETY: this function holds the borrow of the bytes until it has passed them.
            unsafe { self.append_memory(piece.as_ptr(), piece.len()) };
        }
        self.pass_body(then)
    }

    /// As [`Output::pass`], for a part of an area. `None`: the part is not within the area.
    ///
    /// The daemon process can still change the bytes. A filter that looks at them twice (a checksum and a compression, a
    /// length and what it counts) must find the same, so all filters but those that only pass bytes to the kernel get a copy.
    pub(crate) fn pass_area(&mut self, area: &Area, part: FilePart, then: Then) -> Option<Result<(), Broken>> {
        let (start, length) = area.place(part.offset, part.length)?;
        if length == 0 {
            // An empty bucket says nothing.
        } else if self.request.is_only_written() {
            // SAFETY: this function holds the borrow of the area until it has passed the bytes. The area stays mapped and
            // cannot become smaller. Only the kernel, or code that copies the bytes for it later, reads them, each once.
            unsafe { self.append_memory(start, length) };
        } else {
            // SAFETY: within the area, as above.
            unsafe { self.append_copy(start, length) };
        }
        Some(self.pass_body(then))
    }

    /// Passes what was appended. A body that the application sent in pieces is none that httpd may cut parts out of.
    fn pass_body(&mut self, then: Then) -> Result<(), Broken> {
        if !self.passed && then == Then::End {
            self.request.forgo_ranges();
        }
        self.pass_on(then)
    }

    /// Passes what was appended down the filters; httpd may cut what a client asked for (Range) out of a body that comes as a whole.
    pub(super) fn pass_on(&mut self, then: Then) -> Result<(), Broken> {
        self.passed = true;
        let allocator = self.allocator();
        match then {
            Then::More => {}
            // SAFETY: the allocator is the connection's.
            Then::Flush => self.append(unsafe { bindings::apr_bucket_flush_create(allocator) }),
            // SAFETY: as above.
            Then::End => self.append(unsafe { bindings::apr_bucket_eos_create(allocator) }),
        }
        let brigade = self.brigade();
        // SAFETY: filters and brigade are the request's.
        let status = unsafe { bindings::ap_pass_brigade((*self.request.raw()).output_filters, brigade) };
        // SAFETY: the brigade is ours; what the filters took is out of it.
        unsafe { bindings::apr_brigade_cleanup(brigade.cast()) };
        self.timed_out |= i64::from(status) == i64::from(bindings::APR_TIMEUP);
        if status != 0 || self.request.is_aborted() { Err(Broken) } else { Ok(()) }
    }

    /// Whether the client took nothing for as long as httpd waits.
    pub(crate) fn timed_out(&self) -> bool {
        self.timed_out
    }

    /// Ends a response that was cut short so that no client takes it for complete: HTTP/1.1 gets no last
    /// chunk, HTTP/2 a stream reset, and the connection is closed.
    ///
    /// An error bucket of status 502 before the end of the stream is what httpd's own proxy uses for that
    /// (`ap_http_chunk_filter`, mod_http2).
    pub(crate) fn cut_short(&mut self) {
        let request = self.request.raw();
        // SAFETY: the connection outlives the request.
        unsafe { (*(*request).connection).keepalive = bindings::ap_conn_keepalive_e_AP_CONN_CLOSE };
        let allocator = self.allocator();
        // SAFETY: pool and allocator are the request's and its connection's.
        let error = unsafe {
            bindings::ap_bucket_error_create(
                bindings::HTTP_BAD_GATEWAY as i32,
                std::ptr::null(),
                (*request).pool,
                allocator,
            )
        };
        self.append(error);
        // SAFETY: the allocator is the connection's.
        self.append(unsafe { bindings::apr_bucket_eos_create(allocator) });
        let brigade = self.brigade();
        // SAFETY: the filter is of the request, the brigade ours. What the filters say makes no difference any more.
        unsafe {
            bindings::ap_pass_brigade(self.protocol_filter(), brigade);
            bindings::apr_brigade_cleanup(brigade.cast());
        }
        self.reset_if_unmarked();
    }

    /// The first filter that works on the protocol. The filters before it work on content; they must not complete a
    /// response that has no end (with the trailer of a gzip stream).
    fn protocol_filter(&self) -> *mut bindings::ap_filter_t {
        // SAFETY: the request is valid.
        let mut filter = unsafe { (*self.request.raw()).output_filters };
        while !filter.is_null() {
            // SAFETY: a filter in the chain of the request, and its registration.
            let (kind, next) = unsafe { ((*(*filter).frec).ftype, (*filter).next) };
            if kind >= bindings::ap_filter_type_AP_FTYPE_PROTOCOL {
                break;
            }
            filter = next;
        }
        filter
    }

    /// A response that only the end of the connection delimits (HTTP/1.0) shows no end at all: make TCP
    /// say that the connection broke.
    fn reset_if_unmarked(&self) {
        let request = self.request.raw();
        // SAFETY: the request is valid.
        let (protocol, chunked) = unsafe { ((*request).proto_num, (*request).chunked) };
        if protocol >= 1001 || chunked != 0 || self.request.headers_out().get(c"Content-Length").is_some() {
            return;
        }
        // SAFETY: the connection is valid; the socket is the one it was accepted with, or NULL. An aborted connection
        // is closed at once, without a shutdown before, which would look like an end.
        unsafe {
            bindings::wsgi_reset_on_close((*request).connection);
            (*(*request).connection).aborted = 1;
        }
    }
}

impl Request<'_> {
    /// Makes httpd leave Range alone: the client gets the response as the application made it, however much of it is
    /// there at once. (`ap_byterange_filter` cuts what comes in one piece.)
    fn forgo_ranges(self) {
        if self.headers_in().get(c"Range").is_some() {
            // SAFETY: the request is valid; the name is a constant, and a filter that is not there is no harm.
            unsafe { bindings::ap_remove_output_filter_byhandle((*self.raw()).output_filters, c"BYTERANGE".as_ptr()) };
        }
    }

    /// Sets the status, and the reason when it is not empty.
    pub(crate) fn set_status(self, status: u16, reason: &[u8]) {
        let raw = self.raw();
        // SAFETY: the request is ours in its handler.
        unsafe { (*raw).status = i32::from(status) };
        // SAFETY: takes the number by value and gives a constant text such as "200 OK".
        let usual = unsafe { super::bytes(bindings::ap_get_status_line(i32::from(status))) };
        if !reason.is_empty() && usual.get(4..) != Some(reason) {
            let mut line = status.to_string().into_bytes();
            line.push(b' ');
            line.extend_from_slice(reason);
            let line = self.pool().string(&line);
            // SAFETY: as above; the line lives in the request's pool.
            unsafe { (*raw).status_line = line };
        }
    }

    /// Whether httpd has a page for the status. It takes a status that it does not know for 500.
    pub(crate) fn has_page_for(self, status: u16) -> bool {
        // SAFETY: takes the number by value and gives a constant text such as "404 Not Found".
        let line = unsafe { super::bytes(bindings::ap_get_status_line(i32::from(status))) };
        line.starts_with(status.to_string().as_bytes())
    }

    /// Lets httpd serve a URL of its own in the place of this request, as GET. The result is 0, or an error status.
    pub(crate) fn redirect_internally(self, url: &[u8]) -> i32 {
        let raw = self.raw();
        let url = self.pool().string(url);
        // Unread bytes of the body would pass for the client's next request, because the new request has no body.
        // SAFETY: the request is ours in its handler.
        let status = unsafe { bindings::ap_discard_request_body(raw) };
        if status != 0 {
            return status;
        }
        self.headers_in().unset(c"Content-Length");
        self.headers_in().unset(c"Transfer-Encoding");
        // SAFETY: as above; the name is constant, the URL lives in the request's pool.
        unsafe {
            (*raw).method = c"GET".as_ptr();
            (*raw).method_number = bindings::M_GET as i32;
            bindings::ap_internal_redirect_handler(url, raw);
        }
        0
    }

    /// `Content-Type`, with the filters that it adds (AddOutputFilterByType).
    pub(crate) fn set_content_type(self, value: &[u8]) {
        let value = self.pool().string(value);
        // SAFETY: the request is valid, the string lives in its pool.
        unsafe { bindings::ap_set_content_type(self.raw(), value) };
    }

    /// `Content-Length`.
    pub(crate) fn set_content_length(self, length: i64) {
        // SAFETY: the request is valid.
        unsafe { bindings::ap_set_content_length(self.raw(), length) };
    }
}
