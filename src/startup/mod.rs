//! What happens around a start of httpd: checking the configuration, starting or informing the
//! supervisor in post_config, and preparing a new child.
//!
//! httpd runs post_config twice at its first start and unloads the module in between; only the second
//! pass, and each restart, starts anything.

mod boards;
mod companions;
mod doctor;
mod environment;
mod first_child;
mod fit;
mod former;
mod groups;
mod layers;
mod supervisor;
mod text;

use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use wsgi_sys::forked;
use wsgi_wire::messages::Message;

use crate::advice::Advice;
use crate::daemon::{self, Connections, Group, Groups};
use crate::directive::{ServerConfig, ServerKey};
use crate::embedded::{self, AtStart, Embedded};
use crate::httpd::log::Level;
use crate::httpd::pool::Pool;
use crate::httpd::process;
use crate::httpd::server::Server;
use crate::live::{self, Live};
use crate::metrics;
use crate::route::{self, Mount, OnlyScript, Preload, RouteTarget};
use companions::Companions;
use groups::PlannedGroup;

/// What the configuration asks for, beyond what its directives say one by one.
struct Plan {
    only_scripts: Vec<Option<OnlyScript>>,
    preloads: Vec<Preload>,
    targets: Vec<RouteTarget>,
    names: Vec<(ServerKey, Vec<u8>)>,
    mounts: Vec<Mount>,
}

/// Checks what no single directive can know; also for `configtest`. False: there were errors, and they
/// have been logged.
pub(crate) fn check(main: Server<'_>) -> bool {
    let checked = plan(main).and_then(|plan| groups::build(main, &plan)).map(drop);
    // `httpd -k stop` comes by here as well, and has to work when files are missing.
    let files = if process::is_test() { Companions::open().map(drop).map_err(|error| vec![error]) } else { Ok(()) };
    report(main, checked.and(files))
}

/// Checks the files beside the module when httpd is started, while its errors still go to the terminal. False: httpd
/// must not start, and says why.
pub(crate) fn check_files(main: Server<'_>) -> bool {
    !process::is_rehearsal() || report(main, Companions::open().map(drop).map_err(|error| vec![error]))
}

/// Logs the errors; whether there were none.
fn report(main: Server<'_>, result: Result<(), Vec<String>>) -> bool {
    let errors = result.err().unwrap_or_default();
    errors.iter().for_each(|error| main.report(Message::Refused, error));
    errors.is_empty()
}

/// `apachectl configtest`: looks at what the configuration names, as its users. What it finds are warnings.
pub(crate) fn examine(main: Server<'_>) {
    if !process::is_test() {
        return;
    }
    // Errors have been told by `check`.
    let Ok(groups) = plan(main).and_then(|plan| groups::build(main, &plan)) else { return };
    let Some(reading) = live::reading() else { return };
    doctor::examine(main, &reading.global, groups);
}

fn plan(main: Server<'_>) -> Result<Plan, Vec<String>> {
    let reading = live::reading().ok_or_else(|| vec!["no configuration was read".to_owned()])?;
    let global = &reading.global;
    let servers: Vec<(ServerKey, &ServerConfig)> =
        main.and_following().filter_map(|server| Some((live::server_key(server), server.config()?))).collect();
    let names: Vec<_> = main.and_following().map(|server| (live::server_key(server), server.name().to_vec())).collect();
    let name = |key| names.iter().find(|(server, _)| *server == key).map(|(_, name)| name);
    let same_name = |one, other| one == other || name(one).is_some_and(|found| Some(found) == name(other));
    let only_scripts = route::only_scripts(global, &servers, &companions::is_directory);
    let preloads = route::preloads(global, &servers, &companions::is_directory, same_name)?;
    let targets = route::targets(global, &servers, |key| name(key).map(Vec::as_slice));
    let mounts = route::mounts(global, &servers);
    let outside = route::outside_roots(global, &mounts);
    let mistakes: Vec<_> = outside.into_iter().chain(route::deciding_mistakes(global, same_name)).collect();
    if mistakes.is_empty() { Ok(Plan { only_scripts, preloads, targets, names, mounts }) } else { Err(mistakes) }
}

/// Puts the configuration in force. False: httpd must not start, and the log says why.
pub(crate) fn start(pconf: Pool<'_>, main: Server<'_>) -> bool {
    if process::is_rehearsal() {
        return true;
    }
    report(main, begin(pconf, main))
}

