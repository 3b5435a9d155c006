//! An interpreter's record, which holds every Python object that the engine keeps for it, and how it is set up. Records
//! are never freed: an interpreter lives until Python is finalised.

use core::ffi::CStr;
use std::ffi::{CString, OsString};
use std::os::unix::ffi::OsStrExt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use pyo3::ffi;
use wsgi_wire::config::Httpd;
use wsgi_wire::layers::{Layer, Settings, resolve};
use wsgi_wire::messages::Message;
use wsgi_wire::{faults, keys};

use crate::log;
use crate::python::events::Events;
use crate::python::own_gil;
use crate::python::py::{Any, Gil, Owned, Raised, Res, Stored, runs_free, version};
use crate::python::scripts::Scripts;
use crate::python::turn::Turns;

/// What configuration says of this process.
#[derive(Debug, Clone)]
pub struct Facts {
    /// Empty in embedded mode.
    pub process_group: String,
    /// Processes of the group, or children.
    pub processes: u32,
    /// Request threads.
    pub threads: u32,
    /// `wsgi.multithread`
    pub multithread: bool,
    /// `wsgi.multiprocess`
    pub multiprocess: bool,
    /// `wsgi.run_once`
    pub run_once: bool,
    /// `apache.version`
    pub apache_version: (u32, u32, u32),
    /// The rest of `apache`.
    pub httpd: Httpd,
    /// The interpreter's path, and what in the configuration chose it.
    pub python: (String, String),
    /// `WSGIFreeThreading` is On.
    pub free_threading: bool,
    /// Directories for `site.addsitedir`.
    pub python_path: Vec<String>,
    /// Settings of the interpreters, the least specific first.
    pub layers: Vec<Layer>,
    /// `sys.stdin` and `sys.stdout` stay what they are.
    pub keep_streams: bool,
    /// First in `sys.path`.
    pub home: Option<String>,
    /// Names of script modules are made of lower-cased paths.
    pub case_insensitive: bool,
    /// A changed script is executed again in place, rather than by another process.
    pub embedded: bool,
    /// When the process started, microseconds since the epoch.
    pub started_us: i64,
    /// `switch-interval` of the group, microseconds; it stands above `WSGISwitchInterval`.
    pub switch_interval_us: Option<u64>,
    /// Telemetry is configured.
    pub telemetry: bool,
}

impl Facts {
    /// How a line about the process begins.
    pub fn title(&self) -> String {
        match self.embedded {
            true => "embedded mode: ".to_owned(),
            false => format!("process group \"{}\": ", self.process_group),
        }
    }
}

/// What the process was when Python had been started, and no application had changed it yet.
pub(super) struct Start {
    /// Python's name for the thread that has started it.
    main_thread: i64,
    /// The environment.
    variables: Vec<(OsString, OsString)>,
}

impl Start {
    /// To be called by the thread that has started Python.
    pub(super) fn now(gil: Gil) -> Res<Start> {
        let main_thread = gil.import(c"_thread")?.getattr(c"get_ident")?.call0()?.as_i64()?;
        Ok(Start { main_thread, variables: std::env::vars_os().collect() })
    }
}

