//! Python's C API in the few safe forms that the engine needs.
//!
//! A [`Gil`] says that the calling thread is attached to an interpreter. In free-threaded Python other threads may be
//! attached at the same time. `&Any` is a borrowed
//! reference, [`Owned`] an owned one, [`Raised`] says that Python's error indicator is set. None of
//! them may leave the thread, nor the interpreter in which they were made; only [`Stored`] may, and
//! it gives its object to a thread that shows a `Gil`. Reference counts change through functions of
//! the stable ABI, because their layout differs between versions.

#![allow(clippy::multiple_unsafe_ops_per_block)] // A call and the claim on its result are one step.

use core::cell::UnsafeCell;
use core::ffi::{CStr, c_char, c_long, c_void};
use core::marker::PhantomData;
use core::ops::Deref;
use core::ptr::{self, NonNull};

use pyo3::ffi;

use crate::python::waits;

/// Python's error indicator is set in this thread.
#[derive(Debug)]
pub struct Raised;

/// A value, or Python's error indicator.
pub type Res<T> = Result<T, Raised>;

/// The calling thread is attached to an interpreter, and holds its GIL if it has one; other interpreters may share that.
#[derive(Debug, Clone, Copy)]
pub struct Gil(PhantomData<*mut ()>);

/// A Python object, behind a reference that does not own it.
#[repr(transparent)]
pub struct Any(pub(crate) UnsafeCell<ffi::PyObject>);

/// A reference that is given back when dropped, which must happen attached.
pub struct Owned(pub(crate) NonNull<Any>);

/// A reference kept in an interpreter's record for the interpreter's life; never given back.
pub struct Stored(NonNull<Any>);

// SAFETY: the object is only reached through `get`, whose caller is attached.
unsafe impl Send for Stored {}
// SAFETY: as above.
unsafe impl Sync for Stored {}

/// None of these may go to another thread, nor into the body of [`Gil::detach`]: this does not compile if one is `Send`,
/// as `check` is then ambiguous.
const _: () = {
    struct IsSend;
    trait NotSend<Which> {
        fn check() {}
    }
    impl<T> NotSend<()> for T {}
    impl<T: Send> NotSend<IsSend> for T {}
    let _ = <Gil as NotSend<_>>::check;
    let _ = <&Gil as NotSend<_>>::check;
    let _ = <&Any as NotSend<_>>::check;
    let _ = <Owned as NotSend<_>>::check;
    let _ = <&Owned as NotSend<_>>::check;
};

impl Stored {
    /// The object. The caller is attached to the interpreter that it belongs to.
    pub fn get(&self, _gil: Gil) -> &Any {
        // SAFETY: the reference is owned and never given back; the thread is attached.
        unsafe { self.0.as_ref() }
    }
}

impl Deref for Owned {
    type Target = Any;

    fn deref(&self) -> &Any {
        // SAFETY: this value owns a reference, and exists attached only.
        unsafe { self.0.as_ref() }
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        // SAFETY: gives back the one reference that this value owns; the thread is attached.
        unsafe { ffi::Py_DecRef(self.0.as_ptr().cast()) }
    }
}

impl Owned {
    /// Takes the result of a function that returns a new reference.
    ///
    /// # Safety
    /// `object` is a reference that the caller owns, or null with the error indicator set.
    pub unsafe fn from_new(object: *mut ffi::PyObject) -> Res<Owned> {
        NonNull::new(object.cast()).map(Owned).ok_or(Raised)
    }

    /// Gives the reference to the caller.
    pub fn into_ptr(self) -> *mut ffi::PyObject {
        let object = self.0.as_ptr().cast();
        core::mem::forget(self);
        object
    }

    /// Keeps the reference for the life of the interpreter.
    pub fn store(self) -> Stored {
        let object = self.0;
        core::mem::forget(self);
        Stored(object)
    }
}

impl Stored {
    /// Gives the reference back to the caller, to be dropped.
    pub fn release(self, _gil: Gil) -> Owned {
        Owned(self.0)
    }
}

/// 0, or the error indicator.
pub(crate) fn done(status: i32) -> Res<()> {
    if status < 0 { Err(Raised) } else { Ok(()) }
}

