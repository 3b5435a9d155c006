//! How many children and threads httpd has. Pure numbers.

/// The sizes of httpd's process model.
#[derive(PartialEq, Eq, Debug)]
pub struct Sizes {
    /// Connections at once.
    pub clients: u64,
    /// Threads of a child; 1 with prefork.
    pub threads: u64,
    /// Children at the start.
    pub start: u64,
    /// Idle threads (children with prefork) at least.
    pub least_spare: u64,
    /// Idle threads (children with prefork) at most.
    pub most_spare: u64,
}

/// The connections that httpd serves at once, for this many request threads.
pub fn clients(asked: Option<u64>, capacity: u64) -> u64 {
    match asked {
        Some(asked) => asked.max(capacity),
        None => 10 + (capacity * 3 / 2).max(10),
    }
}

/// The parts of the connections for which httpd has children: at the start, idle at least, idle at most.
#[derive(Clone, Copy)]
pub struct Parts {
    /// At the start.
    pub initial: f64,
    /// Idle at least.
    pub least: f64,
    /// Idle at most.
    pub most: f64,
}

/// Sizes for an MPM with threads.
pub fn threaded(clients: u64, parts: Parts) -> Sizes {
    let threads = if clients <= 20 { clients.min(10) } else { clients.div_ceil(clients / 20 + 1) };
    let children = clients.div_ceil(threads);
    let part = |fraction: f64| ((fraction * children as f64) as u64).clamp(1, children);
    let least_spare = part(parts.least) * threads;
    Sizes {
        clients: children * threads,
        threads,
        start: part(parts.initial),
        least_spare,
        most_spare: (part(parts.most) * threads).max(least_spare + threads),
    }
}

/// Sizes for prefork.
pub fn forked(clients: u64, parts: Parts) -> Sizes {
    let part = |fraction: f64| ((fraction * clients as f64) as u64).clamp(1, clients);
    let least_spare = part(parts.least);
    Sizes {
        clients,
        threads: 1,
        start: part(parts.initial),
        least_spare,
        most_spare: part(parts.most).max(least_spare + 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARTS: Parts = Parts { initial: 0.2, least: 0.2, most: 0.6 };

    #[test]
    fn there_are_more_connections_than_request_threads() {
        for (asked, capacity, found) in [(None, 5, 20), (None, 20, 40), (Some(3), 5, 5), (Some(50), 5, 50)] {
            assert_eq!(clients(asked, capacity), found);
        }
    }

    #[test]
    fn children_have_the_same_number_of_threads() {
        assert_eq!(threaded(20, PARTS), Sizes { clients: 20, threads: 10, start: 1, least_spare: 10, most_spare: 20 });
        let many = threaded(310, PARTS);
        assert_eq!((many.clients, many.threads, many.start), (320, 20, 3));
        assert_eq!(threaded(1, PARTS).threads, 1);
    }

    #[test]
    fn prefork_has_one_thread_in_each() {
        let parts = Parts { initial: 0.05, least: 0.05, most: 0.1 };
        assert_eq!(forked(100, parts), Sizes { clients: 100, threads: 1, start: 5, least_spare: 5, most_spare: 10 });
        assert_eq!(forked(1, parts).start, 1);
    }
}
