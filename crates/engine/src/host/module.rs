//! The extension module that the `python` of a daemon process imports.

use core::ptr;
use std::ffi::CString;

use pyo3::ffi;

use crate::host::daemon;
use crate::python::native::{Table, guard_object, plain};
use crate::python::py;
use crate::python::py::Raised;

unsafe extern "C" fn serve(_slf: *mut ffi::PyObject, fd: *mut ffi::PyObject) -> *mut ffi::PyObject {
    guard_object(|gil| {
        // SAFETY: as Python passes it.
        let fd = unsafe { gil.borrow(fd) }.ok_or(Raised)?.as_i64()?;
        gil.int(daemon::serve(gil, i32::try_from(fd).unwrap_or(-1)).into())
    })
}

static MODULE_METHODS: Table<[ffi::PyMethodDef; 2]> =
    Table([plain(c"serve", serve, ffi::METH_O), ffi::PyMethodDef::zeroed()]);

/// The end of the slots.
const LAST: ffi::PyModuleDef_Slot = ffi::PyModuleDef_Slot { slot: 0, value: ptr::null_mut() };

#[cfg(not(Py_GIL_DISABLED))]
static MODULE_SLOTS: Table<[ffi::PyModuleDef_Slot; 1]> = Table([LAST]);

/// Without this, the import would switch the GIL on.
#[cfg(Py_GIL_DISABLED)]
static MODULE_SLOTS: Table<[ffi::PyModuleDef_Slot; 2]> =
    Table([ffi::PyModuleDef_Slot { slot: ffi::Py_mod_gil, value: ffi::Py_MOD_GIL_NOT_USED }, LAST]);

/// Python writes to it during the one import; nobody else touches it.
static mut MODULE: ffi::PyModuleDef = ffi::PyModuleDef {
    m_base: ffi::PyModuleDef_HEAD_INIT,
    m_name: c"_mod_wsgi_engine".as_ptr(),
    m_doc: c"Serves WSGI requests of Apache httpd in this process.".as_ptr(),
    m_size: 0,
    m_methods: (&raw const MODULE_METHODS).cast_mut().cast(),
    m_slots: (&raw const MODULE_SLOTS).cast_mut().cast(),
    m_traverse: None,
    m_clear: None,
    m_free: None,
};

/// The extension module's entry (multi-phase initialisation).
///
/// # Safety
/// Called by Python's import, attached.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PyInit__mod_wsgi_engine() -> *mut ffi::PyObject {
    if let Err(why) = py::check_build() {
        let text = CString::new(why).unwrap_or_default();
        // SAFETY: Python sets it once, before it imports anything.
        let kind = unsafe { ffi::PyExc_ImportError };
        // SAFETY: attached, by contract; the text is a C string, which Python copies.
        unsafe { ffi::PyErr_SetString(kind, text.as_ptr()) };
        return ptr::null_mut();
    }
    let definition = &raw mut MODULE;
    // SAFETY: the definition lives as long as the process.
    unsafe { ffi::PyModuleDef_Init(definition) }
}
