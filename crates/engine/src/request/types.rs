//! What applications call: the type of `wsgi.input`, `start_response`, `write`, and the functions below the log
//! streams. Each function is guarded and then calls safe code.

#![allow(clippy::multiple_unsafe_ops_per_block)] // A call and the claim on its result are one step.

use core::ffi::{CStr, c_void};
use core::{mem, ptr};
use std::pin::Pin;

use pyo3::ffi;
use wsgi_sys::{forked, signal};

use crate::log::PRINTED;
use crate::python::interp::Natives;
use crate::python::interpreters;
use crate::python::native::{Table, arguments, bound, fast, guard, guard_object, plain};
use crate::python::own_gil;
use crate::python::py::{Any, Gil, Kind, Owned, Raised, Res};
use crate::request::events::no_request;
use crate::request::exchange::Exchange;
use crate::request::link::{Link, Use};
use crate::request::metrics::{self, Wanted};
use crate::request::server_metrics;
use crate::request::streams::{emit, flush_all, flush_text, is_logged, with_current, write_text};

/// Layout of `wsgi.input` objects. They are also the `self` of `start_response` and `write`.
#[repr(C)]
struct InputObject {
    base: ffi::PyObject,
    link: Link,
}

/// The error text in a forked process that reads the request's body or answers the request.
const FORKED: &str = "this process was forked by the application: it has no part in the request, which the process \
    that it was forked from answers";

/// The exchange to which `slf`, a `wsgi.input`, leads by `way`. `call` names the call for the error text. The caller
/// has evaluated the arguments before: that may run code of the application, and the request may end meanwhile.
///
/// # Safety
/// `slf` is an `InputObject` that is alive while the result is used.
unsafe fn exchange<'a>(
    gil: Gil,
    slf: *mut ffi::PyObject,
    way: fn(&'a Link, Gil) -> Option<Use<'a>>,
    call: &str,
) -> Res<Use<'a>> {
    // SAFETY: the layout by contract; the object is alive.
    let link = unsafe { &(*slf.cast::<InputObject>()).link };
    way(link, gil).ok_or_else(|| match forked::is_child() {
        true => gil.raise(Kind::Runtime, FORKED),
        false => gil.raise(Kind::Runtime, &format!("{call} after request completed")),
    })
}

/// The optional size argument: nothing, `None` and negative numbers mean "all".
fn size(gil: Gil, name: &str, args: &[&Any]) -> Res<Option<usize>> {
    match args {
        [] => Ok(None),
        [size] if size.is_none() => Ok(None),
        [size] => Ok(usize::try_from(size.as_i64()?).ok()),
        _ => Err(gil.raise(Kind::Type, &format!("{name}() takes at most 1 argument ({} given)", args.len()))),
    }
}

