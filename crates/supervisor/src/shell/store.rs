//! What outlives a supervisor that is killed: its ends of the processes' control sockets, and of the pipes into which they
//! print. They lie as messages in a socket pair of which httpd's parent keeps both ends, so that the processes do not even
//! notice the loss, and the supervisor that comes next takes them out again ([`super::inherited`]).
//!
//! No process holds the reading end of its own pipe. When httpd's parent and the supervisor are both gone, nobody holds it:
//! a thread that waits for room in the pipe is woken by an error then, and the process can end.
//!
//! The kernel counts descriptors that are under way for the user who sent them, and refuses to send more of them than
//! this process may have open files (unix(7), ETOOMANYREFS). Connections need this room more than the store does.
//!
//! A message cannot be taken from the middle of a queue. So messages of processes that have ended stay in the store
//! until there is one of them for four others. Then the supervisor takes each message out once, and puts those of
//! living processes in again.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use wsgi_sys::socket;
use wsgi_wire::control::{MAX_MESSAGE, Stored};

use crate::decide::ProcessId;

/// The store holds at most one message, with two descriptors, for this many files that the process may open.
const PART: usize = 8;

/// What the store held of a process.
#[derive(Debug)]
pub struct Taken {
    pub stored: Stored,
    pub control: OwnedFd,
    pub output: Option<OwnedFd>,
}

/// The store, and which messages lie in it.
#[derive(Debug)]
pub struct Store {
    /// Messages go into the first end and come out of the second.
    ends: (OwnedFd, OwnedFd),
    /// The processes, in the order of their messages.
    order: VecDeque<ProcessId>,
    /// How many messages the store may hold.
    most: usize,
}

impl Store {
    /// Opens the store. What an earlier supervisor has put in is still there.
    pub fn new(ends: (OwnedFd, OwnedFd), open_files: usize) -> Store {
        // The kernel gives as much of this as the system allows.
        let _ = socket::set_send_buffer(ends.0.as_fd(), 4 * MAX_MESSAGE);
        Store { ends, order: VecDeque::new(), most: open_files / PART }
    }

    /// Takes out what an earlier supervisor has put in. Of several messages about a process the last one counts.
    pub fn take_all(&mut self) -> Vec<Taken> {
        let mut all: Vec<Taken> = Vec::new();
        let mut buffer = [0; Stored::SIZE];
        while let Ok(got) = socket::try_recv_with_fds(self.ends.1.as_fd(), &mut buffer) {
            // A message without its descriptor is of no use. (The descriptor is lost when this process has no room for
            // it.)
            let mut fds = got.fds.into_iter();
            if let (Ok(stored), Some(control)) = (Stored::decode(&buffer[..got.len]), fds.next()) {
                all.retain(|other| other.stored != stored);
                all.push(Taken { stored, control, output: fds.next() });
            }
        }
        all
    }

    /// Puts a process's control socket in, and behind it the pipe of its output.
    ///
    /// # Errors
    /// What sendmsg says, also when the store is full. The store does not hold the process then.
    pub fn put(&mut self, process: ProcessId, stored: Stored, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        if self.order.len() >= self.most {
            return Err(io::Error::from_raw_os_error(libc::ETOOMANYREFS));
        }
        self.send(stored, fds)?;
        self.order.push_back(process);
        Ok(())
    }

    /// Takes out everything. Returns whether there was anything.
    pub fn clear(&mut self) -> bool {
        let held = !self.order.is_empty();
        self.tidy(|_| None);
        held
    }

    fn send(&self, stored: Stored, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        socket::send_with_fds(self.ends.0.as_fd(), &stored.encode(), fds).map(drop)
    }

    /// Whether the store holds so many messages of ended processes that taking them out is worth it. `living`: how many
    /// processes live.
    pub fn is_cluttered(&self, living: usize) -> bool {
        self.order.len() > living + living / 4
    }

