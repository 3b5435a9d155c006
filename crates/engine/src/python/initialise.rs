//! Starting and ending Python in an httpd child. The functions for it differ between versions and are
//! no part of the stable ABI, so they are looked up by name.

use core::ffi::{CStr, c_char, c_int, c_void};
use core::{mem, ptr};
use std::ffi::CString;

use pyo3::ffi;
use wsgi_wire::config::EmbedConfig;

use crate::python::interp::Interp;
use crate::python::py;
use crate::python::py::Gil;
use crate::python::threads;

/// The address of a symbol in this process.
fn find(name: &CStr) -> Option<*mut c_void> {
    // SAFETY: a C string; looks through what is loaded.
    let found = unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr()) };
    (!found.is_null()).then_some(found)
}

fn need(name: &CStr) -> Result<*mut c_void, String> {
    find(name).ok_or_else(|| format!("libpython has no function {}", name.to_string_lossy()))
}

fn c_string(text: &str) -> Result<CString, String> {
    CString::new(text).map_err(|_| format!("a setting of Python holds a null character: {text:?}"))
}

/// Starts Python; the calling thread is then attached to it.
pub fn initialise(config: &EmbedConfig) -> Result<Gil, String> {
    py::check_build()?;
    if py::version_before(3, 10) {
        return Err("Python 3.10 or later is needed".to_owned());
    }
    if py::version_before(3, 14) {
        with_globals(config)?
    } else {
        with_config(config)?
    }
    // SAFETY: Python was initialised by this thread.
    Ok(unsafe { Gil::assume() })
}

type SetWide = unsafe extern "C" fn(*const libc::wchar_t);

/// Gives a text to a function that keeps the pointer for good.
fn set_wide(function: &CStr, text: &str) -> Result<(), String> {
    let text = c_string(text)?;
    // SAFETY: a C string; allowed before Python is initialised.
    let wide = unsafe { ffi::Py_DecodeLocale(text.as_ptr(), ptr::null_mut()) };
    if wide.is_null() {
        return Err(format!("a setting of Python cannot be decoded: {text:?}"));
    }
    // SAFETY: in all versions before 3.14 a function of this signature.
    let function = unsafe { mem::transmute::<*mut c_void, SetWide>(need(function)?) };
    // SAFETY: a wide string that is never freed.
    unsafe { function(wide) };
    Ok(())
}

/// Sets one of Python's global settings.
fn set_global(name: &CStr, value: c_int) {
    if let Some(place) = find(name) {
        // SAFETY: an int that is read once Python is initialised, which it is not yet.
        unsafe { *place.cast::<c_int>() = value };
    }
}

/// Before 3.14: global settings.
fn with_globals(config: &EmbedConfig) -> Result<(), String> {
    set_global(c"Py_UTF8Mode", 1);
    let options = &config.python_options;
    if options.optimize > 0 {
        set_global(c"Py_OptimizeFlag", options.optimize.into());
    }
    if options.dont_write_bytecode {
        set_global(c"Py_DontWriteBytecodeFlag", 1);
    }
    for filter in &options.warnings {
        set_wide(c"PySys_AddWarnOption", filter)?;
    }
    set_wide(c"Py_SetProgramName", &config.python)?;
    if let Some(home) = &config.python_home {
        set_wide(c"Py_SetPythonHome", home)?;
    }
    // SAFETY: Python is not initialised; 0 leaves signals to httpd.
    unsafe { ffi::Py_InitializeEx(0) };
    Ok(())
}

type SetStr = unsafe extern "C" fn(*mut c_void, *const c_char, *const c_char) -> c_int;
type SetList = unsafe extern "C" fn(*mut c_void, *const c_char, usize, *const *const c_char) -> c_int;
type SetInt = unsafe extern "C" fn(*mut c_void, *const c_char, i64) -> c_int;
type GetError = unsafe extern "C" fn(*mut c_void, *mut *const c_char) -> c_int;
type Start = unsafe extern "C" fn(*mut c_void) -> c_int;

/// The functions of PEP 741.
struct Pep741 {
    config: *mut c_void,
    set_str: SetStr,
    set_list: SetList,
    set_int: SetInt,
    error: GetError,
    start: Start,
}

