//! Turns `WSGIDaemonProcess` definitions into what the parent tells the supervisor: names of users become numbers, and
//! each group gets an interpreter.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use wsgi_sys::user;
use wsgi_wire::config::{GroupConfig, Identity, Preload as WirePreload, Target, Telemetry, Warmup, WarmupTarget};
use wsgi_wire::messages::Message;
use wsgi_wire::python_options::PythonOptions;

use super::text::{shown, utf8};
use crate::daemon::Limits;
use crate::directive::{GlobalConfig, ProcessGroup, Text};
use crate::httpd::process;
use crate::httpd::server::Server;
use crate::live;
use crate::python;
use crate::route::{OnlyScript, Preload, RouteTarget, warmup_target};
use crate::startup::{Plan, environment, layers};

/// A process group as it is to be started.
pub(super) struct PlannedGroup {
    /// For the supervisor; its id is set when the scoreboard is known.
    pub(super) config: GroupConfig,
    /// Most requests that may wait.
    pub(super) backlog: u32,
    /// Descriptor of the error log.
    pub(super) log: Option<i32>,
    /// `script-user` as a number.
    pub(super) script_user: Option<u32>,
    /// `script-group` as a number.
    pub(super) script_group: Option<u32>,
    /// How much of a response a child may keep for a slow client, and where.
    pub(super) limits: Limits,
}

/// The targets of a group may take this many bytes of its message at most.
const TARGETS: usize = 32 << 10;

/// All groups of the configuration.
///
/// # Errors
/// A sentence for each thing that is wrong.
pub(super) fn build(main: Server<'_>, plan: &Plan) -> Result<Vec<PlannedGroup>, Vec<String>> {
    let reading = live::reading().ok_or_else(|| vec!["no configuration was read".to_owned()])?;
    let global = &reading.global;
    let (mut groups, mut errors) = (Vec::new(), Vec::new());
    for (at, group) in global.groups.iter().enumerate() {
        let only_script = plan.only_scripts.get(at).and_then(Option::as_ref);
        match planned(main, global, group, only_script, plan) {
            Ok(planned) => groups.push(planned),
            Err(error) => {
                errors.push(format!("WSGIDaemonProcess {} at {}: {error}", shown(&group.name), group.defined))
            }
        }
    }
    if errors.is_empty() { Ok(groups) } else { Err(errors) }
}

