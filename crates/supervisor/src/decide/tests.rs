//! Tests of the decisions: stories by hand.

use super::*;
use wsgi_wire::control::Cause;

pub(super) const GROUP: GroupId = 7;

pub(super) fn rules(processes: u32) -> Rules {
    Rules {
        name: "site".to_owned(),
        defined_at: "httpd.conf:3".to_owned(),
        python: "/srv/venv/bin/python".to_owned(),
        python_from: "python-home=/srv/venv".to_owned(),
        processes,
        min: processes,
        max: processes,
        threads: 5,
        shutdown_timeout: 5_000,
        graceful_timeout: 15_000,
        ..Rules::default()
    }
}

/// A state and what its actions would have done.
#[derive(Default)]
pub(super) struct World {
    pub(super) state: State,
    pub(super) now: Millis,
    pub(super) log: Vec<(u8, String)>,
    pub(super) last: Vec<Action>,
    pub(super) fault: bool,
    pub(super) cause: String,
    pub(super) pid: i32,
}

impl World {
    pub(super) fn event(&mut self, event: Event) {
        self.last = decide(&mut self.state, event, self.now);
        for action in self.last.clone() {
            match action {
                Action::Log { level, text, .. } => self.log.push((level, text)),
                Action::Fault { group: GROUP, cause } => {
                    self.fault = cause.is_some();
                    self.cause = cause.unwrap_or_default();
                }
                _ => {}
            }
        }
    }

    pub(super) fn at(&mut self, now: Millis) {
        self.now = now;
        self.event(Event::Tick);
    }

    pub(super) fn configure(&mut self, processes: u32) -> Vec<ProcessId> {
        self.event(Event::Configured { groups: vec![(GROUP, rules(processes))] });
        self.spawn()
    }

    /// The processes that the last event started; all of them can be executed.
    pub(super) fn spawn(&mut self) -> Vec<ProcessId> {
        let started = self.started();
        let last = self.last.clone();
        for process in &started {
            self.pid += 1;
            self.event(Event::Spawned { process: *process, pid: 1000 + self.pid });
        }
        self.last = last;
        started
    }

    pub(super) fn started(&self) -> Vec<ProcessId> {
        let of = |action: &Action| match action {
            Action::Start { process, .. } => Some(*process),
            _ => None,
        };
        self.last.iter().filter_map(of).collect()
    }

    pub(super) fn ready(&mut self, process: ProcessId) {
        self.event(Event::Ready { process });
    }

    pub(super) fn exit(&mut self, process: ProcessId, ended: Ended) {
        let exit = Exit { ended, busy: Busy::default(), served: 0, diagnosis: "exited early".to_owned() };
        self.event(Event::Exited { process, exit });
    }

    pub(super) fn has(&self, action: &Action) -> bool {
        self.last.contains(action)
    }

    pub(super) fn errors(&self) -> Vec<&str> {
        self.log.iter().filter(|(level, _)| *level == level::ERROR).map(|(_, text)| text.as_str()).collect()
    }
}

#[test]
fn the_first_configuration_starts_all_processes() {
    let mut world = World::default();
    let started = world.configure(3);
    assert_eq!(started.len(), 3);
    world.ready(started[0]);
    assert!(world.has(&Action::MarkReady { process: started[0] }));
    assert!(!world.fault);
    assert!(world.errors().is_empty());
}

#[test]
fn graceful_moves_traffic_when_all_new_processes_are_ready() {
    let mut world = World::default();
    let old = world.configure(2);
    old.iter().for_each(|process| world.ready(*process));
    let new = world.configure(2);
    assert_eq!(new.len(), 2);
    world.ready(new[0]);
    assert!(!world.has(&Action::MarkReady { process: new[0] }));
    world.ready(new[1]);
    for process in &new {
        assert!(world.has(&Action::MarkReady { process: *process }));
    }
    for process in &old {
        assert!(world.has(&Action::MarkDraining { process: *process }));
        assert!(!world.has(&Action::SendStop { process: *process }));
    }
    world.event(Event::InFlight { process: old[0], busy: Busy { count: 2, ..Busy::default() } });
    assert!(world.last.is_empty());
    world.event(Event::InFlight { process: old[0], busy: Busy { count: 0, ..Busy::default() } });
    assert!(world.has(&Action::SendStop { process: old[0] }));
    world.exit(old[0], Ended::Status(0));
    assert!(world.has(&Action::Clear { process: old[0] }));
    assert!(world.started().is_empty());
    world.at(15_000);
    assert!(world.has(&Action::SendStop { process: old[1] }));
    // The process ends itself after shutdown-timeout, and its own line comes first.
    world.at(20_299);
    assert!(world.last.is_empty());
    world.at(20_300);
    assert!(world.has(&Action::Kill { process: old[1] }));
    world.exit(old[1], Ended::Signal(9));
    assert!(world.errors().is_empty());
    assert!(world.state.draining().is_empty());
}

