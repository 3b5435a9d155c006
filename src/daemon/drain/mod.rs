//! Takes responses from their processes ahead of slow clients, so that a request thread is free long before
//! its client has all of the response.
//!
//! A thread of httpd that passes a part of a response may have to wait for its client. Before it passes the part, it
//! offers its [`Line`] here; afterwards it withdraws the offer. Each child has one drain thread, which starts when it
//! is first needed. It takes over the lines whose offer has stood for a moment, empties them into a [`Spool`], and ends
//! them. httpd's thread then finds the rest of its response in the spool. Exchanges also hand over lines whose client
//! is gone: the request thread stays reserved until its process has noticed that.

mod active;

use std::cell::OnceCell;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;

use wsgi_sys::forked::{self, Private};
use wsgi_sys::poll::{PollFd, poll};
use wsgi_sys::{clock, fd, signal};

use active::Active;

use super::line::Line;
use super::spool::Spool;
use wsgi_wire::scan::Scan;

/// How long an offer stands before the drain thread takes it.
const PATIENCE: Duration = Duration::from_millis(5);
/// How many rounds (of `PATIENCE` each) the drain thread goes on looking for offers when it has seen none. It lingers
/// so that nobody has to wake it for each offer.
const LINGER: u32 = 20;
/// Bytes received at a time.
const PIECE: usize = 64 << 10;

/// A line in the middle of a response.
#[derive(Debug)]
pub(super) struct Offer {
    pub(super) line: Line,
    /// The position in the response's frames of the first byte of `early`.
    pub(super) scan: Scan,
    /// Bytes that the exchange has received but not decoded yet.
    pub(super) early: Vec<u8>,
    /// Bytes that the process must still get.
    pub(super) unsent: Vec<u8>,
    /// The connection may serve another exchange.
    pub(super) clean: bool,
}

/// How a response that was taken over ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// As it should; all of its frames are in the spool.
    Complete,
    /// The process was lost.
    Lost,
}

#[derive(Debug)]
struct State {
    spool: Spool,
    file: Option<OwnedFd>,
    end: Option<End>,
    /// Nobody wants the rest.
    abandoned: bool,
    /// The spool had no room.
    full: bool,
}

/// What [`Drained::take`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Taken {
    /// So many bytes.
    Bytes(usize),
    /// Nothing came in the time.
    Nothing,
    /// Nothing will come: the response is incomplete.
    Lost,
}

/// A response that the drain thread has taken over. The drain thread fills it, and a thread of httpd empties it.
#[derive(Debug)]
pub(super) struct Drained {
    state: Mutex<State>,
    changed: Condvar,
}