impl Gil {
    /// # Safety
    /// The calling thread is attached, and stays so while the value is used.
    pub unsafe fn assume() -> Gil {
        Gil(PhantomData)
    }

    /// Runs `body` without the GIL. It cannot touch Python objects: neither they nor a `Gil` are [`Send`], so it cannot
    /// take one with it. (PyO3 draws the same line. A thread-local could pass it; none of ours holds an object.)
    pub fn detach<T>(self, body: impl FnOnce() -> T + Send) -> T {
        struct Attach(*mut ffi::PyThreadState);
        impl Drop for Attach {
            fn drop(&mut self) {
                let began = waits::begin(false);
                // SAFETY: the thread state that this thread saved below.
                unsafe { ffi::PyEval_RestoreThread(self.0) }
                waits::end(began);
            }
        }
        // A thread that detaches may wait for long, so let the next one have its turn.
        crate::python::turn::end();
        // SAFETY: the thread is attached, as `self` says.
        let _attach = Attach(unsafe { ffi::PyEval_SaveThread() });
        body()
    }

    /// The interpreter to which the thread is attached: the address of Python's record of it.
    pub fn interpreter(self) -> usize {
        // SAFETY: the thread is attached.
        unsafe { ffi::PyInterpreterState_Get() }.addr()
    }

    /// The address of the thread's state.
    pub fn thread_state(self) -> usize {
        // SAFETY: the thread is attached.
        unsafe { ffi::PyThreadState_Get() }.addr()
    }

    /// A borrowed reference as a C function of ours receives it.
    ///
    /// # Safety
    /// `object` is alive while the result is used.
    pub unsafe fn borrow<'a>(self, object: *mut ffi::PyObject) -> Option<&'a Any> {
        // SAFETY: alive by contract; `Any` is the object's transparent wrapper.
        unsafe { object.cast::<Any>().as_ref() }
    }

    /// `None`.
    pub fn none(self) -> Owned {
        // SAFETY: `None` lives as long as Python.
        let none = unsafe { &*ffi::Py_None().cast::<Any>() };
        none.new_ref()
    }

    /// A capsule without a name.
    pub fn capsule(self, pointer: NonNull<c_void>) -> Res<Owned> {
        // SAFETY: not null; Python keeps the pointer and does not look behind it.
        unsafe { Owned::from_new(ffi::PyCapsule_New(pointer.as_ptr(), ptr::null(), None)) }
    }

    /// A `bytes` object.
    pub fn bytes(self, bytes: &[u8]) -> Res<Owned> {
        // SAFETY: pointer and length are those of a slice; Python copies it.
        unsafe { Owned::from_new(ffi::PyBytes_FromStringAndSize(bytes.as_ptr().cast(), signed(bytes.len()))) }
    }

    /// A `str` of UTF-8 text.
    pub fn str(self, text: &str) -> Res<Owned> {
        // SAFETY: pointer and length are those of a `str`; Python copies it.
        unsafe { Owned::from_new(ffi::PyUnicode_FromStringAndSize(text.as_ptr().cast(), signed(text.len()))) }
    }

    /// An interned `str`.
    pub fn interned(self, text: &CStr) -> Res<Owned> {
        // SAFETY: a C string; Python copies it.
        unsafe { Owned::from_new(ffi::PyUnicode_InternFromString(text.as_ptr())) }
    }

    /// A `str` whose characters are the bytes.
    pub fn latin1(self, bytes: &[u8]) -> Res<Owned> {
        // SAFETY: pointer and length are those of a slice; Python copies it.
        unsafe { Owned::from_new(ffi::PyUnicode_DecodeLatin1(bytes.as_ptr().cast(), signed(bytes.len()), ptr::null())) }
    }

    /// A `str` as Python names files.
    pub fn path(self, bytes: &[u8]) -> Res<Owned> {
        // SAFETY: pointer and length are those of a slice; Python copies it.
        unsafe { Owned::from_new(ffi::PyUnicode_DecodeFSDefaultAndSize(bytes.as_ptr().cast(), signed(bytes.len()))) }
    }

