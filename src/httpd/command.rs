//! What httpd tells with a directive.

use std::ffi::{CStr, c_char};
use std::marker::PhantomData;

use super::bindings;
use super::bytes;
use super::pool::Pool;
use super::server::Server;

/// `cmd_parms` for the time of one directive.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Command<'c> {
    raw: *mut bindings::cmd_parms,
    life: PhantomData<&'c ()>,
}

impl<'c> Command<'c> {
    /// # Safety
    /// `raw` is what httpd gave to a directive's function, which has not returned.
    pub(crate) unsafe fn from_raw(raw: *mut bindings::cmd_parms) -> Self {
        Command { raw, life: PhantomData }
    }

    fn record(self) -> &'c bindings::cmd_parms {
        // SAFETY: `from_raw`'s contract.
        unsafe { &*self.raw }
    }

    /// The pool of the configuration that is being read.
    pub(crate) fn pool(self) -> Pool<'c> {
        // SAFETY: httpd's own pool, valid for the call.
        unsafe { Pool::from_raw(self.record().pool) }
    }

    /// The server that is being configured.
    pub(crate) fn server(self) -> Server<'c> {
        // SAFETY: httpd's own record, valid for the call.
        unsafe { Server::from_raw(self.record().server) }
    }

    /// The number that the table gave to the directive.
    pub(crate) fn number(self) -> usize {
        // SAFETY: `cmd` is the row of our table that matched.
        unsafe { (*self.record().cmd).cmd_data as usize }
    }

    /// File and line of the directive.
    pub(crate) fn place(self) -> (&'c [u8], u32) {
        let directive = self.record().directive;
        if directive.is_null() {
            return (b"", 0);
        }
        // SAFETY: the node of the configuration tree, valid for the call.
        let node = unsafe { &*directive };
        // SAFETY: its file name is a C string of the configuration.
        (unsafe { bytes(node.filename) }, u32::try_from(node.line_num).unwrap_or(0))
    }

    /// Inside `<Directory>`, `<Location>`, `<Files>`, `<If>` or `.htaccess`.
    pub(crate) fn in_directory(self) -> bool {
        !self.record().path.is_null()
    }

    /// In a `.htaccess` file.
    pub(crate) fn in_htaccess(self) -> bool {
        // SAFETY: the records are valid; the function only reads them.
        let found = unsafe { bindings::ap_check_cmd_context(self.raw, bindings::NOT_IN_HTACCESS) };
        !found.is_null()
    }

    /// Runs the directives inside a container; the error of one of them.
    pub(crate) fn walk_children(self) -> Option<&'c CStr> {
        // SAFETY: the directive's node and its children are valid for the call.
        let error = unsafe {
            let children = (*self.record().directive).first_child;
            bindings::ap_walk_config(children, self.raw, self.record().context)
        };
        // SAFETY: an error is a C string of the configuration's pool.
        (!error.is_null()).then(|| unsafe { CStr::from_ptr(error) })
    }

    /// An error text for httpd to report.
    pub(crate) fn error(self, text: &str) -> *const c_char {
        self.pool().string(text.as_bytes())
    }
}

impl Server<'_> {
    /// A virtual host, not the main server.
    pub(crate) fn is_virtual(self) -> bool {
        // SAFETY: the record is valid as long as the view.
        unsafe { (*self.raw()).is_virtual != 0 }
    }
}
