//! Tests of what the scoreboard reports: what is executed, how a process ended, since when nothing starts.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use proptest::prelude::*;

use super::episode::Trouble;
use super::*;

const ME: u32 = 4242;

fn board() -> Scoreboard {
    let (_, board) = Scoreboard::create(Geometry::for_group(1, 2, 100)).expect("memfd");
    board.place(0, 2, 100);
    board.set_state(0, State::Ready);
    board
}

fn what(board: &Scoreboard) -> Vec<String> {
    board.executing(0).into_iter().map(|one| one.what).collect()
}

#[test]
fn each_lease_says_what_it_executes_until_it_is_given_back() {
    let board = board();
    assert_eq!((board.executing(0), board.oldest()), (vec![], None));
    let first = board.try_reserve(ME).expect("free");
    assert_eq!(what(&board), [""]);
    board.begin(&first, b"GET", b"/one");
    thread::sleep(Duration::from_millis(3));
    let second = board.try_reserve(ME).expect("free");
    board.begin(&second, b"POST", b"/two");
    assert_eq!(what(&board), ["GET /one", "POST /two"]);
    let oldest = board.oldest().expect("two");
    assert!(oldest.what == "GET /one" && oldest.age() >= Duration::from_millis(2), "{oldest:?}");
    assert!(oldest.age() < Duration::from_secs(60), "{oldest:?}");
    board.release(first);
    assert_eq!(what(&board), ["POST /two"]);
    // The next request has not said yet what it is.
    let third = board.try_reserve(ME).expect("free");
    assert_eq!(what(&board), ["POST /two", ""]);
    board.release(third);
    board.reclaim_dead(|_| false);
    assert_eq!(board.oldest(), None);
}

#[test]
fn long_and_odd_paths_are_cut_and_shown() {
    let board = board();
    let lease = board.try_reserve(ME).expect("free");
    board.begin(&lease, b"GET", b"/a\nb\x1b[31m\x00\xff");
    assert_eq!(what(&board), ["GET /a?b?[31m?\u{fffd}"]);
    board.begin(&lease, b"GET", format!("/{}", "x".repeat(300)).as_bytes());
    assert_eq!(what(&board), [format!("GET /{}...", "x".repeat(51))]);
    board.begin(&lease, b"GET", format!("/x{}", "\u{e9}".repeat(40)).as_bytes());
    assert_eq!(what(&board), [format!("GET /x{}...", "\u{e9}".repeat(25))]);
    board.begin(&lease, &[b'M'; 500], b"/");
    assert_eq!(what(&board), [format!("{}...", "M".repeat(56))]);
}

#[test]
fn only_what_a_process_answered_itself_is_counted() {
    let board = board();
    let lease = board.try_reserve(ME).expect("free");
    board.count_served(&lease);
    assert_eq!(board.served(0), 1);
    board.set_state(0, State::Gone);
    board.release(lease);
    board.place(0, 2, 101);
    assert_eq!(board.served(0), 0);
    board.count_served(&lease);
    assert_eq!(board.served(0), 0, "it was the one before");
}

#[test]
fn who_lost_a_process_learns_how_it_ended() {
    let board = Arc::new(board());
    let lease = board.try_reserve(ME).expect("free");
    assert_eq!(board.await_end(&lease, Duration::from_millis(1)), None);
    let waiter = {
        let board = Arc::clone(&board);
        thread::spawn(move || board.await_end(&lease, Duration::from_secs(30)))
    };
    board.set_ended(0, lease.epoch.wrapping_add(1), "exited with status 1");
    board.set_ended(0, lease.epoch, "killed by SIGKILL");
    assert_eq!(waiter.join().expect("no panic").as_deref(), Some("killed by SIGKILL"));
    board.set_ended(0, lease.epoch, &"long ".repeat(100));
    let end = board.await_end(&lease, Duration::ZERO).expect("it has ended");
    assert!(end.len() < 110 && end.ends_with("..."), "{end}");
}

#[test]
fn the_next_attempt_to_start_is_told_until_it_is_due() {
    let board = board();
    assert_eq!(board.next_start_in(), None);
    board.set_next_start(Some(Duration::from_secs(20)));
    let left = board.next_start_in().expect("known");
    assert!(left > Duration::from_secs(10) && left <= Duration::from_secs(20), "{left:?}");
    board.set_next_start(Some(Duration::ZERO));
    thread::sleep(Duration::from_millis(2));
    assert_eq!(board.next_start_in(), None);
    board.set_next_start(None);
    assert_eq!(board.next_start_in(), None);
}

