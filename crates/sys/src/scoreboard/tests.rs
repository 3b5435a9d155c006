//! Tests of the scoreboard.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread;
use std::time::Instant;

use super::line::{GRANTED, IDLE};
use super::*;

const ME: u32 = 4242;

/// Reservations of each thread. Miri takes a second for ten.
const ROUNDS: usize = if cfg!(miri) { 10 } else { 2000 };

fn board(processes: u32, threads: u32) -> Scoreboard {
    // Miri takes its time for each word.
    let small = Geometry { slots: 4, leases: 4, waiters: 16 };
    let geometry = if cfg!(miri) { small } else { Geometry::for_group(processes, threads, 100) };
    let (_, board) = Scoreboard::create(geometry).expect("memfd");
    for _ in 0..processes {
        let slot = board.free_slot().expect("free");
        board.place(slot, threads, 100 + slot);
        board.set_state(slot, State::Ready);
    }
    board
}

fn soon() -> Option<Instant> {
    Some(Instant::now() + Duration::from_millis(30))
}

fn later() -> Option<Instant> {
    Some(Instant::now() + Duration::from_secs(30))
}

#[test]
fn requests_go_to_the_least_busy_process_until_all_are_full() {
    let board = board(2, 2);
    let slots: Vec<u32> = (0..4).map(|_| board.try_reserve(ME).expect("free").slot).collect();
    assert_eq!(slots, [0, 1, 0, 1]);
    assert_eq!(board.try_reserve(ME), None);
    assert_eq!(board.reserve(ME, 10, soon()), Err(Refused::TimedOut));
    assert_eq!(board.reserve(ME, 0, soon()), Err(Refused::Full));
    assert_eq!(board.census(), (2, 4, 4));
    assert_eq!(board.waiting(), 0);
}

#[test]
fn only_ready_processes_are_chosen() {
    let board = board(1, 1);
    let held = board.try_reserve(ME).expect("ready");
    board.mark_draining(&held);
    assert_eq!(board.state(0), State::Draining);
    board.release(held);
    assert_eq!(board.try_reserve(ME), None);
    board.set_state(0, State::Gone);
    assert_eq!(board.free_slot(), Some(0));
}

#[test]
fn a_slot_is_not_used_again_while_a_lease_of_its_last_process_is_held() {
    let board = board(1, 2);
    let held = board.try_reserve(ME).expect("ready");
    board.set_state(0, State::Gone);
    assert_eq!(board.free_slot(), Some(1));
    board.release(held);
    assert_eq!(board.free_slot(), Some(0));
    assert_ne!(board.place(0, 2, 7), held.epoch);
}

#[test]
fn the_last_request_of_a_draining_process_is_known() {
    let board = board(1, 2);
    let lease = || board.try_reserve(ME).expect("ready");
    let (first, second) = (lease(), lease());
    let drained = |lease: Lease| {
        board.release(lease);
        board.is_drained(&lease)
    };
    assert!(!drained(first), "it is ready");
    let third = lease();
    board.set_state(0, State::Draining);
    assert!(!drained(second), "another one is executed");
    assert!(drained(third));
    board.set_state(0, State::Gone);
    board.place(0, 2, 8);
    board.set_state(0, State::Draining);
    assert!(!board.is_drained(&third), "it was its predecessor's");
}

#[test]
fn a_fault_refuses_at_once_and_wakes_those_who_wait() {
    let board = Arc::new(board(1, 1));
    board.set_state(0, State::Starting);
    let waiter = {
        let board = Arc::clone(&board);
        thread::spawn(move || board.reserve(ME, 10, later()))
    };
    while board.waiting() == 0 {
        thread::yield_now();
    }
    board.set_fault(Some("no python"));
    assert_eq!(waiter.join().expect("no panic"), Err(Refused::Unavailable));
    assert_eq!(board.reserve(ME, 10, later()), Err(Refused::Unavailable));
}

#[test]
fn a_process_that_becomes_ready_serves_those_who_wait() {
    let board = Arc::new(board(1, 1));
    board.set_state(0, State::Starting);
    let waiter = {
        let board = Arc::clone(&board);
        thread::spawn(move || board.reserve(ME, 10, later()))
    };
    while board.waiting() == 0 {
        thread::yield_now();
    }
    board.set_state(0, State::Ready);
    assert_eq!(waiter.join().expect("no panic").map(|lease| lease.slot), Ok(0));
}

