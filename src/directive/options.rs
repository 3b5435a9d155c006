//! The options of `WSGIDaemonProcess`: one table of names, kinds and ranges.

use super::Text;

/// What an option takes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum OptionKind {
    /// A whole number from the first to the second.
    Integer(i64, i64),
    /// Zero, or a whole number from the first to the second.
    ZeroOr(i64, i64),
    /// Bytes from 0, with K, M or G behind the number for multiples of 1024.
    Bytes,
    /// Whole seconds from 0.
    Seconds,
    /// Whole milliseconds from 0.
    Milliseconds,
    /// Seconds with a fraction, above 0.
    FractionalSeconds,
    /// An octal number up to 0777.
    Octal,
    /// `On` or `Off`.
    Switch,
    /// A text that is not empty.
    Word,
    /// A user name or `#uid`.
    User,
    /// A group name or `#gid`.
    Group,
    /// Group names or `#gid`s with commas between them.
    GroupList,
    /// A path that begins with `/`.
    AbsolutePath,
    /// Directories with colons between them.
    SearchPath,
    /// `NAME=value`, may be repeated.
    Environment,
    /// One of these words.
    Choice(&'static [&'static str]),
}

/// A value of an option.
#[derive(Clone, Debug, PartialEq)]
pub enum OptionValue {
    /// A whole number: a count, bytes, seconds or milliseconds.
    Integer(i64),
    /// A number with a fraction.
    Float(f64),
    /// `On` or `Off`.
    Switch(bool),
    /// A text.
    Text(Text),
    /// Several texts.
    List(Vec<Text>),
    /// Variables with their values.
    Environment(Vec<(Text, Text)>),
}

/// One option.
#[derive(Clone, Copy, Debug)]
pub struct OptionRow {
    /// Which.
    pub id: OptionId,
    /// The name before the equals sign.
    pub name: &'static str,
    /// What it takes.
    pub kind: OptionKind,
    /// What holds without it, for people.
    pub default: &'static str,
    /// One line on what it does.
    pub help: &'static str,
}

macro_rules! options {
    ($($id:ident $name:literal $kind:expr, $default:literal, $help:literal;)*) => {
        /// The options of `WSGIDaemonProcess`, in the order of [`OPTIONS`].
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum OptionId {
            $(#[doc = concat!("`", $name, "=`")] $id,)*
        }

        /// Every option of `WSGIDaemonProcess`.
        pub static OPTIONS: [OptionRow; [$(OptionId::$id),*].len()] = [$(OptionRow {
            id: OptionId::$id,
            name: $name,
            kind: $kind,
            default: $default,
            help: $help,
        }),*];
    };
}

impl OptionId {
    /// Its row.
    pub fn row(self) -> &'static OptionRow {
        &OPTIONS[self as usize]
    }
}

/// A bound for counts that the operating system limits long before.
const MANY: i64 = i32::MAX as i64;

use OptionKind::{
    AbsolutePath, Bytes, Choice, Environment, FractionalSeconds, Group, GroupList, Integer, Milliseconds, Octal,
    SearchPath, Seconds, Switch, User, Word, ZeroOr,
};