impl Pep741 {
    fn new() -> Result<Pep741, String> {
        type Create = unsafe extern "C" fn() -> *mut c_void;
        // SAFETY: the signature of PEP 741.
        let create = unsafe { mem::transmute::<*mut c_void, Create>(need(c"PyInitConfig_Create")?) };
        // SAFETY: takes nothing.
        let config = unsafe { create() };
        if config.is_null() {
            return Err("no memory".to_owned());
        }
        let (set_str, set_int) = (need(c"PyInitConfig_SetStr")?, need(c"PyInitConfig_SetInt")?);
        let set_list = need(c"PyInitConfig_SetStrList")?;
        let (error, start) = (need(c"PyInitConfig_GetError")?, need(c"Py_InitializeFromInitConfig")?);
        Ok(Pep741 {
            config,
            // SAFETY: the signature of PEP 741.
            set_str: unsafe { mem::transmute::<*mut c_void, SetStr>(set_str) },
            // SAFETY: as above.
            set_list: unsafe { mem::transmute::<*mut c_void, SetList>(set_list) },
            // SAFETY: as above.
            set_int: unsafe { mem::transmute::<*mut c_void, SetInt>(set_int) },
            // SAFETY: as above.
            error: unsafe { mem::transmute::<*mut c_void, GetError>(error) },
            // SAFETY: as above.
            start: unsafe { mem::transmute::<*mut c_void, Start>(start) },
        })
    }

    fn check(&self, status: c_int) -> Result<(), String> {
        if status == 0 {
            return Ok(());
        }
        let mut text = ptr::null();
        // SAFETY: the configuration is alive; room for a pointer.
        unsafe { (self.error)(self.config, &mut text) };
        if text.is_null() {
            return Err("Python could not be started".to_owned());
        }
        // SAFETY: a C string that lives until the next call.
        Err(unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned())
    }

    fn set(&self, name: &CStr, value: i64) -> Result<(), String> {
        // SAFETY: the configuration is alive, the name a C string.
        self.check(unsafe { (self.set_int)(self.config, name.as_ptr(), value) })
    }

    fn set_text(&self, name: &CStr, value: &str) -> Result<(), String> {
        let value = c_string(value)?;
        // SAFETY: as above; the value is copied.
        self.check(unsafe { (self.set_str)(self.config, name.as_ptr(), value.as_ptr()) })
    }

    fn set_list(&self, name: &CStr, values: &[String]) -> Result<(), String> {
        let values: Vec<CString> = values.iter().map(|value| c_string(value)).collect::<Result<_, _>>()?;
        let pointers: Vec<*const c_char> = values.iter().map(|value| value.as_ptr()).collect();
        // SAFETY: as above; as many C strings as said, which are copied.
        self.check(unsafe { (self.set_list)(self.config, name.as_ptr(), pointers.len(), pointers.as_ptr()) })
    }
}

/// From 3.14 on: PEP 741, whose defaults are those of an isolated Python.
fn with_config(config: &EmbedConfig) -> Result<(), String> {
    let python = Pep741::new()?;
    python.set(c"isolated", 0)?;
    python.set(c"use_environment", 1)?;
    python.set(c"user_site_directory", 1)?;
    python.set(c"utf8_mode", 1)?;
    python.set(c"install_signal_handlers", 0)?;
    python.set_text(c"program_name", &config.python)?;
    let options = &config.python_options;
    if options.optimize > 0 {
        python.set(c"optimization_level", options.optimize.into())?;
    }
    if options.dont_write_bytecode {
        python.set(c"write_bytecode", 0)?;
    }
    if !options.warnings.is_empty() {
        python.set_list(c"warnoptions", &options.warnings)?;
    }
    if let Some(home) = &config.python_home {
        python.set_text(c"home", home)?;
    }
    if cfg!(Py_GIL_DISABLED) {
        // -1 would leave it to the extensions that are imported.
        python.set(c"enable_gil", i64::from(!config.free_threading))?;
    }
    // SAFETY: the configuration is alive. It is not freed: it happens once.
    python.check(unsafe { (python.start)(python.config) })
}

/// Ends Python, on the thread that started it.
pub fn finalise(main: &'static Interp) {
    let Some(state) = threads::disown(main) else { return };
    // SAFETY: this thread's state; no thread is attached, and none will be.
    unsafe { ffi::PyEval_RestoreThread(state) };
    // SAFETY: attached to the main interpreter, on Python's main thread.
    unsafe { ffi::Py_FinalizeEx() };
}
