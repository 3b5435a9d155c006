//! How Python objects lead to an [`Exchange`], which stands on its request thread's stack.
//!
//! The request thread cuts a [`Link`] at the end of the request. A caller that came through it before that holds a [`Use`],
//! and the exchange goes only after the last [`Use`]. Between the look at a link and the count of the use nobody may cut
//! it. The GIL sees to that; in the engine for free-threaded Python the link has a lock, which is held for that moment.

use std::marker::PhantomData;
use std::ops::Deref;
use std::pin::Pin;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicPtr, AtomicU32, Ordering};

use wsgi_sys::forked;

use crate::python::py::Gil;
use crate::request::exchange::Exchange;

/// An exchange to which a link has led. The exchange does not go before this value is dropped.
pub struct Use<'l> {
    /// By address, as the count: the exchange may go in the moment in which the count falls, and a reference would have to
    /// outlive that.
    exchange: NonNull<Exchange<'static>>,
    /// Where this is counted.
    count: NonNull<AtomicU32>,
    link: PhantomData<&'l Link>,
}

impl Use<'_> {
    fn new(exchange: &Exchange<'static>, count: &AtomicU32) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Use { exchange: NonNull::from(exchange), count: NonNull::from(count), link: PhantomData }
    }
}

impl Deref for Use<'_> {
    type Target = Exchange<'static>;

    fn deref(&self) -> &Exchange<'static> {
        // SAFETY: the exchange is there as long as this is counted.
        unsafe { self.exchange.as_ref() }
    }
}

impl Drop for Use<'_> {
    fn drop(&mut self) {
        // SAFETY: a part of the exchange, which is there until this count falls.
        unsafe { self.count.as_ref() }.fetch_sub(1, Ordering::Release);
    }
}