#[test]
fn a_freed_lease_goes_to_the_oldest_waiter() {
    let board = Arc::new(board(1, 1));
    let held = board.try_reserve(ME).expect("ready");
    let order = Arc::new(std::sync::Mutex::new(Vec::new()));
    let mut waiters = Vec::new();
    for number in 0..5 {
        let (shared, order) = (Arc::clone(&board), Arc::clone(&order));
        waiters.push(thread::spawn(move || {
            let lease = shared.reserve(ME, 10, later()).expect("granted");
            order.lock().expect("no panic").push(number);
            shared.release(lease);
        }));
        while board.waiting() != number + 1 {
            thread::yield_now();
        }
    }
    board.release(held);
    for waiter in waiters {
        waiter.join().expect("no panic");
    }
    assert_eq!(*order.lock().expect("no panic"), [0, 1, 2, 3, 4]);
    assert_eq!((board.in_flight(0), board.waiting()), (0, 0));
}

#[test]
fn what_a_dead_child_held_is_given_back() {
    let board = board(1, 2);
    let _lost = board.try_reserve(ME).expect("ready");
    let _kept = board.try_reserve(ME + 1).expect("ready");
    assert_eq!(board.reclaim_dead(|pid| pid != ME), 1);
    assert_eq!(board.in_flight(0), 1);
    assert!(board.try_reserve(ME).is_some());
}

#[test]
fn the_same_memory_can_be_mapped_again() {
    let (fd, board) = Scoreboard::create(Geometry::for_group(1, 1, 1)).expect("memfd");
    board.place(0, 1, 9);
    let other = Scoreboard::map(&fd).expect("map");
    assert_eq!((other.state(0), other.pid(0), other.geometry()), (State::Starting, 9, board.geometry()));
    let (short, _) = Mapping::create(c"other", 4).expect("memfd");
    assert!(Scoreboard::map(&short).is_err());
}

#[test]
fn a_header_that_was_written_to_is_noticed_and_can_be_restored() {
    let (fd, board) = Scoreboard::create(Geometry::for_group(1, 1, 1)).expect("memfd");
    assert!(board.is_intact());
    for (at, value) in [(MAGIC_AT, 0), (SLOTS_AT, u32::MAX), (LEASES_AT, 1 << 31), (WAITERS_AT, 7)] {
        board.word(at).store(value, SeqCst);
        assert!(!board.is_intact());
        assert!(Scoreboard::map(&fd).is_err());
        board.restore();
        assert!(board.is_intact());
        assert!(Scoreboard::map(&fd).is_ok());
    }
}

#[test]
fn no_sizes_overflow() {
    let all = [0, 1, 2, 16, 1 << 16, 1 << 31, u32::MAX];
    let sizes = all.iter().flat_map(|slots| all.iter().map(move |leases| (*slots, *leases)));
    for (slots, leases) in sizes.clone() {
        for waiters in all {
            let geometry = Geometry { slots, leases, waiters };
            let exact = HEADER_WORDS as u128
                + u128::from(slots) * (SLOT_WORDS as u128 + u128::from(leases))
                + u128::from(waiters) * WAITER_WORDS as u128;
            let exact = exact.next_multiple_of(RECORD_WORDS as u128)
                + u128::from(slots) * u128::from(leases) * RECORD_WORDS as u128;
            assert!(geometry.words().is_none_or(|words| words as u128 == exact), "{geometry:?}");
        }
        let group = Geometry::for_group(slots, leases, u32::MAX);
        assert!(group.slots.is_power_of_two() && group.leases.is_power_of_two() && group.waiters == 1 << 31);
    }
    assert_eq!(Geometry { slots: 1 << 16, leases: 1 << 16, waiters: 1 }.words(), None);
    assert!(Scoreboard::create(Geometry { slots: u32::MAX, leases: u32::MAX, waiters: 1 }).is_err());
}

#[test]
fn a_waiter_whose_cell_is_written_to_gives_up_in_time() {
    let board = board(1, 1);
    let _held = board.try_reserve(ME).expect("free");
    for value in [IDLE, 1, 7, GRANTED + (1 << 20), u32::MAX] {
        let begun = Instant::now();
        thread::scope(|scope| {
            let waiter = scope.spawn(|| board.reserve(ME, 10, soon()));
            while !waiter.is_finished() {
                board.cell(0).store(value, SeqCst);
                thread::sleep(Duration::from_millis(1));
            }
            assert_eq!(waiter.join().expect("no panic"), Err(Refused::TimedOut), "{value}");
        });
        assert!(begun.elapsed() < Duration::from_secs(5));
    }
}

