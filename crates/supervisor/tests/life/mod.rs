//! Replacement, failed loads, limits and sizes of process groups, with the built supervisor.

use std::time::{Duration, Instant};

use crate::common::{GROUP, Httpd, lives, until};
use wsgi_sys::process::kill;
use wsgi_sys::scoreboard::State;
use wsgi_wire::control::Connect;

/// The slot of a process.
fn slot_of(httpd: &Httpd, pid: i32) -> u32 {
    (0..httpd.board.slots()).find(|slot| i32::try_from(httpd.board.pid(*slot)) == Ok(pid)).expect("a slot")
}

/// Has a process say what it says when it is connected to.
fn nudge(httpd: &Httpd, pid: i32) {
    let slot = slot_of(httpd, pid);
    httpd.connect(slot, httpd.board.epoch(slot));
}

#[test]
fn a_script_that_does_not_load_is_served_as_failed_until_it_is_mended() {
    let httpd = Httpd::start("failed", 2);
    httpd.behave("fail 1");
    httpd.configure();
    // One of them takes the requests.
    let failed = httpd.ready(1)[0];
    until(&httpd, "the other one's end", || httpd.pids(State::Starting).is_empty());
    until(&httpd, "the error", || {
        httpd.log().contains("could not load its scripts: SyntaxError: fail 1; requests get 500")
    });
    until(&httpd, "a further attempt", || httpd.logged("(attempt 2)") == 1);
    until(&httpd, "its failure", || httpd.logged("attempt 2 to start failed as before") == 1);
    let newer = httpd.ready(1)[0];
    assert_ne!(newer, failed, "the newest one has the newest traceback");
    httpd.gone(&[failed]);
    assert_eq!(httpd.logged("Traceback"), 1, "{}", httpd.log());
    httpd.behave("ready");
    let start = Instant::now();
    let mended = httpd.ready(2);
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}: not by the back-off", start.elapsed());
    httpd.gone(&[newer]);
    assert!(mended.iter().all(|pid| lives(*pid)));
    assert_eq!(httpd.logged("before it 2 attempts to start failed in "), 1, "{}", httpd.log());
}

#[test]
fn at_graceful_a_script_that_does_not_load_keeps_the_running_version() {
    let httpd = Httpd::start("kept", 2);
    httpd.configure();
    let old = httpd.ready(2);
    httpd.behave("fail 1");
    httpd.configure();
    let line = "SyntaxError: fail 1; kept the running version: the 2 running processes go on serving; next try in 1 s, or when one of its files changes";
    until(&httpd, "an error", || httpd.logged(line) == 1);
    until(&httpd, "the next failure", || httpd.logged("attempt 2 to start failed as before") == 1);
    assert_eq!(httpd.ready(2), old);
    assert_eq!(httpd.logged("Traceback"), 1, "{}", httpd.log());
    // Another failure after a change is news, and still nothing moves.
    httpd.behave("fail 2");
    until(&httpd, "the new error", || httpd.log().contains("SyntaxError: fail 2; kept the running version"));
    assert_eq!((httpd.ready(2), httpd.logged("Traceback")), (old.clone(), 2));
    httpd.behave("ready");
    httpd.gone(&old);
    httpd.ready(2);
}

#[test]
fn a_rolling_reload_replaces_first_and_an_immediate_one_at_once() {
    for (rolling, name) in [(true, "rolling"), (false, "immediate")] {
        let mut httpd = Httpd::start(name, 1);
        httpd.config.rolling = rolling;
        httpd.behave("retire1");
        httpd.configure();
        let old = httpd.ready(1)[0];
        httpd.behave("fail 1");
        nudge(&httpd, old);
        if rolling {
            until(&httpd, "an error", || httpd.log().contains("kept the running version: the running process goes on"));
            assert_eq!(httpd.ready(1), [old]);
        } else {
            until(&httpd, "an error", || httpd.log().contains("requests get 500"));
            assert_ne!(httpd.ready(1), [old]);
        }
        httpd.behave("ready");
        httpd.gone(&[old]);
        until(&httpd, "the mended one", || httpd.log().contains("; before it "));
        httpd.ready(1);
    }
}

#[test]
fn a_process_that_hangs_while_it_starts_says_where_and_is_killed() {
    let mut httpd = Httpd::start("hangs", 1);
    httpd.config.startup_timeout_ms = 1_000;
    httpd.config.main_script = Some("/srv/app.wsgi".to_owned());
    httpd.behave("hang");
    httpd.configure();
    let line = "when startup-timeout=1 s is over, while it loads /srv/app.wsgi; the log gets the stacks of its threads, and the process gets SIGKILL unless";
    until(&httpd, "the line", || httpd.logged(line) == 1);
    until(&httpd, "its stacks", || httpd.log().contains("here it hangs"));
    until(&httpd, "its end", || httpd.logged("is gone (startup-timeout): killed by SIGKILL") == 1);
    until(&httpd, "the next one", || httpd.logged("(attempt 2)") == 1);
    httpd.behave("ready");
    httpd.ready(1);
    assert_eq!(httpd.logged(line), 1, "{}", httpd.log());
}

