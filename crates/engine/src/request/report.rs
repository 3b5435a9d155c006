//! What is logged when a script or an application fails, and for whom.

use crate::log::{ERROR, INFO, process_log};
use crate::python::interp::Interp;
use crate::python::py::{Exception, Gil};
use crate::request::advice;
use crate::request::exchange::Exchange;

/// Where lines about a script go: to the request that needs it, or to the log of the process.
#[derive(Clone, Copy)]
pub struct Reporter<'a, 'e>(pub Option<&'a Exchange<'e>>);

impl Reporter<'_, '_> {
    /// Logs a record of one or several lines.
    pub fn record(&self, gil: Gil, level: u8, text: &str) {
        match self.0 {
            Some(exchange) => exchange.log(gil, level, text.as_bytes(), false),
            None => gil.detach(|| process_log(level, text.as_bytes())),
        }
    }

    /// Logs what happened, and the exception that made it.
    pub fn exception(&self, gil: Gil, interp: &Interp, what: &str, exception: Exception) {
        // What follows from a client that has left is no fault of the application.
        let level = if self.0.is_some_and(Exchange::client_has_left) { INFO } else { ERROR };
        self.record(gil, level, &record_of(gil, interp, what, &exception));
    }
}

/// What happened, and the exception that made it, as the lines of a record.
pub fn record_of(gil: Gil, interp: &Interp, what: &str, exception: &Exception) -> String {
    let describe = interp.objects.describe.get(gil);
    let text = describe.call(&[&exception.kind, &exception.value, &exception.traceback]);
    let text = match text {
        Ok(text) => String::from_utf8_lossy(text.as_bytes().unwrap_or_default()).into_owned(),
        Err(raised) => {
            drop(gil.fetch(raised));
            exception.brief(gil)
        }
    };
    let mut record = format!("{what}\n{}", text.trim_end_matches('\n'));
    if let Some(cure) = advice::cure(&text, interp.is_main()) {
        record.extend(["\n", cure]);
    }
    record
}

/// Logs that the request was interrupted, as mod_wsgi does: for information.
pub fn interrupted(gil: Gil, exchange: &Exchange<'_>) {
    let is_begun = exchange.output.try_hold(gil).is_none_or(|output| output.is_handed());
    let what = if is_begun { "the response, which was begun, is cut short" } else { "the client gets 504" };
    let text = format!("Request interrupted by RequestTimeout; {what}.");
    exchange.log(gil, INFO, text.as_bytes(), false);
}

/// Whether it is `mod_wsgi.RequestTimeout`.
pub fn is_timeout(gil: Gil, interp: &Interp, exception: &Exception) -> bool {
    let found = exception.value.is_instance(interp.objects.timeout.get(gil));
    found.unwrap_or_else(|raised| {
        drop(gil.fetch(raised));
        false
    })
}
