//! A `bytes` object that grows while it is filled. `request::input` reads bodies into it.
//!
//! Python's function that changes the size of a new `bytes` object is no part of the stable ABI, so it is looked up by
//! name. It moves large objects without copying them. Where it is missing they are copied.

#![allow(clippy::multiple_unsafe_ops_per_block)] // A call and the claim on its result are one step.

use core::ffi::{c_int, c_void};
use core::mem::{self, MaybeUninit};
use core::{ptr, slice};
use std::sync::OnceLock;

use pyo3::ffi;

use crate::python::py::{Gil, Owned, Raised, Res, signed};

/// How much memory is made ready, and offered, at a time: what nothing is written to takes no memory of the machine.
const PIECE: usize = 256 << 10;

/// `_PyBytes_Resize`: on failure it gives the object back, sets the pointer to null and raises.
type Resize = unsafe extern "C" fn(*mut *mut ffi::PyObject, ffi::Py_ssize_t) -> c_int;

fn resize_function() -> Option<Resize> {
    static FOUND: OnceLock<Option<Resize>> = OnceLock::new();
    *FOUND.get_or_init(|| {
        // SAFETY: a C string; looks through what is loaded.
        let found = unsafe { libc::dlsym(libc::RTLD_DEFAULT, c"_PyBytes_Resize".as_ptr()) };
        // SAFETY: the function of that name has this type in every Python; null becomes `None`.
        unsafe { mem::transmute::<*mut c_void, Option<Resize>>(found) }
    })
}

/// A `bytes` object that nobody else knows of.
pub struct Growing {
    object: Owned,
    room: usize,
    filled: usize,
    /// So many bytes of its memory have been initialised.
    ready: usize,
}

/// The memory of a [`Growing`], without the object: for a thread that is not attached.
pub struct Filling<'g> {
    memory: &'g mut [MaybeUninit<u8>],
    filled: &'g mut usize,
    ready: &'g mut usize,
}

impl Growing {
    /// Room for `room` bytes; at least one.
    pub fn new(_gil: Gil, room: usize) -> Res<Growing> {
        let room = room.max(1);
        // SAFETY: with a null pointer Python only allocates.
        let object = unsafe { Owned::from_new(ffi::PyBytes_FromStringAndSize(ptr::null(), signed(room))) }?;
        Ok(Growing { object, room, filled: 0, ready: 0 })
    }

    /// How much was written.
    pub fn len(&self) -> usize {
        self.filled
    }

    /// Its memory.
    pub fn memory(&mut self) -> Filling<'_> {
        // SAFETY: a `bytes` object, alive; its memory has `room` bytes, which nobody else knows of as long as `self` is
        // borrowed.
        let memory = unsafe {
            let start = ffi::PyBytes_AsString(self.object.as_ptr()).cast::<MaybeUninit<u8>>();
            slice::from_raw_parts_mut(start, self.room)
        };
        Filling { memory, filled: &mut self.filled, ready: &mut self.ready }
    }

    /// Makes room for `room` bytes in all.
    pub fn grow(self, gil: Gil, room: usize) -> Res<Growing> {
        let (filled, ready, room) = (self.filled, self.ready, room.max(self.room));
        if resize_function().is_some() {
            return Ok(Growing { object: self.resized(gil, room)?, room, filled, ready });
        }
        let mut larger = Growing::new(gil, room)?;
        let mut left = self.written();
        while !left.is_empty() {
            left = &left[larger.memory().write(|part| Ok::<_, Raised>(copy(left, part)))?..];
        }
        Ok(larger)
    }

    /// The object, with what was written.
    pub fn finish(self, gil: Gil) -> Res<Owned> {
        match self.filled {
            filled if filled == self.room => Ok(self.object),
            // What is small is copied sooner than moved.
            filled if filled < 512 || resize_function().is_none() => gil.bytes(self.written()),
            filled => self.resized(gil, filled),
        }
    }

    fn written(&self) -> &[u8] {
        // SAFETY: the memory of the object, which is alive; so much of it was written.
        unsafe {
            let start = ffi::PyBytes_AsString(self.object.as_ptr()).cast::<u8>();
            slice::from_raw_parts(start, self.filled)
        }
    }

    /// The object with another size, not 0. The function has been found.
    fn resized(self, _gil: Gil, size: usize) -> Res<Owned> {
        let Some(resize) = resize_function() else { return Ok(self.object) };
        let mut object = self.object.into_ptr();
        // SAFETY: a `bytes` object with one reference, which is given away here, and whose hash nobody has asked for. What
        // the pointer holds afterwards is one reference, or null with the error indicator set.
        unsafe {
            resize(&raw mut object, signed(size));
            Owned::from_new(object)
        }
    }
}

/// Copies as much as there is, and room for; how much.
pub fn copy(from: &[u8], to: &mut [u8]) -> usize {
    let count = from.len().min(to.len());
    to[..count].copy_from_slice(&from[..count]);
    count
}

impl<'g> Filling<'g> {
    /// Nothing more fits.
    pub fn is_full(&self) -> bool {
        *self.filled == self.memory.len()
    }

    /// Has `write` write to the start of the next piece of memory, and say how much; 0 when it is full.
    ///
    /// # Errors
    /// Those of `write`.
    pub fn write<E>(&mut self, write: impl FnOnce(&mut [u8]) -> Result<usize, E>) -> Result<usize, E> {
        let end = self.memory.len().min(*self.filled + PIECE);
        if end > *self.ready {
            self.memory[*self.ready..end].fill(MaybeUninit::new(0));
            *self.ready = end;
        }
        let part = &mut self.memory[*self.filled..end];
        // SAFETY: all bytes up to `ready` are initialised; `MaybeUninit` has the layout of what it holds.
        let part = unsafe { &mut *(ptr::from_mut(part) as *mut [u8]) };
        let count = write(part)?.min(part.len());
        *self.filled += count;
        Ok(count)
    }

    #[cfg(test)]
    pub fn on(memory: &'g mut [MaybeUninit<u8>], filled: &'g mut usize, ready: &'g mut usize) -> Filling<'g> {
        Filling { memory, filled, ready }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_made_ready_as_it_is_needed_and_what_was_written_stays() {
        let mut memory = vec![MaybeUninit::uninit(); 3 * PIECE];
        let (mut filled, mut ready) = (0, 0);
        let mut filling = Filling::on(&mut memory, &mut filled, &mut ready);
        let mut write = |count: usize| {
            filling.write(|part| {
                let given = part.len();
                assert!(part.iter().all(|byte| *byte == 0));
                part[..count.min(given)].fill(7);
                // Nobody may claim more than there is.
                Ok::<_, ()>(count)
            })
        };
        assert_eq!((write(10), write(PIECE), write(0)), (Ok(10), Ok(PIECE), Ok(0)));
        assert_eq!((*filling.filled, *filling.ready), (PIECE + 10, 2 * PIECE + 10));
        assert_eq!(filling.write(|part| Ok::<_, ()>(part.len() + 1)), Ok(PIECE));
        assert_eq!(filling.write(|_| Err("the client left")), Err("the client left"));
        assert!(!filling.is_full());
        assert_eq!(filling.write(|part| Ok::<_, ()>(part.len())), Ok(PIECE - 10));
        assert!(filling.is_full());
        assert_eq!(filling.write(|part| Ok::<_, ()>(part.len() + 1)), Ok(0));
        // SAFETY: all of it has been initialised.
        let bytes: Vec<u8> = memory.iter().map(|byte| unsafe { byte.assume_init() }).collect();
        assert!(bytes[..10 + PIECE].iter().all(|byte| *byte == 7));
    }
}