/// What the floor above puts into each interpreter.
#[derive(Debug, Clone, Copy)]
pub struct Natives {
    /// Makes the functions that the prelude calls, with their names.
    pub functions: fn() -> Res<Vec<(&'static CStr, Owned)>>,
    /// Makes the type of `wsgi.input`.
    pub input_type: fn() -> Res<Owned>,
    /// Ends the lines that the calling thread has left unfinished.
    pub flush: fn(Gil),
}

/// Names in environ that the engine sets itself.
pub struct Names {
    /// Those of [`wsgi_wire::keys`], by number.
    pub known: Vec<Stored>,
    pub input: Stored,
    pub thread_id: Stored,
    pub request_start: Stored,
    pub queue_start: Stored,
    pub daemon_start: Stored,
    pub application_start: Stored,
    pub close: Stored,
    pub mtime: Stored,
    pub reload_required: Stored,
}

/// What an interpreter needs to serve requests.
pub struct Objects {
    /// The part of environ that is the same for all requests.
    pub template: Stored,
    /// The application group as `str`.
    pub names: Names,
    /// Type of `wsgi.input`.
    pub input: Stored,
    /// `mod_wsgi.FileWrapper`
    pub file_wrapper: Stored,
    /// `mod_wsgi.RequestTimeout`
    pub timeout: Stored,
    /// Functions of the prelude.
    pub file_extent: Stored,
    pub load: Stored,
    pub describe: Stored,
    pub missing: Stored,
    pub is_source: Stored,
    pub concerned: Stored,
    pub set_application_group: Stored,
    pub finish: Stored,
    pub service: Stored,
    pub threads: Stored,
    pub stacks: Stored,
    pub load_extension: Stored,
    pub end_fork: Stored,
    pub decide: Stored,
    pub own_environment: Stored,
    pub collections: Stored,
    /// What events go through.
    pub events: Events,
}

/// How an interpreter was made.
pub(super) struct Made<'n> {
    /// Its application group; empty for the main one.
    pub(super) name: &'n str,
    /// The thread state with which it was made; null for the main one.
    pub(super) first: *mut ffi::PyThreadState,
    /// It has a GIL of its own.
    pub(super) has_own_gil: bool,
    /// The order in which request threads take its GIL.
    pub(super) turns: &'static Turns,
}

/// An interpreter that runs.
pub struct Interp {
    name: String,
    state: *mut ffi::PyInterpreterState,
    has_own_gil: bool,
    /// The order in which request threads take its GIL; that of the main one where it shares the GIL.
    turns: &'static Turns,
    /// The thread state with which it was made; null for the main one. It is kept so that there always is
    /// one: 3.11 and 3.12 abort when a thread state is made for an interpreter that has lost its first.
    pub(super) first: *mut ffi::PyThreadState,
    /// Its objects.
    pub objects: Objects,
    /// Its loaded scripts.
    pub scripts: Scripts,
    /// Thread states that request threads have for it.
    pub states: AtomicUsize,
    /// `mod_wsgi.application_group` has been set to the group that it stands for.
    application_group_is_reported: AtomicBool,
}

// SAFETY: the pointers are only passed to Python, which allows it from every thread.
unsafe impl Send for Interp {}
// SAFETY: as above.
unsafe impl Sync for Interp {}

impl Interp {
    /// Its application group; empty for the main one.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it is the main one.
    pub fn is_main(&self) -> bool {
        self.name.is_empty()
    }

    /// Sets `mod_wsgi.application_group` to the name of an application's group, when that application is alone in the
    /// main interpreter.
    pub fn report_application_group(&self, gil: Gil, application_group: &[u8]) {
        if application_group != self.name.as_bytes() && !self.application_group_is_reported.swap(true, Ordering::SeqCst)
        {
            let reported = gil
                .latin1(application_group)
                .and_then(|application_group| self.objects.set_application_group.get(gil).call(&[&application_group]));
            if let Err(raised) = reported {
                drop(gil.fetch(raised));
            }
        }
    }

    /// Whether it has a GIL of its own. Others share that of the main one, which has none of its own in this sense.
    pub fn has_own_gil(&self) -> bool {
        self.has_own_gil
    }

    /// The order in which request threads take its GIL.
    pub fn turns(&self) -> &'static Turns {
        self.turns
    }

    /// Python's record of it.
    pub fn state(&self) -> *mut ffi::PyInterpreterState {
        self.state
    }
}