#[test]
fn an_episode_has_one_line() {
    let board = board();
    let at = |now| board.has_trouble_at(Trouble::Full, now);
    assert_eq!((at(1_000), at(1_001), at(5_999), at(10_900)), (Some(0), None, None, None));
    assert_eq!((at(15_900), at(15_901)), (Some(3), None));
    // A child that looked at the clock earlier than the others.
    assert_eq!(at(15_000), None);
    assert_eq!((at(u32::MAX), board.has_trouble_at(Trouble::Late, 1)), (Some(2), Some(0)));
    assert_eq!((at(3_000), at(9_000)), (None, Some(1)));
}

#[test]
fn one_of_many_children_says_that_it_is_full() {
    let board = Arc::new(board());
    let children: Vec<_> = (0..8)
        .map(|_| {
            let board = Arc::clone(&board);
            thread::spawn(move || (0..500).filter_map(|_| board.has_trouble(Trouble::Full)).count())
        })
        .collect();
    let lines: usize = children.into_iter().map(|child| child.join().expect("no panic")).sum();
    assert_eq!((lines, board.trouble_count(Trouble::Full)), (1, 8 * 500 - 1));
}

#[test]
fn a_stoppage_is_told_at_its_beginning_and_at_its_end() {
    let board = Arc::new(board());
    assert_eq!(board.end_stoppage(), None);
    board.set_fault(Some("no python"));
    board.set_fault(None);
    assert_eq!(board.end_stoppage(), None, "nobody was refused");
    board.set_fault(Some("no python"));
    let children: Vec<_> = (0..8)
        .map(|_| {
            let board = Arc::clone(&board);
            thread::spawn(move || (0..500).filter_map(|_| board.refuse()).collect::<Vec<_>>())
        })
        .collect();
    let faults: Vec<_> = children.into_iter().flat_map(|child| child.join().expect("no panic")).collect();
    assert_eq!(faults.iter().map(|fault| fault.cause.as_str()).collect::<Vec<_>>(), ["no python"]);
    // Another attempt fails for another reason: it is the same stoppage.
    board.set_fault(Some("no home"));
    assert_eq!(board.refuse(), None);
    // The same holds if the supervisor hoped for a process in between, and none came of it.
    board.set_fault(None);
    board.set_fault(Some("no home"));
    assert_eq!(board.refuse(), None);
    thread::sleep(Duration::from_millis(3));
    board.set_fault(None);
    let stoppage = board.end_stoppage().expect("requests were refused");
    assert_eq!((stoppage.refused, board.end_stoppage()), (4_002, None));
    assert!(stoppage.lasted >= Duration::from_millis(2) && stoppage.lasted < Duration::from_secs(60), "{stoppage:?}");
    // A request that was slow to be refused belongs to no stoppage.
    assert_eq!(board.refuse(), None);
    board.set_fault(Some("x".repeat(300).as_str()));
    let fault = board.refuse().expect("the first one");
    assert_eq!(fault.cause, format!("{}...", "x".repeat(252)));
    assert!(fault.lasted < Duration::from_secs(60));
}

proptest! {
    #[test]
    fn whatever_stands_in_the_memory_is_shown(words in proptest::collection::vec(any::<u32>(), 16), ended in proptest::collection::vec(any::<u32>(), 25)) {
        let board = board();
        let lease = board.try_reserve(ME).expect("free");
        let at = board.geometry().records_at();
        words.iter().enumerate().for_each(|(number, word)| board.word(at + number).store(*word, SeqCst));
        ended.iter().enumerate().for_each(|(number, word)| board.slot(0, ENDED_TEXT + number).store(*word, SeqCst));
        board.slot(0, ENDED).store(lease.epoch, SeqCst);
        let shown = board.executing(0);
        prop_assert_eq!(shown.len(), 1);
        prop_assert!(!shown[0].what.contains(char::is_control) && shown[0].what.chars().count() <= 59);
        prop_assert!(!board.await_end(&lease, Duration::ZERO).expect("it has ended").contains(char::is_control));
    }
}
