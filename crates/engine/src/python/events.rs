//! The objects of an interpreter that events go through: the lists of subscribers, and the functions of `events.py` that
//! call them. [`crate::request::events`] and the hosts publish by these.

#![forbid(unsafe_code)]

use wsgi_wire::messages::Message;

use crate::log;
use crate::python::py::{Any, Exception, Gil, Owned, Res, Stored};

/// What `events.py` has made in an interpreter.
pub struct Events {
    callbacks: Stored,
    lookers: Stored,
    /// `mod_wsgi.active_requests`
    pub active: Stored,
    /// Functions, each for the event of its name.
    pub started: Stored,
    pub responding: Stored,
    pub raised: Stored,
    pub finished: Stored,
    stopping: Stored,
    signal: Stored,
}

impl Events {
    /// Takes them by their names.
    pub(super) fn find(find: impl Fn(&str) -> Res<Owned>) -> Res<Events> {
        let stored = |name: &str| Ok(find(name)?.store());
        Ok(Events {
            callbacks: stored("event_callbacks")?,
            lookers: stored("_lookers")?,
            active: stored("active_requests")?,
            started: stored("request_started")?,
            responding: stored("response_started")?,
            raised: stored("request_exception")?,
            finished: stored("request_finished")?,
            stopping: stored("process_stopping")?,
            signal: stored("process_signal")?,
        })
    }

    /// Whether anybody has subscribed to events.
    pub fn are_heard(&self, gil: Gil) -> bool {
        holds_any(self.callbacks.get(gil))
    }

    /// Whether anybody may look at `mod_wsgi.active_requests`.
    pub fn are_looked_for(&self, gil: Gil) -> bool {
        holds_any(self.lookers.get(gil))
    }

    /// Tells subscribers that the process ends, and why.
    pub fn tell_stopping(&self, gil: Gil, reason: &str) {
        let told = gil.str(reason).and_then(|reason| self.stopping.get(gil).call(&[&reason]));
        settle(gil, (Message::StoppingUndelivered, "the event process_stopping"), told);
    }

    /// Tells subscribers of a signal.
    pub fn tell_signal(&self, gil: Gil, name: &str, number: i32) {
        let told = gil.str(name).and_then(|name| self.signal.get(gil).call(&[&name, &*gil.int(number.into())?]));
        settle(gil, (Message::SignalUndelivered, "the event process_signal"), told);
    }
}

fn holds_any(list: &Any) -> bool {
    list.as_list().is_some_and(|list| list.len() > 0)
}

/// Subscribers' exceptions were logged where they were raised; this is for what is left, such as a lack of memory.
fn settle(gil: Gil, event: (Message, &str), told: Res<Owned>) {
    if let Err(raised) = told {
        undelivered(gil, event, &gil.fetch(raised));
    }
}

/// Logs that an event of a request came to nobody.
pub fn report_undelivered(gil: Gil, exception: &Exception) {
    undelivered(gil, (Message::Undelivered, "an event"), exception);
}

fn undelivered(gil: Gil, (message, event): (Message, &str), exception: &Exception) {
    let text = format!("{event} was not delivered: {}", exception.brief(gil));
    gil.detach(|| log::report(message, &text));
}
