//! httpd's own scoreboard: what its children and their threads do, in memory that other processes write meanwhile.
//! Caller: `metrics`, which sees to it that the memory is there.

use std::ffi::c_char;

use super::bindings;

/// What holds for all of httpd. Times are microseconds since the epoch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Whole {
    /// Most children (`ServerLimit`).
    pub(crate) server_limit: i32,
    /// Most threads of each (`ThreadLimit`).
    pub(crate) thread_limit: i32,
    /// Configurations read since the start, less one.
    pub(crate) generation: i32,
    /// When httpd has read its configuration the last time.
    pub(crate) restart_time: i64,
}

/// The place of one child.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Child {
    /// 0: there is none.
    pub(crate) pid: i32,
    /// Configuration that it serves.
    pub(crate) generation: i32,
    /// It finishes what it has and ends.
    pub(crate) quiescing: bool,
}

/// The place of one thread of a child. Times as in [`Whole`]; texts are cut by httpd.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Thread {
    pub(crate) number: i32,
    pub(crate) generation: i32,
    /// One of httpd's `SERVER_` numbers.
    pub(crate) status: u8,
    pub(crate) requests: u64,
    pub(crate) bytes: i64,
    pub(crate) begun: i64,
    pub(crate) ended: i64,
    pub(crate) last_used: i64,
    pub(crate) client: Vec<u8>,
    pub(crate) request: Vec<u8>,
    pub(crate) host: Vec<u8>,
}

/// A field of a record that other processes write meanwhile: whatever is there is a number.
macro_rules! read {
    ($record:ident . $field:ident) => {
        // SAFETY: a field within the record, which is mapped as long as the caller says.
        unsafe { std::ptr::read_volatile(&raw const (*$record).$field) }
    };
}

/// What holds for all; nothing where httpd has no scoreboard.
pub(crate) fn whole() -> Option<Whole> {
    // SAFETY: takes nothing.
    if unsafe { bindings::ap_exists_scoreboard_image() } == 0 {
        return None;
    }
    // SAFETY: httpd has a scoreboard.
    let record = unsafe { bindings::ap_get_scoreboard_global() };
    (!record.is_null()).then(|| Whole {
        server_limit: read!(record.server_limit),
        thread_limit: read!(record.thread_limit),
        generation: read!(record.running_generation),
        restart_time: read!(record.restart_time),
    })
}

/// A child's place, by its number from 0; nothing beyond the limit.
pub(crate) fn child(number: i32) -> Option<Child> {
    // SAFETY: httpd checks the number.
    let record = unsafe { bindings::ap_get_scoreboard_process(number) };
    (!record.is_null()).then(|| Child {
        pid: read!(record.pid),
        generation: read!(record.generation),
        quiescing: read!(record.quiescing) != 0,
    })
}

/// A thread's place, by the numbers of its child and its own, from 0; nothing beyond the limits. Only fields that all
/// httpd 2.4 have, and `client64`: the record is as long as the running httpd has it.
pub(crate) fn thread(child: i32, number: i32) -> Option<Thread> {
    // SAFETY: httpd checks the numbers.
    let record = unsafe { bindings::ap_get_scoreboard_worker_from_indexes(child, number) };
    (!record.is_null()).then(|| Thread {
        number: read!(record.thread_num),
        generation: read!(record.generation),
        status: read!(record.status),
        requests: read!(record.access_count),
        bytes: read!(record.bytes_served),
        begun: read!(record.start_time),
        ended: read!(record.stop_time),
        last_used: read!(record.last_used),
        client: client(record),
        request: text(&read!(record.request)),
        host: text(&read!(record.vhost)),
    })
}

fn client(record: *const bindings::worker_score) -> Vec<u8> {
    // httpd before 2.4.35 has room for IPv4 addresses only, and no such field.
    if super::process::version() >= (2, 4, 35) {
        // SAFETY: computes an address within the record; NULL when this was built for an older httpd.
        let place = unsafe { bindings::wsgi_worker_client64(record) }.cast::<[c_char; 64]>();
        if !place.is_null() {
            // SAFETY: the field has that many bytes, in a record that is mapped.
            let long = text(&unsafe { std::ptr::read_volatile(place) });
            if !long.is_empty() {
                return long;
            }
        }
    }
    text(&read!(record.client))
}

/// The text in a field, up to its NUL; all of it, where that was overwritten while it was read.
fn text(field: &[c_char]) -> Vec<u8> {
    field.iter().take_while(|byte| **byte != 0).map(|byte| *byte as u8).collect()
}
