//! Tests: whether a process that starts is to load what other processes have loaded.

use super::tests::{GROUP, World, rules};
use super::*;
use wsgi_wire::control::Cause;

/// What the processes that the last event started are to load.
fn handed(world: &World) -> Vec<Handing> {
    let of = |action: &Action| match action {
        Action::Start { handing, .. } => Some(*handing),
        _ => None,
    };
    world.last.iter().filter_map(of).collect()
}

/// A group whose processes are ready.
fn serving(rules: Rules) -> (World, Vec<ProcessId>) {
    let mut world = World::default();
    world.event(Event::Configured { groups: vec![(GROUP, rules)] });
    assert!(handed(&world).iter().all(|handing| *handing == Handing::Nothing), "nobody serves yet");
    let started = world.spawn();
    started.iter().for_each(|process| world.ready(*process));
    world.now = 100_000;
    (world, started)
}

#[test]
fn a_replacement_must_load_what_its_predecessor_had() {
    for (cause, rolling) in [
        (Cause::MaximumRequests, false),
        (Cause::RestartInterval, false),
        (Cause::GracefulSignal, false),
        (Cause::MaximumMemory, true),
        (Cause::CpuTimeLimit, true),
        (Cause::ScriptReload, true),
    ] {
        for count in [1, 2] {
            let (mut world, all) = serving(Rules { rolling, ..rules(count) });
            world.event(Event::Retire { process: all[0], cause });
            assert_eq!(handed(&world), [Handing::Required], "{cause:?} {count}");
        }
    }
}

#[test]
fn a_new_configuration_must_load_what_the_old_one_had() {
    let (mut world, _) = serving(rules(2));
    world.event(Event::Configured { groups: vec![(GROUP, rules(2))] });
    assert_eq!(handed(&world), [Handing::Required; 2]);
    let new = world.spawn();
    world.event(Event::Failed { process: new[0], output: String::new() });
    world.event(Event::Failed { process: new[1], output: String::new() });
    world.at(102_000);
    assert_eq!(handed(&world), [Handing::Required], "the next try as well");
}

#[test]
fn a_changed_script_of_an_immediate_reload_waits_for_no_other_script() {
    let (mut world, all) = serving(rules(2));
    world.event(Event::Retire { process: all[0], cause: Cause::ScriptReload });
    assert_eq!(handed(&world), [Handing::Nothing], "another one serves, but has changed as well");
    world.event(Event::Retire { process: all[1], cause: Cause::ScriptReload });
    assert_eq!(handed(&world), [Handing::Nothing], "the request waits for this one");
}

#[test]
fn where_a_process_was_lost_or_more_are_needed_a_broken_script_holds_nothing_up() {
    let lost = |world: &mut World, process| world.exit(process, Ended::Signal(11));
    let (mut world, all) = serving(rules(2));
    lost(&mut world, all[0]);
    assert_eq!(handed(&world), [Handing::Tried]);
    let (mut world, all) = serving(rules(1));
    lost(&mut world, all[0]);
    assert_eq!(handed(&world), [Handing::Nothing], "requests wait");
    let (mut world, _) = serving(Rules { max: 3, ..rules(1) });
    let load = Load { threads: 5, busy: 5, waiting: 3, served: false, idlest: None };
    world.event(Event::Load { group: GROUP, load });
    world.event(Event::Load { group: GROUP, load });
    assert_eq!(handed(&world), [Handing::Tried]);
    // Old code serves until new code can.
    let (mut world, all) = serving(Rules { rolling: true, ..rules(2) });
    lost(&mut world, all[0]);
    assert_eq!(handed(&world), [Handing::Required]);
}

#[test]
fn one_that_cannot_go_on_for_long_waits_for_no_broken_script() {
    for cause in [Cause::MaximumMemory, Cause::CpuTimeLimit] {
        let (mut world, all) = serving(rules(1));
        world.event(Event::Retire { process: all[0], cause });
        assert_eq!(handed(&world), [Handing::Tried], "{cause:?}");
    }
}

#[test]
fn a_script_that_ends_the_process_is_tried_once() {
    let (mut world, all) = serving(rules(2));
    world.exit(all[0], Ended::Signal(11));
    let next = world.spawn()[0];
    assert_eq!(handed(&world), [Handing::Tried]);
    world.exit(next, Ended::Status(3));
    while handed(&world).is_empty() {
        world.at(world.state.deadline().expect("another try"));
    }
    assert_eq!(handed(&world), [Handing::Nothing]);
    let next = world.spawn()[0];
    world.ready(next);
    world.exit(all[1], Ended::Signal(11));
    assert_eq!(handed(&world), [Handing::Tried], "it may have been mended");
}

#[test]
fn the_first_start_without_them_waits_for_no_earlier_failure() {
    let (mut world, all) = serving(rules(1));
    world.event(Event::Retire { process: all[0], cause: Cause::MaximumRequests });
    for _ in 0..3 {
        let next = world.spawn()[0];
        assert_eq!(handed(&world), [Handing::Required]);
        world.exit(next, Ended::Status(3));
        while handed(&world).is_empty() {
            world.at(world.state.deadline().expect("another try"));
        }
    }
    let next = world.spawn()[0];
    world.exit(next, Ended::Status(3));
    let failed_at = world.now;
    world.exit(all[0], Ended::Signal(11));
    while handed(&world).is_empty() {
        world.at(world.state.deadline().expect("another try"));
    }
    assert_eq!(handed(&world), [Handing::Nothing]);
    assert!(world.now <= failed_at + 1_000, "{} {failed_at}", world.now);
}

#[test]
fn startup_timeout_counts_for_each_script() {
    let mut world = World::default();
    world.event(Event::Configured { groups: vec![(GROUP, Rules { startup_timeout: 10_000, ..rules(1) })] });
    let process = world.spawn()[0];
    world.at(9_000);
    world.event(Event::Loaded { process });
    world.at(18_000);
    assert!(world.errors().is_empty());
    assert_eq!(world.state.deadline(), Some(19_000));
    world.at(19_000);
    assert!(world.has(&Action::Dump { process }));
    assert!(world.errors()[0].contains("is not ready after 19 s when startup-timeout=10 s is over"), "{:?}", world.log);
}

#[test]
fn the_line_about_a_failed_load_names_the_script_that_failed() {
    let (mut world, all) = serving(Rules { scripts: "/configured".to_owned(), ..rules(1) });
    world.event(Event::Retire { process: all[0], cause: Cause::MaximumRequests });
    let process = world.spawn()[0];
    let output = "WSGI0106: Could not read or compile WSGI script '/srv/it's' for main interpreter of daemon process 'site'.\n\
                  WSGI0174: SyntaxError exception raised processing WSGI script '/srv/it's'.\nSyntaxError: x";
    world.event(Event::Failed { process, output: output.to_owned() });
    let line =
        "could not load /srv/it's: SyntaxError: x; kept the running version: the running process goes on serving";
    assert!(world.errors()[0].contains(line), "{:?}", world.log);
}
