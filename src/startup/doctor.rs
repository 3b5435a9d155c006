//! What `apachectl configtest` says of process groups: the module gathers what to look at, the doctor
//! (`wsgi-supervisor --doctor`) looks, and each finding becomes a line with the command that mends it.
//!
//! Nothing here fails the test: a configuration that works once a directory has been made is a right one, and
//! distributions refuse to restart httpd when the test fails.

use std::ffi::OsStr;
use std::fs::{self, File, Metadata};
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

use wsgi_sys::poll::{PollFd, poll};
use wsgi_sys::process::{Program, kill, spawn, try_wait};
use wsgi_sys::{fd, user};
use wsgi_wire::config::Identity;
use wsgi_wire::doctor::{self, DOCTOR, Embedded as WireEmbedded, Examination, Finding, Mount as WireMount, Subject};

use super::companions;
use super::groups::PlannedGroup;
use crate::directive::{GlobalConfig, ServerConfig, ServerKey};
use crate::embedded;
use crate::httpd::log::say_at_startup;
use crate::httpd::process;
use crate::httpd::server::Server;
use crate::httpd::tree;
use crate::live;
use crate::route::{self, ConfigLine, FileOwner, Mount, Ownership};

/// Time limits in milliseconds: for the answer of one interpreter, and for the whole examination.
const INTERPRETER_MS: u64 = 5_000;
const LIMIT_MS: u64 = 20_000;
/// How many bytes of the doctor's answer the module reads at most.
const MAX_ANSWER: usize = 4 << 20;
/// Shows what is well, too: `httpd -t -D WSGI_DOCTOR`.
const SHOW_ALL: &std::ffi::CStr = c"WSGI_DOCTOR";

/// Looks at all groups and scripts, and writes what was found to standard error.
pub(super) fn examine(main: Server<'_>, global: &GlobalConfig, groups: Vec<PlannedGroup>) {
    let servers: Vec<(ServerKey, &ServerConfig)> =
        main.and_following().filter_map(|server| Some((live::server_key(server), server.config()?))).collect();
    let mounts = route::mounts(global, &servers);
    let mut lines = global.dropped.clone();
    lines.extend(global.free_threading_ignored());
    if groups.is_empty() && mounts.is_empty() {
        say(&lines);
        return;
    }
    lines.extend(mounts.iter().filter_map(directory));
    lines.extend(route::undefined_groups(global, &mounts));
    let tree = tree::top(|nodes| nodes.map(|node| config_line(node, main)).collect::<Vec<_>>());
    lines.extend(route::denied(&mounts, &tree, &Path::is_file));
    lines.extend(groups.iter().zip(&global.groups).flat_map(|(planned, group)| owners(planned, group, &mounts)));
    let subjects = subjects(groups, &mounts, global);
    let answered = ask(&subjects);
    let findings = match answered {
        Ok(findings) => findings,
        Err(error) => {
            lines.push(format!("the process groups could not be examined: {error}"));
            Vec::new()
        }
    };
    let show_all = process::is_defined(SHOW_ALL);
    let titles: Vec<_> = subjects.iter().map(Subject::title).collect();
    lines.extend(doctor::lines(&titles, &findings, show_all));
    lines.dedup();
    say(&lines);
    if show_all {
        let wrong = lines.len() - findings.iter().filter(|finding| finding.well).count();
        let groups = subjects.len() - 1;
        say_at_startup(&format!("mod_wsgi: process groups examined: {groups}, findings: {wrong}"));
    }
}

fn say(lines: &[String]) {
    for line in lines {
        say_at_startup(&format!("mod_wsgi: {line}"));
    }
}

/// A line of httpd's configuration, with the virtual host that it opens.
fn config_line(node: tree::Node<'_>, main: Server<'_>) -> ConfigLine {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (file, line) = node.place();
    let is_this = |server: &Server<'_>| {
        server.defined().is_some_and(|(at, number)| at == file && i64::from(number) == i64::from(line))
    };
    ConfigLine {
        name: text(node.name()),
        args: text(node.args()),
        place: format!("{}:{line}", text(file)),
        opens: main.and_following().find(is_this).map(live::server_key),
        inside: node.inside().map(|inner| config_line(inner, main)).collect(),
    }
}

