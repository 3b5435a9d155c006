//! Tests of the decisions: failed loads, reloads, recycling, limits.

use wsgi_wire::control::Cause;

use super::tests::{GROUP, World, rules};
use super::*;

impl World {
    pub(super) fn with(&mut self, rules: Rules) -> Vec<ProcessId> {
        self.event(Event::Configured { groups: vec![(GROUP, rules)] });
        self.spawn()
    }

    /// The same with all processes ready.
    pub(super) fn serving(&mut self, rules: Rules) -> Vec<ProcessId> {
        let all = self.with(rules);
        all.iter().for_each(|process| self.ready(*process));
        all
    }

    pub(super) fn failed(&mut self, process: ProcessId) {
        self.event(Event::Failed { process, output: "Traceback\nSyntaxError: x".to_owned() });
    }

    pub(super) fn retire(&mut self, process: ProcessId, cause: Cause) {
        self.event(Event::Retire { process, cause });
    }

    pub(super) fn crash(&mut self, process: ProcessId, used: bool) {
        let exit =
            Exit { ended: Ended::Signal(11), busy: Busy::default(), served: u32::from(used), diagnosis: String::new() };
        self.event(Event::Exited { process, exit });
    }

    pub(super) fn load(&mut self, busy: u32, waiting: u32) {
        let threads = 5 * u32::try_from(self.state.open().len()).expect("few");
        let idlest = self.state.open().last().copied();
        self.event(Event::Load { group: GROUP, load: Load { threads, busy, waiting, served: false, idlest } });
    }

    pub(super) fn lines_with(&self, text: &str) -> usize {
        self.log.iter().filter(|(_, line)| line.contains(text)).count()
    }

    pub(super) fn drains(&self, process: ProcessId) -> bool {
        self.has(&Action::MarkDraining { process })
    }

    pub(super) fn opens(&self, process: ProcessId) -> bool {
        self.has(&Action::MarkReady { process })
    }
}

// -- failed loads ----------------------------------------------------------------------------------

#[test]
fn where_none_serves_a_failed_process_takes_the_requests_and_fresh_ones_are_tried() {
    let mut world = World::default();
    let first = world.with(rules(3));
    world.failed(first[0]);
    assert!(world.opens(first[0]) && !world.fault);
    assert!(world.has(&Action::Output { process: first[0], show: true }));
    for other in &first[1..] {
        world.failed(*other);
        assert!(world.has(&Action::SendStop { process: *other }), "one is enough");
        assert!(world.has(&Action::Output { process: *other, show: false }));
    }
    let mut kept = first[0];
    for wait in [1_000, 2_000, 4_000] {
        world.at(world.now + wait - 1);
        assert!(world.started().is_empty());
        world.at(world.now + 1);
        let next = world.spawn();
        assert_eq!(next.len(), 1);
        world.failed(next[0]);
        assert!(world.opens(next[0]) && world.drains(kept), "the newest one has the newest traceback");
        kept = next[0];
    }
    assert_eq!((world.errors().len(), world.fault), (1, false));
    assert!(world.errors()[0].contains("SyntaxError: x; requests get 500"), "{:?}", world.errors());
    world.at(world.now + 8_000);
    let mended = world.spawn()[0];
    world.ready(mended);
    assert!(world.opens(mended) && world.drains(kept));
    assert_eq!(world.started().len(), 2, "the others follow at once");
    assert_eq!(world.lines_with("before it 4 attempts to start failed in 15 s"), 1, "{:?}", world.log);
}

#[test]
fn a_change_brings_the_next_attempt_at_once() {
    let mut world = World::default();
    let first = world.with(rules(1))[0];
    world.now = 100;
    world.failed(first);
    world.event(Event::Changed { process: first });
    world.at(199);
    assert!(world.started().is_empty(), "not more often than each 200 ms");
    world.at(200);
    let second = world.spawn()[0];
    // A change while it loads may have come too late for it.
    world.event(Event::Changed { process: first });
    world.now = 5_000;
    world.failed(second);
    assert_eq!(world.errors().len(), 1, "it is the same one");
    assert_eq!(world.spawn().len(), 1);
    world.event(Event::Changed { process: second });
    let third = world.state.groups().next().expect("group").1.processes.keys().last().copied().expect("process");
    world.ready(third);
    assert!(world.drains(second));
}

