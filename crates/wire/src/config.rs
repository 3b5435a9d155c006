//! Configuration of a process group as the parent sends it to the supervisor and the supervisor to each
//! daemon process, and of embedded mode as the child gives it to the engine. JSON: it travels once a start.

use serde::{Deserialize, Serialize};

use crate::layers::Layer;
use crate::python_options::PythonOptions;

/// A user that daemon processes run as.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// User id; never 0.
    pub uid: u32,
    /// Primary group id.
    pub gid: u32,
    /// Supplementary groups.
    pub groups: Vec<u32>,
    /// Name, for HOME, USER, LOGNAME and messages; `#uid` when it has none.
    pub name: String,
    /// Home directory; empty when unknown.
    pub home: String,
}

/// A script to load when a process starts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Preload {
    /// File.
    pub script: String,
    /// Application group; empty is the main interpreter.
    pub application_group: String,
    /// Requests may be for it: a process in which it cannot be loaded has failed.
    #[serde(default)]
    pub serves: bool,
}

/// A file, or a directory of files, that the configuration makes scripts of a group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// File or directory.
    pub path: String,
    /// A digest of what the configuration says about the groups of its scripts. It only tells one configuration from another.
    pub groups_digest: u64,
}

impl Target {
    /// Whether the file is the target, or lies below it.
    pub fn covers(&self, script: &str) -> bool {
        let rest = script.strip_prefix(self.path.trim_end_matches('/'));
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

/// A request that each new process gets before it is ready.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Warmup {
    /// Path, with the query behind `?` if there is one.
    pub path: String,
    /// `SERVER_NAME` and `Host`.
    pub host: String,
    /// The application; `None` when the configuration does not tell which one it is.
    pub target: Option<WarmupTarget>,
}

/// The application that a warmup request is for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WarmupTarget {
    /// File.
    pub script: String,
    /// Callable in it.
    pub callable: String,
    /// Application group, as far as it is known; empty is the main interpreter.
    pub application_group: String,
    /// It runs in the main interpreter, whatever its group is called.
    pub is_main: bool,
    /// URL prefix of the alias that leads to it, if one does.
    pub prefix: Option<String>,
}

/// What applications may know of httpd, beside its version.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Httpd {
    /// Most children.
    pub processes: u32,
    /// Most threads of each.
    pub threads: u32,
    /// Product and modules, as in the `Server` header when nothing is left out.
    pub description: String,
    /// `event`, `prefork`, `worker`.
    pub mpm_name: String,
    /// When httpd was built.
    pub build_date: String,
}

/// What a process reports to a program outside of the server (`WSGITelemetryService`).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Telemetry {
    /// The path of the program's socket.
    pub socket: String,
    /// From one report to the next, microseconds.
    pub interval_us: u64,
    /// Requests that take longer are reported one by one, microseconds; 0: none (`WSGISlowRequests`).
    pub slow_us: u64,
    /// With their User-Agent (`WSGITelemetryOptions CaptureUserAgent`).
    pub user_agent: bool,
}

