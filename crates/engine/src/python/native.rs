//! What every function needs that Python calls: a guard against panics, its arguments, and its entry in a table.

#![allow(clippy::multiple_unsafe_ops_per_block)] // A call and the claim on its result are one step.

use core::ffi::CStr;
use core::{mem, ptr, slice};
use std::panic::{self, AssertUnwindSafe};

use pyo3::ffi;

use crate::python::py::{Any, Gil, Kind, Owned, Raised, Res};

/// A table that Python reads and never writes.
#[repr(transparent)]
pub struct Table<T>(pub T);

// SAFETY: constant data; the pointers in it are to constants and functions.
unsafe impl<T> Sync for Table<T> {}

/// Runs the body of a function that Python calls. A panic becomes an exception.
pub fn guard<T>(on_error: T, body: impl FnOnce(Gil) -> Res<T>) -> T {
    // SAFETY: Python calls its functions attached.
    let gil = unsafe { Gil::assume() };
    match panic::catch_unwind(AssertUnwindSafe(|| body(gil))) {
        Ok(Ok(value)) => value,
        Ok(Err(Raised)) => on_error,
        Err(payload) => {
            mem::forget(payload);
            gil.raise(Kind::Runtime, "internal error of mod_wsgi");
            on_error
        }
    }
}

/// As [`guard`], for functions that return an object.
pub fn guard_object(body: impl FnOnce(Gil) -> Res<Owned>) -> *mut ffi::PyObject {
    guard(ptr::null_mut(), |gil| body(gil).map(Owned::into_ptr))
}

/// The arguments of a METH_FASTCALL function.
///
/// # Safety
/// As Python passes them; they are alive while the result is used.
pub unsafe fn arguments<'a>(args: *mut *mut ffi::PyObject, count: ffi::Py_ssize_t) -> &'a [&'a Any] {
    if count == 0 {
        return &[];
    }
    // SAFETY: `count` pointers to objects, none null; `&Any` is such a pointer.
    unsafe { slice::from_raw_parts(args.cast(), count.unsigned_abs()) }
}

/// A METH_FASTCALL entry of a method table.
pub const fn fast(name: &'static CStr, function: ffi::PyCFunctionFast) -> ffi::PyMethodDef {
    ffi::PyMethodDef {
        ml_name: name.as_ptr(),
        ml_meth: ffi::PyMethodDefPointer { PyCFunctionFast: function },
        ml_flags: ffi::METH_FASTCALL,
        ml_doc: ptr::null(),
    }
}

/// An entry of a method table for a function of no or one argument.
pub const fn plain(name: &'static CStr, function: ffi::PyCFunction, flags: i32) -> ffi::PyMethodDef {
    ffi::PyMethodDef {
        ml_name: name.as_ptr(),
        ml_meth: ffi::PyMethodDefPointer { PyCFunction: function },
        ml_flags: flags,
        ml_doc: ptr::null(),
    }
}

/// A built-in function bound to `slf`.
pub fn bound(definition: &'static ffi::PyMethodDef, slf: *mut ffi::PyObject) -> Res<Owned> {
    let definition = ptr::from_ref(definition).cast_mut();
    // SAFETY: a constant definition, which Python does not write to, and an object that is alive or null.
    unsafe { Owned::from_new(ffi::PyCFunction_NewEx(definition, slf, ptr::null_mut())) }
}
