//! Between daemon processes that want to know what httpd's scoreboard says, and the children, which can read it.
//! A question to the children goes out for all who ask until then, and not often, so that no process can keep the
//! children busy; an answer is never older than the question.

use std::collections::BTreeSet;
use std::os::fd::{AsFd, OwnedFd};

use wsgi_sys::socket;
use wsgi_wire::control::{ToDaemon, ask_metrics};

use super::Shell;
use crate::decide::{Millis, ProcessId};

/// After this time an answer is not waited for any more; the child that was asked may have ended.
const LOST: Millis = 200;
/// The least time between two questions.
const INTERVAL: Millis = 10;

/// A question to the children that has not been answered.
#[derive(Debug)]
struct Asked {
    at: Millis,
    by: BTreeSet<ProcessId>,
}

/// The processes that wait for an answer.
#[derive(Debug, Default)]
pub struct Asking {
    /// They asked after the last question had gone out.
    next: BTreeSet<ProcessId>,
    asked: Option<Asked>,
    not_before: Millis,
    /// Of the last question; comes back with its answer.
    number: u32,
}

impl Asking {
    /// A process asks. It asks again when nothing comes.
    pub fn ask(&mut self, process: ProcessId) {
        self.next.insert(process);
    }

    /// When a question is to go out, if one is.
    pub fn deadline(&self) -> Option<Millis> {
        let lost = self.asked.as_ref().map_or(0, |asked| asked.at + LOST);
        (!self.next.is_empty()).then(|| self.not_before.max(lost))
    }

    /// The number of the question that is to go out now.
    pub fn question(&mut self, now: Millis) -> Option<u32> {
        self.deadline().filter(|at| now >= *at)?;
        self.asked = Some(Asked { at: now, by: std::mem::take(&mut self.next) });
        self.not_before = now + INTERVAL;
        self.number = self.number.wrapping_add(1);
        Some(self.number)
    }

    /// The answer to a question has come; who gets it.
    pub fn answered(&mut self, number: u32) -> BTreeSet<ProcessId> {
        let asked = if number == self.number { self.asked.take() } else { None };
        asked.map(|asked| asked.by).unwrap_or_default()
    }
}

impl Shell {
    /// A process asks. What its group may not know is not answered.
    pub(super) fn ask_for_metrics(&mut self, id: ProcessId) {
        let pool = self.processes.get(&id).and_then(|process| self.pools.get(&process.pool));
        if pool.is_some_and(|entry| entry.config.server_metrics) {
            self.asking.ask(id);
        }
    }

    /// Asks the children, when it is time.
    pub(super) fn look_for_questions(&mut self) {
        let question = self.asking.question(self.clock.now());
        if let (Some(number), Some(children)) = (question, &self.children) {
            // When nobody listens the socket is full at last, and the process gives up.
            let _ = socket::send_with_fds(children.as_fd(), &ask_metrics(number), &[]);
        }
    }

    /// A child has answered.
    pub(super) fn hand_metrics_on(&mut self, number: u32, file: &OwnedFd) {
        for id in self.asking.answered(number) {
            if let (Some(process), Ok(copy)) = (self.processes.get_mut(&id), file.try_clone()) {
                process.hand(ToDaemon::ServerMetrics, copy);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn children_are_asked_once_for_all_who_ask() {
        let mut asking = Asking::default();
        assert_eq!((asking.question(1_000), asking.deadline()), (None, None));
        asking.ask(1);
        asking.ask(2);
        asking.ask(1);
        let number = asking.question(1_000).expect("asked");
        assert_eq!(asking.question(1_001), None);
        assert_eq!(asking.answered(number), BTreeSet::from([1, 2]));
        assert_eq!(asking.answered(number), BTreeSet::new());
    }

    #[test]
    fn nobody_gets_an_answer_to_an_older_question() {
        let mut asking = Asking::default();
        asking.ask(1);
        let first = asking.question(1_000).expect("asked");
        asking.ask(2);
        assert_eq!(asking.question(1_100), None);
        assert_eq!(asking.answered(first), BTreeSet::from([1]));
        let second = asking.question(1_100).expect("asked");
        assert_eq!(asking.answered(first), BTreeSet::new());
        assert_eq!(asking.answered(second), BTreeSet::from([2]));
    }

    #[test]
    fn a_question_without_an_answer_is_given_up() {
        let mut asking = Asking::default();
        asking.ask(1);
        let first = asking.question(1_000).expect("asked");
        asking.ask(1);
        assert_eq!(asking.deadline(), Some(1_000 + LOST));
        let second = asking.question(1_000 + LOST).expect("asked");
        assert_eq!(asking.answered(first), BTreeSet::new());
        assert_eq!(asking.answered(second), BTreeSet::from([1]));
    }

    #[test]
    fn questions_do_not_follow_at_once() {
        let mut asking = Asking::default();
        asking.ask(1);
        let number = asking.question(1_000).expect("asked");
        asking.answered(number);
        asking.ask(1);
        assert_eq!((asking.question(1_001), asking.deadline()), (None, Some(1_000 + INTERVAL)));
        assert!(asking.question(1_000 + INTERVAL).is_some());
    }
}