fn planned(
    main: Server<'_>,
    global: &GlobalConfig,
    group: &ProcessGroup,
    only_script: Option<&OnlyScript>,
    plan: &Plan,
) -> Result<PlannedGroup, String> {
    let preloads = &plan.preloads;
    let server = main.and_following().find(|server| live::server_key(*server) == group.server).unwrap_or(main);
    let root = root(group)?;
    let (python, python_from) = interpreter(group, global, root.as_deref().unwrap_or_default())?;
    let identity = identity(main, group)?;
    let environment = environment::of(group, global.runtime.python_hash_seed)?;
    let config = GroupConfig {
        id: 0,
        name: utf8(&group.name, "name")?,
        defined_at: group.defined.to_string(),
        processes: group.processes,
        min_processes: group.min_processes,
        max_processes: group.max_processes,
        idle_timeout_ms: milliseconds(group.idle_timeout),
        warmup: warmup(server, group, only_script, preloads)?,
        rolling: group.rolling,
        threads: group.threads,
        multiprocess: group.multiprocess,
        python,
        python_from,
        in_users_home: identity.as_ref().is_some_and(|identity| identity.uid != process::unprivileged_ids().0),
        identity,
        home: optional(group.home.as_ref(), "home")?,
        umask: group.umask,
        display_name: optional(group.display_name.as_ref(), "display-name")?,
        python_options: python_options(global)?.below(|name| environment.sets(name)),
        utf8_mode: environment.utf8_mode(),
        env: environment.variables,
        python_path: list(group.python_path.as_deref().unwrap_or_default(), "python-path")?,
        layers: layers::of(global, &group.name)?,
        free_threading: global.free_threading(&group.name),
        main_script: only_script.map(|script| utf8(inside(root.as_deref(), &script.path)?, "script")).transpose()?,
        preload: preload(&group.name, root.as_deref(), preloads)?,
        targets: targets(&group.name, root.as_deref(), &plan.targets),
        maximum_requests: group.maximum_requests,
        inactivity_timeout_ms: milliseconds(group.inactivity_timeout),
        restart_interval_ms: milliseconds(group.restart_interval),
        startup_timeout_ms: milliseconds(group.startup_timeout),
        deadlock_timeout_ms: milliseconds(group.deadlock_timeout),
        request_timeout_ms: milliseconds(group.request_timeout),
        interrupt_timeout_ms: milliseconds(group.interrupt_timeout),
        eviction_timeout_ms: milliseconds(group.eviction_timeout),
        cpu_time_limit: group.cpu_time_limit,
        maximum_memory: group.maximum_memory,
        memory_limit: group.memory_limit,
        virtual_memory_limit: group.virtual_memory_limit,
        cpu_priority: group.cpu_priority,
        stack_size: group.stack_size,
        switch_interval_us: group.switch_interval.map(layers::microseconds),
        telemetry: telemetry(global, root.as_deref())?,
        chroot: root,
        locale: optional(group.locale.as_ref(), "locale")?,
        shutdown_timeout_ms: milliseconds(group.shutdown_timeout),
        graceful_timeout_ms: milliseconds(group.graceful_timeout),
        server_metrics: group.server_metrics,
        checks_owner: group.script_user.is_some() || group.script_group.is_some(),
        keep_interpreters: global.runtime.destroy_interpreter == Some(false),
        case_insensitive: global.runtime.case_sensitivity == Some(false),
        log_level: u8::try_from(server.log_level().clamp(0, 15)).unwrap_or(4),
        apache_version: process::version(),
        httpd: process::about(),
    };
    Ok(PlannedGroup {
        config,
        backlog: group.listen_backlog,
        log: server.error_log_fd(),
        script_user: group.script_user.as_ref().map(|name| uid(name, "script-user")).transpose()?,
        script_group: group.script_group.as_ref().map(|name| gid(name, "script-group")).transpose()?,
        limits: limits(group)?,
    })
}

/// What processes report whose root directory is `root`. A socket outside of it is looked for inside of it.
pub(super) fn telemetry(global: &GlobalConfig, root: Option<&str>) -> Result<Option<Telemetry>, String> {
    let runtime = &global.runtime;
    let Some(service) = &runtime.telemetry_service else { return Ok(None) };
    let inside = root.and_then(|root| wsgi_wire::config::inside(root.as_bytes(), &service.socket));
    Ok(Some(Telemetry {
        socket: utf8(inside.unwrap_or(&service.socket), "WSGITelemetryService")?,
        interval_us: layers::microseconds(service.interval),
        slow_us: runtime.slow_requests.filter(|seconds| *seconds > 0.0).map_or(0, layers::microseconds),
        user_agent: runtime.telemetry_user_agent,
    }))
}

/// How Python starts, in both modes.
pub(super) fn python_options(global: &GlobalConfig) -> Result<PythonOptions, String> {
    let runtime = &global.runtime;
    Ok(PythonOptions {
        optimize: runtime.python_optimize.unwrap_or(0),
        warnings: list(&runtime.python_warnings, "WSGIPythonWarnings")?,
        dont_write_bytecode: runtime.dont_write_bytecode == Some(true),
    })
}

fn limits(group: &ProcessGroup) -> Result<Limits, String> {
    let directory = match &group.spool_directory {
        Some(given) => {
            let directory = PathBuf::from(OsStr::from_bytes(given));
            if !directory.is_dir() {
                return Err(format!("spool-directory={}: must be a directory that exists", directory.display()));
            }
            directory
        }
        None => std::env::var_os("TMPDIR").map_or_else(|| PathBuf::from("/var/tmp"), PathBuf::from),
    };
    Ok(Limits { memory: group.response_buffer as usize, file: group.response_spool, directory })
}

