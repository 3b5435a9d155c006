//! Random histories of a supervisor, and what must hold in each of them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use proptest::prelude::*;
use wsgi_wire::control::Cause;

use super::process::Phase;
use super::tests::{GROUP, World, rules};
use super::*;

/// Causes for which a process serves until its replacement is ready, whatever the rules are.
const AFTER: [Cause; 5] = [
    Cause::MaximumRequests,
    Cause::GracefulSignal,
    Cause::InactivityTimeout,
    Cause::CpuTimeLimit,
    Cause::EvictionSignal,
];

/// Causes for which a process takes no further request.
const STUCK: [Cause; 3] = [Cause::RequestTimeout, Cause::DeadlockTimeout, Cause::StartupTimeout];

/// Plays the processes' side of random histories.
#[derive(Default)]
struct Play {
    world: World,
    /// Processes that exist, and whether they were marked ready and not draining.
    alive: BTreeMap<ProcessId, bool>,
    killed: BTreeSet<ProcessId>,
    exited: bool,
    /// There is no slot for a new process.
    full: bool,
}

/// Groups of all kinds.
fn various(number: u32) -> Rules {
    let processes = number % 4;
    let (min, max) = match number % 3 {
        0 => (processes.max(1), processes.max(1)),
        1 => (0, processes + 2),
        _ => (processes, processes + 3),
    };
    Rules {
        processes: processes.clamp(min, max),
        min,
        max,
        idle_timeout: 2_000,
        rolling: number % 2 == 0,
        restart_interval: if number % 5 == 0 { 30_000 } else { 0 },
        startup_timeout: if number % 7 == 0 { 4_000 } else { 0 },
        maximum_memory: 1_000,
        ..rules(1)
    }
}