#[test]
fn new_code_that_does_not_load_leaves_the_old_processes_serving() {
    let mut world = World::default();
    let old = world.configure(2);
    old.iter().for_each(|process| world.ready(*process));
    let new = world.configure(2);
    new.iter().for_each(|process| world.exit(*process, Ended::Status(1)));
    assert_eq!(
        world.errors(),
        [
            "WSGI1100: process group \"site\" (defined at httpd.conf:3): cannot start /srv/venv/bin/python (python-home=/srv/venv): exited early; kept the running version: the 2 running processes go on serving; next try in 1 s"
        ]
    );
    assert!(!world.fault);
    let group = world.state.groups().next().expect("group").1;
    assert_eq!(group.serving(), 2);
}

#[test]
fn failing_starts_back_off_one_at_a_time_and_are_reported_once() {
    let mut world = World::default();
    let first = world.configure(3);
    first.iter().for_each(|process| world.exit(*process, Ended::Status(1)));
    assert!(world.fault && world.cause == "exited early");
    let mut waits = Vec::new();
    for _ in 0..9 {
        let next = world.state.deadline().expect("a start is due");
        waits.push(next - world.now);
        world.at(next - 1);
        assert!(world.started().is_empty());
        world.at(next);
        let started = world.spawn();
        assert_eq!(started.len(), 1);
        world.exit(started[0], Ended::Status(1));
    }
    assert_eq!(waits, [1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000, 60_000]);
    assert_eq!(world.errors().len(), 1);
    assert!(world.errors()[0].ends_with("requests get 503 until a start succeeds; next try in 1 s"));
    world.at(world.state.deadline().expect("a start is due"));
    let probe = world.spawn();
    world.ready(probe[0]);
    assert!(!world.fault);
    assert_eq!(world.started().len(), 2);
}

#[test]
fn another_cause_is_reported_again() {
    let mut world = World::default();
    let first = world.configure(1);
    world.event(Event::StartFailed {
        process: first[0],
        message: Message::CannotStart,
        cause: "no such file".to_owned(),
    });
    assert!(world.has(&Action::Output { process: first[0], show: true }));
    world.at(1_000);
    let second = world.started();
    world.event(Event::StartFailed {
        process: second[0],
        message: Message::CannotStart,
        cause: "no such file".to_owned(),
    });
    assert!(world.has(&Action::Output { process: second[0], show: false }));
    world.at(3_000);
    let third = world.started();
    world.event(Event::StartFailed {
        process: third[0],
        message: Message::CannotStart,
        cause: "permission denied".to_owned(),
    });
    assert_eq!(world.errors().len(), 2);
}

#[test]
fn a_lost_process_is_replaced_at_once_unless_that_goes_on() {
    let mut world = World::default();
    let mut process = world.configure(1)[0];
    world.ready(process);
    world.now = 60_000;
    for _ in 0..2 {
        world.exit(process, Ended::Signal(11));
        process = world.spawn()[0];
        world.ready(process);
    }
    world.exit(process, Ended::Signal(11));
    assert!(world.started().is_empty());
    assert!(world.errors()[2].ends_with("the next start is in 1 s"), "{:?}", world.errors());
    assert!(world.errors()[0].contains("process 1001 was lost: killed by SIGSEGV after 60 s, no request in flight"));
    world.at(61_000);
    process = world.spawn()[0];
    world.ready(process);
    world.now = 70_000;
    world.exit(process, Ended::Signal(11));
    assert_eq!(world.started().len(), 1);
}

#[test]
fn processes_killed_together_are_all_replaced_at_once() {
    let mut world = World::default();
    let started = world.configure(3);
    started.iter().for_each(|process| world.ready(*process));
    for process in started {
        world.exit(process, Ended::Signal(9));
        assert_eq!(world.spawn().len(), 1);
    }
}

#[test]
fn a_process_at_its_limit_serves_until_its_replacement_is_ready() {
    let mut world = World::default();
    let old = world.configure(2);
    old.iter().for_each(|process| world.ready(*process));
    world.event(Event::Retire { process: old[1], cause: Cause::MaximumRequests });
    let new = world.spawn();
    assert_eq!(new.len(), 1);
    assert!(!world.has(&Action::MarkDraining { process: old[1] }));
    world.ready(new[0]);
    assert!(world.has(&Action::MarkReady { process: new[0] }));
    assert!(world.has(&Action::MarkDraining { process: old[1] }));
    assert!(!world.has(&Action::MarkDraining { process: old[0] }));
}