impl Drained {
    /// A response of which `spool` holds a part already.
    fn new(spool: Spool) -> Drained {
        let state = State { spool, file: None, end: None, abandoned: false, full: false };
        Drained { state: Mutex::new(state), changed: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Moves bytes to `buffer`, waiting for some at most `limit`.
    pub(super) fn take(&self, buffer: &mut [u8], limit: Duration) -> Taken {
        let nothing = |state: &mut State| state.spool.is_empty() && state.end.is_none();
        let waited = self.changed.wait_timeout_while(self.lock(), limit, nothing);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        let taken = match (state.spool.take(buffer), state.end) {
            (Ok(0), None) => Taken::Nothing,
            // If the response were complete, httpd's thread would have decoded its end and not asked again.
            (Ok(0), Some(_)) | (Err(_), _) => Taken::Lost,
            (Ok(count), _) => Taken::Bytes(count),
        };
        let was_full = std::mem::take(&mut state.full);
        drop(state);
        if was_full {
            wake();
        }
        taken
    }

    /// The file that came with the response.
    pub(super) fn file(&self) -> Option<OwnedFd> {
        self.lock().file.take()
    }

    /// Why the spool can use no (more) temporary file. Only the first call returns it, so that the log tells it once.
    pub(super) fn trouble(&self) -> Option<String> {
        self.lock().spool.take_trouble()
    }

    /// Nobody wants the rest.
    pub(super) fn abandon(&self) {
        let mut state = self.lock();
        state.abandoned = true;
        state.spool.clear();
        drop(state);
        wake();
    }

    fn end(&self, end: End) {
        self.lock().end = Some(end);
        self.changed.notify_all();
    }
}

/// What a thread of httpd offers.
#[derive(Debug, Default)]
enum Offered {
    #[default]
    Nothing,
    Waiting(Box<Offer>),
    Taken(Arc<Drained>),
}

/// The place of one thread of httpd.
#[derive(Debug, Default)]
struct Place {
    /// When the thread made its offer, in milliseconds of the monotonic clock; 0 when it offers nothing.
    since: AtomicU64,
    offered: Mutex<Offered>,
}

impl Place {
    fn lock(&self) -> MutexGuard<'_, Offered> {
        self.offered.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What other threads know of the drain thread.
#[derive(Debug)]
struct Drainer {
    places: Mutex<Vec<Weak<Place>>>,
    /// Lines that the drain thread must take at once.
    given: Mutex<Vec<Active>>,
    /// The drain thread looks for offers by itself, so nobody needs to wake it.
    awake: AtomicBool,
    bell: Private,
}

/// `None` when the thread could not be started.
static DRAINER: OnceLock<Option<Arc<Drainer>>> = OnceLock::new();

thread_local! {
    static PLACE: OnceCell<Arc<Place>> = const { OnceCell::new() };
}

fn drainer() -> Option<&'static Drainer> {
    DRAINER.get_or_init(|| start().ok()).as_deref()
}

fn start() -> io::Result<Arc<Drainer>> {
    crate::httpd::module::keep_image();
    let (heard, bell) =
        forked::while_none_forks(|| fd::pipe().map(|(heard, bell)| (Private::new(heard), Private::new(bell))))?;
    fd::set_nonblocking(heard.as_fd(), true)?;
    fd::set_nonblocking(bell.as_fd(), true)?;
    let awake = AtomicBool::new(false);
    let drainer = Arc::new(Drainer { places: Mutex::default(), given: Mutex::default(), awake, bell });
    let mut own = Loop { drainer: Arc::clone(&drainer), heard, active: Vec::new(), buffer: vec![0; PIECE] };
    let builder = std::thread::Builder::new().name("wsgi-drain".to_owned()).stack_size(256 << 10);
    signal::with_all_blocked(|| builder.spawn(move || own.run()))?;
    Ok(drainer)
}

fn wake() {
    if let Some(Some(drainer)) = DRAINER.get() {
        // If the pipe is full, the thread wakes up anyway.
        let _ = fd::write(drainer.bell.as_fd(), b"x");
    }
}

fn now_ms() -> u64 {
    u64::try_from(clock::monotonic().as_millis()).unwrap_or(u64::MAX).max(1)
}

/// Offers a line while this thread waits for its client. Gives it back when nobody can take it.
pub(super) fn offer(offer: Offer) -> Result<(), Box<Offer>> {
    let offer = Box::new(offer);
    let Some(drainer) = drainer() else { return Err(offer) };
    let refused = PLACE.with(|place| {
        let place = place.get_or_init(|| {
            let place = Arc::new(Place::default());
            drainer.places.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::downgrade(&place));
            place
        });
        let mut offered = place.lock();
        // A filter of the request whose line is on offer runs another request on this thread.
        if !matches!(*offered, Offered::Nothing) {
            return Some(offer);
        }
        *offered = Offered::Waiting(offer);
        place.since.store(now_ms(), Ordering::SeqCst);
        None
    });
    if let Some(offer) = refused {
        return Err(offer);
    }
    if !drainer.awake.swap(true, Ordering::SeqCst) {
        wake();
    }
    Ok(())
}

/// Ends this thread's offer. Returns the line, or the response if the drain thread has taken the line over. `None` when
/// this thread has offered nothing.
pub(super) fn withdraw() -> Option<Result<Box<Offer>, Arc<Drained>>> {
    let offered = PLACE.with(|place| {
        let place = place.get()?;
        place.since.store(0, Ordering::SeqCst);
        Some(std::mem::take(&mut *place.lock()))
    });
    match offered? {
        Offered::Nothing => None,
        Offered::Waiting(offer) => Some(Ok(offer)),
        Offered::Taken(drained) => Some(Err(drained)),
    }
}

/// Withdraws this thread's offer when it is dropped, also by a panic.
pub(super) struct WithdrawOnDrop;

impl Drop for WithdrawOnDrop {
    fn drop(&mut self) {
        if let Some(Err(drained)) = withdraw() {
            drained.abandon();
        }
    }
}

/// Hands a line over at once. `spool` holds what was received on it before. Gives both back when there is no drain
/// thread.
pub(super) fn hand_over(offer: Offer, spool: Spool) -> Result<Arc<Drained>, Box<(Offer, Spool)>> {
    let Some(drainer) = drainer() else { return Err(Box::new((offer, spool))) };
    let (active, drained) = Active::new(offer, spool);
    drainer.given.lock().unwrap_or_else(PoisonError::into_inner).push(active);
    wake();
    Ok(drained)
}

/// Hands a line over whose client is gone.
pub(super) fn discard(offer: Offer) {
    let spool = Spool::new(&offer.line.limits);
    if let Ok(drained) = hand_over(offer, spool) {
        drained.abandon();
    }
}

/// The thread itself.
struct Loop {
    drainer: Arc<Drainer>,
    heard: Private,
    active: Vec<Active>,
    buffer: Vec<u8>,
}

impl Loop {
    fn run(&mut self) {
        let mut quiet: u32 = 0;
        loop {
            let offers = self.take_offers();
            quiet = if offers { 0 } else { quiet.saturating_add(1) };
            let wait = if quiet < LINGER { Some(PATIENCE) } else { self.sleep_unless_offered() };
            self.wait(wait);
        }
    }