/// A Python object's way to the exchange: null before it and after its end. Memory that Python has filled with zeros is a
/// link that leads nowhere.
#[derive(Debug)]
#[repr(transparent)]
pub struct Link(AtomicPtr<Exchange<'static>>);

impl Link {
    /// Leads nowhere.
    pub const fn new() -> Link {
        Link(AtomicPtr::new(ptr::null_mut()))
    }

    /// Leads to `exchange` from now on.
    ///
    /// # Safety
    /// The link is cut, attached, before the exchange goes. (It is pinned, because a [`Use`] knows its address and may end
    /// long after the link was cut.)
    pub unsafe fn set(&self, exchange: Pin<&Exchange<'_>>) {
        let exchange: *const Exchange<'_> = exchange.get_ref();
        self.locked(|_| ((), exchange.cast::<Exchange<'static>>().cast_mut()));
    }

    /// Leads where `other` leads.
    ///
    /// # Safety
    /// As [`Link::set`], for the exchange to which `other` leads.
    pub unsafe fn follow(&self, other: &Link) {
        let exchange = other.locked(|exchange| (exchange, exchange));
        self.locked(|_| ((), exchange));
    }

    /// Leads nowhere from now on.
    pub fn cut(&self) {
        self.locked(|_| ((), ptr::null_mut()));
    }

    /// The exchange, to read its body, while the request runs in the process that serves.
    pub fn reader(&self, gil: Gil) -> Option<Use<'_>> {
        self.used(gil, |exchange| &exchange.readers)
    }

    /// As [`Link::reader`], for everything else.
    pub fn writer(&self, gil: Gil) -> Option<Use<'_>> {
        self.used(gil, |exchange| &exchange.writers)
    }

    fn used(&self, _gil: Gil, count: for<'e> fn(&'e Exchange<'static>) -> &'e AtomicU32) -> Option<Use<'_>> {
        if forked::is_child() {
            return None;
        }
        self.locked(|exchange| {
            // SAFETY: not cut, so the exchange is there; nobody cuts the link until the use is counted, and the exchange
            // waits for that use.
            let found = unsafe { exchange.as_ref() }.map(|exchange| Use::new(exchange, count(exchange)));
            (found, exchange)
        })
    }

    /// Runs `body` with what the link leads to, and has it lead to the second thing that `body` returns. Nobody looks at
    /// the link meanwhile: the thread is attached.
    #[cfg(not(Py_GIL_DISABLED))]
    fn locked<T>(&self, body: impl FnOnce(*mut Exchange<'static>) -> (T, *mut Exchange<'static>)) -> T {
        let (result, exchange) = body(self.0.load(Ordering::Relaxed));
        self.0.store(exchange, Ordering::Relaxed);
        result
    }

    /// As above. The lowest bit of the address, which is that of a record with larger parts, says that a thread is here.
    #[cfg(Py_GIL_DISABLED)]
    fn locked<T>(&self, body: impl FnOnce(*mut Exchange<'static>) -> (T, *mut Exchange<'static>)) -> T {
        const IS_HELD: usize = 1;
        let found = loop {
            let free = self.0.load(Ordering::Relaxed).map_addr(|address| address & !IS_HELD);
            let held = free.map_addr(|address| address | IS_HELD);
            match self.0.compare_exchange_weak(free, held, Ordering::Acquire, Ordering::Relaxed) {
                Ok(found) => break found,
                // The other thread is through in a moment, unless the system has interrupted it.
                Err(_) => std::thread::yield_now(),
            }
        };
        let (result, exchange) = body(found);
        self.0.store(exchange, Ordering::Release);
        result
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::OwnedFd;
    use std::pin::pin;
    use std::sync::{Mutex, MutexGuard};

    use wsgi_wire::frame::InputFailure;
    use wsgi_wire::response::FilePart;

    use super::*;
    use crate::request::host::{Body, Gone, Outcome, Sink};

    struct Nobody;

    impl Body for Nobody {
        fn read(&mut self, _buf: &mut [u8]) -> Result<usize, InputFailure> {
            Ok(0)
        }
    }

    impl Sink for Nobody {
        fn head(&mut self, _payload: &[u8]) {}
        fn keep(&mut self, _bytes: &[u8]) {}
        fn send(&mut self, _bytes: &[u8]) -> Result<(), Gone> {
            Ok(())
        }
        fn try_send(&mut self, _bytes: &[u8]) -> Option<Result<bool, Gone>> {
            None
        }
        fn file(&mut self, _file: OwnedFd, _part: FilePart) -> Result<(), Gone> {
            Ok(())
        }
        fn answer(&mut self, _payload: &[u8]) {}
        fn confirm(&mut self) {}
        fn log(&mut self, _level: u8, _text: &[u8], _now: bool) {}
        fn end(&mut self, _outcome: Outcome) -> Result<(), Gone> {
            Ok(())
        }
    }

    /// What stands for the GIL. Without one, threads come to the link as they like.
    fn attach(lock: &Mutex<()>) -> Option<MutexGuard<'_, ()>> {
        cfg!(not(Py_GIL_DISABLED)).then(|| lock.lock().expect("the GIL"))
    }

    /// Threads take uses of an exchange, attached, and keep them when they are not, while the request thread ends one
    /// exchange after the other. Miri (`make check-miri`) sees a use of an exchange that is gone.
    #[test]
    fn an_exchange_goes_after_its_last_use() {
        let (link, lock, over) = (Link::new(), Mutex::new(()), AtomicU32::new(0));
        let uses = |way: for<'l> fn(&'l Link, Gil) -> Option<Use<'l>>| {
            let (link, lock, over) = (&link, &lock, &over);
            move || {
                let mut seen = 0;
                while over.load(Ordering::Relaxed) == 0 {
                    let held = attach(lock);
                    // SAFETY: nothing here calls Python.
                    let found = way(link, unsafe { Gil::assume() });
                    drop(held);
                    seen = found.map_or(seen, |found| found.thread_id.max(seen));
                    std::thread::yield_now();
                }
                seen
            }
        };
        let seen = std::thread::scope(|scope| {
            let users = [scope.spawn(uses(Link::reader)), scope.spawn(uses(Link::writer))];
            for number in 1..=20 {
                let (mut body, mut sink) = (Nobody, Nobody);
                let exchange = pin!(Exchange::new(&mut body, &mut sink, number, 0));
                let held = attach(&lock);
                // SAFETY: cut below, before the exchange goes.
                unsafe { link.set(exchange.as_ref()) };
                drop(held);
                std::thread::yield_now();
                let held = attach(&lock);
                link.cut();
                drop(held);
            }
            over.store(1, Ordering::Relaxed);
            users.map(|user| user.join().expect("no panic"))
        });
        assert!(seen.iter().all(|seen| *seen <= 20));
    }
}
