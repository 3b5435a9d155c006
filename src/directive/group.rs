//! A process group: what a `WSGIDaemonProcess` line says, with every option typed.

use std::collections::BTreeMap;

use super::Text;
use super::options::{OptionId, OptionValue};
use super::place::{Defined, Place, ServerKey};

/// Which servers may use a process group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Access {
    /// It is defined in the main server.
    Everywhere,
    /// It is defined in these virtual hosts; others of the same `ServerName` may use it as well.
    Servers(Vec<ServerKey>),
}

/// A process group. Times are in seconds unless the name says otherwise; `None` is "not given".
#[derive(Clone, Debug, PartialEq)]
pub struct ProcessGroup {
    /// Its name.
    pub name: Text,
    /// Where it was defined first.
    pub defined: Defined,
    /// The server that defined it first; its error log is the group's.
    pub server: ServerKey,
    /// Who may use it.
    pub access: Access,
    /// The options as given, for comparison with a second definition.
    pub given: BTreeMap<OptionId, OptionValue>,
    /// `processes`.
    pub processes: u32,
    /// `processes` was given, even as 1: `wsgi.multiprocess` is true.
    pub multiprocess: bool,
    /// `threads`.
    pub threads: u32,
    /// `user`: a name or `#uid`.
    pub user: Option<Text>,
    /// `group`: a name or `#gid`.
    pub group: Option<Text>,
    /// `supplementary-groups`.
    pub supplementary_groups: Option<Vec<Text>>,
    /// `umask`.
    pub umask: Option<u32>,
    /// `chroot`.
    pub chroot: Option<Text>,
    /// `home`.
    pub home: Option<Text>,
    /// `display-name`, with `%{GROUP}` replaced.
    pub display_name: Option<Text>,
    /// `lang`.
    pub lang: Option<Text>,
    /// `locale`.
    pub locale: Option<Text>,
    /// `script-user`: a name or `#uid`.
    pub script_user: Option<Text>,
    /// `script-group`: a name or `#gid`.
    pub script_group: Option<Text>,
    /// `socket-user`.
    pub socket_user: Option<Text>,
    /// `cpu-priority`.
    pub cpu_priority: Option<i32>,
    /// `stack-size` in bytes.
    pub stack_size: Option<u64>,
    /// `python-home`.
    pub python_home: Option<Text>,
    /// `python-path`, split at the colons.
    pub python_path: Option<Vec<Text>>,
    /// `python-eggs`.
    pub python_eggs: Option<Text>,
    /// `switch-interval`.
    pub switch_interval: Option<f64>,
    /// `server-metrics`.
    pub server_metrics: bool,
    /// `maximum-requests`; 0 is off.
    pub maximum_requests: u64,
    /// `restart-interval`; 0 is off.
    pub restart_interval: u32,
    /// `startup-timeout`; 0 is off.
    pub startup_timeout: u32,
    /// `deadlock-timeout`; 0 is off.
    pub deadlock_timeout: u32,
    /// `inactivity-timeout`; 0 is off.
    pub inactivity_timeout: u32,
    /// `request-timeout`; 0 is off.
    pub request_timeout: u32,
    /// `interrupt-timeout`; 0 is off.
    pub interrupt_timeout: u32,
    /// `graceful-timeout`.
    pub graceful_timeout: u32,
    /// `eviction-timeout`; 0 is `graceful-timeout`.
    pub eviction_timeout: u32,
    /// `shutdown-timeout`.
    pub shutdown_timeout: u32,
    /// `connect-timeout`.
    pub connect_timeout: u32,
    /// `socket-timeout`; `None` is httpd's `Timeout`.
    pub socket_timeout: Option<u32>,
    /// `queue-timeout`; 0 is off.
    pub queue_timeout: u32,
    /// `listen-backlog`.
    pub listen_backlog: u32,
    /// `send-buffer-size` in bytes; 0 is the system's.
    pub send_buffer_size: u32,
    /// `receive-buffer-size` in bytes; 0 is the system's.
    pub receive_buffer_size: u32,
    /// `header-buffer-size` in bytes.
    pub header_buffer_size: u32,
    /// `response-buffer-size` in bytes.
    pub response_buffer_size: u32,
    /// `response-socket-timeout`; `None` is `socket-timeout`.
    pub response_socket_timeout: Option<u32>,
    /// `response-flush-delay` in milliseconds.
    pub response_flush_delay_ms: u32,
    /// `request-buffer` in bytes.
    pub request_buffer: u32,
    /// `response-buffer` in bytes.
    pub response_buffer: u32,
    /// `response-spool` in bytes.
    pub response_spool: u64,
    /// `spool-directory`.
    pub spool_directory: Option<Text>,
    /// `cpu-time-limit`; 0 is off.
    pub cpu_time_limit: u32,
    /// `memory-limit` in bytes; 0 is off.
    pub memory_limit: u64,
    /// `virtual-memory-limit` in bytes; 0 is off.
    pub virtual_memory_limit: u64,
    /// `python`: the interpreter's executable.
    pub python: Option<Text>,
    /// `env`, in order.
    pub env: Vec<(Text, Text)>,
    /// `env-file`.
    pub env_file: Option<Text>,
    /// `maximum-memory` in bytes; 0 is off.
    pub maximum_memory: u64,
    /// `min-processes`: `processes` where it is not given.
    pub min_processes: u32,
    /// `max-processes`: `processes` where it is not given.
    pub max_processes: u32,
    /// `idle-timeout`.
    pub idle_timeout: u32,
    /// `warmup`.
    pub warmup: Option<Text>,
    /// `reload=rolling`.
    pub rolling: bool,
}