#[test]
fn an_application_that_changes_its_own_files_when_it_is_loaded_is_tried_less_and_less() {
    let mut world = World::default();
    let mut failed = world.with(rules(1))[0];
    let mut begun = vec![];
    for _ in 0..40 {
        world.failed(failed);
        world.event(Event::Changed { process: failed });
        while world.started().is_empty() {
            world.at(world.now + 100);
        }
        begun.push(world.now);
        failed = world.spawn()[0];
    }
    let waits: Vec<_> = begun.windows(2).map(|two| two[1] - two[0]).collect();
    assert_eq!(waits[..8], [200, 200, 200, 200, 400, 800, 1_600, 3_200]);
    assert_eq!(*waits.last().expect("waits"), 60_000);
    // Somebody mends it: the tries after that come soon again.
    world.failed(failed);
    world.now += 20_000;
    world.event(Event::Changed { process: failed });
    let again = world.spawn()[0];
    world.failed(again);
    world.event(Event::Changed { process: again });
    world.at(world.now + 200);
    assert_eq!(world.started().len(), 1);
}

#[test]
fn a_failed_process_that_sees_the_mend_by_a_request_lets_requests_wait() {
    let mut world = World::default();
    let first = world.with(rules(1))[0];
    world.failed(first);
    world.now = 500;
    world.retire(first, Cause::ScriptReload);
    assert!(world.drains(first) && !world.fault, "who waits is not refused");
    let second = world.spawn()[0];
    world.failed(second);
    assert!(world.opens(second) && !world.fault);
    world.crash(second, true);
    assert!(world.fault && world.cause == "process 1002 was lost: killed by SIGSEGV", "{}", world.cause);
}

#[test]
fn at_graceful_old_processes_serve_while_the_new_code_fails_or_crashes() {
    let mut world = World::default();
    let old = world.serving(rules(2));
    let new = world.with(rules(2));
    world.failed(new[0]);
    assert!(!world.opens(new[0]), "it only watches");
    world.exit(new[1], Ended::Signal(11));
    assert_eq!(world.lines_with("kept the running version: the 2 running processes go on serving"), 2);
    world.at(1_000);
    let again = world.spawn();
    world.failed(again[0]);
    assert!(world.has(&Action::SendStop { process: new[0] }));
    world.event(Event::Changed { process: again[0] });
    world.at(1_200);
    let third = world.spawn()[0];
    world.ready(third);
    let fourth = world.spawn()[0];
    assert!(!world.drains(old[0]));
    world.ready(fourth);
    assert!(world.drains(old[0]) && world.drains(old[1]) && world.opens(third) && world.opens(fourth));
    assert!(!world.fault);
}

#[test]
fn superseded_code_serves_although_its_script_has_changed() {
    let mut world = World::default();
    let old = world.serving(rules(1))[0];
    let new = world.with(rules(1))[0];
    assert!(world.has(&Action::SendSuperseded { process: old }));
    world.retire(old, Cause::ScriptReload);
    assert!(world.opens(old) && !world.drains(old), "children that have turned away come back");
    world.failed(new);
    world.retire(old, Cause::ScriptReload);
    world.at(world.now + 300);
    let again = world.spawn();
    assert_eq!(again.len(), 1, "what has changed may be a mend");
    world.ready(again[0]);
    assert!(world.drains(old) && world.opens(again[0]));
}

#[test]
fn a_process_that_is_killed_while_it_starts_is_followed_at_once_but_only_once() {
    let mut world = World::default();
    let first = world.with(rules(1))[0];
    world.exit(first, Ended::Signal(9));
    assert!(!world.fault, "requests wait");
    world.at(300);
    let second = world.spawn()[0];
    assert!(!world.fault);
    world.exit(second, Ended::Signal(9));
    assert!(world.fault);
    world.at(world.now + 900);
    assert!(world.started().is_empty(), "the second one in a row makes the next wait");
}

