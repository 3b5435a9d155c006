//! Monitoring agents call `mod_wsgi.server_metrics()` in daemon processes. httpd's scoreboard is memory without a name, which
//! only httpd's children have mapped, so there is no shorter way to it than this one.
//!
//! Stands between daemon processes that want to know what httpd's scoreboard says, and the children, which can read it.
//! One question to the children serves all processes that have asked until then. Questions do not go out often, so that
//! no process can keep the children busy. An answer is never older than the question.

use std::collections::{BTreeSet, VecDeque};
use std::os::fd::{AsFd, OwnedFd};

use wsgi_sys::socket;
use wsgi_wire::control::{Connect, ToDaemon, ask_metrics};

use super::Shell;
use crate::decide::{Millis, ProcessId};

/// If no answer has come after this time, the next question may go out: the child that got the last one may have ended.
const LOST: Millis = 400;
/// The least time between two questions.
const INTERVAL: Millis = 10;
/// Children spend at most one part in this many of their time on answers.
const SHARE: Millis = 10;
/// A child that says the truth takes no longer than this for one answer.
const MOST: Millis = 100;
/// How many questions may wait for their answers.
const OPEN: usize = 4;

/// A question to the children that has not been answered.
#[derive(Debug)]
struct Asked {
    number: u32,
    at: Millis,
    by: BTreeSet<ProcessId>,
}

/// The processes that wait for an answer.
#[derive(Debug, Default)]
pub struct Asking {
    /// The processes that asked after the last question went out.
    next: BTreeSet<ProcessId>,
    /// The oldest first.
    asked: VecDeque<Asked>,
    not_before: Millis,
    /// The number of the last question. Its answer carries the same number.
    number: u32,
}

impl Asking {
    /// Notes that a process asks. The process asks again if no answer comes.
    pub fn ask(&mut self, process: ProcessId) {
        self.next.insert(process);
    }

    /// When the next question is to go out, if a process has asked.
    pub fn deadline(&self) -> Option<Millis> {
        let lost = self.asked.back().map_or(0, |asked| asked.at + LOST);
        (!self.next.is_empty()).then(|| self.not_before.max(lost))
    }

    /// The number of the question, if one is to go out now.
    pub fn question(&mut self, now: Millis) -> Option<u32> {
        self.deadline().filter(|at| now >= *at)?;
        self.number = self.number.wrapping_add(1);
        self.asked.push_back(Asked { number: self.number, at: now, by: std::mem::take(&mut self.next) });
        if self.asked.len() > OPEN {
            self.asked.pop_front();
        }
        self.not_before = now + INTERVAL;
        Some(self.number)
    }

    /// The answer to a question has come, perhaps late; a child spent the time `took` on it. Returns the processes that
    /// get it: all that asked before the question went out.
    pub fn answered(&mut self, number: u32, took: Millis, now: Millis) -> BTreeSet<ProcessId> {
        let Some(at) = self.asked.iter().position(|asked| asked.number == number) else { return BTreeSet::new() };
        self.not_before = self.not_before.max(now + took.min(MOST) * (SHARE - 1));
        self.asked.drain(..=at).flat_map(|asked| asked.by).collect()
    }
}

impl Shell {
    /// A process asks. It gets no answer if its group may not know.
    pub(super) fn ask_for_metrics(&mut self, id: ProcessId) {
        let group = self.processes.get(&id).and_then(|process| self.groups.get(&process.group));
        if group.is_some_and(|entry| entry.config.server_metrics) {
            self.asking.ask(id);
        }
    }

    /// Asks the children, when it is time.
    pub(super) fn look_for_questions(&mut self) {
        let question = self.asking.question(self.clock.now());
        if let (Some(number), Some(children)) = (question, &self.children) {
            // If no child reads the socket, the socket is full at last, and the process that asked gives up.
            let _ = socket::send_with_fds(children.as_fd(), &ask_metrics(number), &[]);
        }
    }

    /// Hands on a child's answer.
    pub(super) fn hand_metrics_on(&mut self, answer: Connect, file: &OwnedFd) {
        for id in self.asking.answered(answer.epoch, answer.group / 1_000, self.clock.now()) {
            let process = self.processes.get_mut(&id).filter(|process| process.listens());
            if let (Some(process), Ok(copy)) = (process, file.try_clone()) {
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
        assert_eq!(asking.answered(number, 0, 1_001), BTreeSet::from([1, 2]));
        assert_eq!(asking.answered(number, 0, 1_002), BTreeSet::new());
    }

    #[test]
    fn nobody_gets_an_answer_to_an_older_question() {
        let mut asking = Asking::default();
        asking.ask(1);
        let first = asking.question(1_000).expect("asked");
        asking.ask(2);
        assert_eq!(asking.question(1_100), None);
        assert_eq!(asking.answered(first, 0, 1_001), BTreeSet::from([1]));
        let second = asking.question(1_100).expect("asked");
        assert_eq!(asking.answered(first, 0, 1_101), BTreeSet::new());
        assert_eq!(asking.answered(second, 0, 1_101), BTreeSet::from([2]));
    }

    #[test]
    fn a_late_answer_is_one_and_a_later_one_serves_the_earlier_too() {
        let ask_two = || {
            let mut asking = Asking::default();
            asking.ask(1);
            let first = asking.question(1_000).expect("asked");
            asking.ask(2);
            assert_eq!(asking.deadline(), Some(1_000 + LOST));
            let second = asking.question(1_000 + LOST).expect("asked");
            (asking, first, second)
        };
        let (mut asking, first, second) = ask_two();
        assert_eq!(asking.answered(first, 0, 2_000), BTreeSet::from([1]));
        assert_eq!(asking.answered(second, 0, 2_000), BTreeSet::from([2]));
        let (mut asking, first, second) = ask_two();
        assert_eq!(asking.answered(second, 0, 2_000), BTreeSet::from([1, 2]));
        assert_eq!(asking.answered(first, 0, 2_000), BTreeSet::new());
    }

    #[test]
    fn questions_leave_the_children_most_of_their_time() {
        for (took, next) in [(0, 1_000 + INTERVAL), (1, 1_014), (20, 1_005 + 180), (Millis::MAX, 1_905)] {
            let mut asking = Asking::default();
            asking.ask(1);
            let number = asking.question(1_000).expect("asked");
            asking.answered(number, took, 1_005);
            asking.ask(1);
            assert_eq!((asking.question(1_009), asking.deadline()), (None, Some(next)), "{took}");
            assert!(asking.question(next).is_some());
        }
    }

    #[test]
    fn questions_that_nobody_answers_are_forgotten() {
        let mut asking = Asking::default();
        for round in 0..10 {
            asking.ask(1);
            assert!(asking.question(round * LOST).is_some());
        }
        assert_eq!(asking.asked.len(), OPEN);
    }
}