/// The values that were given, taken out by type.
struct Options<'a>(&'a BTreeMap<OptionId, OptionValue>);

impl Options<'_> {
    /// A number. The range in the table makes sure that it fits `T`.
    fn number<T: TryFrom<i64>>(&self, id: OptionId) -> Option<T> {
        match self.0.get(&id) {
            Some(OptionValue::Integer(value)) => T::try_from(*value).ok(),
            _ => None,
        }
    }

    /// A number for which zero means that it is not given.
    fn nonzero<T: TryFrom<i64> + Default + PartialEq>(&self, id: OptionId) -> Option<T> {
        self.number(id).filter(|value| *value != T::default())
    }

    fn text(&self, id: OptionId) -> Option<Text> {
        match self.0.get(&id) {
            Some(OptionValue::Text(text)) => Some(text.clone()),
            _ => None,
        }
    }

    fn list(&self, id: OptionId) -> Option<Vec<Text>> {
        match self.0.get(&id) {
            Some(OptionValue::List(list)) => Some(list.clone()),
            _ => None,
        }
    }

    /// The smallest, the first and the largest number of processes. An option that is not given follows from those that
    /// are. None of the three numbers exceeds the next.
    fn processes(&self) -> (u32, u32, u32) {
        let (least, most) = (self.number(OptionId::MinProcesses), self.number(OptionId::MaxProcesses));
        let first = self.number(OptionId::Processes).or(least).unwrap_or(1);
        (least.unwrap_or(first), first, most.unwrap_or(first.max(1)))
    }

    /// Seconds, or a count, or bytes, with a default.
    fn or(&self, id: OptionId, default: u32) -> u32 {
        self.number(id).unwrap_or(default)
    }
}

