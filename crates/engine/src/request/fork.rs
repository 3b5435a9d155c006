//! A process that the application forks has no part in the server. The hosts call [`prepare`] at their start; then
//! [`wsgi_sys::forked`] closes the copies of our descriptors in each forked process, and what the application could reach
//! the request by ([`super::types`], [`super::link::Link`]) is closed as well. Whatever calls code of the application
//! passes its result through [`returned`]: a forked process that comes back from there ends.

#![forbid(unsafe_code)]

use std::io;

use wsgi_sys::{forked, process};
use wsgi_wire::messages::Message;

use crate::python::interp::Interp;
use crate::python::py::{Exception, Gil, Raised, Res};
use crate::python::turn;
use crate::request::report::{Reporter, record_of};
use crate::request::streams;

/// Exit status of a process that an exception ended, as Python itself has it.
const RAISED: i32 = 1;

/// From now on forked processes have no part in the server.
///
/// # Errors
/// No memory.
pub fn prepare() -> io::Result<()> {
    forked::install(|| {
        turn::forget();
        streams::forget_unfinished();
    })
}

/// Passes on what code of the application came back with, in the process that serves. In a process that the application
/// has forked meanwhile this does not return: that process ends with its own status.
pub fn returned<T>(gil: Gil, interp: &Interp, result: Res<T>) -> Res<T> {
    match result {
        Ok(_) if forked::is_child() => end(gil, interp, None),
        result => result.map_err(|cause| raised(gil, interp, cause)),
    }
}

/// As [`returned`], for an exception.
pub fn raised(gil: Gil, interp: &Interp, raised: Raised) -> Raised {
    if forked::is_child() {
        end(gil, interp, Some(gil.fetch(raised)));
    }
    raised
}

/// Ends a forked process, as os._exit does: threads and exit functions of the process that serves are none of its own.
fn end(gil: Gil, interp: &Interp, exception: Option<Exception>) -> ! {
    let none = gil.none();
    let error = exception.as_ref().map_or(&*none, |exception| &exception.value);
    let answer = interp.objects.end_fork.get(gil).call(&[error]);
    let answer = answer.ok().and_then(|pair| Some((pair.as_tuple()?.item(0)?, pair.as_tuple()?.item(1)?)));
    let (status, is_logged) = answer.map_or((RAISED, true), |(status, is_logged)| {
        let status = status.as_i64().ok().and_then(|status| i32::try_from(status).ok());
        (status.unwrap_or(RAISED), is_logged.truth().unwrap_or(true))
    });
    if let Some(exception) = exception.filter(|_| is_logged) {
        let what = format!(
            "Exception occurred in process {}, which the application has forked; it ends with status {status}.",
            std::process::id()
        );
        Reporter(None).report(gil, Message::Forked, &record_of(gil, interp, &what, &exception));
    }
    streams::flush_all(gil);
    process::exit_now(status)
}