    /// An `int`.
    pub fn int(self, number: i64) -> Res<Owned> {
        // SAFETY: takes its argument by value.
        unsafe { Owned::from_new(ffi::PyLong_FromLongLong(number)) }
    }

    /// A `float`.
    pub fn float(self, number: f64) -> Res<Owned> {
        // SAFETY: takes its argument by value.
        unsafe { Owned::from_new(ffi::PyFloat_FromDouble(number)) }
    }

    /// A `bool`.
    pub fn bool(self, value: bool) -> Res<Owned> {
        // SAFETY: takes its argument by value.
        unsafe { Owned::from_new(ffi::PyBool_FromLong(value.into())) }
    }

    /// An empty `dict`.
    pub fn dict(self) -> Res<Owned> {
        // SAFETY: no arguments.
        unsafe { Owned::from_new(ffi::PyDict_New()) }
    }

    /// An empty `list`.
    pub fn list(self) -> Res<Owned> {
        // SAFETY: no pointer is passed.
        unsafe { Owned::from_new(ffi::PyList_New(0)) }
    }

    /// The module of this name.
    pub fn import(self, name: &CStr) -> Res<Owned> {
        // SAFETY: a C string.
        unsafe { Owned::from_new(ffi::PyImport_ImportModule(name.as_ptr())) }
    }

    /// Runs `source` as a module's body with `namespace` as globals.
    pub fn exec(self, source: &CStr, file: &CStr, namespace: &Any) -> Res<()> {
        // SAFETY: C strings.
        let code =
            unsafe { Owned::from_new(ffi::Py_CompileString(source.as_ptr(), file.as_ptr(), ffi::Py_file_input)) }?;
        let globals = namespace.as_ptr();
        // SAFETY: a code object and a dict, both alive.
        unsafe { Owned::from_new(ffi::PyEval_EvalCode(code.as_ptr(), globals, globals)) }.map(drop)
    }

    /// Sets the error indicator to an exception of a built-in type.
    pub fn raise(self, kind: Kind, text: &str) -> Raised {
        if let Ok(text) = self.str(text) {
            // SAFETY: both objects are alive.
            unsafe { ffi::PyErr_SetObject(kind.object(), text.as_ptr()) };
        }
        Raised
    }

    /// Sets the error indicator to an exception that was caught: type, value, traceback.
    #[allow(deprecated, reason = "what takes its place came with Python 3.12")]
    pub fn raise_again(self, kind: Owned, value: Owned, traceback: Owned) -> Raised {
        let traceback = if traceback.is_none() { ptr::null_mut() } else { traceback.into_ptr() };
        // SAFETY: three references that the callee takes over.
        unsafe { ffi::PyErr_Restore(kind.into_ptr(), value.into_ptr(), traceback) };
        Raised
    }

    /// Makes Python raise `exception`, a type, in the thread of this Python number, when that thread next runs Python
    /// code in the interpreter that the calling thread is attached to.
    pub fn raise_in_thread(self, ident: u64, exception: &Any) {
        // The bindings have the parameter, an unsigned long, as a signed one.
        // SAFETY: attached; Python takes a reference of its own.
        unsafe { ffi::PyThreadState_SetAsyncExc(ident as c_long, exception.as_ptr()) };
    }

    /// Takes back what [`Gil::raise_in_thread`] asked for, if it has not happened.
    pub fn raise_nothing_in_thread(self, ident: u64) {
        // SAFETY: attached; null takes back.
        unsafe { ffi::PyThreadState_SetAsyncExc(ident as c_long, ptr::null_mut()) };
    }

    /// Takes the exception out of the error indicator, normalised: type, value, traceback.
    #[allow(deprecated, reason = "what takes its place came with Python 3.12")]
    pub fn fetch(self, _raised: Raised) -> Exception {
        let (mut kind, mut value, mut traceback) = (ptr::null_mut(), ptr::null_mut(), ptr::null_mut());
        // SAFETY: three places to write owned references or null to.
        unsafe { ffi::PyErr_Fetch(&mut kind, &mut value, &mut traceback) };
        // SAFETY: the three as they were fetched.
        unsafe { ffi::PyErr_NormalizeException(&mut kind, &mut value, &mut traceback) };
        // SAFETY: owned or null.
        let take = |object| unsafe { Owned::from_new(object) }.unwrap_or_else(|Raised| self.none());
        Exception { kind: take(kind), value: take(value), traceback: take(traceback) }
    }
}

