//! Small differences between the processes of a server, so that they are not all replaced at the same time. They depend
//! on nothing but the number of the process, so the same history always ends in the same way.

use super::{Millis, ProcessId};

/// Limits below this are exact, because a tenth of them is less than 1.
const SMALL: u64 = 10;

/// A number from 0 to `below` - 1 that looks random (the finaliser of MurmurHash3).
fn spread(process: ProcessId, below: u64) -> u64 {
    let mut bits = process.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    for factor in [0xff51_afd7_ed55_8ccd, 0xc4ce_b9fe_1a85_ec53] {
        bits = (bits ^ (bits >> 33)).wrapping_mul(factor);
    }
    (bits ^ (bits >> 33)) % below.max(1)
}

/// The time, made longer by up to a tenth.
pub(super) fn later(time: Millis, process: ProcessId) -> Millis {
    time.saturating_add(spread(process, time / 10 + 1))
}

/// `maximum-requests` of this process: up to a tenth lower if the group can have `several` processes.
pub fn requests(limit: u64, several: bool, process: ProcessId) -> u64 {
    if several && limit >= SMALL { limit - spread(process, limit / 10 + 1) } else { limit }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_small_and_differ() {
        for process in 1..200 {
            assert!((1_000..=1_100).contains(&later(1_000, process)));
            assert!((900..=1_000).contains(&requests(1_000, true, process)));
            assert!((9..=10).contains(&requests(10, true, process)));
        }
        let all: std::collections::BTreeSet<_> = (1..9).map(|process| later(60_000, process)).collect();
        assert_eq!(all.len(), 8);
    }

    #[test]
    fn small_limits_and_lone_processes_are_exact() {
        for process in 1..50 {
            assert_eq!((requests(9, true, process), requests(1, true, process)), (9, 1));
            assert_eq!((requests(5_000, false, process), requests(0, true, process)), (5_000, 0));
            assert_eq!(later(0, process), 0);
        }
    }
}
