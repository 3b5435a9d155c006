//! What can be done with a Python object: attributes, calls, iteration, and its contents as bytes, text or number.

#![allow(clippy::multiple_unsafe_ops_per_block)] // A call and the claim on its result are one step.

use core::ffi::CStr;
use core::ptr::{self, NonNull};
use core::slice;

use pyo3::ffi;

use crate::python::py::{Any, Exception, Gil, Owned, Raised, Res, done, signed};

impl Any {
    /// The pointer, for a function of the C API.
    pub fn as_ptr(&self) -> *mut ffi::PyObject {
        self.0.get()
    }

    /// One more reference.
    pub fn new_ref(&self) -> Owned {
        // SAFETY: alive, and the thread is attached, as `&Any` exists attached only.
        unsafe { ffi::Py_IncRef(self.as_ptr()) };
        Owned(NonNull::from(self))
    }

    /// The address of its type.
    fn kind(&self) -> *mut ffi::PyTypeObject {
        // SAFETY: an object that is alive.
        unsafe { ffi::Py_TYPE(self.as_ptr()) }
    }

    /// Whether it is `None`.
    pub fn is_none(&self) -> bool {
        // SAFETY: only the address of `None` is taken.
        self.as_ptr() == unsafe { ffi::Py_None() }
    }

    /// Whether both are the same object.
    pub fn is(&self, other: &Any) -> bool {
        ptr::eq(self, other)
    }

    /// `isinstance(self, kind)`.
    pub fn is_instance(&self, kind: &Any) -> Res<bool> {
        // SAFETY: both are alive.
        let found = unsafe { ffi::PyObject_IsInstance(self.as_ptr(), kind.as_ptr()) };
        done(found).map(|()| found == 1)
    }

    /// `str(object)`, or what can be said instead.
    pub fn text(&self, gil: Gil) -> String {
        let text = self.getattr(c"__str__").and_then(|method| method.call0());
        match text {
            Ok(text) => text.utf8(gil).unwrap_or("?").to_owned(),
            Err(raised) => {
                drop(gil.fetch(raised));
                "?".to_owned()
            }
        }
    }

    /// The name of its type, for messages.
    pub fn type_name(&self, gil: Gil) -> String {
        // SAFETY: a type is an object that is alive.
        let kind = unsafe { gil.borrow(self.kind().cast()) };
        let name = kind.ok_or(Raised).and_then(|kind| kind.getattr(c"__name__"));
        match name {
            Ok(name) => name.utf8(gil).unwrap_or("object").to_owned(),
            Err(raised) => {
                gil.fetch(raised);
                "object".to_owned()
            }
        }
    }

    /// `self.name`.
    pub fn getattr(&self, name: &CStr) -> Res<Owned> {
        // SAFETY: the object is alive, the name a C string.
        unsafe { Owned::from_new(ffi::PyObject_GetAttrString(self.as_ptr(), name.as_ptr())) }
    }

    /// `self.name`, or nothing when there is no such attribute.
    pub fn find_attr(&self, gil: Gil, name: &Any) -> Res<Option<Owned>> {
        // SAFETY: both objects are alive.
        match unsafe { Owned::from_new(ffi::PyObject_GetAttr(self.as_ptr(), name.as_ptr())) } {
            Ok(found) => Ok(Some(found)),
            // SAFETY: Python's own static.
            Err(raised) => match unsafe { ffi::PyErr_ExceptionMatches(ffi::PyExc_AttributeError) } {
                0 => Err(raised),
                _ => {
                    gil.fetch(raised);
                    Ok(None)
                }
            },
        }
    }

    /// `self(*arguments)`.
    pub fn call(&self, arguments: &[&Any]) -> Res<Owned> {
        let tuple = tuple(arguments)?;
        // SAFETY: both are alive.
        unsafe { Owned::from_new(ffi::PyObject_CallObject(self.as_ptr(), tuple.as_ptr())) }
    }

