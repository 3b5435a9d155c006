//! What a request asks of its host: its body, and somewhere to put the response.

use core::ffi::c_void;
use core::ptr::NonNull;
use std::os::fd::OwnedFd;

use wsgi_wire::frame::InputFailure;
use wsgi_wire::response::{Failure, FilePart};

/// The client is gone, or the child is: nothing more can be sent.
#[derive(Debug, Clone, Copy)]
pub struct Gone;

/// How an exchange ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The response was handed over whole.
    Complete,
    /// There is no, or no complete, response. The cause has been logged.
    Failed(Failure),
    /// The script has changed; nothing was executed.
    Stale,
}

/// The request's body as the host delivers it.
pub trait Body: Send {
    /// Fills the start of `buf`, waiting until there is a byte; 0 at the end. Called without the GIL.
    fn read(&mut self, buf: &mut [u8]) -> Result<usize, InputFailure>;
}

/// What the host does with the response.
pub trait Sink: Send {
    /// The application is about to be called: from now on the request may not be given to another process.
    fn begin(&mut self) {}
    /// Keeps the head to be sent with what follows.
    fn head(&mut self, payload: &[u8]);
    /// Keeps bytes of the body to be sent with what follows.
    fn keep(&mut self, bytes: &[u8]);
    /// Sends what was kept and `bytes`, waiting as long as it takes. Called without the GIL.
    fn send(&mut self, bytes: &[u8]) -> Result<(), Gone>;
    /// As `send`, but without waiting, with the GIL held. Nothing when it does not want to; false when
    /// the rest waits for `send` to be called with no bytes.
    fn try_send(&mut self, bytes: &[u8]) -> Option<Result<bool, Gone>>;
    /// Takes the rest of the body, which is a part of a regular file, and sends what was kept before it. Called
    /// without the GIL.
    fn file(&mut self, file: OwnedFd, part: FilePart) -> Result<(), Gone>;
    /// Takes the rest of the body at once, if all of it fits where the host can reach it. Called without the GIL.
    fn share(&mut self, _parts: &[&[u8]], _total: usize) -> bool {
        false
    }
    /// Takes what a script decided (payload of [`wsgi_wire::decision::Answer`]); there is no response then.
    fn answer(&mut self, payload: &[u8]);
    /// The host's own record of the request: httpd's `request_rec`, in embedded mode.
    fn record(&self) -> Option<NonNull<c_void>> {
        None
    }
    /// Tells the child that the request will be executed and its body is wanted. Does not wait.
    fn confirm(&mut self);
    /// Logs a record: one line or several, with newlines between them. `now`: it should not wait for what else there
    /// is to send. Called without the GIL.
    fn log(&mut self, level: u8, text: &[u8], now: bool);
    /// Sends what was kept and ends the exchange. Called without the GIL.
    fn end(&mut self, outcome: Outcome) -> Result<(), Gone>;
}
