//! The client's connection.

use std::marker::PhantomData;
use std::time::Duration;

use super::bindings;
use super::request::Request;

/// While it lives, httpd waits for the client as long as [`Request::set_client_patience`] said.
#[derive(Debug)]
pub(crate) struct Patience<'r> {
    socket: *mut bindings::apr_socket_t,
    before: bindings::apr_interval_time_t,
    life: PhantomData<&'r ()>,
}

impl<'r> Request<'r> {
    /// Changes how long httpd waits for the client to take or to give something. Nothing where the connection is not one
    /// of its own (an HTTP/2 stream), or cannot be asked.
    pub(crate) fn set_client_patience(self, limit: Duration) -> Option<Patience<'r>> {
        if self.is_stream() {
            return None;
        }
        let limit = i64::try_from(limit.as_micros()).unwrap_or(i64::MAX);
        let mut before = 0;
        // SAFETY: the connection is the request's; its socket, or NULL, lives as long.
        let socket = unsafe { bindings::ap_get_conn_socket((*self.raw()).connection) };
        // SAFETY: the socket is valid, and the place for the answer, too.
        let known = !socket.is_null() && unsafe { bindings::apr_socket_timeout_get(socket, &raw mut before) } == 0;
        // SAFETY: as above.
        let set = known && unsafe { bindings::apr_socket_timeout_set(socket, limit) } == 0;
        set.then_some(Patience { socket, before, life: PhantomData })
    }
}

impl Drop for Patience<'_> {
    fn drop(&mut self) {
        // SAFETY: the socket lives as long as the request's connection, and so longer than this.
        unsafe { bindings::apr_socket_timeout_set(self.socket, self.before) };
    }
}
