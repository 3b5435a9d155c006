//! Messages around the supervisor. Each socket keeps message boundaries (SOCK_SEQPACKET, SOCK_DGRAM), so
//! a message is one datagram; descriptors travel beside it.
//!
//! * parent -> supervisor: [`ParentMessage`], JSON.
//! * child -> supervisor: [`Connect`], fixed size, with one end of a socket pair.
//! * supervisor -> any child: [`ask_metrics`]; the child answers with [`Connect::METRICS`].
//! * supervisor -> daemon process: first a [`crate::config::DaemonConfig`] as JSON, then [`ToDaemon`].
//! * supervisor -> the supervisor after it: [`Stored`], fixed size, with a control socket.
//! * daemon process -> supervisor: [`FromDaemon`], fixed size, and [`crate::loaded::Loaded`], bounded; not trusted.

use serde::{Deserialize, Serialize};

use crate::bytes::{DecodeError, Reader};
use crate::config::GroupConfig;

/// Longest message, in bytes. The parent refuses a configuration that does not fit, with an error.
pub const MAX_MESSAGE: usize = 128 << 10;

/// What the supervisor answers the parent when it could not take a configuration over: say it again later.
pub const AGAIN: &[u8] = b"again";

/// What the supervisor asks the children, one of which answers: a snapshot of httpd's scoreboard. The number comes back
/// as [`Connect::epoch`].
pub fn ask_metrics(number: u32) -> [u8; 5] {
    let [first, second, third, fourth] = number.to_be_bytes();
    [1, first, second, third, fourth]
}

/// The number of such a question.
pub fn asked_metrics(message: &[u8]) -> Option<u32> {
    let (tag, number) = message.split_first()?;
    (*tag == 1).then_some(u32::from_be_bytes(number.try_into().ok()?))
}

/// A message of the parent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ParentMessage {
    /// A configuration follows. One descriptor: the main server's error log. A second one, where there is
    /// one, takes the place of the engine's file for processes that start from now on.
    Begin {
        /// [`crate::PROTOCOL`] of the module.
        protocol: u32,
        /// httpd's parent.
        parent_pid: i32,
        /// APLOG level of the main server.
        log_level: u8,
    },
    /// A process group of the configuration. Two descriptors: its scoreboard, its error log.
    Group(Box<GroupConfig>),
    /// The configuration is complete. One descriptor: the reading end of a pipe whose writing end the children of
    /// this configuration hold. A group that the configuration does not name serves on until the group of the same
    /// name that takes its place is ready, and until all children that know it are gone; then it is drained. A
    /// configuration without any group lets the supervisor end when all of them are drained.
    Commit,
    /// httpd stops. Stop everything: drain up to each group's shutdown timeout, then exit. End of file means the same.
    Stop,
    /// As `Stop`, because httpd restarts and starts another supervisor.
    Restart,
}

/// A child asks for a connection to a daemon process. One descriptor: the process's end. With the slot
/// [`Connect::WANTED`] and without a descriptor it says that a request waits for a group of which it sees no process,
/// with [`Connect::DRAINED`] that it has seen the last request of a draining process end.
/// With the slot [`Connect::METRICS`] the descriptor is what [`ToDaemon::ServerMetrics`] hands on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Connect {
    /// [`GroupConfig::id`].
    pub group: u64,
    /// The process's slot on the scoreboard.
    pub slot: u32,
    /// The slot's epoch when the child chose it.
    pub epoch: u32,
}

impl Connect {
    /// Size on the wire, in bytes.
    pub const SIZE: usize = 16;

    /// No slot: a process is wanted, whichever.
    pub const WANTED: u32 = u32::MAX;

    /// No slot: an answer to [`ask_metrics`], for which the child has worked [`Connect::group`] microseconds.
    pub const METRICS: u32 = u32::MAX - 1;

    /// No slot: it is worth looking at what drains.
    pub const DRAINED: u32 = u32::MAX - 2;

