//! What we ask of the system, in safe functions: descriptors, sockets, processes, users, the shared-memory scoreboard.
//! The system is Linux.
//!
//! One file a subject. What rustix does is rustix's, users and groups are nix's. libc is left for what these two lack,
//! or what may run in a signal handler or between fork and exec. Everything is safe to call from outside; each unsafe block says why it is.
//! Callers: the httpd module, the supervisor, the engine.

pub mod access;
pub mod alarm;
pub mod clock;
pub mod datagram;
pub mod event;
pub mod fd;
pub mod file;
pub mod forked;
mod futex;
pub mod memory;
pub mod poll;
pub mod process;
pub mod scoreboard;
pub mod signal;
pub mod socket;
pub mod stream;
pub mod temporary;
pub mod thread;
pub mod usage;
pub mod user;
pub mod walk;
