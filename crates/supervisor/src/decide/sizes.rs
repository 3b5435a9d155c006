//! Tests of the decisions: process groups that grow and shrink.

use wsgi_wire::control::Cause;

use super::tests::{GROUP, World, rules};
use super::*;

fn elastic(min: u32, processes: u32, max: u32) -> Rules {
    Rules { min, max, idle_timeout: 10_000, ..rules(processes) }
}

#[test]
fn a_group_grows_by_one_two_four_while_all_is_taken() {
    let mut world = World::default();
    world.serving(elastic(1, 1, 6));
    let mut sizes = Vec::new();
    for _ in 0..8 {
        world.now += 100;
        let all = u32::try_from(world.state.open().len()).expect("few") * 5;
        world.load(all, 3);
        world.spawn().into_iter().for_each(|process| world.ready(process));
        sizes.push(world.state.open().len());
    }
    assert_eq!(sizes, [1, 2, 2, 4, 4, 6, 6, 6]);
    assert_eq!(
        world.lines_with(
            "5 of 5 request threads are busy, 3 requests waiting; the group gets 1 more process (max-processes=6)"
        ),
        1
    );
}

#[test]
fn a_group_waits_for_what_it_has_asked_for() {
    let mut world = World::default();
    world.serving(elastic(1, 1, 8));
    world.load(5, 0);
    world.load(5, 0);
    assert_eq!(world.spawn().len(), 1);
    for now in [100, 200, 900] {
        world.now = now;
        world.load(5, 4);
        assert!(world.started().is_empty());
    }
    world.now = 1_000;
    world.load(5, 4);
    assert_eq!(world.started().len(), 2, "it takes too long");
}

#[test]
fn requests_that_wait_for_a_reload_make_no_growth() {
    let mut world = World::default();
    let old = world.serving(elastic(1, 1, 8))[0];
    world.retire(old, Cause::ScriptReload);
    assert_eq!(world.spawn().len(), 1);
    for _ in 0..50 {
        world.now += 100;
        world.load(0, 20);
        assert!(world.started().is_empty());
    }
}

#[test]
fn processes_that_nobody_needs_go_one_after_the_other() {
    let mut world = World::default();
    world.serving(elastic(1, 4, 4));
    for now in (0..=9_900).step_by(100) {
        world.now = now;
        world.load(6, 0);
        assert!(world.state.draining().is_empty());
    }
    // Six requests fit into two processes.
    let mut left = Vec::new();
    for now in (10_000..=10_500).step_by(100) {
        world.now = now;
        world.load(6, 0);
        left.push(world.state.open().len());
    }
    assert_eq!(left, [3, 2, 2, 2, 2, 2]);
    assert_eq!(world.lines_with(": idle-timeout is over"), 2);
    for now in (10_600..=30_000).step_by(100) {
        world.now = now;
        world.load(0, 0);
    }
    assert_eq!(world.state.open().len(), 1, "min-processes");
}

#[test]
fn an_empty_group_is_no_fault_and_wakes_at_once() {
    let mut world = World::default();
    assert!(world.with(elastic(0, 0, 2)).is_empty());
    assert!(!world.fault);
    assert_eq!(world.state.scaling(true), [GROUP]);
    world.event(Event::Wanted { group: GROUP });
    let one = world.spawn();
    assert_eq!(one.len(), 1);
    world.event(Event::Wanted { group: GROUP });
    assert!(world.started().is_empty(), "it is coming");
    assert_eq!(world.lines_with("a request waits and no process runs; the group gets 1 process (max-processes=2)"), 1);
    world.ready(one[0]);
    world.load(1, 0);
    world.now = 10_000;
    world.load(0, 0);
    assert!(world.drains(one[0]));
    assert!(!world.fault && world.started().is_empty());
    world.load(0, 1);
    assert_eq!(world.started().len(), 1, "the message was lost, the request is there");
}

#[test]
fn a_group_that_has_grown_keeps_its_size_at_graceful() {
    let mut world = World::default();
    world.serving(elastic(1, 1, 4));
    world.load(5, 1);
    world.load(5, 1);
    world.spawn().into_iter().for_each(|process| world.ready(process));
    assert_eq!(world.with(elastic(1, 1, 4)).len(), 2);
    assert_eq!(world.with(elastic(3, 3, 4)).len(), 3);
    assert_eq!(world.with(rules(1)).len(), 1);
}