/// Whom to look at: each group, and httpd's children last, because scripts must be reachable for both.
fn subjects(groups: Vec<PlannedGroup>, mounts: &[Mount], global: &GlobalConfig) -> Vec<Subject> {
    let wire = |mount: &Mount, path: &[u8]| WireMount {
        path: OsStr::from_bytes(path).to_string_lossy().into_owned(),
        from: mount.from.clone(),
    };
    let mut all: Vec<Subject> = Vec::new();
    for group in groups {
        let mine = mounts.iter().filter(|mount| mount.group.as_deref() == Some(group.config.name.as_bytes()));
        let files = mine.filter(|mount| !companions::is_directory(&mount.path));
        let inside = files.filter_map(|mount| Some(wire(mount, group.config.inside(&mount.path)?)));
        let mut scripts: Vec<WireMount> = Vec::new();
        for mount in inside {
            // One script may be mounted often; the first place will do.
            if !scripts.iter().any(|known| known.path == mount.path) {
                scripts.push(mount);
            }
        }
        all.push(Subject {
            identity: group.config.identity.clone(),
            sub_interpreters: group.config.main_script.is_none()
                && route::uses_sub_interpreters(group.config.name.as_bytes(), mounts),
            group: Some(Box::new(group.config)),
            scripts,
            embedded: None,
        });
    }
    let scripts = mounts.iter().filter(|mount| mount.maps_urls).map(|mount| wire(mount, &mount.path)).collect();
    // A script for which a request chooses the group says nothing yet.
    let is_embedded = mounts.iter().any(|mount| mount.group.as_ref().is_some_and(|name| name.is_empty()));
    let embedded = is_embedded.then(|| embedded_python(global));
    let sub_interpreters = route::uses_sub_interpreters(b"", mounts);
    all.push(Subject { identity: children(), group: None, scripts, sub_interpreters, embedded });
    all
}

/// Python of embedded mode, and where it is to look for modules.
fn embedded_python(global: &GlobalConfig) -> WireEmbedded {
    let home = global.runtime.python_home.as_deref().map(String::from_utf8_lossy);
    let containers = global.layers_of(b"").into_iter().map(|layer| &layer.options);
    let lists =
        std::iter::once(&global.interpreter).chain(containers).filter_map(|options| options.python_path.as_deref());
    WireEmbedded {
        python: embedded::interpreter(home.as_deref()),
        from: embedded::named_by(home.as_deref()),
        path: lists.flatten().map(|entry| String::from_utf8_lossy(entry).into_owned()).collect(),
    }
}

/// httpd's `User` and `Group`; `None` when httpd changes to no other user.
fn children() -> Option<Identity> {
    if user::effective_uid() != 0 {
        return None;
    }
    let (uid, gid) = process::unprivileged_ids();
    let found = user::user_by_id(uid).ok().flatten();
    let name = found.map_or_else(|| format!("#{uid}"), |found| found.name);
    let groups = user::groups_of(&name, gid).unwrap_or_else(|_| vec![gid]);
    Some(Identity { uid, gid, groups, name, home: String::new() })
}