options! {
    Processes "processes" Integer(1, 4096), "1", "Number of daemon processes; giving it at all makes wsgi.multiprocess true.";
    Threads "threads" Integer(0, 65533), "15", "Request threads in each process; 0 is a process that only runs its import scripts.";
    User "user" User, "httpd's User", "User that the processes run as, when httpd is started by root.";
    Group "group" Group, "httpd's Group, or the user's", "Group that the processes run as, when httpd is started by root.";
    SupplementaryGroups "supplementary-groups" GroupList, "those of the user", "Further groups of the processes, separated by commas.";
    Umask "umask" Octal, "inherited", "File mode creation mask, octal.";
    Chroot "chroot" AbsolutePath, "none", "Directory that becomes the root of the processes, for which httpd must be started by root; python, python-home, python-path and home are paths inside of it, scripts those of the host.";
    Home "home" AbsolutePath, "the user's home directory if another user than httpd's", "Working directory; also put first on sys.path.";
    DisplayName "display-name" Word, "the program's own", "Name in process listings; %{GROUP} stands for (wsgi:NAME).";
    Lang "lang" Word, "inherited", "Environment variable LANG.";
    Locale "locale" Word, "inherited", "Environment variable LC_ALL, and the locale that is set.";
    ScriptUser "script-user" User, "not checked", "User that must own the script and its directory.";
    ScriptGroup "script-group" Group, "not checked", "Group that the script and its directory must have.";
    SocketUser "socket-user" User, "not needed", "Accepted for compatibility; there are no socket files.";
    CpuPriority "cpu-priority" Integer(-20, 20), "0 (unchanged)", "Scheduling priority of the processes.";
    StackSize "stack-size" Integer(1, MANY), "the system's", "Stack of each thread in bytes.";
    PythonHome "python-home" Word, "WSGIPythonHome", "Python installation or virtual environment to use.";
    PythonPath "python-path" SearchPath, "none", "Directories to put before sys.path, separated by colons.";
    PythonEggs "python-eggs" Word, "none", "Environment variable PYTHON_EGG_CACHE.";
    SwitchInterval "switch-interval" FractionalSeconds, "Python's own (0.005)", "How long a Python thread runs before it must let others run.";
    ServerMetrics "server-metrics" Switch, "Off", "Enables mod_wsgi.server_metrics().";
    MaximumRequests "maximum-requests" Integer(0, MANY), "0 (off)", "Requests that a process serves before it is replaced.";
    RestartInterval "restart-interval" Seconds, "0 (off)", "Seconds that a process lives before it is replaced.";
    StartupTimeout "startup-timeout" Seconds, "0 (off)", "Seconds that loading the script may take.";
    DeadlockTimeout "deadlock-timeout" Seconds, "300", "Seconds that Python's global lock may be held before the process is replaced.";
    InactivityTimeout "inactivity-timeout" Seconds, "0 (off)", "Seconds without requests after which a process is restarted.";
    RequestTimeout "request-timeout" Seconds, "0 (off)", "Seconds that a request may take.";
    InterruptTimeout "interrupt-timeout" Seconds, "0 (off)", "Seconds that an interrupted request has to end.";
    GracefulTimeout "graceful-timeout" Seconds, "15", "Seconds that a process which is to be replaced may go on with its requests.";
    EvictionTimeout "eviction-timeout" Seconds, "0 (graceful-timeout)", "As graceful-timeout, for a process that is told to go by SIGUSR1.";
    ShutdownTimeout "shutdown-timeout" Seconds, "5", "Seconds from the decision to stop a process until it is killed.";
    ConnectTimeout "connect-timeout" Seconds, "15", "Seconds to wait for a connection to a process.";
    SocketTimeout "socket-timeout" Seconds, "httpd's Timeout", "Seconds to wait for each read from and write to a process.";
    QueueTimeout "queue-timeout" Seconds, "0 (off)", "Seconds from the arrival of a request, without those for its body, that it may wait for a free request thread.";
    ListenBacklog "listen-backlog" Integer(1, MANY), "100", "Requests that may wait for a free request thread.";
    SendBufferSize "send-buffer-size" ZeroOr(512, MANY), "0 (1 MiB)", "Send buffer of connections to processes in bytes.";
    ReceiveBufferSize "receive-buffer-size" ZeroOr(512, MANY), "0 (the system's)", "Receive buffer of connections to processes in bytes.";
    HeaderBufferSize "header-buffer-size" ZeroOr(8192, MANY), "0 (32768)", "Longest response header line in bytes, its end included.";
    ResponseBufferSize "response-buffer-size" ZeroOr(65_536, MANY), "0 (8 MiB)", "Bytes of a response that does not pause after which it is flushed to the client.";
    ResponseSocketTimeout "response-socket-timeout" Seconds, "0 (socket-timeout)", "Seconds to wait for the client to take some of the response.";
    ResponseFlushDelay "response-flush-delay" Milliseconds, "5", "Milliseconds to wait for more of a response before it is flushed.";
    RequestBuffer "request-buffer" ZeroOr(4096, 1 << 30), "1048576", "Bytes of a request's body that are read from the client before a request thread is taken.";
    ResponseBuffer "response-buffer" ZeroOr(4096, 1 << 30), "1048576", "Bytes of a response that are kept in memory for a client that is slower than the application.";
    ResponseSpool "response-spool" Integer(0, i64::MAX), "1073741824", "Bytes of a response, beyond response-buffer, that are kept in a temporary file for a slow client; 0: none.";
    SpoolDirectory "spool-directory" AbsolutePath, "TMPDIR, else /var/tmp", "Where temporary files are made.";
    CpuTimeLimit "cpu-time-limit" Seconds, "0 (off)", "Seconds of processor time after which a process is replaced.";
    MemoryLimit "memory-limit" Bytes, "0 (off)", "Bytes of data that a process may have.";
    VirtualMemoryLimit "virtual-memory-limit" Bytes, "0 (off)", "Bytes of address space that a process may have.";
    Python "python" AbsolutePath, "bin/python of python-home, else python3", "Python interpreter to execute.";
    Env "env" Environment, "none", "NAME=value: an environment variable of the processes; may be repeated.";
    EnvFile "env-file" AbsolutePath, "none", "File of NAME=value lines: environment variables of the processes, which env= overrides; only httpd's parent needs to be able to read it.";
    MaximumMemory "maximum-memory" Bytes, "0 (off)", "Resident memory in bytes (or with K, M, G) above which a process is replaced.";
    MinProcesses "min-processes" Integer(0, 4096), "processes", "Fewest processes that a group without load shrinks to; 0: none, until a request comes.";
    MaxProcesses "max-processes" Integer(1, 4096), "processes", "Most processes that a group under load grows to.";
    IdleTimeout "idle-timeout" Seconds, "60", "Seconds for which the group does not need a process before it is ended, where there are more than min-processes.";
    Warmup "warmup" AbsolutePath, "none", "Path that a new process is asked for, with everything in place, before it takes requests.";
    Reload "reload" Choice(&["immediate", "rolling"]), "immediate", "What follows a changed script: immediate lets requests wait for the new code; rolling lets the old code serve until the new one is ready.";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_holds_every_option_once_and_in_order() {
        assert_eq!(OPTIONS.len(), 44 + 13);
        for (index, row) in OPTIONS.iter().enumerate() {
            assert_eq!(row.id as usize, index);
            assert_eq!(OPTIONS.iter().filter(|other| other.name == row.name).count(), 1, "{}", row.name);
        }
    }
}