    /// The message's bytes.
    pub fn encode(&self) -> [u8; Self::SIZE] {
        let mut out = [0; Self::SIZE];
        out[..8].copy_from_slice(&self.group.to_be_bytes());
        out[8..12].copy_from_slice(&self.slot.to_be_bytes());
        out[12..].copy_from_slice(&self.epoch.to_be_bytes());
        out
    }

    /// Reads the message.
    ///
    /// # Errors
    /// When it is not exactly [`Connect::SIZE`] bytes long.
    pub fn decode(message: &[u8]) -> Result<Connect, DecodeError> {
        let mut reader = Reader::new(message);
        let found = Connect { group: reader.u64()?, slot: reader.u32()?, epoch: reader.u32()? };
        reader.finish()?;
        Ok(found)
    }
}

/// What a supervisor puts into the store for the one that comes after it, should it be lost. One or two descriptors: its
/// end of the process's control socket, and of the pipe of its output. (The parent keeps the store, a pair of sockets,
/// open, and does no more than empty it.)
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stored {
    /// [`GroupConfig::id`].
    pub group: u64,
    /// The process's slot on the scoreboard.
    pub slot: u32,
    /// The slot's epoch.
    pub epoch: u32,
    /// The process.
    pub pid: u32,
}

impl Stored {
    /// Size on the wire, in bytes.
    pub const SIZE: usize = 20;

    /// The message's bytes.
    pub fn encode(&self) -> [u8; Self::SIZE] {
        let mut out = [0; Self::SIZE];
        out[..8].copy_from_slice(&self.group.to_be_bytes());
        for (place, value) in out[8..].chunks_exact_mut(4).zip([self.slot, self.epoch, self.pid]) {
            place.copy_from_slice(&value.to_be_bytes());
        }
        out
    }

    /// Reads the message.
    ///
    /// # Errors
    /// When it is not exactly [`Stored::SIZE`] bytes long.
    pub fn decode(message: &[u8]) -> Result<Stored, DecodeError> {
        let mut reader = Reader::new(message);
        let found = Stored { group: reader.u64()?, slot: reader.u32()?, epoch: reader.u32()?, pid: reader.u32()? };
        reader.finish()?;
        Ok(found)
    }
}

/// [`ToDaemon::Stop`], with the cause for which the supervisor replaces the process, if it does.
pub fn stop(cause: Option<Cause>) -> Vec<u8> {
    [ToDaemon::Stop as u8].into_iter().chain(cause.map(|cause| cause as u8)).collect()
}

/// The cause in a message of [`stop`].
pub fn stop_cause(message: &[u8]) -> Option<Cause> {
    match message {
        [2, byte] => Cause::from_byte(*byte),
        _ => None,
    }
}

/// A message to a daemon process; one byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum ToDaemon {
    /// One descriptor: a new connection.
    Connection = 1,
    /// Finish what is being executed, then exit. The supervisor kills what outlives the shutdown timeout. A second byte
    /// ([`stop`]) says why, if the process is being replaced.
    Stop = 2,
    /// A new configuration is in force, whose processes take over when they are ready. Until then the code that it
    /// runs is what serves, whatever becomes of the scripts.
    Superseded = 3,
    /// The answer to [`FromDaemon::ServerMetrics`]. One descriptor: a file in memory that nobody can change, with a
    /// JSON object of the keys that `mod_wsgi.server_metrics()` returns.
    ServerMetrics = 4,
    /// Say once more what is loaded ([`crate::loaded::Loaded`]), and whether that has failed ([`FromDaemon::Failed`]): this
    /// supervisor has not heard it.
    TellScripts = 5,
}

impl ToDaemon {
    /// Reads the message.
    ///
    /// # Errors
    /// When it is not one known byte, or that of [`stop`].
    pub fn decode(message: &[u8]) -> Result<ToDaemon, DecodeError> {
        match message {
            [2, byte] => Cause::from_byte(*byte).map(|_| ToDaemon::Stop).ok_or(DecodeError::UnknownTag(*byte)),
            [1] => Ok(ToDaemon::Connection),
            [2] => Ok(ToDaemon::Stop),
            [3] => Ok(ToDaemon::Superseded),
            [4] => Ok(ToDaemon::ServerMetrics),
            [5] => Ok(ToDaemon::TellScripts),
            [other] => Err(DecodeError::UnknownTag(*other)),
            _ => Err(DecodeError::Short(message.len())),
        }
    }
}

