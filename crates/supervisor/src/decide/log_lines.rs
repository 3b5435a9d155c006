//! Tests of the decisions: the log lines that they write.

use wsgi_wire::control::Cause;

use super::tests::{World, rules};
use super::*;

#[test]
fn all_lines_of_a_process_count_its_age_from_its_start() {
    let mut world = World::default();
    let old = world.with(rules(1))[0];
    world.now = 3_000;
    world.ready(old);
    world.now = 5_000;
    world.retire(old, Cause::MaximumRequests);
    let next = world.spawn()[0];
    world.now = 6_000;
    world.ready(next);
    world.event(Event::InFlight { process: old, busy: Busy::default() });
    world.now = 6_500;
    world.exit(old, Ended::Status(0));
    let ages = [
        "is ready after 3 s",
        "is to be replaced after 5 s",
        "maximum-requests is reached, after 6 s",
        "status 0 after 6.5 s",
    ];
    for age in ages {
        assert_eq!(world.lines_with(age), 1, "{age}: {:?}", world.log);
    }
}

#[test]
fn a_start_names_whose_place_it_takes_and_why() {
    let mut world = World::default();
    let all = world.serving(rules(4));
    world.now = 100_000;
    world.retire(all[0], Cause::ScriptReload);
    let next = world.spawn()[0];
    assert_eq!(
        world.lines_with("process 1005 started to replace process 1001 (its script has changed): "),
        1,
        "{:?}",
        world.log
    );
    world.ready(next);
    world.retire(all[1], Cause::RequestTimeout);
    let next = world.spawn()[0];
    assert_eq!(world.lines_with("started to replace process 1002 (request-timeout is over): "), 1, "{:?}", world.log);
    world.ready(next);
    world.crash(all[2], true);
    let next = world.spawn()[0];
    assert_eq!(world.lines_with("started to replace process 1003 (it was lost): "), 1, "{:?}", world.log);
    world.ready(next);
    world.event(Event::Violation { process: all[3], what: "sent noise".to_owned() });
    let next = world.spawn()[0];
    assert_eq!(world.lines_with("started to replace process 1004 (it broke the protocol): "), 1, "{:?}", world.log);
    // A process that has ended by itself meanwhile is not the cause of a later start.
    world.ready(next);
    world.retire(next, Cause::MaximumRequests);
    world.spawn();
    assert_eq!(
        world.lines_with("started to replace process 1008 (maximum-requests is reached): "),
        1,
        "{:?}",
        world.log
    );
}

#[test]
fn a_process_that_asks_to_be_replaced_while_starts_fail_is_no_warning() {
    let mut world = World::default();
    let all = world.serving(Rules { rolling: true, ..rules(2) });
    world.now = 100_000;
    world.retire(all[0], Cause::ScriptReload);
    let next = world.spawn()[0];
    world.event(Event::Failed { process: next, output: "SyntaxError: x".to_owned() });
    world.now += 100;
    world.retire(all[1], Cause::ScriptReload);
    let line = "it serves until its replacement is ready; a start has failed, the next start is in 0.9 s";
    let found: Vec<_> = world.log.iter().filter(|(_, text)| text.contains(line)).collect();
    assert!(matches!(found[..], [(level::INFO, _)]), "{:?}", world.log);
    world.crash(all[0], true);
    assert_eq!(
        world.lines_with("no request in flight; a start has failed, the next start is in"),
        1,
        "{:?}",
        world.log
    );
}

#[test]
fn a_service_whose_script_has_ended_was_not_lost() {
    let mut world = World::default();
    let one = world.serving(Rules { threads: 0, ..rules(1) })[0];
    world.now = 100_000;
    world.exit(one, Ended::Status(0));
    world.spawn();
    assert_eq!(world.lines_with("started to replace process 1001 (its script has ended): "), 1, "{:?}", world.log);
}

#[test]
fn a_process_that_is_ready_in_the_last_moment_is_not_its_own_failed_attempt() {
    let mut world = World::default();
    let slow = world.with(Rules { startup_timeout: 10_000, ..rules(1) })[0];
    world.at(10_000);
    assert_eq!(
        world.lines_with("the process gets SIGKILL unless it is ready within 1 s; requests get 503"),
        1,
        "{:?}",
        world.log
    );
    world.now = 10_700;
    world.ready(slow);
    assert_eq!(world.lines_with("is ready after 10.7 s, just before it would have got SIGKILL"), 1);
    assert_eq!(world.lines_with("failed attempt"), 0, "{:?}", world.log);
    world.at(60_000);
    assert!(!world.has(&Action::Kill { process: slow }));
}

#[test]
fn a_process_that_is_too_large_has_one_line_beside_those_of_each_replacement() {
    let mut world = World::default();
    let mut one = world.serving(Rules { maximum_memory: 100, ..rules(1) })[0];
    for (now, warnings, lines) in [(5_000, 1, 1), (10_000, 1, 2), (90_000, 1, 3)] {
        world.at(now);
        for _ in 0..2 {
            world.event(Event::Memory { process: one, bytes: 200 });
        }
        assert_eq!(world.lines_with("is too small for the application"), warnings, "{:?}", world.log);
        assert_eq!(world.lines_with(", above maximum-memory="), lines, "{:?}", world.log);
        let next = world.spawn()[0];
        world.ready(next);
        world.event(Event::InFlight { process: one, busy: Busy::default() });
        world.exit(one, Ended::Status(0));
        one = next;
    }
}

#[test]
fn a_failed_process_that_another_one_replaces_has_lines_for_debugging_only() {
    let mut world = World::default();
    let first = world.with(rules(1))[0];
    world.event(Event::Failed { process: first, output: "SyntaxError: x".to_owned() });
    world.at(world.state.deadline().expect("another try"));
    let second = world.spawn()[0];
    world.event(Event::Failed { process: second, output: "SyntaxError: x".to_owned() });
    world.event(Event::InFlight { process: first, busy: Busy::default() });
    world.exit(first, Ended::Status(0));
    let found: Vec<_> = world.log.iter().filter(|(_, text)| text.contains(say::ANOTHER_FAILED)).collect();
    assert!(matches!(found[..], [(level::DEBUG, _), (level::DEBUG, _)]), "{:?}", world.log);
}

#[test]
fn the_line_about_a_replacement_names_the_option_with_its_value() {
    let mut world = World::default();
    let limits = vec![(Cause::MaximumRequests, "maximum-requests=3".to_owned())];
    let one = world.serving(Rules { limits, ..rules(1) })[0];
    world.retire(one, Cause::MaximumRequests);
    assert_eq!(world.lines_with(": maximum-requests=3 is reached; it serves until"), 1, "{:?}", world.log);
}