#[test]
fn processes_grow_old_one_after_the_other() {
    let mut httpd = Httpd::start("old", 2);
    httpd.config.restart_interval_ms = 500;
    httpd.configure();
    let old = httpd.ready(2);
    let mut least = 2;
    until(&httpd, "two others", || {
        let ready = httpd.pids(State::Ready);
        least = least.min(ready.len());
        !old.iter().any(|pid| lives(*pid))
    });
    assert_eq!(least, 2, "each was replaced first: {}", httpd.log());
    assert!(httpd.logged(": restart-interval=0.5 s is over; it serves until its replacement is ready") >= 2);
    assert!(httpd.logged("to replace process") >= 2, "{}", httpd.log());
}

#[test]
fn a_process_that_is_too_large_is_replaced_without_a_loop() {
    let mut httpd = Httpd::start("large", 1);
    httpd.config.maximum_memory = 48 << 20;
    httpd.behave("large");
    httpd.configure();
    let old = httpd.ready(1)[0];
    httpd.gone(&[old]);
    let log = httpd.log();
    assert!(log.contains("above maximum-memory=48 MiB"), "{log}");
    assert!(log.contains("is draining up to graceful-timeout=3 s: maximum-memory is exceeded"), "{log}");
    until(&httpd, "a second one", || httpd.logged("above maximum-memory=48 MiB") == 2);
    assert_eq!(httpd.logged("is too small for the application"), 1, "{}", httpd.log());
    httpd.behave("ready");
    until(&httpd, "a small one", || httpd.logged("is draining") == 2);
    httpd.ready(1);
}

#[test]
fn a_stuck_process_is_closed_at_once_and_replaced() {
    let mut httpd = Httpd::start("stuck", 1);
    httpd.config.graceful_timeout_ms = 60_000;
    // Deadlock: nothing to wait for, although a request is in flight.
    httpd.behave("retire9");
    httpd.configure();
    let old = httpd.ready(1)[0];
    let lease = httpd.board.try_reserve(std::process::id()).expect("ready");
    nudge(&httpd, old);
    httpd.gone(&[old]);
    let next = httpd.ready(1)[0];
    httpd.board.release(lease);
    assert_ne!(next, old);
    assert_eq!(httpd.logged(": deadlock-timeout=300 s is over; it takes no more requests"), 1, "{}", httpd.log());
}

#[test]
fn a_group_grows_under_load_and_shrinks_when_idle_down_to_nothing() {
    let mut httpd = Httpd::start("scales", 3);
    (httpd.config.processes, httpd.config.min_processes, httpd.config.max_processes) = (0, 0, 3);
    httpd.config.idle_timeout_ms = 500;
    httpd.configure();
    let wanted = Connect { group: GROUP, slot: Connect::WANTED, epoch: 0 };
    until(&httpd, "a process", || {
        httpd.want(wanted);
        httpd.pids(State::Ready).len() == 1
    });
    let me = std::process::id();
    let mut leases = Vec::new();
    // Every request thread is taken, again and again.
    until(&httpd, "three processes", || {
        leases.extend(httpd.board.try_reserve(me));
        httpd.pids(State::Ready).len() == 3
    });
    assert!(httpd.logged("the group gets 1 more process (max-processes=3)") >= 2, "{}", httpd.log());
    leases.into_iter().for_each(|lease| httpd.board.release(lease));
    until(&httpd, "an empty group", || httpd.pids(State::Gone).len() == httpd.board.slots() as usize);
    assert_eq!(httpd.logged("is draining without limit: idle-timeout=0.5 s is over"), 3, "{}", httpd.log());
    assert!(!httpd.board.unavailable(), "who comes waits for a process");
    httpd.want(wanted);
    httpd.ready(1);
}

#[test]
fn a_request_that_waits_wakes_a_group_without_any_message() {
    let mut httpd = Httpd::start("wakes", 1);
    (httpd.config.processes, httpd.config.min_processes) = (0, 0);
    httpd.configure();
    let end = Instant::now() + Duration::from_secs(20);
    let lease = httpd.board.reserve(std::process::id(), 10, Some(end)).expect("a process comes");
    httpd.board.release(lease);
}

#[test]
fn a_supervisor_that_was_stopped_goes_on() {
    let httpd = Httpd::start("frozen", 2);
    httpd.configure();
    let pids = httpd.ready(2);
    kill(httpd.supervisor, libc::SIGSTOP).expect("kill");
    std::thread::sleep(Duration::from_millis(4_000));
    kill(httpd.supervisor, libc::SIGCONT).expect("kill");
    until(&httpd, "a line", || httpd.log().contains("supervisor: it did not run for "));
    assert_eq!(httpd.ready(2), pids);
}

#[test]
fn a_process_that_floods_its_control_socket_and_its_output_holds_nothing_up() {
    let httpd = Httpd::start("floods", 1);
    httpd.behave("flood");
    httpd.configure();
    let pids = httpd.ready(1);
    for _ in 0..20 {
        let slot = slot_of(&httpd, pids[0]);
        assert_eq!(httpd.connect(slot, httpd.board.epoch(slot)), pids[0].to_string());
    }
    httpd.stop();
    assert_eq!(httpd.ended(), Some(0));
}
