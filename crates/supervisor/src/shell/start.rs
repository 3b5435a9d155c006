//! Starts one daemon process: sockets, pipe, identity, environment, arguments.

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use wsgi_sys::process::{Ids, Limit, Program, Spawned, spawn};
use wsgi_sys::socket::{self, Kind};
use wsgi_sys::{fd, user};
use wsgi_wire::boot;
use wsgi_wire::config::{DaemonConfig, GroupConfig};
use wsgi_wire::control::MAX_MESSAGE;
use wsgi_wire::engines::Engines;

use crate::decide::{ProcessId, jittered_requests};
use crate::diagnose;
use crate::handed::Handed;

/// A process that has been forked.
#[derive(Debug)]
pub struct Started {
    pub spawned: Spawned,
    pub control: OwnedFd,
    pub output: OwnedFd,
}

/// Forks a process of the group, which is to load the scripts in `handed`. [`Started::spawned`] tells later whether it
/// executes Python.
///
/// # Errors
/// The cause, for the group's log.
pub fn start(
    config: &GroupConfig,
    handed: &[Handed],
    id: ProcessId,
    parent_pid: i32,
    engines: &Engines<OwnedFd>,
) -> Result<Started, String> {
    let ids = ids(config)?;
    let (control, theirs) = socket::pair(Kind::SeqPacket).map_err(exhausted)?;
    let (output, writer) = fd::pipe().map_err(exhausted)?;
    fd::set_nonblocking(output.as_fd(), true).map_err(exhausted)?;
    let _ = socket::set_send_buffer(control.as_fd(), 2 * MAX_MESSAGE);
    greet(config, handed, id, parent_pid, control.as_fd(), fd::reopen_to_write(writer.as_fd()).ok().as_ref())?;
    let null = File::open("/dev/null").map_err(|error| format!("/dev/null: {error}"))?;
    let mut descriptors = vec![(0, null.as_fd()), (1, writer.as_fd()), (2, writer.as_fd()), (3, theirs.as_fd())];
    descriptors.extend((4..).zip(engines.all().map(AsFd::as_fd)));
    let program = Program {
        path: text(&config.python, "the path of Python")?,
        arguments: arguments(config, &boot::serve(engines, config.free_threading))?,
        environment: environment(config)?,
        descriptors,
        session: true,
        priority: config.cpu_priority.filter(|priority| *priority != 0),
        limits: limits(config),
        chroot: config.chroot.as_deref().map(|root| text(root, "chroot=")).transpose()?,
        ids,
        umask: config.umask,
        directory: Some(text(&diagnose::working_directory(config).0, "home=")?),
    };
    let spawned = spawn(&program).map_err(exhausted)?;
    Ok(Started { spawned, control, output })
}

fn exhausted(error: io::Error) -> String {
    match error.raw_os_error() {
        Some(libc::EMFILE | libc::ENFILE) => format!("no descriptor is left ({error}): raise the limit of open files"),
        Some(libc::EAGAIN) => {
            format!("no process can be made ({error}): a limit of processes or of the cgroup is reached")
        }
        _ => error.to_string(),
    }
}

/// The identity to change to; `None` if it is the supervisor's own.
fn ids(config: &GroupConfig) -> Result<Option<Ids>, String> {
    let own = user::effective_uid();
    let (ids, name) = diagnose::identity(config);
    if ids.uid == 0 {
        return Err("processes of the group would run as root, which is refused: set user=".to_owned());
    }
    if own == 0 {
        return Ok(Some(ids));
    }
    if ids.uid != own {
        return Err(format!(
            "user=\"{name}\" needs Apache to be started as root; it runs as user id {own}: start it as root or leave out user="
        ));
    }
    if ids.gid != user::effective_gid() && !user::current_groups().unwrap_or_default().contains(&ids.gid) {
        return Err(format!(
            "group id {} needs Apache to be started as root; it runs with group id {}: start it as root or leave out group=",
            ids.gid,
            user::effective_gid()
        ));
    }
    Ok(None)
}

/// Queues the configuration, before there is anyone who could read it. `log`: the writing end of the pipe of its output,
/// for threads of the process that may not wait until it is read.
fn greet(
    config: &GroupConfig,
    handed: &[Handed],
    id: ProcessId,
    parent_pid: i32,
    control: BorrowedFd<'_>,
    log: Option<&OwnedFd>,
) -> Result<(), String> {
    let mut group = config.clone();
    group.targets.clear();
    group.maximum_requests = jittered_requests(config.maximum_requests, config.max_processes > 1, id);
    let handed = handed.iter().map(|it| it.script.clone()).collect();
    let bytes = greeting(DaemonConfig { protocol: wsgi_wire::PROTOCOL, parent_pid, group, handed })?;
    let log: Vec<BorrowedFd<'_>> = log.iter().map(|end| end.as_fd()).collect();
    socket::send_with_fds(control, &bytes, &log)
        // Too many descriptors are under way. The process can do without.
        .or_else(|_| socket::send_with_fds(control, &bytes, &[]))
        .map(drop)
        .map_err(|error| format!("its configuration of {} bytes cannot be handed over: {error}", bytes.len()))
}

/// The message's bytes. If they are too many, scripts at the end of `handed` are left out.
fn greeting(mut config: DaemonConfig) -> Result<Vec<u8>, String> {
    loop {
        let bytes = serde_json::to_vec(&config).map_err(|error| error.to_string())?;
        if bytes.len() <= MAX_MESSAGE || config.handed.is_empty() {
            return Ok(bytes);
        }
        config.handed.truncate(config.handed.len() / 2);
    }
}

