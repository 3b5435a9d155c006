//! The built supervisor over real sockets, with a script in place of Python.

mod common;
mod life;

use std::fs;
use std::time::{Duration, Instant};

use common::{Httpd, lives, until};
use wsgi_sys::process::{Program, kill, spawn, wait};
use wsgi_sys::scoreboard::{Refused, State};

#[test]
fn a_group_starts_serves_connections_and_stops() {
    let httpd = Httpd::start("serves", 2);
    httpd.configure();
    let pids = httpd.ready(2);
    for slot in 0..2 {
        let epoch = httpd.board.epoch(slot);
        assert_eq!(httpd.connect(slot, epoch), httpd.board.pid(slot).to_string());
        assert_eq!(httpd.connect(slot, epoch + 1), "", "another epoch is another process");
    }
    assert_eq!(httpd.connect(5, 0), "");
    httpd.stop();
    assert_eq!(httpd.ended(), Some(0));
    httpd.gone(&pids);
    assert_eq!(httpd.pids(State::Gone).len(), httpd.board.slots() as usize);
    let log = httpd.log();
    assert!(!log.contains("wsgi:error"), "{log}");
    for text in [
        "] [wsgi:info] [pid ",
        "process group \"site\": process ",
        "is ready after",
        "is gone (httpd stops): exited with status 0",
    ] {
        assert!(log.contains(text), "{text}: {log}");
    }
}

#[test]
fn a_process_gets_what_it_should_and_nothing_else() {
    let httpd = Httpd::start("show", 1);
    httpd.behave("show");
    httpd.configure();
    let pid = httpd.ready(1)[0];
    until(&httpd, "its output", || httpd.log().contains("engine b'engine'"));
    let log = httpd.log();
    // One more is the directory that it lists.
    assert!(log.contains("fds [0, 1, 2, 3, 4] 6 cwd / session True"), "{log}");
    assert!(log.contains("argv ['-X', 'utf8', '-c']"), "{log}");
    assert!(log.contains(&format!("[wsgi:error] [pid {pid}:tid {pid}] fds")), "{log}");
    let environment = if httpd.config.identity.is_some() { "['FAKE', 'HOME', 'LOGNAME', 'USER']" } else { "['FAKE']" };
    assert!(log.contains(environment), "{log}");
}

#[test]
fn the_end_of_the_parent_s_socket_ends_everything() {
    let mut httpd = Httpd::start("eof", 1);
    httpd.behave("deaf");
    httpd.configure();
    let pids = httpd.ready(1);
    let start = Instant::now();
    httpd.control = None;
    assert_eq!(httpd.ended(), Some(0));
    assert!(!lives(pids[0]));
    let took = start.elapsed();
    assert!(took >= Duration::from_millis(900) && took < Duration::from_secs(5), "{took:?}");
    assert!(httpd.log().contains("has not stopped when shutdown-timeout=1 s is over; it gets SIGKILL"));
}

#[test]
fn the_parent_s_death_is_seen_though_its_socket_stays_open() {
    let mut httpd = Httpd::start("death", 1);
    let program = Program {
        path: c"/bin/sleep".into(),
        arguments: vec![c"sleep".into(), c"60".into()],
        environment: Vec::new(),
        descriptors: Vec::new(),
        session: true,
        directory: None,
        ..Program::default()
    };
    httpd.parent_pid = spawn(&program).and_then(wsgi_sys::process::Spawned::wait_executed).expect("sleep");
    httpd.configure();
    let pids = httpd.ready(1);
    kill(httpd.parent_pid, libc::SIGKILL).expect("kill");
    wait(httpd.parent_pid).expect("wait");
    assert_eq!(httpd.ended(), Some(0));
    httpd.gone(&pids);
    assert_eq!(httpd.logged("stopping all daemon processes"), 1, "{}", httpd.log());
}

#[test]
fn a_killed_process_is_replaced_at_once() {
    let httpd = Httpd::start("killed", 1);
    httpd.configure();
    let first = httpd.ready(1)[0];
    let start = Instant::now();
    kill(first, libc::SIGKILL).expect("kill");
    until(&httpd, "its successor", || httpd.pids(State::Ready).first().is_some_and(|pid| *pid != first));
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    until(&httpd, "a line", || httpd.log().contains(&format!("process {first} was lost: killed by SIGKILL after")));
    assert_eq!(httpd.logged("no request in flight; it is replaced"), 1, "{}", httpd.log());
}

#[test]
fn failing_starts_back_off_raise_the_fault_and_recover() {
    let httpd = Httpd::start("fails", 2);
    httpd.behave("exit");
    httpd.configure();
    until(&httpd, "a fault", || httpd.board.unavailable());
    assert_eq!(httpd.board.reserve(1, 10, None), Err(Refused::Unavailable));
    until(&httpd, "a second attempt", || httpd.logged("attempt 2 to start failed as before") == 1);
    let log = httpd.log();
    assert_eq!(httpd.logged("cannot start"), 1, "{log}");
    assert!(log.contains("process group \"site\" (defined at httpd.conf:3): cannot start /"), "{log}");
    assert!(log.contains("(exited with status 1); its last words: ModuleNotFoundError: No module named 'nothing'; requests get 503 until a start succeeds; next try in 1 s"), "{log}");
    httpd.behave("ready");
    httpd.ready(2);
    assert!(!httpd.board.unavailable());
}