/// The files of this configuration. Where they are unusable, a starting httpd would end, but a running one goes on:
/// with the files that it has opened before, or without any and with what runs already.
fn files(main: Server<'_>) -> Result<Result<Companions, String>, String> {
    match companions::for_configuration(main) {
        Ok((files, None)) => Ok(Ok(files)),
        Ok((files, Some(why))) => {
            let text = format!(
                "{why}; httpd goes on with the files that it opened before; mend this and run apachectl graceful again"
            );
            main.report(Message::FormerFiles, &text);
            Ok(Ok(files))
        }
        Err(why) if process::is_restart() => {
            let text = format!(
                "{why}; httpd goes on, and so do a running supervisor and its processes; requests of other applications get \
                 503, or 500 in embedded mode; mend this and run apachectl graceful again"
            );
            main.report(Message::NoFiles, &text);
            Ok(Err(why))
        }
        Err(why) => Err(why),
    }
}

fn begin(pconf: Pool<'_>, main: Server<'_>) -> Result<(), Vec<String>> {
    let one = |error: String| vec![error];
    let plan = plan(main)?;
    // What groups are told of httpd names the module, too.
    process::add_banner(pconf, concat!("mod_wsgi/", env!("CARGO_PKG_VERSION")));
    let planned = groups::build(main, &plan)?;
    let reading = std::mem::take(&mut *live::reading().ok_or_else(|| one("no configuration was read".into()))?);
    reading.global.dropped.iter().for_each(|warning| main.report(Message::LeftOut, warning));
    let ignored = reading.global.free_threading_ignored();
    ignored.iter().for_each(|warning| main.report(Message::FreeThreadingIgnored, warning));
    let files = files(main).map_err(one)?;
    first_child::prepare(pconf);
    let (boards, presence) = supervisor::apply(main, pconf, &planned, files.as_ref().ok()).map_err(one)?;
    pconf.own(presence);
    tell_of_sharing(main, &plan, &planned);
    let all = planned
        .into_iter()
        .zip(boards)
        .map(|(planned, (id, board))| Group {
            id,
            connections: Arc::new(Connections::new(board.slots())),
            limits: Arc::new(planned.limits),
            board,
            root: planned.config.chroot.map(String::into_bytes),
            main_script: planned.config.main_script.map(String::into_bytes),
            script_user: planned.script_user,
            script_group: planned.script_group,
        })
        .collect();
    let layers = layers::of(&reading.global, b"").map_err(one)?;
    let options = groups::python_options(&reading.global).map_err(one)?;
    let preload = groups::preload(b"", None, &plan.preloads).map_err(one)?;
    let may_serve = reading.global.runtime.restrict_embedded != Some(true);
    let telemetry = groups::telemetry(&reading.global, None).map_err(one)?.filter(|_| may_serve);
    let dispatch = supervisor::dispatch_end(main).map_err(one)?.map(Arc::new);
    dispatch.iter().for_each(|end| forked::keep_private(end.as_raw_fd()));
    daemon::publish(pconf, Groups { all, dispatch });
    let python = AtStart { options, layers, preload, telemetry };
    embedded::publish(pconf, Embedded::new(&reading.global, python, files.map(|files| files.engines)));
    let pid = AtomicU32::new(std::process::id());
    let advice = Advice::default();
    live::publish(pconf, Live { reading, server_names: plan.names, pid, advice });
    Ok(())
}

/// Says which applications share the processes of a group.
fn tell_of_sharing(main: Server<'_>, plan: &Plan, planned: &[PlannedGroup]) {
    let shared = planned.iter().filter(|group| group.config.main_script.is_none());
    for group in shared {
        let text = route::sharing(group.config.name.as_bytes(), &plan.mounts, &companions::is_directory);
        text.iter().for_each(|text| main.log(Level::Info, text));
    }
}

/// httpd's parent calls this every few seconds.
pub(crate) fn look_after(pconf: Pool<'_>, main: Server<'_>) {
    supervisor::look_after(main, pconf);
}

/// Prepares a child: it keeps what it needs to reach the supervisor and closes the rest.
pub(crate) fn child(pchild: Pool<'_>, main: Server<'_>) {
    // With `httpd -X` the only process is the parent as well. The supervisor lives as long as the parent, so that
    // process must not let go of it.
    if live::get().is_none_or(|live| live.pid.load(Ordering::Relaxed) != std::process::id()) {
        supervisor::forget_in_child(main);
        companions::forget_in_child(main);
        first_child::is_child();
    }
    if let Some(live) = live::get() {
        live.pid.store(std::process::id(), Ordering::Relaxed);
        metrics::prepare(pchild, live, daemon::groups().and_then(|groups| groups.dispatch.as_ref()));
    }
    if let Some(embedded) = embedded::get() {
        embedded.prepare();
        embedded.finish_with(pchild);
        embedded.preload();
    }
}

/// httpd tells this child to end at once (`stop`, `restart`). The child gives its requests up, because httpd would wait
/// for them, and kill the child after 10 s. Safe in a signal handler: it only reads pointers and stores flags.
pub(crate) fn child_stops() {
    if let Some(groups) = daemon::groups() {
        groups.all.iter().for_each(|group| group.board.close());
    }
}

pub(crate) use first_child::mpm_is_next;
pub(crate) use groups::check_names;