    /// `self(*arguments, **named)`.
    pub fn call_named(&self, arguments: &[&Any], named: &Any) -> Res<Owned> {
        let tuple = tuple(arguments)?;
        // SAFETY: all three are alive; the callee checks that the last one is a dict.
        unsafe { Owned::from_new(ffi::PyObject_Call(self.as_ptr(), tuple.as_ptr(), named.as_ptr())) }
    }

    /// `self()`.
    pub fn call0(&self) -> Res<Owned> {
        // SAFETY: alive; null stands for no arguments.
        unsafe { Owned::from_new(ffi::PyObject_CallObject(self.as_ptr(), ptr::null_mut())) }
    }

    /// `self(first, second)` without a tuple in between.
    pub fn call2(&self, first: &Any, second: &Any) -> Res<Owned> {
        let end = ptr::null_mut::<ffi::PyObject>();
        // SAFETY: objects that are alive, ended by null.
        unsafe {
            Owned::from_new(ffi::PyObject_CallFunctionObjArgs(self.as_ptr(), first.as_ptr(), second.as_ptr(), end))
        }
    }

    /// `iter(self)`.
    pub fn iter(&self) -> Res<Owned> {
        // SAFETY: alive.
        unsafe { Owned::from_new(ffi::PyObject_GetIter(self.as_ptr())) }
    }

    /// `next(self)`; nothing at the end.
    pub fn next(&self) -> Res<Option<Owned>> {
        // SAFETY: an iterator that is alive.
        match unsafe { Owned::from_new(ffi::PyIter_Next(self.as_ptr())) } {
            Ok(item) => Ok(Some(item)),
            // SAFETY: only asks for the error indicator.
            Err(raised) if unsafe { !ffi::PyErr_Occurred().is_null() } => Err(raised),
            Err(Raised) => Ok(None),
        }
    }

    /// Whether it is true.
    pub fn truth(&self) -> Res<bool> {
        // SAFETY: alive.
        let truth = unsafe { ffi::PyObject_IsTrue(self.as_ptr()) };
        done(truth).map(|()| truth == 1)
    }

    /// The number, of an `int` or what converts to one.
    pub fn as_i64(&self) -> Res<i64> {
        // SAFETY: alive.
        let number = unsafe { ffi::PyLong_AsLongLong(self.as_ptr()) };
        // SAFETY: only asks for the error indicator.
        if number == -1 && unsafe { !ffi::PyErr_Occurred().is_null() } { Err(Raised) } else { Ok(number) }
    }

    /// The contents, when it is a `bytes`.
    pub fn as_bytes(&self) -> Option<&[u8]> {
        // SAFETY: alive.
        if unsafe { ffi::PyBytes_Check(self.as_ptr()) } == 0 {
            return None;
        }
        // SAFETY: a `bytes`, whose memory does not move.
        let (memory, len) = unsafe { (ffi::PyBytes_AsString(self.as_ptr()), ffi::PyBytes_Size(self.as_ptr())) };
        // SAFETY: memory of that length, never changed while the object is alive.
        Some(unsafe { slice::from_raw_parts(memory.cast(), len.unsigned_abs()) })
    }

