//! Tests of the decisions: processes that an earlier supervisor has left.

use wsgi_wire::control::Cause;

use super::tests::{GROUP, World, rules};
use super::*;

#[test]
fn what_cannot_be_reached_any_more_finishes_while_new_ones_start() {
    let mut world = World::default();
    let left = world.state.fresh();
    world.event(Event::Found(Found { group: GROUP, process: left, pid: 55, left: Left::Alone }));
    let new = world.configure(1);
    assert!(world.has(&Action::MarkDraining { process: left }));
    world.ready(new[0]);
    assert!(world.has(&Action::MarkReady { process: new[0] }));
    world.event(Event::InFlight { process: left, busy: Busy { count: 0, ..Busy::default() } });
    assert!(world.has(&Action::Terminate { process: left }));
    assert!(!world.has(&Action::SendStop { process: left }));
    world.at(6_000);
    assert!(world.has(&Action::Kill { process: left }));
    world.exit(left, Ended::Unknown);
    assert!(world.errors().is_empty());
}

/// A world in which two processes of an earlier supervisor serve.
fn bereft() -> (World, [ProcessId; 2]) {
    let mut world = World::default();
    let found = [55, 56].map(|pid| {
        let process = world.state.fresh();
        world.event(Event::Found(Found { group: GROUP, process, pid, left: Left::Serving }));
        assert!(world.last.is_empty());
        process
    });
    assert!(world.configure(2).is_empty(), "they are heard first");
    for process in found {
        assert!(world.has(&Action::MarkReady { process }) && world.has(&Action::SendSuperseded { process }));
    }
    assert!(world.state.deadline().expect("starts") <= 300);
    (world, found)
}

#[test]
fn what_an_earlier_supervisor_left_serves_until_its_successors_do() {
    let (mut world, found) = bereft();
    world.at(300);
    let new = world.spawn();
    assert_eq!(new.len(), 2);
    assert!(world.log.iter().any(|(_, text)| text.contains("started (in place of a process of the lost supervisor)")));
    world.ready(new[0]);
    assert!(!world.has(&Action::MarkDraining { process: found[0] }));
    world.ready(new[1]);
    assert!(found.iter().all(|process| world.has(&Action::MarkDraining { process: *process })));
    for process in found {
        world.event(Event::InFlight { process, busy: Busy::default() });
        assert!(world.has(&Action::SendStop { process }) && !world.has(&Action::Terminate { process }));
        world.exit(process, Ended::Unknown);
        assert!(world.has(&Action::Clear { process }) && world.started().is_empty());
    }
    let of_found = world.log.iter().filter(|(_, text)| text.contains("process 55 "));
    let expected = [
        "process group \"site\": process 55 was started by the lost supervisor; it serves until a new process takes its place",
        "process group \"site\": process 55 is draining up to graceful-timeout=15 s: its supervisor was lost, 0.3 s after it was found",
        "process group \"site\": process 55 is gone (its supervisor was lost): ended 0.3 s after it was found",
    ];
    assert_eq!(of_found.map(|(_, text)| text.as_str()).collect::<Vec<_>>(), expected);
    assert!(world.errors().is_empty());
}

#[test]
fn what_an_earlier_supervisor_left_stays_while_its_successors_cannot_load() {
    let (mut world, found) = bereft();
    world.at(300);
    let new = world.spawn();
    world.event(Event::Failed { process: new[0], output: "SyntaxError: x".to_owned() });
    world.at(5_000);
    assert!(world.log.iter().any(|(_, text)| text.contains("kept the running version")));
    assert!(found.iter().all(|process| world.state.open().contains(process)));
    assert!(!world.fault);
}

#[test]
fn a_group_that_had_grown_keeps_its_size() {
    for (processes, found, target) in [(1, 3, 3), (0, 1, 1), (0, 0, 0), (1, 0, 1), (2, 9, 4)] {
        let mut world = World::default();
        for pid in 0..found {
            let process = world.state.fresh();
            world.event(Event::Found(Found { group: GROUP, process, pid, left: Left::Serving }));
        }
        let rules = Rules { processes, min: 0, max: 4, idle_timeout: 1_000, ..rules(1) };
        world.event(Event::Configured { groups: vec![(GROUP, rules)] });
        assert_eq!(world.state.groups().map(|(_, group)| group.target()).sum::<usize>(), target, "{processes} {found}");
    }
}

#[test]
fn what_an_earlier_supervisor_was_starting_ends() {
    let mut world = World::default();
    let process = world.state.fresh();
    world.event(Event::Found(Found { group: GROUP, process, pid: 55, left: Left::Starting }));
    assert_eq!(world.configure(1).len(), 1, "requests may be waiting");
    assert!(world.has(&Action::Terminate { process }));
    world.at(6_000);
    assert!(world.has(&Action::Kill { process }));
    world.exit(process, Ended::Unknown);
    assert!(world.errors().is_empty());
}

#[test]
fn what_an_earlier_supervisor_knew_to_be_broken_is_no_running_version() {
    let mut world = World::default();
    let left = world.state.fresh();
    world.event(Event::Found(Found { group: GROUP, process: left, pid: 55, left: Left::Serving }));
    world.configure(1);
    world.event(Event::Failed { process: left, output: String::new() });
    let new = world.spawn();
    assert_eq!((new.len(), world.state.open()), (1, vec![left]), "it is not waited for");
    world.event(Event::Retire { process: left, cause: Cause::ScriptReload });
    assert!(world.has(&Action::MarkDraining { process: left }) && !world.has(&Action::MarkReady { process: left }));
    world.event(Event::Failed { process: new[0], output: "SyntaxError: x".to_owned() });
    assert!(world.has(&Action::MarkReady { process: new[0] }));
    assert!(world.log.iter().any(|(_, text)| text.contains("requests get 500 until a process can load it")));
}
