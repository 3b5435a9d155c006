//! A server or virtual host.

use std::marker::PhantomData;

use super::bindings;
use super::module::OfServer;
use super::pool::Pool;
use super::{bytes, module};

/// A server that lives for `'s`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Server<'s> {
    raw: *const bindings::server_rec,
    life: PhantomData<&'s ()>,
}

impl<'s> Server<'s> {
    /// # Safety
    /// `raw` is a server that lives for `'s`.
    pub(crate) unsafe fn from_raw(raw: *const bindings::server_rec) -> Self {
        Server { raw, life: PhantomData }
    }

    /// For calls of httpd.
    pub(crate) fn raw(self) -> *const bindings::server_rec {
        self.raw
    }

    fn record(self) -> &'s bindings::server_rec {
        // SAFETY: `from_raw`'s contract.
        unsafe { &*self.raw }
    }

    /// This and the servers after it in httpd's list; from the main server on, all.
    pub(crate) fn and_following(self) -> impl Iterator<Item = Server<'s>> {
        std::iter::successors(Some(self), |server| {
            let next = server.record().next;
            // SAFETY: httpd's list links servers of the same life.
            (!next.is_null()).then(|| unsafe { Server::from_raw(next) })
        })
    }

    /// `ServerName`, or what httpd guessed.
    pub(crate) fn name(self) -> &'s [u8] {
        // SAFETY: a C string of the configuration, or NULL.
        unsafe { bytes(self.record().server_hostname) }
    }

    /// File and line of its `<VirtualHost>`; the main server has none.
    pub(crate) fn defined(self) -> Option<(&'s [u8], u32)> {
        let record = self.record();
        // SAFETY: a C string of the configuration, or NULL.
        (record.is_virtual != 0).then(|| (unsafe { bytes(record.defn_name) }, record.defn_line_number))
    }

    /// `Timeout` in microseconds.
    pub(crate) fn timeout_us(self) -> i64 {
        self.record().timeout
    }

    /// The descriptor of its error log, when it is a file or a pipe.
    pub(crate) fn error_log_fd(self) -> Option<i32> {
        // SAFETY: the file is the server's own, or NULL.
        let fd = unsafe { bindings::wsgi_file_fd(self.record().error_log) };
        (fd >= 0).then_some(fd)
    }

    /// The module's log level here.
    pub(crate) fn log_level(self) -> i32 {
        // SAFETY: the server is valid, and the index is the module's.
        unsafe { bindings::ap_get_server_module_loglevel(self.raw, module::index()) }
    }

    /// The module's record of this server, made by its create or merge function.
    pub(crate) fn config<T: OfServer>(self) -> Option<&'s T> {
        // SAFETY: the module's entry is a `T` (the contract of `OfServer`) that lives in the same pool, or NULL.
        unsafe { self.config_record::<T>().as_ref() }
    }

    /// As [`Server::config`], for whoever may change it.
    pub(crate) fn config_record<T: OfServer>(self) -> *mut T {
        // SAFETY: the vector is the server's.
        unsafe { bindings::ap_get_module_config(self.record().module_config, module::record()).cast() }
    }

    /// The process: its pool lives until httpd's parent ends.
    pub(crate) fn process_pool(self) -> Pool<'static> {
        // SAFETY: every server points to the one process record, whose pool is never cleared.
        unsafe { Pool::from_raw((*self.record().process).pool) }
    }
}
