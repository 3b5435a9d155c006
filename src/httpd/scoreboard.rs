//! httpd's own scoreboard: what its children and their threads do. Other processes write it meanwhile, so each
//! record is a copy. Caller: `metrics`.

use std::ffi::c_char;

use super::bindings as sys;
use super::bytes;

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

/// What holds for all; nothing where httpd has no scoreboard.
pub(crate) fn whole() -> Option<Whole> {
    // SAFETY: takes nothing.
    if unsafe { sys::ap_exists_scoreboard_image() } == 0 {
        return None;
    }
    // SAFETY: there is a scoreboard; its first part is written by the parent when it starts children.
    let found = unsafe { sys::ap_get_scoreboard_global().as_ref() }?;
    Some(Whole {
        server_limit: found.server_limit,
        thread_limit: found.thread_limit,
        generation: found.running_generation,
        restart_time: found.restart_time,
    })
}

/// A child's place, by its number from 0; nothing beyond the limit.
pub(crate) fn child(number: i32) -> Option<Child> {
    // SAFETY: httpd checks the number.
    let place = unsafe { sys::ap_get_scoreboard_process(number) };
    if place.is_null() {
        return None;
    }
    // SAFETY: a record in shared memory; others write numbers into it meanwhile, and each of them can be anything.
    let found = unsafe { std::ptr::read_volatile(place) };
    Some(Child { pid: found.pid, generation: found.generation, quiescing: found.quiescing != 0 })
}

/// A thread's place, by the numbers of its child and its own, from 0, both below the limits.
pub(crate) fn thread(child: i32, number: i32) -> Thread {
    // SAFETY: all fields are numbers and arrays of bytes, for which zero is a value.
    let mut found: sys::worker_score = unsafe { std::mem::zeroed() };
    // SAFETY: the place for the copy is valid; httpd takes numbers below its limits.
    unsafe { sys::ap_copy_scoreboard_worker(&raw mut found, child, number) };
    for text in [&mut found.client[..], &mut found.request[..], &mut found.vhost[..]] {
        end(text);
    }
    // SAFETY: the copy lives during the call; what comes back is one of its texts, which httpd ends with NUL.
    let client = unsafe { bytes(sys::wsgi_worker_client(&raw const found)) }.to_vec();
    // SAFETY: ended above.
    let (request, host) = unsafe { (bytes(found.request.as_ptr()), bytes(found.vhost.as_ptr())) };
    Thread {
        number: found.thread_num,
        generation: found.generation,
        status: found.status,
        requests: found.access_count,
        bytes: found.bytes_served,
        begun: found.start_time,
        ended: found.stop_time,
        last_used: found.last_used,
        client,
        request: request.to_vec(),
        host: host.to_vec(),
    }
}

/// A text that was copied while it was written may have lost its end.
fn end(text: &mut [c_char]) {
    if let Some(last) = text.last_mut() {
        *last = 0;
    }
}