    /// How long the thread may sleep. `None`: until the next offer, which rings the bell, because nothing is on offer
    /// now.
    fn sleep_unless_offered(&self) -> Option<Duration> {
        self.drainer.awake.store(false, Ordering::SeqCst);
        let places = self.drainer.places.lock().unwrap_or_else(PoisonError::into_inner);
        if places.iter().filter_map(Weak::upgrade).all(|place| place.since.load(Ordering::SeqCst) == 0) {
            return None;
        }
        self.drainer.awake.store(true, Ordering::SeqCst);
        Some(PATIENCE)
    }

    /// Takes the lines whose offers are due. Returns whether there is any offer.
    fn take_offers(&mut self) -> bool {
        self.active.append(&mut self.drainer.given.lock().unwrap_or_else(PoisonError::into_inner));
        let now = now_ms();
        let patience = u64::try_from(PATIENCE.as_millis()).unwrap_or(0);
        let mut offers = false;
        let mut places = self.drainer.places.lock().unwrap_or_else(PoisonError::into_inner);
        places.retain(|place| place.strong_count() > 0);
        for place in places.iter().filter_map(Weak::upgrade) {
            let since = place.since.load(Ordering::SeqCst);
            offers |= since != 0;
            if since == 0 || now.saturating_sub(since) < patience {
                continue;
            }
            let mut offered = place.lock();
            *offered = match std::mem::take(&mut *offered) {
                Offered::Waiting(offer) => {
                    // This happens under the lock, because a thread of httpd makes its next offer under the same lock.
                    place.since.store(0, Ordering::SeqCst);
                    let spool = Spool::new(&offer.line.limits);
                    let (active, drained) = Active::new(*offer, spool);
                    self.active.push(active);
                    Offered::Taken(drained)
                }
                // There is nothing to take. A line that was taken stays so until httpd's thread comes back from its
                // client.
                other => other,
            };
        }
        drop(places);
        for active in &mut self.active {
            active.stop_if_abandoned(&mut self.buffer);
        }
        self.active.retain(|active| !active.is_through());
        offers
    }

    fn wait(&mut self, limit: Option<Duration>) {
        let awaits_end = self.active.iter().any(Active::is_lost);
        let limit = if awaits_end { Some(limit.map_or(PATIENCE, |limit| limit.min(PATIENCE))) } else { limit };
        let ready: Vec<(usize, bool, bool)> = {
            let wanted = self.active.iter().enumerate().filter_map(|(at, active)| {
                let (receives, sends) = active.wants()?;
                Some((at, PollFd::new(active.socket()?, receives, sends)))
            });
            let (numbers, mut fds): (Vec<usize>, Vec<PollFd<'_>>) = wanted.unzip();
            fds.push(PollFd::new(self.heard.as_fd(), true, false));
            if poll(&mut fds, limit).is_err() {
                return;
            }
            numbers.iter().zip(&fds).map(|(at, fd)| (*at, fd.readable(), fd.writable())).collect()
        };
        while fd::read(self.heard.as_fd(), &mut self.buffer).is_ok_and(|count| count > 0) {}
        for (at, readable, writable) in ready {
            let active = &mut self.active[at];
            if writable && !active.unsent.is_empty() {
                active.send();
            }
            if readable && active.stopped_receiving {
                // The process was told that nobody receives any more, and has closed its end: its request thread is
                // free.
                active.leave();
            } else if readable {
                active.receive(&mut self.buffer);
            }
        }
        self.active.retain(|active| !active.is_through());
    }
}
