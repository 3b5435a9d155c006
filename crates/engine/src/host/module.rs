//! The extension module that the `python` of a daemon process imports.

use core::ptr;

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

static MODULE_SLOTS: Table<[ffi::PyModuleDef_Slot; 1]> =
    Table([ffi::PyModuleDef_Slot { slot: 0, value: ptr::null_mut() }]);

/// Python writes to it, with the GIL held; nobody else touches it.
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
    if py::is_free_threaded() {
        // SAFETY: Python sets it once, before it imports anything.
        let kind = unsafe { ffi::PyExc_ImportError };
        // SAFETY: attached, by contract; the text is a C string.
        unsafe { ffi::PyErr_SetString(kind, c"free-threaded Python is not supported".as_ptr()) };
        return ptr::null_mut();
    }
    let definition = &raw mut MODULE;
    // SAFETY: the definition lives as long as the process.
    unsafe { ffi::PyModuleDef_Init(definition) }
}