/// An exception that was taken out of the error indicator.
pub struct Exception {
    /// Its type.
    pub kind: Owned,
    /// The instance, or `None`.
    pub value: Owned,
    /// The traceback, or `None`.
    pub traceback: Owned,
}

impl Exception {
    /// Whether it is of this type or one derived from it.
    pub fn is(&self, kind: Kind) -> bool {
        // SAFETY: an exception and a type, both alive.
        unsafe { ffi::PyErr_GivenExceptionMatches(self.value.as_ptr(), kind.object()) != 0 }
    }
}

/// Built-in exception types that the engine raises or asks for.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// `TypeError`
    Type,
    /// `ValueError`
    Value,
    /// `RuntimeError`
    Runtime,
    /// `OSError`
    Os,
    /// `SystemExit`
    SystemExit,
}

impl Kind {
    fn object(self) -> *mut ffi::PyObject {
        // SAFETY: Python's own statics, set before any code of ours runs.
        unsafe {
            match self {
                Kind::Type => ffi::PyExc_TypeError,
                Kind::Value => ffi::PyExc_ValueError,
                Kind::Runtime => ffi::PyExc_RuntimeError,
                Kind::Os => ffi::PyExc_OSError,
                Kind::SystemExit => ffi::PyExc_SystemExit,
            }
        }
    }
}

/// A length as Python counts.
pub fn signed(len: usize) -> ffi::Py_ssize_t {
    ffi::Py_ssize_t::try_from(len).unwrap_or(ffi::Py_ssize_t::MAX)
}

/// Python's version text, which is there before it is initialised.
pub fn version() -> &'static CStr {
    // SAFETY: takes nothing.
    let text: *const c_char = unsafe { ffi::Py_GetVersion() };
    // SAFETY: a constant C string of Python's.
    unsafe { CStr::from_ptr(text) }
}

/// Whether this is a free-threaded build, whose objects look different.
pub fn is_free_threaded() -> bool {
    version().to_string_lossy().contains("free-threading")
}

/// Whether this engine is made for the Python that runs.
///
/// # Errors
/// A clause that says what it is made for.
pub fn check_build() -> Result<(), String> {
    let own = env!("WSGI_ENGINE_PYTHON");
    match (is_free_threaded(), cfg!(Py_GIL_DISABLED)) {
        (true, false) => Err("this engine is not for free-threaded Python, which needs one of its own".to_owned()),
        (false, true) => Err(format!("this engine is for free-threaded Python {own} only")),
        (true, true) if !version().to_string_lossy().starts_with(&format!("{own}.")) => {
            Err(format!("this engine is for free-threaded Python {own}, and for no other version"))
        }
        _ => Ok(()),
    }
}

/// Set once Python has started without its GIL.
#[cfg(Py_GIL_DISABLED)]
static RUNS_FREE: core::sync::atomic::AtomicBool = core::sync::atomic::AtomicBool::new(false);

/// Whether threads run Python side by side. It stays as it was when Python started.
pub fn runs_free() -> bool {
    #[cfg(Py_GIL_DISABLED)]
    return RUNS_FREE.load(core::sync::atomic::Ordering::Relaxed);
    #[cfg(not(Py_GIL_DISABLED))]
    false
}

impl Gil {
    /// Finds out what [`runs_free`] is to say. Python has started, and no code of an application has run.
    pub fn learn_whether_free(self) -> Res<()> {
        #[cfg(Py_GIL_DISABLED)]
        {
            let is_enabled = self.import(c"sys")?.getattr(c"_is_gil_enabled")?.call0()?.truth()?;
            RUNS_FREE.store(!is_enabled, core::sync::atomic::Ordering::Relaxed);
        }
        Ok(())
    }
}

/// Whether Python is older than this.
pub fn version_before(major: u32, minor: u32) -> bool {
    let text = version().to_string_lossy().into_owned();
    let mut numbers = text.split(['.', ' ', '+']).map_while(|part| part.parse::<u32>().ok());
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) < (major, minor)
}