/// `chroot`, for which httpd must be started by root.
fn root(group: &ProcessGroup) -> Result<Option<String>, String> {
    let root = optional(group.chroot.as_ref(), "chroot")?;
    match &root {
        Some(root) if user::effective_uid() != 0 => Err(format!(
            "chroot={root}: only root may change the root directory, and httpd is not started as root; it runs as uid {}",
            user::effective_uid()
        )),
        _ => Ok(root),
    }
}

/// The path of a script as the group's processes see it from their root directory.
fn inside<'p>(root: Option<&str>, path: &'p [u8]) -> Result<&'p [u8], String> {
    let Some(root) = root else { return Ok(path) };
    wsgi_wire::config::inside(root.as_bytes(), path).ok_or_else(|| {
        format!("the script \"{}\" lies outside of chroot={root}, so no process of the group can read it", shown(path))
    })
}

/// The scripts to load in the group `name`, whose root directory is `root`; no name is embedded mode.
pub(super) fn preload(name: &[u8], root: Option<&str>, preloads: &[Preload]) -> Result<Vec<WirePreload>, String> {
    let mine = preloads.iter().filter(|preload| &*preload.process_group == name);
    mine.map(|preload| {
        let script = utf8(inside(root, &preload.path)?, "script")?;
        let application_group = utf8(&preload.application_group, "application-group")?;
        Ok(WirePreload { script, application_group, serves: preload.served.is_some() })
    })
    .collect()
}

/// Scripts of the group `name`, whose root directory is `root`. They are for comparison: some may be left out.
fn targets(name: &[u8], root: Option<&str>, targets: &[RouteTarget]) -> Vec<Target> {
    let mine = targets.iter().filter(|target| target.process_group.as_deref().is_none_or(|group| group == name));
    let target = |target: &RouteTarget| {
        let path = String::from_utf8(inside(root, &target.path).ok()?.to_vec()).ok()?;
        Some(Target { path, groups_digest: target.groups_digest })
    };
    let mut bytes = 0;
    let mut found: Vec<Target> = mine.filter_map(target).collect();
    found.dedup();
    found.retain(|target| {
        bytes += target.path.len() + 64;
        bytes <= TARGETS
    });
    found
}

fn warmup(
    server: Server<'_>,
    group: &ProcessGroup,
    only_script: Option<&OnlyScript>,
    preloads: &[Preload],
) -> Result<Option<Warmup>, String> {
    let Some(path) = &group.warmup else { return Ok(None) };
    let root = optional(group.chroot.as_ref(), "chroot")?;
    let mine: Vec<_> = preloads.iter().filter(|preload| preload.process_group == group.name).collect();
    let target = warmup_target(only_script, &mine).map(|target| {
        Ok::<_, String>(WarmupTarget {
            script: utf8(inside(root.as_deref(), target.script)?, "script")?,
            callable: optional(target.callable_object, "callable-object")?.unwrap_or_else(|| "application".to_owned()),
            application_group: optional(target.application_group, "application-group")?.unwrap_or_default(),
            is_main: target.is_main,
            prefix: optional(target.prefix, "URL prefix")?,
        })
    });
    let host = Some(shown(server.name())).filter(|name| !name.is_empty()).unwrap_or_else(|| "localhost".to_owned());
    Ok(Some(Warmup { path: utf8(path, "warmup")?, host, target: target.transpose()? }))
}

fn milliseconds(seconds: u32) -> u64 {
    u64::from(seconds) * 1000
}

/// Path of the interpreter in the root directory `root` (empty: the host's), and what in the configuration chose it.
fn interpreter(group: &ProcessGroup, global: &GlobalConfig, root: &str) -> Result<(String, String), String> {
    if let Some(python) = &group.python {
        let path = utf8(python, "python")?;
        return Ok((path.clone(), format!("python={path}")));
    }
    if let Some(home) = &group.python_home {
        let home = utf8(home, "python-home")?;
        return Ok((python::of_in(root, &home), format!("python-home={home}")));
    }
    if let Some(home) = &global.runtime.python_home {
        let home = utf8(home, "WSGIPythonHome")?;
        return Ok((python::of_in(root, &home), format!("WSGIPythonHome {home}")));
    }
    Ok((python::of_system_in(root), "the default; python= or python-home= chooses another".into()))
}