    /// Takes out the messages of all processes that `living` does not know.
    pub fn tidy<'p>(&mut self, living: impl Fn(ProcessId) -> Option<(Stored, Vec<BorrowedFd<'p>>)>) {
        let mut buffer = [0; Stored::SIZE];
        for _ in 0..self.order.len() {
            let Some(process) = self.order.pop_front() else { return };
            // It puts the message in again before it takes the old one out, so that none is missing if the supervisor
            // ends here. If there is no room for both, it puts the message in afterwards.
            let put = || living(process).is_some_and(|(stored, fds)| self.send(stored, &fds).is_ok());
            let is_in = put();
            let _ = socket::try_recv_with_fds(self.ends.1.as_fd(), &mut buffer);
            if is_in || put() {
                self.order.push_back(process);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wsgi_sys::fd;
    use wsgi_sys::socket::Kind;

    const MANY: usize = 1 << 20;

    fn stored(pid: u32) -> Stored {
        Stored { group: 1, slot: pid % 7, epoch: 2, pid }
    }

    fn copy(fd: &OwnedFd) -> OwnedFd {
        fd.try_clone().expect("a descriptor")
    }

    #[test]
    fn what_lives_is_there_for_the_next_one() {
        let ends = socket::pair(Kind::SeqPacket).expect("pair");
        let mut store = Store::new((copy(&ends.0), copy(&ends.1)), MANY);
        let (reader, writer) = fd::pipe().expect("pipe");
        assert!(store.take_all().is_empty());
        let lives = |process: ProcessId| process % 3 == 0;
        for process in 1..=300 {
            store.put(process, stored(process as u32), &[writer.as_fd()]).expect("room");
            if store.is_cluttered(process as usize / 3) {
                store.tidy(|process| lives(process).then(|| (stored(process as u32), vec![writer.as_fd()])));
            }
        }
        assert!(store.order.len() <= 126);
        drop((store, writer));
        let mut next = Store::new(ends, MANY);
        let found = next.take_all();
        let pids = found.iter().map(|one| one.stored.pid).filter(|pid| pid % 3 == 0);
        assert_eq!(pids.collect::<Vec<_>>(), (1..=100).map(|number| number * 3).collect::<Vec<_>>());
        assert!(next.take_all().is_empty());
        drop(found);
        assert_eq!(fd::read(reader.as_fd(), &mut [0]).expect("read"), 0, "nobody holds the pipe any more");
    }

    #[test]
    fn of_two_messages_about_a_process_one_counts_and_noise_does_not() {
        let ends = socket::pair(Kind::SeqPacket).expect("pair");
        let mut store = Store::new((copy(&ends.0), copy(&ends.1)), MANY);
        for pid in [7, 8, 7] {
            store.put(u64::from(pid), stored(pid), &[ends.0.as_fd()]).expect("room");
        }
        socket::send_with_fds(ends.0.as_fd(), b"noise", &[ends.1.as_fd()]).expect("room");
        socket::send_with_fds(ends.0.as_fd(), &stored(9).encode(), &[]).expect("room");
        let found: Vec<u32> = store.take_all().iter().map(|one| one.stored.pid).collect();
        assert_eq!(found, [8, 7]);
    }

    #[test]
    fn a_full_store_says_so() {
        let ends = socket::pair(Kind::SeqPacket).expect("pair");
        let mut store = Store::new((copy(&ends.0), copy(&ends.1)), MANY);
        let put = |number| store.put(number, stored(1), &[ends.0.as_fd()]);
        let error = (1..100_000).map(put).find_map(Result::err).expect("no room");
        assert!(matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::ETOOMANYREFS)), "{error}");
        let before = store.order.len();
        store
            .tidy(|process| (process == 1 || process % 2 == 0).then(|| (stored(process as u32), vec![ends.0.as_fd()])));
        assert_eq!(store.order.len(), before / 2 + 1, "what lives is in it, the first one too");
        store.put(0, stored(1), &[ends.0.as_fd()]).expect("room");
        assert!(store.clear() && !store.clear());
        assert!(store.order.is_empty() && store.take_all().is_empty());
    }

    #[test]
    fn there_are_no_more_than_leave_room_for_connections() {
        let ends = socket::pair(Kind::SeqPacket).expect("pair");
        let mut store = Store::new((copy(&ends.0), copy(&ends.1)), 24);
        for process in 0..3 {
            store.put(process, stored(1), &[ends.0.as_fd()]).expect("room");
        }
        assert!(store.put(3, stored(1), &[ends.0.as_fd()]).is_err());
        assert!(store.clear() && store.put(3, stored(1), &[ends.0.as_fd()]).is_ok());
    }
}