#[test]
fn when_the_old_processes_end_the_failed_one_takes_over() {
    let mut world = World::default();
    let old = world.serving(rules(1))[0];
    let new = world.with(rules(1))[0];
    world.failed(new);
    world.crash(old, false);
    assert!(world.opens(new) && !world.fault);
}

// -- reload and recycling --------------------------------------------------------------------------

#[test]
fn rolling_replaces_one_at_a_time_and_immediate_all_that_say_so() {
    let mut world = World::default();
    let old = world.serving(Rules { rolling: true, ..rules(3) });
    world.retire(old[0], Cause::ScriptReload);
    let next = world.spawn();
    world.retire(old[1], Cause::ScriptReload);
    assert!(!world.drains(old[1]) && world.started().is_empty());
    world.ready(next[0]);
    assert!(world.drains(old[0]));
    assert_eq!(world.started().len(), 1);

    let mut world = World::default();
    let old = world.serving(rules(3));
    for process in &old[..2] {
        world.retire(*process, Cause::ScriptReload);
        assert!(world.drains(*process));
        assert_eq!(world.started().len(), 1);
    }
}

#[test]
fn old_code_whose_script_changes_again_brings_the_next_attempt() {
    let mut world = World::default();
    let old = world.serving(Rules { rolling: true, ..rules(1) })[0];
    world.retire(old, Cause::ScriptReload);
    let next = world.spawn()[0];
    world.now = 300;
    world.exit(next, Ended::Signal(11));
    world.retire(old, Cause::ScriptReload);
    assert!(!world.drains(old));
    let next = world.spawn()[0];
    // Once more, while it loads.
    world.retire(old, Cause::ScriptReload);
    world.now = 600;
    world.failed(next);
    assert_eq!(world.spawn().len(), 1);
}

#[test]
fn a_changed_script_does_not_wait_for_the_turn_of_an_older_cause() {
    let mut world = World::default();
    let old = world.serving(rules(2));
    old.iter().for_each(|process| world.retire(*process, Cause::MaximumRequests));
    world.retire(old[1], Cause::ScriptReload);
    assert!(world.drains(old[1]));
    world.retire(old[1], Cause::MaximumRequests);
    assert!(world.last.is_empty());
}

#[test]
fn a_recycled_process_whose_successor_fails_goes_on_serving() {
    let mut world = World::default();
    let old = world.serving(rules(1))[0];
    world.retire(old, Cause::MaximumRequests);
    let next = world.spawn()[0];
    world.exit(next, Ended::Status(1));
    assert!(world.errors()[0].contains("kept the running version: the running process goes on serving"));
    world.at(1_000);
    let next = world.spawn()[0];
    world.failed(next);
    assert!(!world.drains(old) && !world.opens(next));
    world.event(Event::Changed { process: next });
    let next = world.spawn().pop().unwrap_or_else(|| {
        world.at(world.now + 200);
        world.spawn()[0]
    });
    world.ready(next);
    assert!(world.drains(old) && world.opens(next));
}

#[test]
fn restart_intervals_of_processes_differ_and_replace_one_at_a_time() {
    let mut world = World::default();
    let old = world.serving(Rules { restart_interval: 60_000, ..rules(3) });
    let first = world.state.deadline().expect("a time");
    assert!((60_000..=66_000).contains(&first));
    world.at(66_000);
    assert_eq!(world.lines_with(": restart-interval is over; it serves until"), 3);
    let next = world.spawn();
    assert_eq!(next.len(), 1);
    world.now += 1_000;
    world.ready(next[0]);
    assert_eq!(old.iter().filter(|process| world.drains(**process)).count(), 1);
    assert_eq!(world.started().len(), 1);
}