type Reader = fn(&Exchange<'static>, Gil, Option<usize>) -> Res<Owned>;

/// # Safety
/// As Python calls a METH_FASTCALL method of an `InputObject`.
unsafe fn reader(
    slf: *mut ffi::PyObject,
    args: *mut *mut ffi::PyObject,
    count: ffi::Py_ssize_t,
    (name, call): (&str, &str),
    run: Reader,
) -> *mut ffi::PyObject {
    guard_object(|gil| {
        // SAFETY: by this function's contract.
        let limit = size(gil, name, unsafe { arguments(args, count) })?;
        // SAFETY: as above.
        let exchange = unsafe { exchange(gil, slf, Link::reader, call) }?;
        run(&exchange, gil, limit)
    })
}

unsafe extern "C" fn input_read(
    slf: *mut ffi::PyObject,
    args: *mut *mut ffi::PyObject,
    count: ffi::Py_ssize_t,
) -> *mut ffi::PyObject {
    // SAFETY: called by Python as declared in INPUT_METHODS.
    unsafe { reader(slf, args, count, ("read", "read() called on wsgi.input"), Exchange::read) }
}

unsafe extern "C" fn input_readline(
    slf: *mut ffi::PyObject,
    args: *mut *mut ffi::PyObject,
    count: ffi::Py_ssize_t,
) -> *mut ffi::PyObject {
    // SAFETY: called by Python as declared in INPUT_METHODS.
    unsafe { reader(slf, args, count, ("readline", "readline() called on wsgi.input"), Exchange::readline) }
}

unsafe extern "C" fn input_readlines(
    slf: *mut ffi::PyObject,
    args: *mut *mut ffi::PyObject,
    count: ffi::Py_ssize_t,
) -> *mut ffi::PyObject {
    guard_object(|gil| {
        // SAFETY: as Python passes them.
        let hint = size(gil, "readlines", unsafe { arguments(args, count) })?;
        // Before Python 3.12 this may collect garbage, and so run code of the application as well.
        let lines = gil.list()?;
        // SAFETY: called by Python as declared in INPUT_METHODS.
        let exchange = unsafe { exchange(gil, slf, Link::reader, "readlines() called on wsgi.input") }?;
        exchange.readlines(gil, &lines, hint)?;
        drop(exchange);
        Ok(lines)
    })
}

unsafe extern "C" fn input_close(_slf: *mut ffi::PyObject, _: *mut ffi::PyObject) -> *mut ffi::PyObject {
    guard_object(|gil| Ok(gil.none()))
}

unsafe extern "C" fn input_iter(slf: *mut ffi::PyObject) -> *mut ffi::PyObject {
    guard_object(|gil| {
        // SAFETY: Python passes an object that is alive.
        unsafe { gil.borrow(slf) }.map(Any::new_ref).ok_or(Raised)
    })
}

unsafe extern "C" fn input_next(slf: *mut ffi::PyObject) -> *mut ffi::PyObject {
    guard(ptr::null_mut(), |gil| {
        // SAFETY: Python calls this for its own type only.
        let exchange = unsafe { exchange(gil, slf, Link::reader, "iteration of wsgi.input attempted") }?;
        Ok(exchange.next_line(gil)?.map_or(ptr::null_mut(), Owned::into_ptr))
    })
}

unsafe extern "C" fn start_response(
    slf: *mut ffi::PyObject,
    args: *mut *mut ffi::PyObject,
    count: ffi::Py_ssize_t,
) -> *mut ffi::PyObject {
    guard_object(|gil| {
        // SAFETY: bound to an `InputObject` by `start_response_of`; called as declared.
        let exchange = unsafe { exchange(gil, slf, Link::writer, "start_response() called") }?;
        // SAFETY: as Python passes them.
        match unsafe { arguments(args, count) } {
            [status, headers] => exchange.start(gil, status, headers, None)?,
            [status, headers, exc_info] => exchange.start(gil, status, headers, Some(exc_info))?,
            other => {
                let limit = if other.len() < 2 { "at least 2" } else { "at most 3" };
                let text = format!("start_response() takes {limit} arguments ({} given)", other.len());
                return Err(gil.raise(Kind::Type, &text));
            }
        }
        bound(&WRITE.0, slf)
    })
}

unsafe extern "C" fn write(slf: *mut ffi::PyObject, data: *mut ffi::PyObject) -> *mut ffi::PyObject {
    guard_object(|gil| {
        // SAFETY: bound to an `InputObject` by `start_response`.
        let exchange = unsafe { exchange(gil, slf, Link::writer, "write() called") }?;
        // SAFETY: as Python passes it.
        let data = unsafe { gil.borrow(data) }.ok_or(Raised)?;
        exchange.write(gil, data)?;
        Ok(gil.none())
    })
}

/// The number of a log stream, or a level, and what is written to it.
fn stream<'a>(gil: Gil, args: &[&'a Any]) -> Res<(usize, &'a Any)> {
    match args {
        [stream, data] => Ok((usize::try_from(stream.as_i64()?).unwrap_or(0), data)),
        [stream] => Ok((usize::try_from(stream.as_i64()?).unwrap_or(0), stream)),
        _ => Err(gil.raise(Kind::Type, "stream and bytes expected")),
    }
}