impl Play {
    fn event(&mut self, event: Event) {
        let mut queue = VecDeque::from([event]);
        while let Some(event) = queue.pop_front() {
            self.world.event(event);
            for action in self.world.last.clone() {
                match action {
                    Action::Start { group, process, handing, .. } => {
                        let serves = !self.world.state.serving(group).is_empty();
                        assert!(serves || handing == Handing::Nothing, "who serves hands on");
                        assert!(!self.exited && !self.world.state.stopping(), "started while stopping");
                        if self.full {
                            queue.push_back(Event::NoSlot { process });
                            continue;
                        }
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

    fn exit(&mut self, process: ProcessId, ended: Ended, used: bool) {
        let exit = Exit { ended, busy: Busy::default(), served: u32::from(used), diagnosis: "early".to_owned() };
        self.event(Event::Exited { process, exit });
    }

    fn pick(&self, number: usize) -> Option<ProcessId> {
        self.alive.keys().nth(number.checked_rem(self.alive.len())?).copied()
    }

    fn of_process(&mut self, kind: u8, number: usize, process: ProcessId) {
        match kind {
            0 => self.event(Event::Ready { process }),
            1 => self.exit(process, Ended::Status(1), number % 2 == 0),
            2 => self.event(Event::Retire { process, cause: AFTER[number % AFTER.len()] }),
            3 => self.event(Event::Retire { process, cause: Cause::ScriptReload }),
            4 => self.event(Event::InFlight { process, busy: Busy { count: number as u32 / 2, ..Busy::default() } }),
            5 => self.event(Event::Violation { process, what: "x".to_owned() }),
            6 => self.event(Event::Failed { process, output: format!("error {}", ["a", "b"][number % 2]) }),
            7 => self.event(Event::Changed { process }),
            8 => self.event(Event::Memory { process, bytes: [900, 1_100][number % 2] }),
            _ => self.event(Event::Retire { process, cause: STUCK[number % STUCK.len()] }),
        }
    }

    fn step(&mut self, kind: u8, number: usize) {
        match (kind, self.pick(number)) {
            (0..10, Some(process)) => self.of_process(kind, number, process),
            (10, _) => self.event(Event::Configured { groups: vec![(GROUP, various(number as u32))] }),
            (11, _) => {
                let other = Rules { name: ["site", "other"][number % 2].to_owned(), ..rules(1) };
                self.event(Event::Configured { groups: vec![(GROUP + 1, other)] });
            }
            (12, idlest) => {
                let (busy, waiting) = (number as u32 % 6, number as u32 / 30);
                let load = Load { threads: 5, busy, waiting, served: number % 7 == 0, idlest };
                self.event(Event::Load { group: GROUP, load });
            }
            (13, _) => self.event(Event::Wanted { group: GROUP }),
            (14, _) => self.full = number % 4 == 0,
            _ => self.tick([10, 700, 5_000, 61_000][number % 4]),
        }
    }

    fn tick(&mut self, time: Millis) {
        self.world.now += time;
        self.event(Event::Tick);
        if let Some(next) = self.world.state.deadline() {
            let waits = !self.world.state.leaving().is_empty();
            assert!(next > self.world.now || waits, "what is due is done");
        }
    }

    fn group(&self) -> Option<&Group> {
        self.world.state.groups().find(|(id, _)| *id == GROUP).map(|(_, group)| group)
    }

    fn open(&self) -> usize {
        self.alive.values().filter(|open| **open).count()
    }

    /// What holds at every moment.
    fn check(&self) {
        let mut open = 0;
        for (_, group) in self.world.state.groups() {
            open += group.open_ones().count();
            check_group(group, self.world.now);
        }
        assert_eq!(open, self.open(), "what serves is what the scoreboard shows");
        let known: usize = self.world.state.groups().map(|(_, group)| group.processes.len()).sum();
        assert_eq!(known, self.alive.len(), "no process is lost from sight");
    }

    /// Everything that starts becomes ready; what is killed ends.
    fn calm_down(&mut self) {
        self.full = false;
        for _ in 0..60 {
            self.tick(10_000);
            for process in self.alive.keys().copied().collect::<Vec<_>>() {
                self.event(Event::Ready { process });
                self.event(Event::InFlight { process, busy: Busy { count: 0, ..Busy::default() } });
                if self.killed.contains(&process) {
                    self.exit(process, Ended::Signal(9), false);
                }
            }
        }
    }
}

fn check_group(group: &Group, now: Millis) {
    let count = |wanted: &dyn Fn(Phase) -> bool| group.with_phase(wanted).len();
    let failed = count(&|phase| matches!(phase, Phase::Failed { .. }));
    assert!(failed <= 1, "one failed process is enough");
    if group.over {
        return;
    }
    let target = group.target();
    assert!(target <= group.rules.max as usize && target >= group.rules.min as usize);
    // Processes that take part, and the successor of one: never more.
    assert!(group.processes.values().filter(|it| group.is_current(it)).count() <= target);
    let ready = group.processes.values().filter(|it| it.marks.generation == group.generation);
    let ready = ready.filter(|it| it.phase == Phase::Ready).count();
    let starting = group.count(Phase::Starting);
    assert!(starting <= target.saturating_sub(ready).max(1), "one voluntary replacement at a time");
    assert!(ready <= target.max(1), "{ready} ready, {target} wanted");
    let living = count(&|phase| matches!(phase, Phase::Starting | Phase::Held | Phase::Ready | Phase::Failed { .. }));
    if target > 0 && living == 0 {
        let next = group.deadline().expect("a start is due");
        assert!(next <= now + 60_000, "no group without a process for longer than the back-off");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]
    #[test]
    fn every_history_ends_well(
        left in proptest::collection::vec(0usize..4, 0..5),
        steps in proptest::collection::vec((0u8..18, 0usize..40), 0..150),
    ) {
        let mut play = Play::default();
        for kind in &left {
            let process = play.world.state.fresh();
            play.alive.insert(process, false);
            let left = [Left::Serving, Left::Draining, Left::Starting, Left::Alone][*kind];
            play.event(Event::Found(Found { group: GROUP, process, pid: 5, left }));
        }
        play.event(Event::Configured { groups: vec![(GROUP, rules(3))] });
        play.check();
        prop_assert_eq!(play.open(), left.iter().filter(|kind| **kind == 0).count(), "who served serves");
        for (kind, number) in steps {
            let of_group = |play: &Play| play.group().map_or(0, |group| group.open_ones().count());
            let (open, named) = (of_group(&play), play.group().is_some_and(|group| !group.is_unnamed()));
            let serving = play.group().map_or(0, Group::serving);
            let most = play.group().map_or(0, |group| group.rules.max as usize);
            // The process never served, and this supervisor did not know that.
            let found = |process| play.group()?.processes.get(&process)?.adopted;
            let confesses = kind == 6 && play.pick(number).and_then(found).is_some();
            play.step(kind, number);
            play.check();
            let after = play.group().map_or(0, Group::serving);
            let target = play.group().map_or(0, Group::target);
            // A process that is to be replaced serves until its successor does. Neither a graceful restart nor time
            // alone takes a process away.
            if named && !confesses && matches!(kind, 0 | 2 | 6 | 7 | 8 | 10 | 15..) {
                prop_assert!(after >= serving.min(target), "{after} of {serving} serve after {kind}");
            }
            // The limit holds, except for processes that an old configuration allowed.
            if kind != 10 {
                prop_assert!(of_group(&play) <= open.max(most + 1));
            }
        }
        // Whatever happened: with processes that become ready, the group is complete.
        play.full = false;
        play.event(Event::Configured { groups: vec![(GROUP, rules(3))] });
        play.calm_down();
        prop_assert_eq!(play.open(), 3);
        prop_assert_eq!(play.alive.len(), 3);
        prop_assert!(!play.world.fault);
        // Stop: the supervisor kills each process that does not go, and nothing is left.
        play.event(Event::Stop { why: "test" });
        play.tick(6_000);
        for process in play.alive.keys().copied().collect::<Vec<_>>() {
            prop_assert!(play.killed.contains(&process));
            play.exit(process, Ended::Signal(9), false);
        }
        prop_assert!(play.exited);
    }
}