#[test]
fn a_process_that_has_waited_for_its_siblings_is_not_old_at_once() {
    let limited = Rules { restart_interval: 60_000, ..rules(2) };
    let mut world = World::default();
    world.serving(rules(2));
    let new = world.with(limited);
    world.ready(new[0]);
    world.now = 100_000;
    world.ready(new[1]);
    assert!(world.has(&Action::MarkReady { process: new[0] }));
    assert!(world.state.deadline().expect("a limit") > world.now, "both are fresh");
    world.at(100_000);
    assert!(world.started().is_empty(), "{:?}", world.log);
}

#[test]
fn memory_counts_when_two_looks_in_a_row_find_too_much() {
    let mut world = World::default();
    let all = world.serving(Rules { maximum_memory: 100, ..rules(2) });
    let measured = |world: &mut World, process, sizes: &[u64]| {
        sizes.iter().for_each(|bytes| world.event(Event::Memory { process, bytes: *bytes }));
    };
    world.now = 60_000;
    measured(&mut world, all[0], &[101, 100, 101]);
    assert!(world.started().is_empty());
    measured(&mut world, all[0], &[101]);
    let next = world.spawn();
    assert_eq!(next.len(), 1);
    // One at a time, to the end of the first one.
    measured(&mut world, all[1], &[200, 200, 200]);
    world.ready(next[0]);
    measured(&mut world, all[1], &[200]);
    assert!(world.started().is_empty());
    world.exit(all[0], Ended::Status(0));
    measured(&mut world, all[1], &[200]);
    assert_eq!(world.started().len(), 1);
    assert_eq!(world.lines_with("too small"), 0);
}

#[test]
fn a_limit_that_the_application_needs_to_start_makes_no_loop() {
    let mut world = World::default();
    let mut process = world.serving(Rules { maximum_memory: 100, ..rules(1) })[0];
    let mut times = Vec::new();
    for _ in 0..2_000 {
        world.now += 100;
        world.event(Event::Memory { process, bytes: 200 });
        if let Some(next) = world.spawn().pop() {
            times.push(world.now);
            world.ready(next);
            world.exit(process, Ended::Status(0));
            process = next;
        }
    }
    assert_eq!(times, [200, 1_200, 3_200, 7_200, 15_200, 31_200, 63_200, 123_200, 183_200]);
    assert_eq!(world.lines_with("too small for the application"), 1);
}

#[test]
fn processor_time_that_the_start_alone_uses_up_makes_no_loop() {
    let mut world = World::default();
    let mut newest = world.serving(rules(1))[0];
    let mut starts = Vec::new();
    for now in (0..60_000).step_by(100) {
        world.at(now);
        world.spawn().into_iter().for_each(|process| {
            starts.push(now);
            world.ready(process);
            newest = process;
        });
        world.retire(newest, Cause::CpuTimeLimit);
        assert_eq!(world.state.open().len(), 1, "one serves");
        world.spawn().into_iter().for_each(|process| {
            starts.push(now);
            world.ready(process);
            newest = process;
        });
    }
    assert_eq!(starts, [0, 1_100, 3_100, 7_100, 15_100, 31_100]);
    assert_eq!(world.lines_with("several in a row ended soon after they were ready, the next start is in 16 s"), 1);
    // One that has served for a while is replaced at once.
    world.at(63_200);
    let next = world.spawn()[0];
    world.ready(next);
    world.now = 70_000;
    world.retire(next, Cause::CpuTimeLimit);
    assert_eq!(world.started().len(), 1);
}

#[test]
fn stuck_processes_are_closed_at_once_and_killed_when_they_do_not_end() {
    for (cause, killed_at) in [(Cause::RequestTimeout, 20_300), (Cause::DeadlockTimeout, 5_300)] {
        let mut world = World::default();
        let old = world.serving(rules(1))[0];
        world.retire(old, cause);
        assert!(world.drains(old));
        assert_eq!(world.spawn().len(), 1, "the replacement starts at once");
        world.event(Event::InFlight { process: old, busy: Busy { count: 2, ..Busy::default() } });
        while !world.has(&Action::Kill { process: old }) {
            world.at(world.state.deadline().expect("an end"));
        }
        assert_eq!(world.now, killed_at, "{cause:?}");
        world.exit(old, Ended::Signal(9));
        assert!(world.errors().is_empty(), "{:?}", world.errors());
    }
}