#[test]
fn a_process_that_executes_something_is_not_idle_and_is_not_hurried() {
    let mut world = World::default();
    let one = world.serving(Rules { idle_timeout: 0, ..elastic(0, 1, 2) })[0];
    for now in (0..=60_000).step_by(100) {
        world.now = now;
        world.load(1, 0);
        assert!(world.started().is_empty() && world.state.draining().is_empty(), "at {now}");
    }
    world.now = 60_100;
    world.load(0, 0);
    assert!(world.drains(one));
    // A request has come at the last moment.
    let busy = |count| Event::InFlight { process: one, busy: Busy { count, ..Busy::default() } };
    world.event(busy(1));
    world.at(10_000_000);
    assert!(world.state.draining() == [one], "{:?}", world.log);
    // A new configuration sets a limit, and so does a process that knows that it is stuck.
    let mut stuck = World::default();
    let one_of_it = stuck.serving(Rules { idle_timeout: 0, ..elastic(0, 1, 2) })[0];
    stuck.now = 100;
    stuck.load(0, 0);
    assert!(stuck.drains(one_of_it) && stuck.state.deadline().is_none());
    stuck.retire(one_of_it, Cause::RequestTimeout);
    assert_eq!(stuck.state.deadline(), Some(15_100));
    world.with(elastic(0, 0, 2));
    world.at(10_015_000);
    assert!(world.has(&Action::SendStop { process: one }));
    assert_eq!(
        world.lines_with(
            "still executes 1 request when graceful-timeout=15 s is over; it is stopped (graceful restart)"
        ),
        1
    );
}

#[test]
fn requests_that_come_and_go_between_two_looks_keep_one_process() {
    let mut world = World::default();
    let two = world.serving(elastic(0, 2, 2));
    for now in (100..=60_000).step_by(100) {
        world.now = now;
        let load = Load { threads: 10, served: now % 1_000 == 0, ..Load::default() };
        world.event(Event::Load { group: GROUP, load });
    }
    assert_eq!(world.state.open(), two[..1], "{:?}", world.log);
    world.now = 70_000;
    world.load(0, 0);
    assert!(world.drains(two[0]));
}

/// Looks every 100 ms from `from` to `to`, as the shell does.
fn look(world: &mut World, from: Millis, to: Millis, busy: u32) -> Vec<ProcessId> {
    let mut started = Vec::new();
    for now in (from..=to).step_by(100) {
        world.now = now;
        world.load(busy, 0);
        started.extend(world.spawn());
        world.at(now);
        started.extend(world.spawn());
    }
    started
}

#[test]
fn none_is_started_for_an_old_one_that_is_about_to_go() {
    let aging = Rules { restart_interval: 60_000, ..elastic(0, 1, 2) };
    let mut world = World::default();
    let one = world.serving(aging.clone())[0];
    let old = jitter::later(60_000, one).next_multiple_of(100);
    assert!(look(&mut world, 100, old - 5_000, 1).is_empty());
    assert!(look(&mut world, old - 4_900, old + 20_000, 0).is_empty());
    assert_eq!(
        (
            world.lines_with(": idle-timeout is over"),
            world.lines_with("restart-interval is over"),
            world.state.open().len()
        ),
        (1, 0, 0)
    );
    // A process that is needed is replaced when its time has come. So is an idle process, if idle-timeout is too long
    // to wait for.
    for (busy, idle_timeout) in [(1, 10_000), (0, 600_000)] {
        let mut world = World::default();
        world.serving(Rules { idle_timeout, ..aging.clone() });
        assert!(look(&mut world, 100, old - 100, busy).is_empty());
        assert_eq!(look(&mut world, old, old + 100, busy).len(), 1);
    }
}

#[test]
fn of_several_the_old_one_goes_when_fewer_are_needed() {
    let mut world = World::default();
    let all = world.serving(Rules { restart_interval: 60_000, ..elastic(2, 3, 3) });
    let old_at = |process: &ProcessId| jitter::later(60_000, *process);
    let oldest = *all.iter().min_by_key(|process| old_at(process)).expect("three");
    assert_ne!(Some(&oldest), all.last(), "the youngest would go otherwise");
    let old = old_at(&oldest).next_multiple_of(100);
    look(&mut world, 100, old - 9_000, 12);
    assert!(look(&mut world, old - 8_900, old + 1_500, 1).is_empty());
    assert_eq!(world.state.draining(), [oldest], "{:?}", world.log);
}
