//! The Python side of mod_wsgi: one library, loaded as an extension module by the `python` of a daemon
//! process ([`daemon`]), or opened beside libpython by an httpd child ([`embed`]).
//!
//! From the top floor down: the hosts [`daemon`] and [`embed`]; the [`adapter`], which runs one request
//! whatever the host; [`script`], [`interp`], [`threads`]; the halves of an [`exchange`], [`input`] and
//! [`output`]; what Python calls, [`types`]; the timers of a daemon process, [`watchdog`] with [`probe`], [`slots`],
//! [`stuck`] and [`stacks`]; what httpd does, [`server_metrics`]; and at the bottom [`py`] and [`object`] (Python's C API) and [`sys`] (libc).
//! Only `pyo3-ffi` is used of PyO3, and only the stable ABI of Python 3.10; what is newer is looked up at
//! run time. `unsafe` stands in `py`, `object`, `sys`, `types`, `threads`, and in few places of `interp`, `exchange`,
//! `adapter`, `embed`, `python`, `stacks` and `server_metrics`.

mod activity;
mod adapter;
mod advice;
mod connection;
mod daemon;
mod embed;
mod exchange;
mod files;
mod first_load;
mod input;
mod interp;
mod load;
mod object;
mod outgoing;
mod output;
mod pool;
mod probe;
mod py;
mod python;
mod rules;
mod script;
mod server_metrics;
mod service;
mod slots;
mod stacks;
mod stuck;
mod sys;
mod threads;
mod turn;
mod types;
mod warmup;
mod watchdog;