mod whatever_is_written {
    use super::*;
    use proptest::prelude::*;

    fn word() -> impl Strategy<Value = u32> {
        prop_oneof![0u32..20, any::<u32>(), Just(u32::MAX), Just(std::process::id())]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn nothing_panics_or_waits_for_ever(writes in proptest::collection::vec((any::<usize>(), word(), 0usize..14), 1..80)) {
            let (fd, board) = Scoreboard::create(Geometry { slots: 3, leases: 4, waiters: 5 }).expect("memfd");
            board.place(0, 4, 100);
            board.set_state(0, State::Ready);
            let words = board.map.words();
            let mut held = Vec::new();
            for (at, value, what) in writes {
                words[at % words.len()].store(value, SeqCst);
                let slot = value % 3;
                match what {
                    0 => held.extend(board.try_reserve(ME)),
                    1 => held.extend(board.reserve(ME, 5, Some(Instant::now() + Duration::from_millis(1)))),
                    2 => held.pop().into_iter().for_each(|lease| board.release(lease)),
                    3 => drop(board.reclaim_dead(|pid| pid % 2 == 0)),
                    4 => drop((board.executing(slot), board.oldest(), board.census(), board.served_by_all())),
                    5 => drop(board.free_slot().map(|slot| board.place(slot, value, value))),
                    6 => board.set_state(slot, State::Ready),
                    7 => board.set_state(slot, State::Gone),
                    8 => board.set_ended(slot, value, "exited"),
                    9 => drop((board.refuse(), board.end_stoppage(), board.next_start_in(), board.unavailable())),
                    10 => held.iter().for_each(|lease| {
                        board.begin(lease, b"GET", b"/");
                        board.count_served(lease);
                        board.mark_draining(lease);
                        let _ = (board.is_drained(lease), board.await_end(lease, Duration::ZERO));
                    }),
                    11 => board.set_fault(Some("none")),
                    12 => drop((board.waiting(), board.in_flight(slot), board.has_trouble(Trouble::Full))),
                    _ => drop(Scoreboard::map(&fd)),
                }
            }
        }
    }
}

#[test]
fn many_threads_never_hold_more_than_there_is_and_lose_nothing() {
    let board = Arc::new(board(2, 2));
    let (held, failed) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicBool::new(false)));
    let threads: Vec<_> = (0..12)
        .map(|_| {
            let (board, held, failed) = (Arc::clone(&board), Arc::clone(&held), Arc::clone(&failed));
            thread::spawn(move || {
                for round in 0..ROUNDS {
                    let Ok(lease) = board.reserve(ME, 100, later()) else {
                        failed.store(true, SeqCst);
                        return;
                    };
                    if held.fetch_add(1, SeqCst) >= 4 {
                        failed.store(true, SeqCst);
                    }
                    if round % 16 == 0 {
                        thread::yield_now();
                    }
                    held.fetch_sub(1, SeqCst);
                    board.release(lease);
                }
            })
        })
        .collect();
    for one in threads {
        one.join().expect("no panic");
    }
    assert!(!failed.load(SeqCst));
    assert_eq!((board.in_flight(0), board.in_flight(1), board.waiting()), (0, 0, 0));
}

#[test]
fn who_comes_while_a_lease_is_offered_in_vain_gets_it() {
    let board = board(1, 1);
    let held = board.try_reserve(ME).expect("ready");
    // A waiter to which a lease was granted, and which is still counted.
    let first = board.enqueue(ME, 10).expect("a cell");
    assert!(board.grant(held.index));
    board.release(board.take_grant(first, ME, GRANTED + held.index).expect("granted"));
    let mut late = None;
    board.hand_out_by(1, |index| {
        if late.is_some() {
            return board.grant(index);
        }
        late = board.enqueue(ME, 10);
        // The waiter looks for itself, and goes to sleep.
        assert_eq!(board.try_reserve(ME), None);
        false
    });
    board.leave(first);
    let late = late.expect("a cell");
    assert_eq!(board.cell(late).load(SeqCst), GRANTED + held.index);
    assert_eq!((board.in_flight(0), board.waiting()), (1, 1));
}