/// Starts the doctor and reads what it finds.
fn ask(subjects: &[Subject]) -> Result<Vec<Finding>, String> {
    let files = companions::Companions::open()?;
    let failed = |error: std::io::Error| format!("the supervisor: {error}");
    let examination = Examination {
        protocol: wsgi_wire::PROTOCOL,
        interpreter_ms: INTERPRETER_MS,
        limit_ms: LIMIT_MS,
        subjects: subjects.to_vec(),
    };
    let text = serde_json::to_vec(&examination).map_err(|error| error.to_string())?;
    let input = fd::memfd(c"mod_wsgi-doctor").map_err(failed)?;
    let mut at = 0;
    while at < text.len() {
        at += fd::write_at(input.as_fd(), &text[at..], at as u64).map_err(failed)?;
    }
    let (output, writer) = fd::pipe().map_err(failed)?;
    let mut descriptors = vec![(0, input.as_fd()), (1, writer.as_fd()), (2, process::stderr())];
    descriptors.extend((5..).zip(files.engines.all().map(AsFd::as_fd)));
    let own = 6 + files.engines.free.len() as i32;
    descriptors.push((own, files.supervisor.as_fd()));
    let doctor = std::ffi::CString::new(DOCTOR).unwrap_or_default();
    let program = Program {
        path: companions::own_path(own),
        arguments: companions::arguments(&[c"wsgi-supervisor", &doctor], &files.engines),
        environment: process::environment(),
        descriptors,
        session: true,
        directory: Some(c"/".into()),
        ..Program::default()
    };
    let pid = spawn(&program).and_then(wsgi_sys::process::Spawned::wait_executed).map_err(failed)?;
    drop(writer);
    // The doctor keeps to its limit itself. This longer limit is for a doctor that is stopped.
    let answer = read(output, Instant::now() + Duration::from_millis(LIMIT_MS + 5_000));
    end(pid);
    let text = answer?;
    let lines = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let found = lines.map(|line| serde_json::from_slice(line).map_err(|error| error.to_string()));
    found.collect()
}

fn read(output: OwnedFd, deadline: Instant) -> Result<Vec<u8>, String> {
    let mut file = File::from(output);
    let mut text = Vec::new();
    let mut buffer = [0; 16 << 10];
    while text.len() < MAX_ANSWER {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err("the doctor does not answer".to_owned());
        }
        let mut fds = [PollFd::new(file.as_fd(), true, false)];
        if !matches!(poll(&mut fds, Some(left)), Ok(1)) {
            continue;
        }
        match file.read(&mut buffer) {
            Ok(0) => break,
            Ok(len) => text.extend_from_slice(&buffer[..len]),
            Err(error) => return Err(error.to_string()),
        }
    }
    Ok(text)
}

fn end(pid: i32) {
    let deadline = Instant::now() + Duration::from_secs(1);
    while matches!(try_wait(pid), Ok(None)) {
        if Instant::now() > deadline {
            let _ = kill(pid, libc::SIGKILL);
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// What is odd about an alias that leads to a directory.
fn directory(mount: &Mount) -> Option<String> {
    if !mount.maps_urls {
        return None;
    }
    let path = Path::new(OsStr::from_bytes(&mount.path));
    let entries = fs::read_dir(path).ok()?;
    let names: Vec<String> =
        entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).take(10_000).collect();
    route::oddity(&path.display().to_string(), &names).map(|oddity| format!("{}: {oddity}", mount.from))
}

/// `script-user` and `script-group` of a group.
fn owners(planned: &PlannedGroup, group: &crate::directive::ProcessGroup, mounts: &[Mount]) -> Vec<String> {
    let user = planned.script_user.zip(group.script_user.as_deref()).map(|(id, name)| Ownership::User(id, name));
    let of_group =
        || planned.script_group.zip(group.script_group.as_deref()).map(|(id, name)| Ownership::Group(id, name));
    let Some(wanted) = user.or_else(of_group) else { return Vec::new() };
    let owner = |found: Metadata| FileOwner { uid: found.uid(), gid: found.gid(), mode: found.mode() };
    let mine = mounts.iter().filter(|mount| mount.group.as_ref() == Some(&group.name));
    let refused = |mount: &Mount| {
        let path = Path::new(OsStr::from_bytes(&mount.path));
        let script = path.metadata().ok().filter(Metadata::is_file).map(owner)?;
        let directory = path.parent().and_then(|parent| parent.metadata().ok()).map(owner);
        let rejection = route::check_owner(wanted, &mount.path, Some(script), directory).err()?;
        Some(format!(
            "process group \"{}\" ({}): {}: {}; requests get 403",
            planned.config.name, planned.config.defined_at, mount.from, rejection.text
        ))
    };
    mine.filter_map(refused).collect()
}