impl Interp {
    /// Sets up the interpreter that the thread is attached to.
    pub(super) fn build(gil: Gil, facts: &Facts, natives: Natives, start: &Start, made: Made<'_>) -> Res<Interp> {
        let Made { name, first, has_own_gil, turns } = made;
        let prelude = prelude(gil, natives)?;
        let find = |name: &str| -> Res<Owned> { prelude.get(&*gil.str(name)?)?.ok_or(Raised) };
        let fixed = fixed_facts(gil, name, facts, has_own_gil)?;
        fixed.set_named(c"main_thread", &*gil.int(start.main_thread)?)?;
        fixed.set_named(c"environment", &*environment(gil, start)?)?;
        if find("own_process")?.call(&[&fixed])?.truth()? {
            gil.detach(|| tell_of_wrong_str(facts));
        }
        find("setup")?.call(&[&fixed])?;
        find("prepare_forks")?.call(&[&fixed])?;
        find("prepare_own_gils")?.call(&[&fixed])?;
        let (file_wrapper, errors) = (find("FileWrapper")?, find("errors")?);
        let template = template(gil, name, facts, &errors, &file_wrapper)?;
        // SAFETY: attached.
        let state = unsafe { ffi::PyInterpreterState_Get() };
        let objects = Objects {
            template: template.store(),
            names: names(gil)?,
            input: (natives.input_type)()?.store(),
            file_wrapper: file_wrapper.store(),
            timeout: find("RequestTimeout")?.store(),
            file_extent: find("file_extent")?.store(),
            load: find("load")?.store(),
            describe: find("describe")?.store(),
            missing: find("missing")?.store(),
            is_source: find("is_source")?.store(),
            concerned: find("concerned")?.store(),
            set_application_group: find("set_application_group")?.store(),
            finish: find("finish")?.store(),
            service: find("service")?.store(),
            threads: find("threads")?.store(),
            stacks: find("stacks")?.store(),
            load_extension: find("load_extension")?.store(),
            end_fork: find("end_fork")?.store(),
            decide: find("decide")?.store(),
            own_environment: find("own_environment")?.store(),
            collections: find("collections")?.store(),
            events: Events::find(find)?,
        };
        Ok(Interp {
            name: name.to_owned(),
            state,
            has_own_gil,
            turns,
            first,
            objects,
            scripts: Scripts::default(),
            states: AtomicUsize::new(0),
            application_group_is_reported: AtomicBool::new(false),
        })
    }
}

/// Says why the switch interval is left out that configuration asks for in the interpreter of application group `name`, if
/// it is.
fn switch_interval_left_out(
    facts: &Facts,
    settings: &Settings<'_>,
    name: &str,
    has_own_gil: bool,
) -> Option<(Message, String)> {
    const NO_GIL: &str = "there is no GIL to switch, as WSGIFreeThreading is On";
    let of_interpreter = |why: &str| format!("WSGISwitchInterval is left out for application group '{name}': {why}");
    let of_process = |what: &str| format!("{}{what} is left out: {NO_GIL}", facts.title());
    if settings.own_switch_interval_us.is_some() && runs_free() {
        Some((Message::OwnSwitchIntervalWithoutGil, of_interpreter(NO_GIL)))
    } else if settings.own_switch_interval_us.is_some() && !has_own_gil {
        const SHARED: &str = "its interpreter shares the GIL of the process, whose interval is set for the process; with \
                              WSGIPerInterpreterGIL On it has a GIL of its own (Python 3.12 and later)";
        Some((Message::SwitchInterval, of_interpreter(SHARED)))
    } else if !runs_free() || !name.is_empty() {
        None
    } else if facts.switch_interval_us.is_some() {
        Some((Message::GroupSwitchIntervalWithoutGil, of_process("switch-interval")))
    } else {
        settings.switch_interval_us.map(|_| (Message::SwitchIntervalWithoutGil, of_process("WSGISwitchInterval")))
    }
}

/// Says how threads run, where that is not as usual or not as `WSGIFreeThreading` has it.
pub(super) fn tell_of_threads(facts: &Facts) {
    let (title, (python, from)) = (facts.title(), &facts.python);
    if runs_free() {
        log::info(&format!(
            "{title}Python runs without its GIL (WSGIFreeThreading On), so request threads run side by side"
        ));
    } else if facts.free_threading {
        let text =
            format!("{title}WSGIFreeThreading On has no effect: {python} ({from}) is no free-threaded build of Python");
        log::report(Message::FreeThreadingWithoutEffect, &text);
    }
}