#[test]
fn a_granted_lease_is_its_new_holders_whatever_becomes_of_the_giver() {
    let (giver, waiter) = (ME, ME + 1);
    let board = board(1, 1);
    let held = board.try_reserve(giver).expect("ready");
    let cell = board.enqueue(waiter, 10).expect("a cell");
    board.release(held);
    assert_eq!(board.reclaim_dead(|pid| pid != giver), 0);
    assert_eq!(board.in_flight(0), 1);
    let taken = board.take_grant(cell, waiter, GRANTED + held.index).expect("granted");
    board.leave(cell);
    assert_eq!(board.reclaim_dead(|pid| pid == waiter), 0);
    assert_eq!(board.reclaim_dead(|pid| pid != waiter), 1);
    assert_eq!((board.in_flight(0), board.waiting(), taken.index), (0, 0, held.index));
}

#[test]
fn a_lease_granted_to_a_dead_waiter_goes_to_the_next() {
    let board = board(1, 1);
    let held = board.try_reserve(ME).expect("ready");
    let dead = board.enqueue(ME + 1, 10).expect("a cell");
    let next = board.enqueue(ME + 2, 10).expect("a cell");
    board.release(held);
    assert!(board.cell(dead).load(SeqCst) >= GRANTED);
    assert_eq!(board.reclaim_dead(|pid| pid != ME + 1), 1);
    assert_eq!(board.cell(next).load(SeqCst), GRANTED + held.index);
    assert_eq!((board.owner(dead).load(SeqCst), board.waiting(), board.in_flight(0)), (0, 1, 1));
}

#[test]
fn a_cell_that_was_just_claimed_is_not_taken_for_its_last_owners() {
    let board = board(1, 1);
    let _held = board.try_reserve(ME).expect("ready");
    let cell = board.enqueue(ME + 1, 10).expect("a cell");
    board.cell(cell).store(IDLE, SeqCst);
    board.leave(cell);
    // The state after the first step of `enqueue`.
    assert!(board.owner(cell).compare_exchange(0, ME, SeqCst, SeqCst).is_ok());
    board.reclaim_dead(|pid| pid == ME);
    assert_eq!(board.owner(cell).load(SeqCst), ME);
    assert_ne!(board.enqueue(ME, 10), Some(cell));
}

#[test]
fn the_number_of_waiters_is_put_right_when_it_stays_wrong() {
    let board = board(1, 1);
    let _held = board.try_reserve(ME).expect("ready");
    board.enqueue(ME, 10).expect("a cell");
    for drift in [5, 1, 5_u32.wrapping_neg()] {
        board.word(WAITING_AT).fetch_add(drift, SeqCst);
        board.reclaim_dead(|_| true);
        // A waiter may just be coming or going.
        assert_eq!(board.word(WAITING_AT).load(SeqCst), 1_u32.wrapping_add(drift));
        board.reclaim_dead(|_| true);
        assert_eq!(board.waiting(), 1);
    }
    // The waiter died after it was counted and before it waited.
    let dead = board.enqueue(ME + 1, 10).expect("a cell");
    board.cell(dead).store(IDLE, SeqCst);
    for _ in 0..3 {
        board.reclaim_dead(|pid| pid == ME);
    }
    assert_eq!((board.owner(dead).load(SeqCst), board.waiting()), (0, 1));
}

#[test]
fn a_waiter_that_died_leaves_the_line_at_once() {
    let board = board(1, 1);
    let _held = board.try_reserve(ME).expect("ready");
    board.enqueue(ME + 1, 10).expect("a cell");
    assert_eq!((board.reclaim_dead(|pid| pid == ME), board.waiting()), (0, 0));
}

#[test]
fn usual_changes_of_a_group_fit_its_scoreboard() {
    let geometry = Geometry::for_group(1, 5, 100);
    for (processes, threads, backlog) in [(1, 5, 100), (2, 15, 100), (7, 25, 500), (4, 64, 1024)] {
        assert!(geometry.holds(processes, threads, backlog), "{processes} {threads} {backlog}");
    }
    assert!(!geometry.holds(1, 65, 100) && !geometry.holds(1, 5, 1025));
    let large = Geometry::for_group(100, 200, 5000);
    assert!(large.slots >= 316 && large.leases >= 200 && large.waiters >= 5000);
}