unsafe extern "C" fn log_write(
    _slf: *mut ffi::PyObject,
    args: *mut *mut ffi::PyObject,
    count: ffi::Py_ssize_t,
) -> *mut ffi::PyObject {
    guard_object(|gil| {
        // SAFETY: as Python passes them.
        let (stream, data) = stream(gil, unsafe { arguments(args, count) })?;
        write_text(gil, stream, data.as_bytes().unwrap_or_default());
        Ok(gil.none())
    })
}

unsafe extern "C" fn log_flush(
    _slf: *mut ffi::PyObject,
    args: *mut *mut ffi::PyObject,
    count: ffi::Py_ssize_t,
) -> *mut ffi::PyObject {
    guard_object(|gil| {
        // SAFETY: as Python passes them.
        let (stream, _) = stream(gil, unsafe { arguments(args, count) })?;
        flush_text(gil, stream);
        Ok(gil.none())
    })
}

unsafe extern "C" fn log_record(
    _slf: *mut ffi::PyObject,
    args: *mut *mut ffi::PyObject,
    count: ffi::Py_ssize_t,
) -> *mut ffi::PyObject {
    guard_object(|gil| {
        // SAFETY: as Python passes them.
        let (level, text) = stream(gil, unsafe { arguments(args, count) })?;
        emit(gil, u8::try_from(level).unwrap_or(PRINTED), text.as_bytes().unwrap_or_default());
        Ok(gil.none())
    })
}

unsafe extern "C" fn log_wanted(_slf: *mut ffi::PyObject, level: *mut ffi::PyObject) -> *mut ffi::PyObject {
    guard_object(|gil| {
        // SAFETY: as Python passes it.
        let level = unsafe { gil.borrow(level) }.ok_or(Raised)?.as_i64()?;
        gil.bool(is_logged(gil, u8::try_from(level).unwrap_or(PRINTED)))
    })
}

unsafe extern "C" fn of_server(_slf: *mut ffi::PyObject, _: *mut ffi::PyObject) -> *mut ffi::PyObject {
    json_or_none(server_metrics::current)
}

unsafe extern "C" fn drop_signal(_slf: *mut ffi::PyObject, number: *mut ffi::PyObject) -> *mut ffi::PyObject {
    guard_object(|gil| {
        // SAFETY: as Python passes it.
        let number = unsafe { gil.borrow(number) }.ok_or(Raised)?.as_i64()?;
        gil.bool(signal::drop_signal(i32::try_from(number).unwrap_or(0)))
    })
}

unsafe extern "C" fn begin_alone(_slf: *mut ffi::PyObject, _: *mut ffi::PyObject) -> *mut ffi::PyObject {
    guard_object(|gil| gil.bool(own_gil::begin_alone()))
}

unsafe extern "C" fn end_alone(_slf: *mut ffi::PyObject, _: *mut ffi::PyObject) -> *mut ffi::PyObject {
    guard_object(|gil| {
        own_gil::end_alone();
        Ok(gil.none())
    })
}

unsafe extern "C" fn frames(_slf: *mut ffi::PyObject, _: *mut ffi::PyObject) -> *mut ffi::PyObject {
    guard_object(own_gil::frames)
}

unsafe extern "C" fn load_in_main(
    _slf: *mut ffi::PyObject,
    args: *mut *mut ffi::PyObject,
    count: ffi::Py_ssize_t,
) -> *mut ffi::PyObject {
    guard_object(|gil| {
        // SAFETY: as Python passes them.
        let texts = unsafe { arguments(args, count) }.iter().map(|text| text.utf8(gil).map(str::to_owned));
        let texts: Vec<String> = texts.collect::<Option<_>>().unwrap_or_default();
        if let [name, origin] = &texts[..] {
            gil.detach(|| interpreters::load_in_main(name, origin));
        }
        Ok(gil.none())
    })
}

