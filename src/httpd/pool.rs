//! APR pools: the owners of everything that httpd hands out.

use std::ffi::{CString, c_char, c_void};
use std::marker::PhantomData;
use std::sync::atomic::{AtomicPtr, Ordering};

use super::bindings;

/// A pool that lives at least as long as `'p`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pool<'p> {
    raw: *mut bindings::apr_pool_t,
    life: PhantomData<&'p ()>,
}

impl<'p> Pool<'p> {
    /// # Safety
    /// `raw` is a pool that is not destroyed or cleared for `'p`.
    pub(crate) unsafe fn from_raw(raw: *mut bindings::apr_pool_t) -> Self {
        Pool { raw, life: PhantomData }
    }

    /// For calls of httpd.
    pub(crate) fn raw(self) -> *mut bindings::apr_pool_t {
        self.raw
    }

    /// A C string in the pool. What follows a NUL byte is left out: httpd could not see it.
    pub(crate) fn string(self, text: &[u8]) -> *mut c_char {
        let end = text.iter().position(|byte| *byte == 0).unwrap_or(text.len());
        // SAFETY: the pool is valid and `end` bytes can be read.
        unsafe { bindings::apr_pstrmemdup(self.raw, text.as_ptr().cast(), end as bindings::apr_size_t) }
    }

    /// Gives `value` to the pool, which drops it when it is cleared.
    pub(crate) fn own<T: 'static>(self, value: T) -> *mut T {
        let raw = Box::into_raw(Box::new(value));
        // SAFETY: the pool is valid; `release` matches the pointer's type and runs once.
        unsafe {
            bindings::apr_pool_cleanup_register(
                self.raw,
                raw.cast(),
                Some(release::<T>),
                Some(bindings::apr_pool_cleanup_null),
            );
        }
        raw
    }

    /// As [`Pool::own`], and puts the value's address into `place` for as long as the value lives; [`shared`] looks
    /// there.
    pub(crate) fn publish<T: 'static>(self, place: &'static AtomicPtr<T>, value: T) {
        struct Forget<T: 'static>(&'static AtomicPtr<T>);
        impl<T> Drop for Forget<T> {
            fn drop(&mut self) {
                self.0.store(std::ptr::null_mut(), Ordering::Release);
            }
        }
        place.store(self.own(value), Ordering::Release);
        // The pool runs its cleanups last in, first out: nobody finds the value while it is dropped.
        self.own(Forget(place));
    }

    /// The value that [`Pool::keep`] put under `key`.
    pub(crate) fn kept(self, key: &str) -> *mut c_void {
        let key = CString::new(key).unwrap_or_default();
        let mut found: *mut c_void = std::ptr::null_mut();
        // SAFETY: pool, key and the place for the answer are valid.
        unsafe { bindings::apr_pool_userdata_get(&raw mut found, key.as_ptr(), self.raw) };
        found
    }

    /// Keeps a pointer under `key` without any cleanup: it outlives the module's own image.
    pub(crate) fn keep(self, key: &str, value: *mut c_void) {
        let key = self.string(key.as_bytes());
        // SAFETY: pool and key are valid; no cleanup is registered.
        unsafe { bindings::apr_pool_userdata_setn(value, key, None, self.raw) };
    }
}

/// # Safety
/// `value` came from `Box::into_raw` in [`Pool::own`] with the same type, and this is its only release.
unsafe extern "C" fn release<T>(value: *mut c_void) -> bindings::apr_status_t {
    super::guard::guard(
        (),
        |_| {},
        || {
            // SAFETY: the function's contract.
            drop(unsafe { Box::from_raw(value.cast::<T>()) });
        },
    );
    0
}

/// The value behind a static that holds the address of something [`Pool::own`] took, or null.
pub(crate) fn shared<T>(place: &AtomicPtr<T>) -> Option<&'static T> {
    // SAFETY: the owner of the static clears it before the pool drops the value; httpd clears the
    // configuration's pool only when no hook of the module runs.
    unsafe { place.load(Ordering::Acquire).as_ref() }
}
