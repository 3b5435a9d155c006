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
    /// A text, which may be empty.
    Text,
    /// A user name or `#uid`.
    User,
    /// A group name or `#gid`.
    Group,
    /// Group names or `#gid`s with commas between them, or none.
    GroupList,
    /// A path that begins with `/`.
    AbsolutePath,
    /// Directories with colons between them, or none.
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
    SearchPath, Seconds, Switch, User, ZeroOr,
};

options! {
    Processes "processes" Integer(1, 4096), "1", "Number of daemon processes. If this is given, even as 1, or max-processes is above 1, wsgi.multiprocess is true.";
    Threads "threads" Integer(0, 65533), "15", "Request threads in each process. With 0 a process serves no requests and only runs its import scripts.";
    User "user" User, "httpd's User", "User that the processes run as, when httpd is started by root.";
    Group "group" Group, "httpd's Group, or the user's", "Group that the processes run as, when httpd is started by root.";
    SupplementaryGroups "supplementary-groups" GroupList, "those of the user", "Supplementary groups of the processes, separated by commas.";
    Umask "umask" Octal, "inherited", "File mode creation mask, octal.";
    Chroot "chroot" AbsolutePath, "none", "Root directory of the processes; root must start httpd. python, python-home, python-path and home are paths inside of it. Scripts keep the path that httpd sees.";
    Home "home" AbsolutePath, "home directory of user, if that is not httpd's", "Working directory. It is also the first entry of sys.path.";
    DisplayName "display-name" OptionKind::Text, "the program's own", "Name in process listings; %{GROUP} stands for (wsgi:NAME).";
    Lang "lang" OptionKind::Text, "inherited", "Environment variable LANG.";
    Locale "locale" OptionKind::Text, "inherited", "Environment variable LC_ALL; the process also sets this locale.";
    ScriptUser "script-user" User, "not checked", "User that must own the script and its directory.";
    ScriptGroup "script-group" Group, "not checked", "Group that the script and its directory must have.";
    SocketUser "socket-user" User, "not needed", "Accepted for compatibility; there are no socket files.";
    CpuPriority "cpu-priority" Integer(-20, 20), "0 (unchanged)", "Scheduling priority of the processes.";
    StackSize "stack-size" Integer(1, MANY), "the system's", "Stack of each thread in bytes.";
    PythonHome "python-home" OptionKind::Text, "WSGIPythonHome", "Python installation or virtual environment to use.";
    PythonPath "python-path" SearchPath, "none", "Directories that the process puts before sys.path, separated by colons.";
    PythonEggs "python-eggs" OptionKind::Text, "none", "Environment variable PYTHON_EGG_CACHE.";
    SwitchInterval "switch-interval" FractionalSeconds, "Python's own (0.005)", "Seconds after which a Python thread lets other threads run.";
    ServerMetrics "server-metrics" Switch, "Off", "Enables mod_wsgi.server_metrics().";
    MaximumRequests "maximum-requests" Integer(0, MANY), "0 (off)", "Requests after which the supervisor replaces a process.";
    RestartInterval "restart-interval" Seconds, "0 (off)", "Age in seconds at which the supervisor replaces a process.";
    StartupTimeout "startup-timeout" Seconds, "0 (off)", "Seconds that a new process has until it is ready. The time begins anew after each script that it has loaded.";
    DeadlockTimeout "deadlock-timeout" Seconds, "300", "Seconds for which one thread may keep Python's global lock. Then the process ends and is replaced.";
    InactivityTimeout "inactivity-timeout" Seconds, "0 (off)", "Seconds after its last request at which the supervisor replaces a process.";
    RequestTimeout "request-timeout" Seconds, "0 (off)", "Seconds that a request may take, times 1 + ln(threads).";
    InterruptTimeout "interrupt-timeout" Seconds, "0 (off)", "Seconds that a request has to end after RequestTimeout was raised in it; 0 raises nothing.";
    GracefulTimeout "graceful-timeout" Seconds, "15", "Seconds that a process has to finish its requests when it is replaced; 0: no limit.";
    EvictionTimeout "eviction-timeout" Seconds, "0 (graceful-timeout)", "As graceful-timeout, for a process that got SIGUSR1.";
    ShutdownTimeout "shutdown-timeout" Seconds, "5", "Seconds that a process has to end when the supervisor stops it. Then the supervisor kills it.";
    ConnectTimeout "connect-timeout" Seconds, "15", "Seconds for which a request tries to get a connection to a process.";
    SocketTimeout "socket-timeout" Seconds, "httpd's Timeout", "Seconds for which httpd waits at each read from and write to a process.";
    QueueTimeout "queue-timeout" Seconds, "0 (off)", "Seconds after its arrival for which a request may wait for a free request thread. The time for its body does not count.";
    ListenBacklog "listen-backlog" Integer(1, MANY), "100", "Requests that may wait for a free request thread.";
    SendBufferSize "send-buffer-size" ZeroOr(512, MANY), "0 (1 MiB)", "Send buffer of connections to processes in bytes.";
    ReceiveBufferSize "receive-buffer-size" ZeroOr(512, MANY), "0 (the system's)", "Receive buffer of connections to processes in bytes.";
    HeaderBufferSize "header-buffer-size" ZeroOr(8192, MANY), "0 (32768)", "Longest line of a response's head in bytes, with its line end.";
    ResponseBufferSize "response-buffer-size" ZeroOr(65_536, MANY), "0 (8 MiB)", "Bytes after which httpd flushes a response that does not pause.";
    ResponseSocketTimeout "response-socket-timeout" Seconds, "0 (socket-timeout)", "Seconds for which httpd waits for a client that takes nothing of its response.";
    ResponseFlushDelay "response-flush-delay" Milliseconds, "5", "Milliseconds for which httpd waits for more of a response before it flushes what it has.";
    RequestBuffer "request-buffer" ZeroOr(4096, 1 << 30), "1048576", "Bytes of a request's body that httpd reads before it reserves a request thread.";
    ResponseBuffer "response-buffer" ZeroOr(4096, 1 << 30), "1048576", "Bytes of a response that httpd keeps in memory for a slow client.";
    ResponseSpool "response-spool" Integer(0, i64::MAX), "1073741824", "Bytes of a response, beyond response-buffer, that httpd keeps in a temporary file for a slow client; 0: none.";
    SpoolDirectory "spool-directory" AbsolutePath, "TMPDIR, else /var/tmp", "Directory for these temporary files.";
    CpuTimeLimit "cpu-time-limit" Seconds, "0 (off)", "Seconds of processor time after which the supervisor replaces a process.";
    MemoryLimit "memory-limit" Bytes, "0 (off)", "Limit for the data of a process (RLIMIT_DATA).";
    VirtualMemoryLimit "virtual-memory-limit" Bytes, "0 (off)", "Limit for the address space of a process (RLIMIT_AS).";
    Python "python" AbsolutePath, "bin/python3 of python-home, else the system's python3", "Python interpreter of the processes.";
    Env "env" Environment, "none", "An environment variable of the processes. The option may be repeated.";
    EnvFile "env-file" AbsolutePath, "none", "File with lines NAME=value: environment variables of the processes; env overrides them. Only httpd's parent reads it.";
    MaximumMemory "maximum-memory" Bytes, "0 (off)", "Resident memory above which the supervisor replaces a process.";
    MinProcesses "min-processes" Integer(0, 4096), "processes", "Number of processes to which an idle group shrinks; with 0 the next request starts one.";
    MaxProcesses "max-processes" Integer(1, 4096), "processes", "Number of processes to which a busy group grows.";
    IdleTimeout "idle-timeout" Seconds, "60", "Seconds without need for a process after which the group ends one, down to min-processes.";
    Warmup "warmup" AbsolutePath, "none", "Path of a GET request that a new process makes to its application before it takes requests.";
    Reload "reload" Choice(&["immediate", "rolling"]), "immediate", "What happens when a script has changed. immediate: requests wait for the new code. rolling: the old code serves until the new code is ready.";
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
