//! What several threads can come to by way of Python's objects, one at a time: the halves of an exchange, and the like.
//!
//! In the engine for Python with a GIL that is the lock. A [`Guarded`] costs no more than a `RefCell` there, and one that
//! is in use means that another thread waits in it without the GIL. In the engine for free-threaded Python each has a
//! lock of its own. No thread may wait for such a lock while it is attached, unless it is held for moments only: Python
//! stops all threads now and then, and would wait for this one for ever.

#![forbid(unsafe_code)]

#[cfg(not(Py_GIL_DISABLED))]
pub use with_gil::{Guarded, OneByOne};
#[cfg(Py_GIL_DISABLED)]
pub use without_gil::{Guarded, OneByOne};

#[cfg(not(Py_GIL_DISABLED))]
mod with_gil {
    use std::cell::{RefCell, RefMut};

    use crate::python::py::Gil;

    /// The value, for one thread.
    pub type Held<'g, T> = RefMut<'g, T>;

    /// A value for one thread at a time.
    #[derive(Debug, Default)]
    pub struct Guarded<T>(RefCell<T>);

    impl<T: Send> Guarded<T> {
        /// Guards `value`.
        pub const fn new(value: T) -> Guarded<T> {
            Guarded(RefCell::new(value))
        }

        /// The value, unless another thread waits while it holds it.
        pub fn try_hold(&self, _gil: Gil) -> Option<Held<'_, T>> {
            self.0.try_borrow_mut().ok()
        }

        /// The value, which no other thread holds while it waits for something.
        pub fn hold(&self, _gil: Gil) -> Held<'_, T> {
            self.0.borrow_mut()
        }

        /// The value, which no other thread can come to now.
        pub fn hold_alone(&self) -> Held<'_, T> {
            self.0.borrow_mut()
        }

        /// Runs `body`, which takes a moment and calls nothing that may let other threads run. For values that are
        /// reached in no other way.
        pub fn with<R>(&self, body: impl FnOnce(&mut T) -> R) -> R {
            body(&mut self.0.borrow_mut())
        }
    }

    /// Lets one thread at a time through a part of code that does not detach: the GIL does that.
    #[derive(Debug, Default)]
    pub struct OneByOne;

    /// A thread is in that part, or the GIL keeps others out.
    #[derive(Debug)]
    pub struct Entered;

    impl OneByOne {
        /// Nobody else is there.
        pub fn enter(&self, _gil: Gil) -> Entered {
            Entered
        }
    }
}

#[cfg(Py_GIL_DISABLED)]
mod without_gil {
    use std::time::Duration;

    use parking_lot::{Mutex, MutexGuard};

    use crate::python::py::Gil;

    /// A thread that holds a value for longer waits for something.
    const MOMENT: Duration = Duration::from_millis(50);

    /// The value, for one thread.
    pub type Held<'g, T> = MutexGuard<'g, T>;

    /// A value for one thread at a time.
    #[derive(Debug, Default)]
    pub struct Guarded<T>(Mutex<T>);

    impl<T: Send> Guarded<T> {
        /// Guards `value`.
        pub const fn new(value: T) -> Guarded<T> {
            Guarded(Mutex::new(value))
        }

        /// The value, unless another thread waits while it holds it.
        pub fn try_hold(&self, gil: Gil) -> Option<Held<'_, T>> {
            self.0.try_lock().or_else(|| gil.detach(|| self.0.try_lock_for(MOMENT)))
        }

        /// The value, as soon as no other thread holds it.
        pub fn hold(&self, gil: Gil) -> Held<'_, T> {
            self.0.try_lock().unwrap_or_else(|| gil.detach(|| self.0.lock()))
        }

        /// The value, which no other thread can come to now.
        pub fn hold_alone(&self) -> Held<'_, T> {
            self.0.lock()
        }

        /// Runs `body`, which takes a moment and calls nothing that may detach. For values that are reached in no other
        /// way.
        pub fn with<R>(&self, body: impl FnOnce(&mut T) -> R) -> R {
            body(&mut self.0.lock())
        }
    }

    /// Lets one thread at a time through a part of code.
    #[derive(Debug, Default)]
    pub struct OneByOne(Mutex<()>);

    impl OneByOne {
        /// Returns when nobody else is there; the caller is until it drops what this gives.
        pub fn enter(&self, gil: Gil) -> MutexGuard<'_, ()> {
            self.0.try_lock().unwrap_or_else(|| gil.detach(|| self.0.lock()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_alone_holds_the_value() {
        let guarded = Guarded::new(1);
        *guarded.hold_alone() += 1;
        guarded.with(|value| *value += 1);
        assert_eq!(*guarded.hold_alone(), 3);
    }
}