/// Says once that `str()` is wrong in sub-interpreters of this Python.
fn tell_of_wrong_str(facts: &Facts) {
    static TOLD: AtomicBool = AtomicBool::new(false);
    if !TOLD.swap(true, Ordering::Relaxed) {
        let version = version().to_string_lossy();
        let number = version.split(' ').next().unwrap_or_default();
        let text = faults::wrong_str(&format!("Python {number} ({})", facts.python.0));
        log::report(Message::WrongStr, &format!("{}{text}", facts.title()));
    }
}

/// The part of the engine that is written in Python.
const SOURCES: [&str; 9] = [
    include_str!("prelude.py"),
    include_str!("process.py"),
    include_str!("own_gil.py"),
    include_str!("fork.py"),
    include_str!("events.py"),
    include_str!("metrics.py"),
    include_str!("collections.py"),
    include_str!("modules.py"),
    include_str!("decide.py"),
];

/// Runs the part of the engine that is written in Python; its namespace.
fn prelude(gil: Gil, natives: Natives) -> Res<Owned> {
    let namespace = gil.dict()?;
    for (name, function) in (natives.functions)()? {
        namespace.set_named(name, &function)?;
    }
    namespace.set_named(c"__name__", &*gil.str("_mod_wsgi_prelude")?)?;
    namespace.set_named(c"__file__", &*gil.str("<mod_wsgi>")?)?;
    namespace.set_named(c"__builtins__", &*gil.import(c"builtins")?)?;
    for source in SOURCES {
        let source = CString::new(source).unwrap_or_default();
        gil.exec(&source, c"<mod_wsgi>", &namespace)?;
    }
    Ok(namespace)
}

fn version_tuple(gil: Gil, (major, minor, patch): (u32, u32, u32)) -> Res<Owned> {
    tuple(gil, &[major, minor, patch])
}

fn tuple(gil: Gil, numbers: &[u32]) -> Res<Owned> {
    let list = gil.list()?;
    for number in numbers {
        list.append(&*gil.int(i64::from(*number))?)?;
    }
    list.to_tuple()
}

fn fixed_facts(gil: Gil, name: &str, facts: &Facts, has_own_gil: bool) -> Res<Owned> {
    let fixed = gil.dict()?;
    fixed.set_named(c"process_group", &*gil.str(&facts.process_group)?)?;
    fixed.set_named(c"application_group", &*gil.str(name)?)?;
    fixed.set_named(c"maximum_processes", &*gil.int(facts.processes.into())?)?;
    fixed.set_named(c"threads_per_process", &*gil.int(facts.threads.into())?)?;
    fixed.set_named(c"apache_version", &*version_tuple(gil, facts.apache_version)?)?;
    fixed.set_named(c"httpd", &*about(gil, &facts.httpd)?)?;
    let settings = resolve(&facts.layers, name);
    let paths = gil.list()?;
    for part in std::iter::once(&facts.python_path[..]).chain(settings.python_path.iter().copied()) {
        let path = gil.list()?;
        for directory in part {
            path.append(&*gil.path(directory.as_bytes())?)?;
        }
        paths.append(&path)?;
    }
    fixed.set_named(c"python_paths", &paths)?;
    fixed.set_named(c"keep_streams", &*gil.bool(facts.keep_streams)?)?;
    fixed.set_named(c"telemetry", &*gil.bool(facts.telemetry)?)?;
    fixed.set_named(c"restrict_stdin", &*gil.bool(settings.restrict_stdin)?)?;
    fixed.set_named(c"restrict_stdout", &*gil.bool(settings.restrict_stdout)?)?;
    // Without request threads the scripts have the main thread, and its signals.
    fixed.set_named(c"restrict_signal", &*gil.bool(settings.restrict_signal && facts.threads > 0)?)?;
    let left_out = switch_interval_left_out(facts, &settings, name, has_own_gil);
    left_out.iter().for_each(|(message, text)| gil.detach(|| log::report(*message, text)));
    let interval = switch_interval(facts, &settings, name.is_empty(), has_own_gil);
    let interval = interval.map_or_else(|| Ok(gil.none()), |us| gil.float(us as f64 / 1e6))?;
    fixed.set_named(c"switch_interval", &interval)?;
    fixed.set_named(c"own_gils", &*gil.bool(own_gil::is_possible(facts))?)?;
    fixed.set_named(c"has_own_gil", &*gil.bool(has_own_gil)?)?;
    let home = match &facts.home {
        Some(home) => gil.path(home.as_bytes())?,
        None => gil.none(),
    };
    fixed.set_named(c"home", &home)?;
    Ok(fixed)
}

