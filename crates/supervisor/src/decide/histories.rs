//! Random histories of a supervisor, and what must hold in each of them.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::tests::{POOL, World, rules};
use super::*;

/// Plays the processes' side of random histories.
#[derive(Default)]
struct Play {
    world: World,
    /// Processes that exist, and whether they were marked ready and not draining.
    alive: BTreeMap<ProcessId, bool>,
    killed: BTreeSet<ProcessId>,
    exited: bool,
}

impl Play {
    fn event(&mut self, event: Event) {
        let mut queue = std::collections::VecDeque::from([event]);
        while let Some(event) = queue.pop_front() {
            self.world.event(event);
            for action in self.world.last.clone() {
                match action {
                    Action::Start { process, .. } => {
                        assert!(!self.exited && !self.world.state.stopping(), "started while stopping");
                        assert!(self.alive.insert(process, false).is_none(), "number used twice");
                        queue.push_back(Event::Spawned { process, pid: 9 });
                    }
                    Action::MarkReady { process } => *self.alive.get_mut(&process).expect("exists") = true,
                    Action::MarkDraining { process } => *self.alive.get_mut(&process).expect("exists") = false,
                    Action::Kill { process } => drop(self.killed.insert(process)),
                    Action::Clear { process } => drop(self.alive.remove(&process).expect("cleared once")),
                    Action::Exit => self.exited = true,
                    _ => {}
                }
            }
        }
    }

    fn pick(&self, number: usize) -> Option<ProcessId> {
        self.alive.keys().nth(number.checked_rem(self.alive.len())?).copied()
    }

    fn step(&mut self, kind: u8, number: usize) {
        let process = self.pick(number);
        match (kind, process) {
            (0, Some(process)) => self.event(Event::Ready { process }),
            (1, Some(process)) => self.event(Event::Exited {
                process,
                ended: Ended::Status(1),
                in_flight: 0,
                diagnosis: "early".to_owned(),
            }),
            (2, Some(process)) => self.event(Event::Retire { process, cause: Cause::MaximumRequests }),
            (3, Some(process)) => self.event(Event::Retire { process, cause: Cause::ScriptReload }),
            (4, Some(process)) => self.event(Event::InFlight { process, count: 0 }),
            (5, Some(process)) => self.event(Event::Violation { process, what: "x".to_owned() }),
            (6, _) => {
                let pools = vec![(POOL, rules(1 + number as u32 % 4))];
                self.event(Event::Configured { pools });
            }
            (7, _) => {
                let other = Rules { name: ["site", "other"][number % 2].to_owned(), ..rules(1) };
                self.event(Event::Configured { pools: vec![(POOL + 1, other)] });
            }
            (8, Some(process)) => self.event(Event::InFlight { process, count: number as u32 }),
            _ => {
                self.world.now += [10, 700, 5_000, 61_000][number % 4];
                self.event(Event::Tick);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn every_history_ends_well(steps in proptest::collection::vec((0u8..12, 0usize..40), 0..120)) {
        let mut play = Play::default();
        play.event(Event::Configured { pools: vec![(POOL, rules(3))] });
        for (kind, number) in steps {
            let served = play.alive.values().filter(|ready| **ready).count();
            play.step(kind, number);
            // What the state believes to serve is what the scoreboard shows.
            let serving: usize = play.world.state.pools().map(|(_, pool)| pool.serving()).sum();
            prop_assert_eq!(serving, play.alive.values().filter(|ready| **ready).count());
            // A graceful restart alone takes no capacity away.
            if kind == 6 && number % 2 == 1 {
                prop_assert!(serving >= served);
            }
            // No run-away: at most what is configured, its successors, and what is being ended.
            let current: usize = play.world.state.pools().map(|(_, pool)| pool.processes.len()).sum();
            prop_assert_eq!(current, play.alive.len());
        }
        // Whatever happened: with processes that become ready, the pool is complete.
        play.event(Event::Configured { pools: vec![(POOL, rules(3))] });
        for _ in 0..60 {
            play.world.now += 10_000;
            play.event(Event::Tick);
            for process in play.alive.keys().copied().collect::<Vec<_>>() {
                play.event(Event::Ready { process });
                if play.killed.contains(&process) {
                    play.event(Event::Exited { process, ended: Ended::Signal(9), in_flight: 0, diagnosis: String::new() });
                }
            }
        }
        prop_assert_eq!(play.alive.values().filter(|ready| **ready).count(), 3);
        prop_assert_eq!(play.alive.len(), 3);
        prop_assert!(!play.world.fault);
        // Stop: whoever does not go is killed, and nothing is left.
        play.event(Event::Stop { why: "test" });
        play.world.now += 5_000;
        play.event(Event::Tick);
        for process in play.alive.keys().copied().collect::<Vec<_>>() {
            prop_assert!(play.killed.contains(&process));
            play.event(Event::Exited { process, ended: Ended::Signal(9), in_flight: 0, diagnosis: String::new() });
        }
        prop_assert!(play.exited);
    }
}
