//! What passes between an httpd child, the supervisor and a daemon process: frames, the request and
//! response payloads, control messages, and the configuration of a process group. And what processes report to a program
//! outside of the server (`telemetry`).
//!
//! Everything here is pure: it turns bytes into values and back. Decoders believe no length before it
//! is checked, and an unknown tag is an error value. Numbers are big-endian.
//!
//! Callers: the httpd module (`src/daemon`, `src/embedded`, `src/startup/`), `wsgi-supervisor`, and
//! the engine.
#![forbid(unsafe_code)]

/// [`PROTOCOL`], for texts that are put together at compile time.
macro_rules! protocol {
    () => {
        11
    };
}
pub(crate) use protocol;

pub mod boot;
pub mod build;
pub mod bytes;
pub mod config;
pub mod control;
pub mod decision;
pub mod doctor;
pub mod engines;
pub mod faults;
pub mod frame;
pub mod host;
pub mod keys;
pub mod layers;
pub mod libpython;
pub mod lines;
pub mod loaded;
pub mod messages;
pub mod output;
pub mod python_options;
pub mod request;
pub mod response;
pub mod scan;
pub mod telemetry;

/// Version of everything in this crate. A child, supervisor and engine of different versions refuse
/// each other, naming both.
pub const PROTOCOL: u32 = protocol!();

/// Size of a connection's area in bytes: bodies of middling size are handed over there, with a copy less and at once.
/// Behind it is a page with the process's count, as a u32 in the machine's order: 1 when it has the area, and one more
/// with each request that it begins to execute.
pub const AREA: usize = 1 << 20;

/// The largest payload of a frame, in bytes. An environ or a response head above it is an error.
pub const MAX_PAYLOAD: usize = 16 << 20;