/// A message of a daemon process; two bytes: tag and argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FromDaemon {
    /// The interpreter runs and scripts are loaded: requests may come.
    Ready,
    /// The interpreter runs, but a script could not be loaded: what it could answer is 500, with the traceback
    /// in the log. The process stays, and watches the files concerned.
    Failed,
    /// One of the files for which it has failed, or which it runs, has changed: it is worth trying again.
    Changed,
    /// Replace me, then stop me.
    Retire(Cause),
    /// What does httpd's scoreboard say? Answered only where the group has `server-metrics=On` and a child is there.
    ServerMetrics,
}

/// The signal that makes a daemon process write the Python stacks of all its threads to its standard error,
/// even if the GIL is never released, as its number below SIGRTMAX; where nothing is set up for it yet it kills.
pub const DUMP_SIGNAL_BELOW_MAX: i32 = 3;

/// Why a daemon process asks to be replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Cause {
    /// A script has changed on disk.
    ScriptReload = 1,
    /// `maximum-requests` is reached.
    MaximumRequests = 2,
    /// It got SIGUSR1.
    GracefulSignal = 3,
    /// There was no request for `inactivity-timeout`.
    InactivityTimeout = 4,
    /// It has lived for `restart-interval`.
    RestartInterval = 5,
    /// It has used `cpu-time-limit` of processor time.
    CpuTimeLimit = 6,
    /// It is larger than `maximum-memory`.
    MaximumMemory = 7,
    /// A request has overrun `request-timeout`, and `interrupt-timeout` did not help.
    RequestTimeout = 8,
    /// The GIL was held for `deadlock-timeout`.
    DeadlockTimeout = 9,
    /// A script was not loaded within `startup-timeout`.
    StartupTimeout = 10,
    /// It got SIGUSR1, and `eviction-timeout` is set.
    EvictionSignal = 11,
    /// The group did not need it for `idle-timeout`.
    IdleTimeout = 12,
    /// It has no descriptor left for a connection.
    NoDescriptor = 13,
}

impl Cause {
    const ALL: [Cause; 13] = [
        Cause::ScriptReload,
        Cause::MaximumRequests,
        Cause::GracefulSignal,
        Cause::InactivityTimeout,
        Cause::RestartInterval,
        Cause::CpuTimeLimit,
        Cause::MaximumMemory,
        Cause::RequestTimeout,
        Cause::DeadlockTimeout,
        Cause::StartupTimeout,
        Cause::EvictionSignal,
        Cause::IdleTimeout,
        Cause::NoDescriptor,
    ];

    fn from_byte(byte: u8) -> Option<Cause> {
        Cause::ALL.into_iter().find(|cause| *cause as u8 == byte)
    }

    /// The cause in mod_wsgi's words.
    pub fn name(self) -> &'static str {
        match self {
            Cause::ScriptReload => "script_reload",
            Cause::MaximumRequests => "maximum_requests",
            Cause::GracefulSignal => "graceful_signal",
            Cause::InactivityTimeout => "inactivity_timeout",
            Cause::RestartInterval => "restart_interval",
            Cause::CpuTimeLimit => "cpu_time_limit",
            Cause::MaximumMemory => "maximum_memory",
            Cause::RequestTimeout => "request_timeout",
            Cause::DeadlockTimeout => "deadlock_timeout",
            Cause::StartupTimeout => "startup_timeout",
            Cause::EvictionSignal => "eviction_signal",
            Cause::IdleTimeout => "idle_timeout",
            Cause::NoDescriptor => "no_descriptor",
        }
    }
}