pub(crate) fn text(value: &str, what: &str) -> Result<CString, String> {
    CString::new(value).map_err(|_| format!("{what} holds a NUL byte"))
}

/// `python [-O] [-B] [-W FILTER] [-X utf8] -c CODE`. The name is the real path: Python finds its environment by it.
pub(crate) fn arguments(config: &GroupConfig, code: &str) -> Result<Vec<CString>, String> {
    let mut arguments = vec![text(&config.python, "the path of Python")?];
    for option in config.python_options.arguments() {
        arguments.push(text(&option, "WSGIPythonWarnings")?);
    }
    if config.utf8_mode {
        arguments.extend([c"-X".to_owned(), c"utf8".to_owned()]);
    }
    arguments.push(c"-c".to_owned());
    arguments.push(text(code, "the code")?);
    Ok(arguments)
}

/// `cpu-time-limit`, `memory-limit`, `virtual-memory-limit`.
///
/// The engine has the process replaced at the soft limit of processor time. At the hard limit the kernel kills the
/// process; until then it has `shutdown-timeout` to end by itself, as in mod_wsgi.
pub(crate) fn limits(config: &GroupConfig) -> Vec<Limit> {
    let grace = config.shutdown_timeout_ms.div_ceil(1000);
    Limit::all(config.cpu_time_limit.into(), grace, config.memory_limit, config.virtual_memory_limit)
}

/// The configured environment. If it does not set HOME, USER and LOGNAME, they are the user's.
pub(crate) fn environment(config: &GroupConfig) -> Result<Vec<CString>, String> {
    let mut variables = config.env.clone();
    if let Some(identity) = &config.identity {
        for (name, value) in [("HOME", &identity.home), ("USER", &identity.name), ("LOGNAME", &identity.name)] {
            if !value.is_empty() && !variables.iter().any(|(set, _)| set == name) {
                variables.push((name.to_owned(), value.clone()));
            }
        }
    }
    variables.iter().map(|(name, value)| text(&format!("{name}={value}"), &format!("env={name}"))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use wsgi_sys::process::Resource;
    use wsgi_wire::config::Identity;

    #[test]
    fn the_environment_is_the_configured_one_and_the_user_s() {
        let mut config = crate::example::group();
        config.env = vec![("LANG".to_owned(), "C.UTF-8".to_owned()), ("HOME".to_owned(), "/mine".to_owned())];
        let identity =
            Identity { uid: 5, gid: 6, groups: vec![], name: "web".to_owned(), home: "/home/web".to_owned() };
        config.identity = Some(identity);
        let got: Vec<String> =
            environment(&config).expect("no NUL").into_iter().map(|text| text.into_string().expect("UTF-8")).collect();
        assert_eq!(got, ["LANG=C.UTF-8", "HOME=/mine", "USER=web", "LOGNAME=web"]);
        config.env.push(("BAD".to_owned(), "\0".to_owned()));
        assert_eq!(environment(&config), Err("env=BAD holds a NUL byte".to_owned()));
    }

    #[test]
    fn options_of_python_stand_before_the_code() {
        let mut config = crate::example::group();
        let got = |config: &GroupConfig| {
            let all = arguments(config, "pass").expect("no NUL");
            all.into_iter().map(|text| text.into_string().expect("UTF-8")).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(got(&config), "/usr/bin/python3 -X utf8 -c pass");
        config.python_options.optimize = 1;
        config.python_options.warnings = vec!["error".to_owned()];
        assert_eq!(got(&config), "/usr/bin/python3 -O -W error -X utf8 -c pass");
        config.python_options.warnings = vec!["\0".to_owned()];
        assert_eq!(arguments(&config, "pass"), Err("WSGIPythonWarnings holds a NUL byte".to_owned()));
    }

    #[test]
    fn limits_are_those_that_are_given() {
        let mut config = crate::example::group();
        assert_eq!(limits(&config), []);
        (config.cpu_time_limit, config.shutdown_timeout_ms, config.memory_limit) = (60, 5_000, 1 << 30);
        let cpu = Limit { of: Resource::Cpu, soft: 60, hard: 66 };
        assert_eq!(limits(&config), [cpu, Limit { of: Resource::Data, soft: 1 << 30, hard: 1 << 30 }]);
    }

    #[test]
    fn what_is_handed_on_may_not_make_the_greeting_too_long() {
        let one = |number| wsgi_wire::config::Preload {
            script: format!("/{number}{}", "\u{1}".repeat(500)),
            application_group: String::new(),
            serves: true,
        };
        let mut group = crate::example::group();
        let config = |group: &GroupConfig, count| DaemonConfig {
            protocol: 0,
            parent_pid: 1,
            group: group.clone(),
            handed: (0..count).map(one).collect(),
        };
        let read = |bytes: &[u8]| serde_json::from_slice::<DaemonConfig>(bytes).expect("JSON").handed.len();
        assert_eq!(read(&greeting(config(&group, 10)).expect("JSON")), 10);
        let bytes = greeting(config(&group, 64)).expect("JSON");
        assert!(bytes.len() <= MAX_MESSAGE && (16..64).contains(&read(&bytes)));
        group.env = vec![("LONG".to_owned(), "x".repeat(MAX_MESSAGE))];
        assert_eq!(read(&greeting(config(&group, 64)).expect("JSON")), 0);
    }

    #[test]
    fn root_is_refused() {
        let mut config = crate::example::group();
        let root = Identity { uid: 0, gid: 0, groups: vec![], name: "root".to_owned(), home: String::new() };
        config.identity = Some(root);
        assert!(ids(&config).expect_err("refused").contains("refused"));
    }
}