unsafe extern "C" fn request_data(_slf: *mut ffi::PyObject, _: *mut ffi::PyObject) -> *mut ffi::PyObject {
    guard_object(|gil| {
        let found = with_current(gil, |exchange| exchange.watch.data(gil));
        found.unwrap_or_else(|| Err(no_request(gil)))
    })
}

/// What `find` tells as JSON, or `None`.
fn json_or_none(find: impl FnOnce() -> Option<Vec<u8>> + Send) -> *mut ffi::PyObject {
    guard_object(|gil| match gil.detach(find) {
        Some(json) => gil.bytes(&json),
        None => Ok(gil.none()),
    })
}

unsafe extern "C" fn start_metrics(_slf: *mut ffi::PyObject, _: *mut ffi::PyObject) -> *mut ffi::PyObject {
    guard_object(|gil| {
        gil.detach(metrics::start);
        Ok(gil.none())
    })
}

unsafe extern "C" fn request_metrics(_slf: *mut ffi::PyObject, _: *mut ffi::PyObject) -> *mut ffi::PyObject {
    json_or_none(|| metrics::current(Wanted::Requests))
}

unsafe extern "C" fn process_metrics(_slf: *mut ffi::PyObject, _: *mut ffi::PyObject) -> *mut ffi::PyObject {
    json_or_none(|| metrics::current(Wanted::Process))
}

static START_RESPONSE: Table<ffi::PyMethodDef> = Table(fast(c"start_response", start_response));
static WRITE: Table<ffi::PyMethodDef> = Table(plain(c"write", write, ffi::METH_O));
static LOG_WRITE: Table<ffi::PyMethodDef> = Table(fast(c"_log_write", log_write));
static LOG_FLUSH: Table<ffi::PyMethodDef> = Table(fast(c"_log_flush", log_flush));
static LOG_RECORD: Table<ffi::PyMethodDef> = Table(fast(c"_log_record", log_record));
static LOG_WANTED: Table<ffi::PyMethodDef> = Table(plain(c"_log_wanted", log_wanted, ffi::METH_O));
static DROP_SIGNAL: Table<ffi::PyMethodDef> = Table(plain(c"_drop_signal", drop_signal, ffi::METH_O));
static BEGIN_ALONE: Table<ffi::PyMethodDef> = Table(plain(c"_begin_alone", begin_alone, ffi::METH_NOARGS));
static END_ALONE: Table<ffi::PyMethodDef> = Table(plain(c"_end_alone", end_alone, ffi::METH_NOARGS));
static FRAMES: Table<ffi::PyMethodDef> = Table(plain(c"_frames", frames, ffi::METH_NOARGS));
static LOAD_IN_MAIN: Table<ffi::PyMethodDef> = Table(fast(c"_load_in_main", load_in_main));
static REQUEST_DATA: Table<ffi::PyMethodDef> = Table(plain(c"_request_data", request_data, ffi::METH_NOARGS));
static SERVER_METRICS: Table<ffi::PyMethodDef> = Table(plain(c"_server_metrics", of_server, ffi::METH_NOARGS));

static START_METRICS: Table<ffi::PyMethodDef> = Table(plain(c"_start_metrics", start_metrics, ffi::METH_NOARGS));
static REQUEST_METRICS: Table<ffi::PyMethodDef> = Table(plain(c"_request_metrics", request_metrics, ffi::METH_NOARGS));
static PROCESS_METRICS: Table<ffi::PyMethodDef> = Table(plain(c"_process_metrics", process_metrics, ffi::METH_NOARGS));

static INPUT_METHODS: Table<[ffi::PyMethodDef; 5]> = Table([
    fast(c"read", input_read),
    fast(c"readline", input_readline),
    fast(c"readlines", input_readlines),
    plain(c"close", input_close, ffi::METH_NOARGS),
    ffi::PyMethodDef::zeroed(),
]);

