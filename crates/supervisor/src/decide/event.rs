//! What decisions are about: a process group's rules, what happens, what to do.

use wsgi_wire::control::Cause;
use wsgi_wire::messages::Message;

use super::{GroupId, Millis, ProcessId};

/// The part of a group's configuration that decisions and their messages need. A time of 0 sets no limit unless its
/// comment says otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rules {
    /// The group's name.
    pub name: String,
    /// `file:line`.
    pub defined_at: String,
    /// The interpreter.
    pub python: String,
    /// The option that chose the interpreter.
    pub python_from: String,
    /// The scripts that a process loads before it is ready, for messages; may be empty.
    pub scripts: String,
    /// The path of the request that a process has to answer after that (`warmup=`); may be empty.
    pub warmup: String,
    /// How many processes the group begins with.
    pub processes: u32,
    /// Fewest processes, when there is no load.
    pub min: u32,
    /// Most processes, under load.
    pub max: u32,
    /// Request threads of each process.
    pub threads: u32,
    /// How long a process stays when it is not needed; 0: not at all.
    pub idle_timeout: Millis,
    /// Old code serves until the new one is ready.
    pub rolling: bool,
    /// From stop to SIGKILL.
    pub shutdown_timeout: Millis,
    /// From drain to stop.
    pub graceful_timeout: Millis,
    /// The same after SIGUSR1; 0: as `graceful_timeout`.
    pub eviction_timeout: Millis,
    /// From ready to replacement.
    pub restart_interval: Millis,
    /// From start to ready.
    pub startup_timeout: Millis,
    /// Resident set above which a process is replaced, bytes; 0: no limit.
    pub maximum_memory: u64,
    /// The limits that lead to these causes, as `option=value`; for messages.
    pub limits: Vec<(Cause, String)>,
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// With this exit status.
    Status(i32),
    /// By this signal.
    Signal(i32),
    /// It was no child of this supervisor, so the status is not known.
    Unknown,
}

/// Requests for which children have reserved request threads of a process.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Busy {
    /// How many.
    pub count: u32,
    /// The oldest of them, as far as the scoreboard names them: `GET /x for 3 s`.
    pub oldest: Vec<String>,
}

/// How a process ended, and what it did until then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exit {
    /// How it ended.
    pub ended: Ended,
    /// The requests that it was executing.
    pub busy: Busy,
    /// Requests that it had answered.
    pub served: u32,
    /// The cause, as far as its output shows one.
    pub diagnosis: String,
}

/// A look at the scoreboard of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Load {
    /// Request threads of the ready processes.
    pub threads: u32,
    /// How many of these request threads are taken.
    pub busy: u32,
    /// How many requests wait for a request thread.
    pub waiting: u32,
    /// Processes have answered requests since the last look.
    pub served: bool,
    /// The process that has least to do; of several such processes the youngest.
    pub idlest: Option<ProcessId>,
}

/// A process that an earlier supervisor left behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found {
    /// Its group.
    pub group: GroupId,
    /// Its number here.
    pub process: ProcessId,
    /// Its process id.
    pub pid: i32,
    /// What it can be used for.
    pub left: Left,
}

/// What the supervisor can do with a process that it found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Left {
    /// Its control socket is there, and it was ready.
    Serving,
    /// Its control socket is there; it was not ready yet.
    Starting,
    /// Its control socket is there; it takes no new requests any more.
    Draining,
    /// It knows that its supervisor is gone and takes no new connections.
    Alone,
}

