//! The first children after `graceful`. httpd's parent makes a new child for each old one that ends. While no old child
//! ends, the parent sleeps for a second, and only then makes the rest (event, worker and prefork alike). As long as
//! every old child has a request, nobody would accept a connection during that second. A signal ends the sleep.
//! (Measured, a graceful while every old child has a request: new connections wait for 0.98 s without the signal, and for
//! 0.04 s with it. That is a pause of a busy site at each rotation of its logs, so the signal stays.) Callers: the hooks.

use std::time::Duration;

use wsgi_sys::alarm;

use crate::httpd::pool::Pool;
use crate::httpd::{self, process};

/// The time from the end of the configuration to the signal: by then the MPM sleeps.
const SOON: Duration = Duration::from_millis(20);

/// Makes sure that no signal is due when httpd unloads the module.
pub(super) fn prepare(pconf: Pool<'_>) {
    process::at_cleanup(pconf, |_| drop(alarm::forget()));
}

/// httpd's parent is about to hand over to its MPM.
pub(crate) fn mpm_is_next() {
    if process::restart_is_graceful() && is_room() {
        // If this fails, everything is as httpd does it by itself.
        let _ = alarm::interrupt_after(SOON);
    }
}

/// This is a child.
pub(super) fn is_child() {
    let _ = alarm::forget();
}

fn is_room() -> bool {
    let places = process::places();
    let child = |place| httpd::scoreboard::child(i32::try_from(place).ok()?);
    let taken = (0..places).filter_map(child).filter(|child| child.pid != 0).count();
    is_enough(places as usize, taken)
}

/// Whether there are places for as many new children as there are old ones. httpd counts a child as made even if it
/// finds no place for it. So where places are short, httpd does better to wait until old children end.
fn is_enough(places: usize, taken: usize) -> bool {
    taken * 2 <= places
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_children_leave_room_for_new_ones_or_are_waited_for() {
        let answers =
            [(0, 0), (1, 1), (2, 1), (6, 3), (6, 4), (256, 10)].map(|(places, taken)| is_enough(places, taken));
        assert_eq!(answers, [true, false, true, true, false, true]);
    }
}