#[test]
fn eviction_has_a_time_of_its_own() {
    let mut world = World::default();
    let old = world.serving(Rules { eviction_timeout: 2_000, ..rules(1) })[0];
    world.retire(old, Cause::EvictionSignal);
    let next = world.spawn()[0];
    world.ready(next);
    assert_eq!(world.lines_with("is draining up to eviction-timeout=2 s: it got SIGUSR1"), 1);
    world.event(Event::InFlight { process: old, busy: Busy { count: 1, ..Busy::default() } });
    world.at(2_000);
    assert!(world.has(&Action::SendStop { process: old }));
    assert_eq!(world.lines_with("when eviction-timeout=2 s is over"), 1);
}

// -- starts that take long, crashes ----------------------------------------------------------------

#[test]
fn a_process_that_is_not_ready_in_time_shows_its_stacks_and_is_killed() {
    let mut world = World::default();
    let (scripts, warmup) = ("/srv/app.wsgi".to_owned(), "/health".to_owned());
    let slow = world.with(Rules { startup_timeout: 10_000, scripts, warmup, ..rules(1) })[0];
    world.at(9_999);
    assert!(!world.has(&Action::Dump { process: slow }));
    world.at(10_000);
    assert!(world.has(&Action::Dump { process: slow }) && world.fault);
    assert!(world.errors()[0].contains(
        "process 1001 is not ready after 10 s when startup-timeout=10 s is over, while it loads /srv/app.wsgi, or answers warmup=/health; the log gets the stacks of its threads, and the process gets SIGKILL unless it is ready within 1 s;"
    ));
    world.at(11_000);
    assert!(world.has(&Action::Kill { process: slow }));
    let next = world.spawn();
    assert_eq!(next.len(), 1);
    world.exit(slow, Ended::Signal(9));
    world.at(21_000);
    // The signal may end one that has no engine yet.
    world.exit(next[0], Ended::Signal(61));
    assert_eq!(world.errors().len(), 1, "{:?}", world.errors());
    world.at(23_000);
    assert_eq!(world.spawn().len(), 1);
}

#[test]
fn requests_wait_for_a_process_that_began_before_anything_had_failed() {
    let mut world = World::default();
    let all = world.with(rules(2));
    world.ready(all[0]);
    world.crash(all[0], true);
    let next = world.started()[0];
    world.event(Event::StartFailed {
        process: next,
        message: Message::CannotStart,
        cause: "no process can be made".to_owned(),
    });
    assert!(!world.fault, "the other one is on its way");
    world.event(Event::StartFailed {
        process: all[1],
        message: Message::CannotStart,
        cause: "no process can be made".to_owned(),
    });
    assert!(world.fault);
}

#[test]
fn without_a_limit_a_long_start_is_said_once_and_waited_for() {
    let mut world = World::default();
    let slow = world.with(rules(1))[0];
    world.at(60_000);
    world.at(600_000);
    assert_eq!(world.lines_with("is not ready after 60 s"), 1);
    world.ready(slow);
    assert!(world.opens(slow));
}

#[test]
fn a_request_that_crashes_its_process_makes_no_back_off() {
    let mut world = World::default();
    let mut process = world.serving(rules(1))[0];
    for _ in 0..20 {
        world.now += 100;
        world.crash(process, true);
        assert!(!world.fault);
        let next = world.spawn().pop().unwrap_or_else(|| {
            let at = world.state.deadline().expect("a start");
            assert!(at <= world.now + 1_000);
            world.at(at);
            world.spawn()[0]
        });
        world.ready(next);
        process = next;
    }
    assert!(world.now >= 15_000, "and no storm of starts");
}