/// What an interpreter sets when it starts. It belongs to the GIL: the main one comes first, and sets it for those that share
/// its GIL.
fn switch_interval(facts: &Facts, settings: &Settings<'_>, is_main: bool, has_own_gil: bool) -> Option<u64> {
    let own = settings.own_switch_interval_us.filter(|_| has_own_gil);
    let interval = own.or(facts.switch_interval_us).or(settings.switch_interval_us);
    interval.filter(|_| !runs_free() && (is_main || has_own_gil))
}

/// The variables with which the process was started, as `bytes`.
fn environment(gil: Gil, start: &Start) -> Res<Owned> {
    let variables = gil.dict()?;
    for (name, value) in &start.variables {
        variables.set(&*gil.bytes(name.as_bytes())?, &*gil.bytes(value.as_bytes())?)?;
    }
    Ok(variables)
}

/// The attributes of the module `apache`, but for its version.
fn about(gil: Gil, httpd: &Httpd) -> Res<Owned> {
    let about = gil.dict()?;
    about.set_named(c"maximum_processes", &*gil.int(httpd.processes.into())?)?;
    about.set_named(c"threads_per_process", &*gil.int(httpd.threads.into())?)?;
    about.set_named(c"description", &*gil.latin1(httpd.description.as_bytes())?)?;
    about.set_named(c"mpm_name", &*gil.str(&httpd.mpm_name)?)?;
    about.set_named(c"build_date", &*gil.str(&httpd.build_date)?)?;
    Ok(about)
}

fn template(gil: Gil, name: &str, facts: &Facts, errors: &Any, file_wrapper: &Any) -> Res<Owned> {
    let environ = gil.dict()?;
    environ.set_named(c"wsgi.version", &*tuple(gil, &[1, 0])?)?;
    environ.set_named(c"wsgi.multithread", &*gil.bool(facts.multithread)?)?;
    environ.set_named(c"wsgi.multiprocess", &*gil.bool(facts.multiprocess)?)?;
    environ.set_named(c"wsgi.run_once", &*gil.bool(facts.run_once)?)?;
    environ.set_named(c"wsgi.errors", errors)?;
    environ.set_named(c"wsgi.input_terminated", &*gil.bool(true)?)?;
    environ.set_named(c"wsgi.file_wrapper", file_wrapper)?;
    environ.set_named(c"apache.version", &*version_tuple(gil, facts.apache_version)?)?;
    environ.set_named(c"mod_wsgi.version", &*tuple(gil, &[6, 1, 1])?)?;
    environ.set_named(c"mod_wsgi.process_group", &*gil.str(&facts.process_group)?)?;
    environ.set_named(c"mod_wsgi.application_group", &*gil.str(name)?)?;
    environ.set_named(c"mod_wsgi.handler_script", &*gil.str("")?)?;
    Ok(environ)
}

fn names(gil: Gil) -> Res<Names> {
    let known = keys::KNOWN.iter().map(|name| {
        let name = CString::new(*name).unwrap_or_default();
        Ok(gil.interned(&name)?.store())
    });
    Ok(Names {
        known: known.collect::<Res<_>>()?,
        input: gil.interned(c"wsgi.input")?.store(),
        thread_id: gil.interned(c"mod_wsgi.thread_id")?.store(),
        request_start: gil.interned(c"mod_wsgi.request_start")?.store(),
        queue_start: gil.interned(c"mod_wsgi.queue_start")?.store(),
        daemon_start: gil.interned(c"mod_wsgi.daemon_start")?.store(),
        application_start: gil.interned(c"mod_wsgi.application_start")?.store(),
        close: gil.interned(c"close")?.store(),
        mtime: gil.interned(c"__mtime__")?.store(),
        reload_required: gil.interned(c"reload_required")?.store(),
    })
}