#[test]
fn an_unusable_python_is_explained() {
    let mut httpd = Httpd::start("unusable", 1);
    httpd.config.python = "/no/such/venv/bin/python".to_owned();
    httpd.configure();
    until(&httpd, "a fault", || httpd.board.unavailable());
    let log = httpd.log();
    assert!(log.contains("cannot start /no/such/venv/bin/python (python-home=/srv/venv): /no does not exist, on the way to /no/such/venv/bin/python; requests get 503"), "{log}");
    httpd.config.python = httpd.directory.join("python").display().to_string();
    httpd.config.home = Some("/no/home".to_owned());
    httpd.configure();
    until(&httpd, "the home directory", || httpd.log().contains("cannot change to the directory /no/home (home=)"));
    httpd.config.home = None;
    httpd.behave("refuse");
    httpd.configure();
    until(&httpd, "the refusal", || {
        httpd.log().contains("the engine could not be set up (exited with status 65); it wrote:")
    });
    assert!(httpd.log().contains("] second line\n"), "{}", httpd.log());
}

#[test]
fn graceful_overlaps_and_new_code_that_fails_changes_nothing() {
    let httpd = Httpd::start("graceful", 2);
    httpd.configure();
    let old = httpd.ready(2);
    let lease = httpd.board.try_reserve(std::process::id()).expect("ready");
    let busy = i32::try_from(httpd.board.pid(lease.slot)).expect("pid");
    httpd.configure();
    let mut least = 2;
    until(&httpd, "new processes", || {
        let ready = httpd.pids(State::Ready);
        least = least.min(ready.len());
        ready.len() == 2 && !ready.iter().any(|pid| old.contains(pid))
    });
    assert_eq!(least, 2, "there were always enough ready processes");
    until(&httpd, "the idle one's end", || old.iter().filter(|pid| lives(**pid)).count() == 1);
    assert!(lives(busy), "a request is in flight there");
    httpd.board.release(lease);
    httpd.gone(&old);
    let serving = httpd.ready(2);
    httpd.behave("exit");
    httpd.configure();
    until(&httpd, "an error", || httpd.log().contains("the 2 running processes go on serving; next try in 1 s"));
    assert_eq!(httpd.ready(2), serving);
}

#[test]
fn a_process_that_asks_is_replaced_and_one_that_babbles_too() {
    let httpd = Httpd::start("retire", 1);
    httpd.behave("retire");
    httpd.configure();
    let old = httpd.ready(1);
    httpd.behave("ready");
    httpd.connect(0, httpd.board.epoch(0));
    httpd.gone(&old);
    httpd.ready(1);
    assert_eq!(
        httpd.logged("is draining up to graceful-timeout=3 s: maximum-requests is reached"),
        1,
        "{}",
        httpd.log()
    );
    httpd.behave("noise");
    httpd.configure();
    until(&httpd, "an error", || httpd.log().contains("sent an unknown message on its control socket"));
    httpd.behave("ready");
    httpd.ready(1);
}

#[test]
fn processes_of_a_killed_supervisor_serve_until_new_ones_do() {
    let mut httpd = Httpd::start("takeover", 2);
    httpd.configure();
    let old = httpd.ready(2);
    let slot_of = |httpd: &Httpd, pid: i32| {
        let mut slots = (0..httpd.board.slots()).filter(|slot| httpd.board.state(*slot) != State::Gone);
        slots.find(|slot| httpd.board.pid(*slot) == pid as u32).expect("slot")
    };
    let slot = slot_of(&httpd, old[1]);
    // New ones cannot load.
    httpd.behave("fail once");
    for _ in 0..3 {
        httpd.replace_supervisor();
        until(&httpd, "the processes", || httpd.log().contains("was started by the lost supervisor"));
        assert_eq!(httpd.connect(slot, httpd.board.epoch(slot)), old[1].to_string());
    }
    until(&httpd, "an attempt", || httpd.log().contains("kept the running version: the 2 running processes go on"));
    assert_eq!(httpd.pids(State::Ready), old);
    httpd.behave("ready");
    httpd.gone(&old);
    let new = httpd.ready(2);
    // Perhaps the supervisor still has some for the old processes, so that the count falls.
    let descriptors = httpd.descriptors();
    let slot = slot_of(&httpd, new[0]);
    assert_eq!(httpd.connect(slot, httpd.board.epoch(slot)), new[0].to_string());
    httpd.replace_supervisor();
    httpd.gone(&new);
    let last = httpd.ready(2);
    until(&httpd, "no more descriptors than before", || httpd.descriptors() <= descriptors);
    assert!(!httpd.log().contains("nobody is there"), "they have not noticed: {}", httpd.log());
    assert!(!httpd.log().contains("was lost:"), "{}", httpd.log());
    httpd.stop();
    assert_eq!(httpd.ended(), Some(0));
    httpd.gone(&last);
}