/// What the engine puts into each interpreter.
pub const NATIVES: Natives = Natives { functions, input_type, flush: flush_all };

/// What the part of the engine that is written in Python calls, with its names: the functions below the log streams and
/// the handler of `logging`, and those below `signal.signal`, `os.fork`, `request_data` and the metrics.
fn functions() -> Res<Vec<(&'static CStr, Owned)>> {
    let functions = [
        (c"_log_write", &LOG_WRITE),
        (c"_log_flush", &LOG_FLUSH),
        (c"_log_record", &LOG_RECORD),
        (c"_log_wanted", &LOG_WANTED),
        (c"_drop_signal", &DROP_SIGNAL),
        (c"_begin_alone", &BEGIN_ALONE),
        (c"_end_alone", &END_ALONE),
        (c"_frames", &FRAMES),
        (c"_load_in_main", &LOAD_IN_MAIN),
        (c"_server_metrics", &SERVER_METRICS),
        (c"_request_data", &REQUEST_DATA),
        (c"_start_metrics", &START_METRICS),
        (c"_request_metrics", &REQUEST_METRICS),
        (c"_process_metrics", &PROCESS_METRICS),
    ];
    functions.into_iter().map(|(name, function)| Ok((name, bound(&function.0, ptr::null_mut())?))).collect()
}

/// Makes this interpreter's type of `wsgi.input`. It holds no reference, so it needs no part in GC.
fn input_type() -> Res<Owned> {
    let slot = |slot, pfunc: *mut c_void| ffi::PyType_Slot { slot, pfunc };
    let iter: unsafe extern "C" fn(*mut ffi::PyObject) -> *mut ffi::PyObject = input_iter;
    let next: unsafe extern "C" fn(*mut ffi::PyObject) -> *mut ffi::PyObject = input_next;
    let mut slots = [
        slot(ffi::Py_tp_methods, ptr::from_ref(&INPUT_METHODS.0).cast_mut().cast()),
        slot(ffi::Py_tp_iter, iter as *mut c_void),
        slot(ffi::Py_tp_iternext, next as *mut c_void),
        slot(0, ptr::null_mut()),
    ];
    let mut spec = ffi::PyType_Spec {
        name: c"mod_wsgi.Input".as_ptr(),
        basicsize: i32::try_from(mem::size_of::<InputObject>()).unwrap_or(0),
        itemsize: 0,
        flags: u32::try_from(ffi::Py_TPFLAGS_DEFAULT).unwrap_or(0),
        slots: slots.as_mut_ptr(),
    };
    // SAFETY: a spec whose tables are alive during the call; Python copies it, and keeps pointers to
    // the name and the methods, which are constants.
    unsafe { Owned::from_new(ffi::PyType_FromSpec(&mut spec)) }
}

/// Runs `body`, attached, with a `wsgi.input` that leads to `exchange` meanwhile, and nowhere after.
pub fn with_input<T>(kind: &Any, exchange: Pin<&Exchange<'_>>, body: impl FnOnce(&Any) -> T) -> Res<T> {
    /// Also when `body` panics.
    struct Cut<'o>(&'o Link);
    impl Drop for Cut<'_> {
        fn drop(&mut self) {
            self.0.cut();
        }
    }
    // SAFETY: the type that `input_type` made.
    let object = unsafe { Owned::from_new(ffi::PyType_GenericAlloc(kind.as_ptr().cast(), 0)) }?;
    // SAFETY: an object of that type, which `object` keeps.
    let cut = Cut(unsafe { &(*object.as_ptr().cast::<InputObject>()).link });
    // SAFETY: it is cut when this function returns, attached; the exchange is borrowed until then.
    unsafe { cut.0.set(exchange) };
    Ok(body(&object))
}

/// `start_response` for the request of `input`.
pub fn start_response_of(input: &Any) -> Res<Owned> {
    bound(&START_RESPONSE.0, input.as_ptr())
}