#[test]
fn processes_at_their_limit_are_replaced_one_at_a_time() {
    let mut world = World::default();
    let old = world.configure(3);
    old.iter().for_each(|process| world.ready(*process));
    world.event(Event::Retire { process: old[0], cause: Cause::MaximumRequests });
    let first = world.spawn();
    world.event(Event::Retire { process: old[1], cause: Cause::MaximumRequests });
    assert_eq!((first.len(), world.started().len()), (1, 0));
    assert_eq!(world.state.deadline(), Some(timers::LONG_START), "nothing to do until one of them is ready");
    world.ready(first[0]);
    assert!(world.has(&Action::MarkDraining { process: old[0] }));
    let second = world.spawn();
    assert_eq!(second.len(), 1);
    world.exit(old[2], Ended::Signal(9));
    assert!(world.started().is_empty(), "two serve and one starts");
    world.exit(second[0], Ended::Status(1));
    world.exit(old[1], Ended::Signal(9));
    world.at(1_000);
    assert_eq!(world.started().len(), 1);
}

#[test]
fn a_changed_script_drains_at_once() {
    let mut world = World::default();
    let old = world.configure(1);
    world.ready(old[0]);
    world.event(Event::Retire { process: old[0], cause: Cause::ScriptReload });
    assert!(world.has(&Action::MarkDraining { process: old[0] }));
    assert_eq!(world.started().len(), 1);
    assert!(!world.fault);
}

#[test]
fn a_group_that_is_not_named_serves_a_little_longer_then_drains_away() {
    let mut world = World::default();
    let old = world.configure(1);
    world.ready(old[0]);
    world.event(Event::Configured { groups: vec![(8, Rules { name: "other".to_owned(), ..rules(1) })] });
    assert_eq!(world.state.leaving(), [GROUP]);
    assert!(!world.has(&Action::MarkDraining { process: old[0] }));
    world.at(4_999);
    assert!(!world.has(&Action::MarkDraining { process: old[0] }));
    assert!(!world.fault);
    world.at(5_000);
    assert!(world.has(&Action::MarkDraining { process: old[0] }));
    world.event(Event::InFlight { process: old[0], busy: Busy { count: 0, ..Busy::default() } });
    world.exit(old[0], Ended::Status(0));
    assert!(world.has(&Action::Forget { group: GROUP }));
    assert!(!world.has(&Action::Exit));
    assert!(world.errors().is_empty());
}

#[test]
fn a_group_serves_until_the_one_that_takes_its_name_is_ready() {
    let mut world = World::default();
    let old = world.configure(1);
    world.ready(old[0]);
    world.event(Event::Configured { groups: vec![(8, rules(2))] });
    let new = world.spawn();
    assert_eq!(new.len(), 2);
    world.at(60_000);
    world.ready(new[0]);
    assert!(world.has(&Action::MarkReady { process: new[0] }), "its scoreboard is its own");
    assert!(world.state.leaving().is_empty());
    // Children of the old configuration still get replacements.
    world.exit(old[0], Ended::Signal(9));
    let replacement = world.spawn();
    world.ready(replacement[0]);
    world.ready(new[1]);
    world.event(Event::Waiting { group: GROUP, count: 1 });
    world.at(65_000);
    assert!(!world.has(&Action::MarkDraining { process: replacement[0] }), "a request waits for it");
    world.event(Event::Waiting { group: GROUP, count: 0 });
    assert!(world.has(&Action::MarkDraining { process: replacement[0] }));
    assert!(world.fault && world.cause == "the process group is not configured any more");
}

#[test]
fn what_takes_long_to_drain_is_looked_at_less_and_less() {
    let mut world = World::default();
    let old = world.configure(2);
    old.iter().for_each(|process| world.ready(*process));
    assert_eq!(world.state.next_look(0), None);
    world.now = 10_000;
    world.event(Event::Retire { process: old[0], cause: Cause::ScriptReload });
    let looks =
        |world: &World| [0, 1_000, 5_000, 50_000, 7_200_000].map(|time| world.state.next_look(world.now + time));
    assert_eq!(looks(&world), [20, 20, 100, 1_000, 1_000].map(Some));
    // Another one has just begun.
    world.now = 60_000;
    world.event(Event::Retire { process: old[1], cause: Cause::ScriptReload });
    assert_eq!(looks(&world)[0], Some(20));
    for process in old {
        world.event(Event::InFlight { process, busy: Busy::default() });
    }
    assert_eq!(world.state.next_look(world.now), None);
}