    /// The items, when it is exactly a `list` or a `tuple`.
    pub fn as_sequence(&self) -> Option<Sequence<'_>> {
        let (list, tuple) = (&raw mut ffi::PyList_Type, &raw mut ffi::PyTuple_Type);
        let kind = self.kind();
        (kind == list || kind == tuple).then_some(Sequence { object: self, list: kind == list })
    }

    /// The items, when it is a `list` or of a type derived from it.
    pub fn as_list(&self) -> Option<Sequence<'_>> {
        // SAFETY: alive.
        (unsafe { ffi::PyList_Check(self.as_ptr()) } != 0).then_some(Sequence { object: self, list: true })
    }

    /// The items, when it is a `tuple` or of a type derived from it.
    pub fn as_tuple(&self) -> Option<Sequence<'_>> {
        // SAFETY: alive.
        (unsafe { ffi::PyTuple_Check(self.as_ptr()) } != 0).then_some(Sequence { object: self, list: false })
    }

    /// The namespace of a module.
    pub fn module_dict(&self) -> Res<Owned> {
        // SAFETY: alive; the callee checks that this is a module.
        let namespace = unsafe { ffi::PyModule_GetDict(self.as_ptr()) };
        // SAFETY: null, or a borrowed reference that the module keeps.
        unsafe { namespace.cast::<Any>().as_ref() }.map(Any::new_ref).ok_or(Raised)
    }

    /// Whether it is a `str`.
    pub fn is_str(&self) -> bool {
        // SAFETY: alive.
        unsafe { ffi::PyUnicode_Check(self.as_ptr()) != 0 }
    }

    /// The UTF-8 form of a `str`; it lives as long as the object. Nothing, when it has none.
    pub fn utf8(&self, gil: Gil) -> Option<&str> {
        let mut len = 0;
        // SAFETY: checked to be a `str` by the callee, which raises otherwise.
        let memory = unsafe { ffi::PyUnicode_AsUTF8AndSize(self.as_ptr(), &mut len) };
        if memory.is_null() {
            gil.fetch(Raised);
            return None;
        }
        // SAFETY: memory of that length, kept by the object.
        let bytes = unsafe { slice::from_raw_parts(memory.cast(), len.unsigned_abs()) };
        // SAFETY: Python's UTF-8 form of a `str` is valid; one that has none gave null.
        Some(unsafe { core::str::from_utf8_unchecked(bytes) })
    }

    /// Runs `body` with the latin-1 bytes of a `str`.
    pub fn with_latin1<T>(&self, gil: Gil, body: impl FnOnce(&[u8]) -> Res<T>) -> Res<T> {
        match self.utf8(gil) {
            Some(text) if text.is_ascii() => body(text.as_bytes()),
            _ => {
                // SAFETY: alive; raises when it is not a `str`.
                let bytes = unsafe { Owned::from_new(ffi::PyUnicode_AsLatin1String(self.as_ptr())) }?;
                body(bytes.as_bytes().unwrap_or_default())
            }
        }
    }

    /// `self[key] = value` of a dict.
    pub fn set(&self, key: &Any, value: &Any) -> Res<()> {
        // SAFETY: all three are alive; the callee checks that this is a dict.
        done(unsafe { ffi::PyDict_SetItem(self.as_ptr(), key.as_ptr(), value.as_ptr()) })
    }

    /// `self[key] = value` of a dict, with a name as key.
    pub fn set_named(&self, key: &CStr, value: &Any) -> Res<()> {
        // SAFETY: as above, with a C string.
        done(unsafe { ffi::PyDict_SetItemString(self.as_ptr(), key.as_ptr(), value.as_ptr()) })
    }

    /// `self[key]` of a dict, if it is there.
    #[cfg(Py_GIL_DISABLED)]
    pub fn get(&self, key: &Any) -> Res<Option<Owned>> {
        let mut found = ptr::null_mut();
        // SAFETY: both are alive; the callee checks that this is a dict, and writes a reference of ours, or null.
        done(unsafe { ffi::PyDict_GetItemRef(self.as_ptr(), key.as_ptr(), &raw mut found) })?;
        // SAFETY: as said; null is nothing, and no error.
        Ok(unsafe { Owned::from_new(found) }.ok())
    }

    /// `self[key]` of a dict, if it is there.
    #[cfg(not(Py_GIL_DISABLED))]
    pub fn get(&self, key: &Any) -> Res<Option<Owned>> {
        // SAFETY: both are alive; the callee checks that this is a dict.
        let found = unsafe { ffi::PyDict_GetItemWithError(self.as_ptr(), key.as_ptr()) };
        // SAFETY: a borrowed reference that the dict keeps alive until we took our own.
        match unsafe { found.cast::<Any>().as_ref() } {
            Some(found) => Ok(Some(found.new_ref())),
            // SAFETY: only asks for the error indicator.
            None if unsafe { !ffi::PyErr_Occurred().is_null() } => Err(Raised),
            None => Ok(None),
        }
    }

    /// `del self[key]` of a dict.
    pub fn remove(&self, key: &Any) -> Res<()> {
        // SAFETY: both are alive; the callee checks that this is a dict.
        done(unsafe { ffi::PyDict_DelItem(self.as_ptr(), key.as_ptr()) })
    }

    /// A copy of a dict.
    pub fn copy_dict(&self) -> Res<Owned> {
        // SAFETY: alive; the callee checks that this is a dict.
        unsafe { Owned::from_new(ffi::PyDict_Copy(self.as_ptr())) }
    }

    /// A tuple of a list's items.
    pub fn to_tuple(&self) -> Res<Owned> {
        // SAFETY: alive; the callee checks that this is a list.
        unsafe { Owned::from_new(ffi::PyList_AsTuple(self.as_ptr())) }
    }

    /// Appends to a list.
    pub fn append(&self, item: &Any) -> Res<()> {
        // SAFETY: both are alive; the callee checks that this is a list.
        done(unsafe { ffi::PyList_Append(self.as_ptr(), item.as_ptr()) })
    }
}