/// One process group of one configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupConfig {
    /// Number that children use for this group; kept over restarts as long as its scoreboard is.
    pub id: u64,
    /// The group's name.
    pub name: String,
    /// Where the configuration defines it, `file:line`.
    pub defined_at: String,
    /// Daemon processes to begin with.
    pub processes: u32,
    /// Fewest, when there is no load; at most `processes`.
    pub min_processes: u32,
    /// Most, under load; at least 1 and `processes`.
    pub max_processes: u32,
    /// How long a process that is not needed stays, milliseconds.
    pub idle_timeout_ms: u64,
    /// Request threads of each.
    pub threads: u32,
    /// `processes` was given: `wsgi.multiprocess` is then true, as in mod_wsgi.
    pub multiprocess: bool,
    /// The interpreter to execute, absolute path.
    pub python: String,
    /// What in the configuration chose it, for messages: `python-home=/srv/venv`.
    pub python_from: String,
    /// Whom the processes run as; `None` leaves the supervisor's own identity.
    pub identity: Option<Identity>,
    /// Working directory, first in `sys.path`.
    pub home: Option<String>,
    /// Without `home`: start in the user's home directory, because it is another user than httpd's.
    #[serde(default)]
    pub in_users_home: bool,
    /// File mode mask.
    pub umask: Option<u32>,
    /// argv[0] to show.
    pub display_name: Option<String>,
    /// Environment of the processes, complete (including LANG, LC_ALL and `env=`).
    pub env: Vec<(String, String)>,
    /// How Python starts.
    #[serde(default)]
    pub python_options: PythonOptions,
    /// A free-threaded Python runs without its GIL (`WSGIFreeThreading`).
    #[serde(default)]
    pub free_threading: bool,
    /// Pass `-X utf8`: neither `lang`, `locale` nor the environment chose an encoding.
    pub utf8_mode: bool,
    /// Directories for `site.addsitedir`, to stand first in `sys.path`.
    pub python_path: Vec<String>,
    /// Settings of the interpreters, the least specific first.
    #[serde(default)]
    pub layers: Vec<Layer>,
    /// The one script that configuration routes to this group; it runs in the main interpreter, and is
    /// loaded before the process is ready.
    pub main_script: Option<String>,
    /// Further scripts to load before the process is ready.
    pub preload: Vec<Preload>,
    /// The owner of a script is to be looked at before it runs (`script-user`, `script-group`).
    #[serde(default)]
    pub checks_owner: bool,
    /// Scripts of the group as far as the configuration names them, for the supervisor: what a replaced process had
    /// loaded is handed on to a new configuration when that says the same of it.
    #[serde(default)]
    pub targets: Vec<Target>,
    /// What each new process is asked for before it is ready.
    pub warmup: Option<Warmup>,
    /// Old code serves until the new one is ready (`reload=rolling`).
    pub rolling: bool,
    /// Requests after which a process is replaced; 0: never.
    pub maximum_requests: u64,
    /// How long a process may be without requests before it is replaced, milliseconds; 0: for ever.
    #[serde(default)]
    pub inactivity_timeout_ms: u64,
    /// Age at which a process is replaced, milliseconds; 0: never.
    pub restart_interval_ms: u64,
    /// How long loading may take, milliseconds; 0: no limit.
    pub startup_timeout_ms: u64,
    /// How long the GIL may be held, milliseconds; 0: no limit.
    pub deadlock_timeout_ms: u64,
    /// How long a request may take, before it is scaled with the threads, milliseconds; 0: no limit.
    pub request_timeout_ms: u64,
    /// How long an interrupted request has to end, milliseconds; 0: none is interrupted.
    pub interrupt_timeout_ms: u64,
    /// As `graceful_timeout_ms`, after SIGUSR1; 0: the same.
    pub eviction_timeout_ms: u64,
    /// Processor time after which a process is replaced, seconds; 0: no limit.
    pub cpu_time_limit: u32,
    /// Resident set above which a process is replaced, bytes; 0: no limit.
    pub maximum_memory: u64,
    /// RLIMIT_DATA, bytes; 0: none.
    pub memory_limit: u64,
    /// RLIMIT_AS, bytes; 0: none.
    pub virtual_memory_limit: u64,
    /// setpriority(2).
    pub cpu_priority: Option<i32>,
    /// Stack of each thread, bytes.
    pub stack_size: Option<u64>,
    /// sys.setswitchinterval(), microseconds.
    pub switch_interval_us: Option<u64>,
    /// Directory that becomes the root. All other paths here are meant inside of it.
    pub chroot: Option<String>,
    /// What setlocale(3) is to set, all of it; the environment has it as LC_ALL.
    #[serde(default)]
    pub locale: Option<String>,
    /// From the decision to end a process to SIGKILL, milliseconds.
    pub shutdown_timeout_ms: u64,
    /// How long a replaced process may finish its requests, milliseconds; 0: no limit.
    pub graceful_timeout_ms: u64,
    /// The processes may ask what httpd's scoreboard says (`server-metrics`).
    #[serde(default)]
    pub server_metrics: bool,
    /// Leave out exit functions and Python's own end when the process ends (`WSGIDestroyInterpreter Off`).
    #[serde(default)]
    pub keep_interpreters: bool,
    /// Reports to a program outside of the server.
    #[serde(default)]
    pub telemetry: Option<Telemetry>,
    /// Scripts are lower-cased before names are made of them.
    pub case_insensitive: bool,
    /// APLOG level of the server that the group belongs to: lines above it are not written.
    pub log_level: u8,
    /// httpd's version, for `apache.version`.
    pub apache_version: (u32, u32, u32),
    /// What the module `apache` says of httpd.
    #[serde(default)]
    pub httpd: Httpd,
}

impl GroupConfig {
    /// A path of the host as the group's processes know it: below `chroot`, or as it is. `None`: it lies outside.
    pub fn inside<'p>(&self, path: &'p [u8]) -> Option<&'p [u8]> {
        match &self.chroot {
            Some(root) => inside(root.as_bytes(), path),
            None => Some(path),
        }
    }
}

/// What `path` is called inside of the root directory `root`; `None` when it lies outside. Both are absolute; links
/// are not looked at, as mod_wsgi does not.
pub fn inside<'p>(root: &[u8], path: &'p [u8]) -> Option<&'p [u8]> {
    let end = root.iter().rposition(|byte| *byte != b'/').map_or(0, |last| last + 1);
    let rest = path.strip_prefix(&root[..end])?;
    match rest.first() {
        Some(b'/') => Some(rest),
        None => Some(b"/"),
        Some(_) => None,
    }
}