#[test]
fn a_successor_that_cannot_start_is_not_waited_for() {
    let mut world = World::default();
    let old = world.configure(1);
    world.ready(old[0]);
    world.event(Event::Configured { groups: vec![(8, rules(1))] });
    let new = world.spawn();
    world.exit(new[0], Ended::Status(1));
    assert_eq!(world.state.leaving(), [GROUP]);
    // Requests that never cease to wait do not keep the group for ever.
    world.event(Event::Waiting { group: GROUP, count: 3 });
    world.at(19_999);
    assert!(!world.has(&Action::MarkDraining { process: old[0] }));
    world.at(20_000);
    assert!(world.has(&Action::MarkDraining { process: old[0] }));
}

#[test]
fn a_group_that_is_named_again_stays() {
    let mut world = World::default();
    let old = world.configure(1);
    world.ready(old[0]);
    world.event(Event::Configured { groups: vec![(8, rules(1))] });
    let new = world.configure(1);
    assert_eq!(new.len(), 1);
    world.at(60_000);
    assert!(!world.has(&Action::MarkDraining { process: old[0] }));
    world.ready(new[0]);
    assert!(world.has(&Action::MarkDraining { process: old[0] }));
}

#[test]
fn a_configuration_without_groups_ends_the_supervisor_when_all_is_done() {
    let mut world = World::default();
    let old = world.configure(1);
    world.ready(old[0]);
    world.event(Event::Configured { groups: Vec::new() });
    world.at(5_000);
    world.event(Event::InFlight { process: old[0], busy: Busy { count: 1, ..Busy::default() } });
    world.at(14_000);
    assert!(!world.has(&Action::SendStop { process: old[0] }), "what runs finishes");
    world.event(Event::InFlight { process: old[0], busy: Busy { count: 0, ..Busy::default() } });
    world.exit(old[0], Ended::Status(0));
    assert!(world.has(&Action::Exit));
    assert!(world.configure(1).is_empty());
}

#[test]
fn stop_ends_everything_and_exits() {
    let mut world = World::default();
    let all = world.configure(2);
    world.ready(all[0]);
    world.event(Event::Stop { why: "httpd stops" });
    assert!(world.has(&Action::SendStop { process: all[0] }));
    assert!(!world.has(&Action::Terminate { process: all[0] }));
    assert!(world.has(&Action::Terminate { process: all[1] }));
    world.exit(all[1], Ended::Signal(15));
    world.at(6_000);
    assert!(world.has(&Action::Kill { process: all[0] }));
    world.exit(all[0], Ended::Signal(9));
    assert!(world.has(&Action::Exit));
    assert!(world.errors().is_empty());
    assert!(world.configure(2).is_empty());
}

#[test]
fn a_process_that_breaks_the_protocol_is_killed_and_replaced() {
    let mut world = World::default();
    let one = world.configure(1)[0];
    world.ready(one);
    world.now = 10_000;
    world.event(Event::Violation { process: one, what: "sent a message of 9 bytes".to_owned() });
    assert!(world.has(&Action::Kill { process: one }));
    assert_eq!(world.started().len(), 1);
    world.event(Event::Violation { process: one, what: "again".to_owned() });
    assert!(world.last.is_empty());
    world.exit(one, Ended::Signal(9));
    assert!(world.started().is_empty());
    assert_eq!(world.errors().len(), 1);
}

#[test]
fn with_few_slots_a_graceful_restart_moves_in_steps() {
    let mut world = World::default();
    let old = world.configure(2);
    old.iter().for_each(|process| world.ready(*process));
    world.event(Event::Configured { groups: vec![(GROUP, rules(2))] });
    let new = world.started();
    world.event(Event::Spawned { process: new[0], pid: 70 });
    world.event(Event::NoSlot { process: new[1] });
    world.ready(new[0]);
    assert!(world.has(&Action::MarkReady { process: new[0] }));
    assert!(world.has(&Action::MarkDraining { process: old[0] }));
    assert!(!world.has(&Action::MarkDraining { process: old[1] }));
    let again = world.started();
    world.event(Event::NoSlot { process: again[0] });
    world.exit(old[0], Ended::Status(0));
    world.at(1_000);
    let rest = world.spawn();
    assert_eq!(rest.len(), 1);
    world.ready(rest[0]);
    assert!(world.has(&Action::MarkDraining { process: old[1] }));
}

#[test]
fn a_group_without_a_name_serves_as_long_as_there_are_children_that_know_it() {
    let mut world = World::default();
    let old = world.configure(1);
    world.ready(old[0]);
    world.event(Event::Configured { groups: vec![] });
    world.event(Event::Held { group: GROUP, held: true });
    for hour in 1..10 {
        world.at(hour * 3_600_000);
        assert!(world.last.is_empty() && world.state.leaving().is_empty() && world.state.deadline().is_none());
    }
    world.event(Event::Held { group: GROUP, held: false });
    assert!(world.has(&Action::MarkDraining { process: old[0] }));
}