/// Something that has happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// httpd's parent has sent a complete configuration.
    Configured {
        /// All groups of it. If there is none, the supervisor ends as soon as the processes that run have drained.
        groups: Vec<(GroupId, Rules)>,
    },
    /// The supervisor found a process of an earlier supervisor on a group's scoreboard. Comes before the configuration
    /// that names the group.
    Found(Found),
    /// The process exists.
    Spawned { process: ProcessId, pid: i32 },
    /// The scoreboard had no slot for the process; its group tries again soon.
    NoSlot { process: ProcessId },
    /// The process could not be made or could not execute its program, for this reason.
    StartFailed { process: ProcessId, message: Message, cause: String },
    /// The process that starts has loaded one more of the scripts that were handed to it.
    Loaded { process: ProcessId },
    /// The process says that it is ready.
    Ready { process: ProcessId },
    /// The process says that it could not load a script; `output` is what it wrote.
    Failed { process: ProcessId, output: String },
    /// The process says that a file has changed: it is worth trying again.
    Changed { process: ProcessId },
    /// The process asks to be replaced.
    Retire { process: ProcessId, cause: Cause },
    /// The process did something that no daemon process does.
    Violation { process: ProcessId, what: String },
    /// How many requests are reserved on a draining process.
    InFlight { process: ProcessId, busy: Busy },
    /// The process's resident set, in bytes.
    Memory { process: ProcessId, bytes: u64 },
    /// How many requests wait for a group that is leaving.
    Waiting { group: GroupId, count: u32 },
    /// Whether children are left of a configuration that names the group.
    Held { group: GroupId, held: bool },
    /// The load of a group that may grow or shrink.
    Load { group: GroupId, load: Load },
    /// A child has a request for a group, and sees no process of that group.
    Wanted { group: GroupId },
    /// The process has ended.
    Exited { process: ProcessId, exit: Exit },
    /// Time has passed.
    Tick,
    /// End everything, for this reason.
    Stop { why: &'static str },
}

impl Event {
    /// The process that the event is about; `None` for an event that is not about a process of a group.
    pub(super) fn process(&self) -> Option<ProcessId> {
        match self {
            Event::Spawned { process, .. }
            | Event::NoSlot { process }
            | Event::StartFailed { process, .. }
            | Event::Loaded { process }
            | Event::Ready { process }
            | Event::Failed { process, .. }
            | Event::Changed { process }
            | Event::Retire { process, .. }
            | Event::Violation { process, .. }
            | Event::InFlight { process, .. }
            | Event::Memory { process, .. }
            | Event::Exited { process, .. } => Some(*process),
            Event::Configured { .. }
            | Event::Found(_)
            | Event::Waiting { .. }
            | Event::Held { .. }
            | Event::Load { .. }
            | Event::Wanted { .. }
            | Event::Tick
            | Event::Stop { .. } => None,
        }
    }
}

/// Something to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Start a process; the shell answers with Spawned, NoSlot or StartFailed. `quiet`: keep what the process writes
    /// until [`Action::Output`], because other processes that start write the same, or the last attempt did.
    Start { group: GroupId, process: ProcessId, quiet: bool, handing: Handing },
    /// Let requests come to it.
    MarkReady { process: ProcessId },
    /// Let no further request come to it.
    MarkDraining { process: ProcessId },
    /// Ask it to finish and exit.
    SendStop { process: ProcessId },
    /// Tell it that its configuration is an old one: it serves the code that it has, until it is drained.
    SendSuperseded { process: ProcessId },
    /// SIGTERM: it has no control socket, or does not read it yet.
    Terminate { process: ProcessId },
    /// Have it write the stacks of its threads.
    Dump { process: ProcessId },
    /// SIGKILL to it and to what it has started in its session (killpg).
    Kill { process: ProcessId },
    /// Write to the log what was kept of its output, or forget that.
    Output { process: ProcessId, show: bool },
    /// It does not exist any more: free its slot.
    Clear { process: ProcessId },
    /// Say on the scoreboard why no process can be started, or that one can be.
    Fault { group: GroupId, cause: Option<String> },
    /// The group has no processes and is in no configuration.
    Forget { group: GroupId },
    /// Write a line (or several, separated by newlines) to the group's error log.
    Log { group: GroupId, level: u8, text: String },
    /// Everything has ended.
    Exit,
}

/// Whether a process that starts is to load the scripts that serving processes have loaded for requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Handing {
    /// None of them. A request waits for the process and should not wait for the scripts of others; or a process that
    /// tried to load them was lost.
    Nothing,
    /// All of them. If one cannot be loaded, the requests that ask for it find out.
    Tried,
    /// All of them. If one cannot be loaded, the process has failed, and the processes that serve go on.
    Required,
}

/// APLOG levels of lines without a number.
pub mod level {
    /// What daemon processes write without a level.
    pub const ERROR: u8 = 3;
    /// The life of processes.
    pub const INFO: u8 = 6;
    /// What only explains other lines.
    pub const DEBUG: u8 = 7;
}