/// A tuple of these.
fn tuple(items: &[&Any]) -> Res<Owned> {
    // SAFETY: no pointer is passed.
    let tuple = unsafe { Owned::from_new(ffi::PyTuple_New(signed(items.len()))) }?;
    for (at, item) in items.iter().enumerate() {
        // SAFETY: the tuple is new and has this place; it takes the reference.
        unsafe { ffi::PyTuple_SetItem(tuple.as_ptr(), signed(at), item.new_ref().into_ptr()) };
    }
    Ok(tuple)
}

/// Forgets an exception.
#[cfg(Py_GIL_DISABLED)]
fn forget_exception() {
    // SAFETY: attached, as those are who have found one.
    unsafe { ffi::PyErr_Clear() }
}

/// The items of a `list` or `tuple`.
#[derive(Clone, Copy)]
pub struct Sequence<'a> {
    object: &'a Any,
    list: bool,
}

impl Sequence<'_> {
    /// How many there are now.
    pub fn len(&self) -> usize {
        // SAFETY: alive, and of the type that was checked.
        unsafe {
            if self.list { ffi::PyList_Size(self.object.as_ptr()) } else { ffi::PyTuple_Size(self.object.as_ptr()) }
        }
        .unsigned_abs()
    }

    /// The item at `index`, if there is one.
    pub fn item(&self, index: usize) -> Option<Owned> {
        if index >= self.len() {
            return None;
        }
        #[cfg(Py_GIL_DISABLED)]
        if self.list {
            // SAFETY: alive, and of the type that was checked. It raises if another thread has made the list shorter.
            return unsafe { Owned::from_new(ffi::PyList_GetItemRef(self.object.as_ptr(), signed(index))) }
                .inspect_err(|Raised| forget_exception())
                .ok();
        }
        // SAFETY: alive, of the type that was checked, and long enough.
        let item = unsafe {
            if self.list {
                ffi::PyList_GetItem(self.object.as_ptr(), signed(index))
            } else {
                ffi::PyTuple_GetItem(self.object.as_ptr(), signed(index))
            }
        };
        // SAFETY: a borrowed reference, alive while nothing else is run: the GIL is held, or it is a tuple's.
        unsafe { item.cast::<Any>().as_ref() }.map(Any::new_ref)
    }
}

impl Exception {
    /// The exception as one line.
    pub fn brief(&self, gil: Gil) -> String {
        format!("{}: {}", self.value.type_name(gil), self.value.text(gil))
    }
}
