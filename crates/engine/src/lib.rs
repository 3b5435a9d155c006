//! The Python side of mod_wsgi: one library, loaded as an extension module by the `python` of a daemon
//! process, or opened beside libpython by an httpd child.
//!
//! From the top floor down; no file imports one of a floor above its own:
//!
//! * `host`: who feeds requests in, [`host::daemon`] or [`host::embedded`];
//! * `timers`: watchdog, limits and stacks of a daemon process;
//! * `request`: the exchange, the WSGI adapter, scripts, log streams;
//! * `python`: references, exceptions, interpreters, thread states;
//! * `log`: the log of the process.
//!
//! Of PyO3 only `pyo3::ffi` is used, and only the stable ABI of Python 3.10; what is newer is looked up at run time.
//! `unsafe` stands in `python`, in `request::types` and `host::module`, and in few places of `exchange`, `input`,
//! `adapter`, `streams`, `server_metrics`, `embedded`, `daemon`, `outgoing`, `stacks` and `watchdog`.

mod host;
mod log;
mod python;
mod request;
mod timers;