#[test]
fn only_cells_that_were_used_are_looked_at() {
    let board = board(1, 1);
    assert_eq!(board.cells(), 0..0);
    let cells: Vec<_> = (0..3).filter_map(|_| board.enqueue(ME, 10)).collect();
    assert_eq!((cells, board.cells()), (vec![0, 1, 2], 0..3));
}

#[test]
fn no_more_wait_than_may_however_many_come_at_once() {
    let board = Arc::new(board(1, 1));
    let held = board.try_reserve(ME).expect("ready");
    let waiters: Vec<_> = (0..16)
        .map(|_| {
            let board = Arc::clone(&board);
            thread::spawn(move || match board.reserve(ME, 3, later()) {
                Ok(lease) => {
                    board.release(lease);
                    true
                }
                Err(refused) => {
                    assert_eq!(refused, Refused::Full);
                    false
                }
            })
        })
        .collect();
    // The waiters that found no place are through; the others wait until they get the lease.
    while waiters.iter().filter(|waiter| waiter.is_finished()).count() < 13 {
        assert!(board.waiting() <= 3);
        thread::yield_now();
    }
    while board.waiting() < 3 {
        thread::yield_now();
    }
    board.release(held);
    let served = waiters.into_iter().filter_map(|waiter| waiter.join().ok()).filter(|served| *served).count();
    assert_eq!((served, board.waiting(), board.in_flight(0)), (3, 0, 0));
}

#[test]
fn a_process_is_asked_for_when_none_is_there_or_coming() {
    let board = board(1, 1);
    let asked = AtomicU32::new(0);
    let ask = || {
        asked.fetch_add(1, SeqCst);
    };
    let count = || asked.load(SeqCst);
    let _held = board.try_reserve(ME).expect("ready");
    assert_eq!((board.reserve_asking(ME, 10, soon(), ask), count()), (Err(Refused::TimedOut), 0), "it is busy");
    board.set_state(0, State::Starting);
    assert_eq!((board.reserve_asking(ME, 10, soon(), ask), count()), (Err(Refused::TimedOut), 0), "it is coming");
    board.set_state(0, State::Draining);
    assert_eq!((board.reserve_asking(ME, 10, soon(), ask), count()), (Err(Refused::TimedOut), 1));
    board.set_state(0, State::Gone);
    assert_eq!((board.reserve_asking(ME, 10, soon(), ask), count()), (Err(Refused::TimedOut), 1), "asked a moment ago");
    // As if that moment were over. The child also asks if the last attempt to start a process has failed.
    board.word(ASKED_AT).store(0, SeqCst);
    board.set_fault(Some("no python"));
    assert_eq!((board.reserve_asking(ME, 10, soon(), ask), count()), (Err(Refused::Unavailable), 2));
}

#[test]
fn it_is_asked_again_while_a_request_waits() {
    let board = board(1, 1);
    board.set_state(0, State::Gone);
    let asked = AtomicU32::new(0);
    let serve_second = || {
        if asked.fetch_add(1, SeqCst) == 1 {
            board.place(0, 1, 7);
            board.set_state(0, State::Ready);
        }
    };
    let lease = board.reserve_asking(ME, 10, later(), serve_second).expect("served");
    assert_eq!((lease.slot, asked.load(SeqCst)), (0, 2));
}

#[test]
fn a_cell_with_a_lease_that_does_not_exist_is_cleared() {
    let board = board(1, 1);
    let cell = board.enqueue(ME, 10).expect("a cell");
    board.cell(cell).store(u32::MAX, SeqCst);
    assert_eq!((board.reclaim_dead(|_| false), board.waiting()), (0, 0));
}

#[test]
fn nobody_waits_in_a_child_that_ends() {
    let board = Arc::new(board(1, 1));
    let held = board.try_reserve(ME).expect("ready");
    let waiter = {
        let board = Arc::clone(&board);
        thread::spawn(move || board.reserve(ME, 10, later()))
    };
    while board.waiting() == 0 {
        thread::yield_now();
    }
    board.close();
    assert_eq!(waiter.join().expect("no panic"), Err(Refused::Closed));
    assert_eq!(board.reserve(ME, 10, later()), Err(Refused::Closed));
    board.release(held);
    assert_eq!((board.waiting(), board.in_flight(0)), (0, 0));
}
