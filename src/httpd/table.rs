//! APR tables: httpd's headers, environment and notes.

use std::marker::PhantomData;

use super::bindings;
use super::pool::Pool;
use super::{bytes, optional};

/// A table of a record that lives for `'t`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Table<'t> {
    raw: *mut bindings::apr_table_t,
    pool: Pool<'t>,
}

impl<'t> Table<'t> {
    /// # Safety
    /// `raw` is a table, or NULL, that lives for `'t`; `pool` lives as long as the table.
    pub(crate) unsafe fn from_raw(raw: *mut bindings::apr_table_t, pool: Pool<'t>) -> Self {
        Table { raw, pool }
    }

    /// The value of `key`, whatever its case.
    pub(crate) fn get(self, key: &std::ffi::CStr) -> Option<&'t [u8]> {
        if self.raw.is_null() {
            return None;
        }
        // SAFETY: table and key are valid; values live in the record's pool.
        unsafe { optional(bindings::apr_table_get(self.raw, key.as_ptr())) }
    }

    /// Replaces the value of `key`.
    pub(crate) fn set(self, key: &[u8], value: &[u8]) {
        let (key, value) = (self.pool.string(key), self.pool.string(value));
        // SAFETY: table and strings are valid, and the strings live as long as the table.
        unsafe { bindings::apr_table_setn(self.raw, key, value) };
    }

    /// Adds a value beside others of the same key.
    pub(crate) fn add(self, key: &[u8], value: &[u8]) {
        let (key, value) = (self.pool.string(key), self.pool.string(value));
        // SAFETY: as in `set`.
        unsafe { bindings::apr_table_addn(self.raw, key, value) };
    }

    /// Removes all values of `key`.
    pub(crate) fn unset(self, key: &std::ffi::CStr) {
        // SAFETY: table and key are valid.
        unsafe { bindings::apr_table_unset(self.raw, key.as_ptr()) };
    }

    /// Keys and values in order. An entry without a value is left out.
    pub(crate) fn iter(self) -> Entries<'t> {
        let mut entries = Entries { next: std::ptr::null(), left: 0, life: PhantomData };
        if self.raw.is_null() {
            return entries;
        }
        // SAFETY: apr_table_elts gives the array inside the table.
        let array = unsafe { bindings::apr_table_elts(self.raw) };
        // SAFETY: the array header is valid as long as the table.
        let header = unsafe { &*array };
        entries.next = header.elts.cast();
        entries.left = usize::try_from(header.nelts).unwrap_or(0);
        entries
    }
}

/// Iterator over a table. The table is not to be changed meanwhile.
#[derive(Debug)]
pub(crate) struct Entries<'t> {
    next: *const bindings::apr_table_entry_t,
    left: usize,
    life: PhantomData<&'t ()>,
}

impl<'t> Iterator for Entries<'t> {
    type Item = (&'t [u8], &'t [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        while self.left > 0 {
            // SAFETY: `left` entries from `next` on are in the table's array.
            let entry = unsafe { &*self.next };
            // SAFETY: stays inside the array or one past its end.
            self.next = unsafe { self.next.add(1) };
            self.left -= 1;
            if !entry.key.is_null() && !entry.val.is_null() {
                // SAFETY: keys and values are C strings of the table's pool.
                let key = unsafe { bytes(entry.key) };
                // SAFETY: as above.
                return Some((key, unsafe { bytes(entry.val) }));
            }
        }
        None
    }
}