/// First message on a daemon process's control socket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DaemonConfig {
    /// [`crate::PROTOCOL`] of the supervisor.
    pub protocol: u32,
    /// httpd's parent: when it is gone, the process ends within `shutdown_timeout_ms`.
    pub parent_pid: i32,
    /// The group.
    pub group: GroupConfig,
    /// What processes of the group have loaded that requests asked for, to be loaded before this one is ready. As for
    /// [`GroupConfig::preload`], one that `serves` and cannot be loaded makes this a failed process.
    #[serde(default)]
    pub handed: Vec<Preload>,
}

/// What the engine needs in a child.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EmbedConfig {
    /// [`crate::PROTOCOL`] of the module.
    pub protocol: u32,
    /// The interpreter whose libpython was opened; `sys.executable` and the virtual environment follow from it.
    pub python: String,
    /// As in [`GroupConfig`].
    pub python_from: String,
    /// `WSGIPythonHome` where it is no virtual environment: Python's home.
    pub python_home: Option<String>,
    /// How Python starts.
    #[serde(default)]
    pub python_options: PythonOptions,
    /// As in [`GroupConfig`].
    #[serde(default)]
    pub free_threading: bool,
    /// Directories for `site.addsitedir`, to stand first in `sys.path`.
    pub python_path: Vec<String>,
    /// Settings of the interpreters, the least specific first.
    pub layers: Vec<Layer>,
    /// The MPM runs several threads in a child.
    pub multithread: bool,
    /// The MPM runs several children.
    pub multiprocess: bool,
    /// Request threads of a child.
    pub threads: u32,
    /// Children.
    pub processes: u32,
    /// As in [`GroupConfig`].
    pub case_insensitive: bool,
    /// APLOG level of the main server.
    pub log_level: u8,
    /// httpd's version.
    pub apache_version: (u32, u32, u32),
    /// What the module `apache` says of httpd.
    pub httpd: Httpd,
    /// httpd is the one process that a terminal started (`httpd -X`): `sys.stdin` and `sys.stdout` stay what they are.
    pub keep_streams: bool,
    /// Scripts to load when Python has started.
    pub preload: Vec<Preload>,
    /// `mod_wsgi.server_metrics()` tells something (`WSGIServerMetrics`).
    pub server_metrics: bool,
    /// Leave out atexit functions and finalisation at the end (`WSGIDestroyInterpreter Off`).
    pub keep_interpreters: bool,
    /// Reports to a program outside of the server.
    #[serde(default)]
    pub telemetry: Option<Telemetry>,
}

/// Stack of a request thread, bytes, where `stack-size` sets none: what most systems give to the first thread.
const STACK: u64 = 8 << 20;
/// Smallest stack with which Python can do something useful, bytes.
const SMALLEST_STACK: u64 = 256 << 10;

/// Stack of a request thread, bytes, with this `stack-size`.
pub fn stack_bytes(wanted: Option<u64>) -> u64 {
    wanted.map_or(STACK, |wanted| wanted.max(SMALLEST_STACK))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_covers_itself_and_what_is_below() {
        let cases: &[(&str, &str, bool)] = &[
            ("/srv/a.wsgi", "/srv/a.wsgi", true),
            ("/srv/a.wsgi", "/srv/a.wsgi2", false),
            ("/srv/a.wsgi", "/srv/b.wsgi", false),
            ("/srv/dir", "/srv/dir/x/y.wsgi", true),
            ("/srv/dir/", "/srv/dir/x.wsgi", true),
            ("/srv/dir/", "/srv/director.wsgi", false),
            ("/", "/x.wsgi", true),
        ];
        for (path, script, covered) in cases {
            let target = Target { path: (*path).to_owned(), groups_digest: 0 };
            assert_eq!(target.covers(script), *covered, "{path} {script}");
        }
    }

    #[test]
    fn paths_inside_of_a_root_lose_it() {
        let cases: &[(&str, &str, Option<&str>)] = &[
            ("/srv/jail", "/srv/jail/app/x.wsgi", Some("/app/x.wsgi")),
            ("/srv/jail/", "/srv/jail/app", Some("/app")),
            ("/srv/jail", "/srv/jail", Some("/")),
            ("/srv/jail", "/srv/jailed/x", None),
            ("/srv/jail", "/srv", None),
            ("/", "/srv/x", Some("/srv/x")),
        ];
        for (root, path, expected) in cases {
            assert_eq!(inside(root.as_bytes(), path.as_bytes()), expected.map(str::as_bytes), "{root} {path}");
        }
    }
}