/// Checks that the users and groups that a definition names exist. httpd calls it while it reads the line, so that its
/// error names the line.
///
/// # Errors
/// The sentence for the administrator.
pub(crate) fn check_names(group: &ProcessGroup) -> Result<(), String> {
    let of_group = |error: String| format!("WSGIDaemonProcess {}: {error}", shown(&group.name));
    let users = [(&group.user, "user"), (&group.script_user, "script-user"), (&group.socket_user, "socket-user")];
    for (name, option) in users {
        let found = name.as_ref().map(|name| uid(name, option)).transpose().map_err(of_group)?;
        if found == Some(0) && option == "user" {
            let line = "user \"root\": daemon processes must not run as root; name another user";
            return Err(of_group(line.to_owned()));
        }
    }
    let groups = [(&group.group, "group"), (&group.script_group, "script-group")];
    for (name, option) in groups {
        name.as_ref().map(|name| gid(name, option)).transpose().map_err(of_group)?;
    }
    for name in group.supplementary_groups.iter().flatten() {
        gid(name, "supplementary-groups").map_err(of_group)?;
    }
    Ok(())
}

/// Whom the processes run as: `None` is whoever runs httpd.
fn identity(main: Server<'_>, group: &ProcessGroup) -> Result<Option<Identity>, String> {
    if user::effective_uid() != 0 {
        warn_about_unprivileged(main, group);
        return Ok(None);
    }
    let (default_uid, default_gid) = process::unprivileged_ids();
    let named = match &group.user {
        Some(name) => {
            let name = utf8(name, "user")?;
            let found = user::find_user(&name).map_err(|error| format!("user={name}: {error}"))?;
            found.ok_or_else(|| format!("user \"{name}\": there is no such user; a name or #uid is allowed"))?
        }
        None => user::find_user(&format!("#{default_uid}"))
            .map_err(|error| error.to_string())?
            .ok_or_else(|| format!("httpd's own user #{default_uid} is unknown"))?,
    };
    if named.uid == 0 {
        return Err(format!("user \"{}\": daemon processes must not run as root; name another user", named.name));
    }
    let gid = match (&group.group, &group.user) {
        (Some(name), _) => gid(name, "group")?,
        (None, _) => default_gid,
    };
    let groups = match &group.supplementary_groups {
        Some(names) => {
            let named: Result<Vec<u32>, String> =
                names.iter().map(|name| self::gid(name, "supplementary-groups")).collect();
            std::iter::once(gid).chain(named?).collect()
        }
        None => user::groups_of(&named.name, gid).map_err(|error| error.to_string())?,
    };
    Ok(Some(Identity { uid: named.uid, gid, groups, name: named.name, home: named.home }))
}

fn warn_about_unprivileged(main: Server<'_>, group: &ProcessGroup) {
    let Some(name) = &group.user else { return };
    let other = match user::find_user(&shown(name)) {
        Ok(Some(found)) => found.uid != user::effective_uid(),
        _ => true,
    };
    if other {
        let line = format!(
            "WSGIDaemonProcess {} user={}: httpd was not started as root, so the processes run as uid {}",
            shown(&group.name),
            shown(name),
            user::effective_uid()
        );
        main.report(Message::Unprivileged, &line);
    }
}

fn uid(name: &Text, option: &str) -> Result<u32, String> {
    let name = utf8(name, option)?;
    let found = user::find_user(&name).map_err(|error| format!("{option}={name}: {error}"))?;
    found
        .map(|user| user.uid)
        .ok_or_else(|| format!("{option} \"{name}\": there is no such user; a name or #uid is allowed"))
}

fn gid(name: &Text, option: &str) -> Result<u32, String> {
    let name = utf8(name, option)?;
    let found = user::find_group(&name).map_err(|error| format!("{option}={name}: {error}"))?;
    found.ok_or_else(|| format!("{option} \"{name}\": there is no such group; a name or #gid is allowed"))
}

fn optional(value: Option<&Text>, what: &str) -> Result<Option<String>, String> {
    value.map(|value| utf8(value, what)).transpose()
}

fn list(values: &[Text], what: &str) -> Result<Vec<String>, String> {
    values.iter().map(|value| utf8(value, what)).collect()
}