impl ProcessGroup {
    /// The group `name` with the options `given` at `place`.
    pub(super) fn new(name: Text, given: BTreeMap<OptionId, OptionValue>, place: &Place<'_>) -> Self {
        use OptionId as Id;
        let options = Options(&given);
        let (least, processes, most) = options.processes();
        ProcessGroup {
            defined: place.defined(),
            server: place.server,
            access: match place.server {
                ServerKey::MAIN => Access::Everywhere,
                server => Access::Servers(vec![server]),
            },
            processes,
            multiprocess: given.contains_key(&Id::Processes) || most > 1,
            threads: options.or(Id::Threads, 15),
            user: options.text(Id::User),
            group: options.text(Id::Group),
            supplementary_groups: options.list(Id::SupplementaryGroups),
            umask: options.number(Id::Umask),
            chroot: options.text(Id::Chroot),
            home: options.text(Id::Home),
            display_name: options.text(Id::DisplayName).map(|text| display_name(text, &name)),
            lang: options.text(Id::Lang),
            locale: options.text(Id::Locale),
            script_user: options.text(Id::ScriptUser),
            script_group: options.text(Id::ScriptGroup),
            socket_user: options.text(Id::SocketUser),
            cpu_priority: options.number(Id::CpuPriority),
            stack_size: options.number(Id::StackSize),
            python_home: options.text(Id::PythonHome),
            python_path: options.list(Id::PythonPath),
            python_eggs: options.text(Id::PythonEggs),
            switch_interval: match given.get(&Id::SwitchInterval) {
                Some(OptionValue::Float(seconds)) => Some(*seconds),
                _ => None,
            },
            server_metrics: given.get(&Id::ServerMetrics) == Some(&OptionValue::Switch(true)),
            maximum_requests: options.number(Id::MaximumRequests).unwrap_or(0),
            restart_interval: options.or(Id::RestartInterval, 0),
            startup_timeout: options.or(Id::StartupTimeout, 0),
            deadlock_timeout: options.or(Id::DeadlockTimeout, 300),
            inactivity_timeout: options.or(Id::InactivityTimeout, 0),
            request_timeout: options.or(Id::RequestTimeout, 0),
            interrupt_timeout: options.or(Id::InterruptTimeout, 0),
            graceful_timeout: options.or(Id::GracefulTimeout, 15),
            eviction_timeout: options.or(Id::EvictionTimeout, 0),
            shutdown_timeout: options.or(Id::ShutdownTimeout, 5),
            connect_timeout: options.or(Id::ConnectTimeout, 15),
            socket_timeout: options.nonzero(Id::SocketTimeout),
            queue_timeout: options.or(Id::QueueTimeout, 0),
            listen_backlog: options.or(Id::ListenBacklog, 100),
            send_buffer_size: options.or(Id::SendBufferSize, 0),
            receive_buffer_size: options.or(Id::ReceiveBufferSize, 0),
            header_buffer_size: options.nonzero(Id::HeaderBufferSize).unwrap_or(32_768),
            response_buffer_size: options.nonzero(Id::ResponseBufferSize).unwrap_or(8 << 20),
            response_socket_timeout: options.nonzero(Id::ResponseSocketTimeout),
            response_flush_delay_ms: options.or(Id::ResponseFlushDelay, 5),
            request_buffer: options.or(Id::RequestBuffer, 1 << 20),
            response_buffer: options.or(Id::ResponseBuffer, 1 << 20),
            response_spool: options.number(Id::ResponseSpool).unwrap_or(1 << 30),
            spool_directory: options.text(Id::SpoolDirectory),
            cpu_time_limit: options.or(Id::CpuTimeLimit, 0),
            memory_limit: options.number(Id::MemoryLimit).unwrap_or(0),
            virtual_memory_limit: options.number(Id::VirtualMemoryLimit).unwrap_or(0),
            python: options.text(Id::Python),
            env: match given.get(&Id::Env) {
                Some(OptionValue::Environment(all)) => all.clone(),
                _ => Vec::new(),
            },
            env_file: options.text(Id::EnvFile),
            maximum_memory: options.number(Id::MaximumMemory).unwrap_or(0),
            min_processes: least,
            max_processes: most,
            idle_timeout: options.or(Id::IdleTimeout, 60),
            warmup: options.text(Id::Warmup),
            rolling: options.text(Id::Reload).as_deref() == Some(b"rolling"),
            name,
            given,
        }
    }
}

/// `display-name`. The value `%{GROUP}` stands for a name that is made from the group's name.
fn display_name(text: Text, name: &Text) -> Text {
    if &*text == b"%{GROUP}" { [b"(wsgi:", &name[..], b")"].concat().into() } else { text }
}