impl FromDaemon {
    /// The message's bytes.
    pub fn encode(self) -> [u8; 2] {
        match self {
            FromDaemon::Ready => [1, 0],
            FromDaemon::Retire(cause) => [2, cause as u8],
            FromDaemon::Failed => [3, 0],
            FromDaemon::Changed => [4, 0],
            FromDaemon::ServerMetrics => [5, 0],
        }
    }

    /// Reads the message.
    ///
    /// # Errors
    /// When it is not two bytes of a known message.
    pub fn decode(message: &[u8]) -> Result<FromDaemon, DecodeError> {
        match message {
            [1, 0] => Ok(FromDaemon::Ready),
            [3, 0] => Ok(FromDaemon::Failed),
            [4, 0] => Ok(FromDaemon::Changed),
            [5, 0] => Ok(FromDaemon::ServerMetrics),
            [2, byte] => Cause::from_byte(*byte).map(FromDaemon::Retire).ok_or(DecodeError::UnknownTag(*byte)),
            [tag, _] => Err(DecodeError::UnknownTag(*tag)),
            _ => Err(DecodeError::Short(message.len())),
        }
    }
}

/// Exit status of a daemon process, and what the supervisor makes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i32)]
pub enum Exit {
    /// It was asked to stop.
    Stopped = 0,
    /// The engine does not fit: other protocol version, free-threaded Python, Python before 3.10.
    Unfit = 64,
    /// The interpreter runs, but the engine could not be imported or started.
    Bootstrap = 65,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_round_trip() {
        let connect = Connect { group: 7, slot: 3, epoch: u32::MAX };
        assert_eq!(Connect::decode(&connect.encode()), Ok(connect));
        let retiring = Cause::ALL.map(FromDaemon::Retire);
        let plain = [FromDaemon::Ready, FromDaemon::Failed, FromDaemon::Changed, FromDaemon::ServerMetrics];
        for message in plain.into_iter().chain(retiring) {
            assert_eq!(FromDaemon::decode(&message.encode()), Ok(message));
        }
        let orders = [ToDaemon::Connection, ToDaemon::Stop, ToDaemon::Superseded, ToDaemon::ServerMetrics];
        for message in orders.into_iter().chain([ToDaemon::TellScripts]) {
            assert_eq!(ToDaemon::decode(&[message as u8]), Ok(message));
        }
        for cause in Cause::ALL.map(Some).into_iter().chain([None]) {
            let message = stop(cause);
            assert_eq!((ToDaemon::decode(&message), stop_cause(&message)), (Ok(ToDaemon::Stop), cause));
        }
        assert_eq!((stop_cause(&[2, 99]), stop_cause(&[1, 1])), (None, None));
        assert!(ToDaemon::decode(&[2, 99]).is_err() && ToDaemon::decode(&[2, 1, 1]).is_err());
        let stored = Stored { group: u64::MAX - 1, slot: 3, epoch: 9, pid: 4711 };
        assert_eq!(Stored::decode(&stored.encode()), Ok(stored));
    }

    #[test]
    fn other_sizes_and_tags_are_errors() {
        for cut in 0..Connect::SIZE {
            assert!(Connect::decode(&[0; Connect::SIZE][..cut]).is_err());
        }
        assert!(Connect::decode(&[0; Connect::SIZE + 1]).is_err());
        assert!([0, 1, Stored::SIZE - 1, Stored::SIZE + 1].iter().all(|len| Stored::decode(&vec![0; *len]).is_err()));
        for message in [&[][..], &[1], &[7, 0], &[2, 0], &[2, 14], &[1, 1], &[1, 0, 0]] {
            assert!(FromDaemon::decode(message).is_err(), "{message:?}");
        }
        assert_eq!(asked_metrics(&ask_metrics(0x0102_0304)), Some(0x0102_0304));
        assert_eq!([&[][..], &[1, 0], &[2, 0, 0, 0, 1], &[1, 0, 0, 0, 0, 0]].map(asked_metrics), [None; 4]);
        assert!(ToDaemon::decode(&[9]).is_err());
        assert!(ToDaemon::decode(&[]).is_err());
    }
}
