//! What is logged when a script or an application fails, and for whom.

use wsgi_wire::messages::Message;

use crate::log;
use crate::python::interp::Interp;
use crate::python::interpreters::facts;
use crate::python::py::{Exception, Gil, Kind};
use crate::request::advice::{self, Place};
use crate::request::exchange::Exchange;

/// Where lines about a script go: to the request that needs it, or to the log of the process.
#[derive(Clone, Copy)]
pub struct Reporter<'a, 'e>(pub Option<&'a Exchange<'e>>);

impl Reporter<'_, '_> {
    /// Logs what happens, in one or several lines.
    pub fn info(&self, gil: Gil, text: &str) {
        match self.0 {
            Some(exchange) => exchange.info(gil, text),
            None => gil.detach(|| log::info(text)),
        }
    }

    /// Logs a warning or an error of one or several lines.
    pub fn report(&self, gil: Gil, message: Message, text: &str) {
        match self.0 {
            Some(exchange) => exchange.report(gil, message, text),
            None => gil.detach(|| log::report(message, text)),
        }
    }

    /// Logs the exception that came out of a script, with what is to be said about it before and behind mod_wsgi's words.
    pub fn exception(&self, gil: Gil, interp: &Interp, script: &[u8], about: About<'_>, exception: &Exception) {
        let (message, words) = raised(gil, interp, script, exception);
        let (first, head) = match about.before {
            Some((first, text)) => (first, format!("{text}\n{}", message.line(words))),
            None => (message, words),
        };
        let text = record_of(gil, interp, &format!("{head}{}", about.behind), exception);
        // What follows from a client that has left is no fault of the application.
        if self.0.is_some_and(Exchange::client_has_left) {
            self.info(gil, &text);
        } else {
            self.report(gil, first, &text);
        }
    }
}

/// What is to be said about an exception.
#[derive(Clone, Copy, Default)]
pub struct About<'a> {
    /// A line before its own.
    pub before: Option<(Message, &'a str)>,
    /// The end of its own line.
    pub behind: &'a str,
}

/// mod_wsgi's words for an exception of a script.
pub fn raised(gil: Gil, interp: &Interp, script: &[u8], exception: &Exception) -> (Message, String) {
    let (script, place) = (String::from_utf8_lossy(script), place(interp));
    if exception.is(Kind::SystemExit) {
        let text = format!("SystemExit exception raised by WSGI script '{script}' for {place}; ignored.");
        return (Message::Exited, text);
    }
    let kind = exception.value.type_name(gil);
    (Message::Raised, format!("{kind} exception raised processing WSGI script '{script}' for {place}."))
}

/// The interpreter in mod_wsgi's words.
pub fn place(interp: &Interp) -> String {
    let interpreter = match interp.name() {
        "" => "main interpreter".to_owned(),
        name => format!("sub-interpreter '{name}'"),
    };
    match facts().filter(|facts| !facts.embedded) {
        Some(facts) => format!("{interpreter} of daemon process '{}'", facts.process_group),
        None => format!("{interpreter} in embedded mode"),
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
    let place = match (interp.is_main(), interp.has_own_gil()) {
        (true, _) => Place::Main,
        (false, false) => Place::Sub,
        (false, true) => Place::OwnGil,
    };
    if let Some(cure) = advice::cure(&text, place) {
        record.extend(["\n", &cure]);
    }
    record
}

/// Logs that the request was interrupted, as mod_wsgi does: for information.
pub fn interrupted(gil: Gil, exchange: &Exchange<'_>) {
    let is_begun = exchange.output.try_hold(gil).is_none_or(|output| output.is_handed());
    let what =
        if is_begun { " after headers sent; response truncated" } else { "; thread recovered; the client gets 504" };
    exchange.info(gil, &format!("Request interrupted by RequestTimeout{what}."));
}

/// Whether it is `mod_wsgi.RequestTimeout`.
pub fn is_timeout(gil: Gil, interp: &Interp, exception: &Exception) -> bool {
    let found = exception.value.is_instance(interp.objects.timeout.get(gil));
    found.unwrap_or_else(|raised| {
        drop(gil.fetch(raised));
        false
    })
}