#[test]
fn what_a_killed_supervisor_was_starting_is_started_again() {
    let mut httpd = Httpd::start("starting", 1);
    httpd.behave("hang");
    httpd.configure();
    until(&httpd, "a process", || httpd.pids(State::Starting).len() == 1);
    let old = httpd.pids(State::Starting);
    httpd.behave("ready");
    httpd.replace_supervisor();
    httpd.gone(&old);
    let new = httpd.ready(1);
    assert_ne!(new, old);
    assert_eq!(httpd.connect(1, httpd.board.epoch(1)), new[0].to_string());
}

#[test]
fn a_new_supervisor_lets_finish_what_it_cannot_reach() {
    let mut httpd = Httpd::start("unreachable", 2);
    httpd.configure();
    let old = httpd.ready(2);
    let lease = httpd.board.try_reserve(std::process::id()).expect("ready");
    let busy = i32::try_from(httpd.board.pid(lease.slot)).expect("pid");
    httpd.empty_store();
    httpd.replace_supervisor();
    until(&httpd, "new processes", || {
        let ready = httpd.pids(State::Ready);
        ready.len() == 2 && !ready.iter().any(|pid| old.contains(pid))
    });
    until(&httpd, "the idle one's end", || old.iter().filter(|pid| lives(**pid)).count() == 1);
    // What it prints is lost: the reading end of its pipe was in the store as well.
    assert!(lives(busy), "a request is in flight there");
    httpd.board.release(lease);
    httpd.gone(&old);
    assert!(!httpd.log().contains("was lost:"), "{}", httpd.log());
}

#[test]
fn a_stopped_process_holds_nothing_up() {
    let httpd = Httpd::start("stopped", 2);
    httpd.configure();
    let pids = httpd.ready(2);
    let slot = (0..2).find(|slot| httpd.board.pid(*slot) == pids[0] as u32).expect("slot");
    kill(pids[0], libc::SIGSTOP).expect("kill");
    let wanted = wsgi_wire::control::Connect { group: common::GROUP, slot, epoch: httpd.board.epoch(slot) };
    httpd.flood(wanted, 1_000);
    let other = 1 - slot;
    assert_eq!(httpd.connect(other, httpd.board.epoch(other)), httpd.board.pid(other).to_string());
    httpd.stop();
    assert_eq!(httpd.ended(), Some(0));
    httpd.gone(&pids);
}

#[test]
fn many_gracefuls_leave_no_descriptor_and_no_process() {
    let httpd = Httpd::start("leaks", 2);
    httpd.configure();
    httpd.ready(2);
    let descriptors = httpd.descriptors();
    for _ in 0..10 {
        let old = httpd.ready(2);
        httpd.configure();
        httpd.gone(&old);
        httpd.ready(2);
    }
    until(&httpd, "the same number of descriptors", || httpd.descriptors() == descriptors);
    let children = format!("/proc/{0}/task/{0}/children", httpd.supervisor);
    // One that has just ended is a child until the supervisor has waited for it.
    until(&httpd, "no process is left over", || {
        fs::read_to_string(&children).unwrap_or_default().split_whitespace().count() == 2
    });
}

#[test]
fn a_process_without_its_control_socket_is_replaced() {
    let httpd = Httpd::start("mute", 1);
    httpd.behave("mute");
    httpd.configure();
    let old = httpd.ready(1);
    httpd.behave("ready");
    httpd.gone(&old);
    httpd.ready(1);
    assert_eq!(httpd.logged("lives on without its control socket; it gets SIGKILL and is replaced"), 1);
}

#[test]
fn what_children_have_set_to_draining_is_replaced() {
    let httpd = Httpd::start("stale", 1);
    httpd.configure();
    let old = httpd.ready(1);
    let lease = httpd.board.try_reserve(std::process::id()).expect("ready");
    httpd.board.mark_draining(&lease);
    httpd.board.release(lease);
    httpd.gone(&old);
    httpd.ready(1);
}

#[test]
fn leases_of_dead_children_are_given_back() {
    let httpd = Httpd::start("dead", 1);
    httpd.configure();
    httpd.ready(1);
    let _never_released = httpd.board.try_reserve(i32::MAX as u32).expect("ready");
    until(&httpd, "the lease", || httpd.board.in_flight(0) == 0);
}

#[test]
fn without_descriptors_starts_fail_and_recover() {
    let httpd = Httpd::start("emfile", 1);
    httpd.configure();
    let old = httpd.ready(1);
    let limit = |count: usize| {
        let arguments = ["--pid", &httpd.supervisor.to_string(), &format!("--nofile={count}:4096")].map(str::to_owned);
        assert!(std::process::Command::new("prlimit").args(arguments).status().expect("prlimit").success());
    };
    limit(httpd.descriptors() + 4);
    kill(old[0], libc::SIGKILL).expect("kill");
    until(&httpd, "an error", || httpd.log().contains("no descriptor is left"));
    assert!(httpd.board.unavailable());
    limit(1024);
    httpd.ready(1);
    assert!(!httpd.board.unavailable());
}
