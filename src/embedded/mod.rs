//! Embedded mode: Python in the child itself.
//!
//! Nothing of Python is in a child until a request, or a script to load at the start, needs it. Then the child asks the
//! interpreter that the configuration names where its libpython is (`wsgi_wire::libpython`), and opens that library and the engine
//! (`library`). The engine starts Python on a thread of its own. From then on requests run on httpd's threads, and the
//! engine calls back through the functions of `host`.

mod host;
mod library;

use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicPtr, Ordering};

use wsgi_sys::{forked, socket};
use wsgi_wire::config::{EmbedConfig, Preload, Telemetry};
use wsgi_wire::decision::Answer;
use wsgi_wire::engines::{self, Engines};
use wsgi_wire::layers::Layer;
use wsgi_wire::libpython;
use wsgi_wire::messages::Message;
use wsgi_wire::python_options::PythonOptions;
use wsgi_wire::response::Failure;

use crate::directive::GlobalConfig;
use crate::httpd::pool::{self, Pool};
use crate::httpd::process;
use crate::httpd::request::Request;
use crate::python;
use crate::respond::Delivery;
use crate::route::BodyLength;
use host::{Passed, Serving};
use library::Engine;

/// How long Python may take to end with its child, milliseconds.
const FINISH_MS: u32 = 3000;

/// The interpreter whose libpython embedded mode opens.
pub(crate) fn interpreter(home: Option<&str>) -> String {
    home.map_or_else(python::of_system, python::of)
}

/// What in the configuration names that interpreter.
pub(crate) fn named_by(home: Option<&str>) -> String {
    match home {
        Some(home) => format!("WSGIPythonHome {home}"),
        None => "the default; WSGIPythonHome chooses another".to_owned(),
    }
}

/// What embedded Python gets when it starts.
#[derive(Debug)]
pub(crate) struct AtStart {
    /// How Python starts.
    pub(crate) options: PythonOptions,
    /// Settings of the interpreters, the least specific first.
    pub(crate) layers: Vec<Layer>,
    /// Scripts to load.
    pub(crate) preload: Vec<Preload>,
    /// What it reports.
    pub(crate) telemetry: Option<Telemetry>,
}

/// Python in this child, or what is needed to start it.
#[derive(Debug)]
pub(crate) struct Embedded {
    /// The engines' files, or why they could not be opened.
    engine_files: Result<Engines<OwnedFd>, String>,
    home: Option<String>,
    path: Vec<String>,
    at_start: AtStart,
    variables: Vec<(&'static str, String)>,
    free_threading: bool,
    case_insensitive: bool,
    server_metrics: bool,
    keep_interpreters: bool,
    engine: OnceLock<Result<Engine, String>>,
    reported: AtomicBool,
}

impl Embedded {
    /// What the configuration says of embedded Python; starts nothing.
    pub(crate) fn new(
        global: &GlobalConfig,
        at_start: AtStart,
        engine_files: Result<Engines<OwnedFd>, String>,
    ) -> Embedded {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let path = global.interpreter.python_path.as_deref().unwrap_or_default();
        Embedded {
            engine_files,
            home: global.runtime.python_home.as_deref().map(text),
            path: path.iter().map(|entry| text(entry)).collect(),
            at_start,
            variables: variables(global),
            free_threading: global.free_threading(b""),
            server_metrics: global.runtime.server_metrics == Some(true),
            case_insensitive: global.runtime.case_sensitivity == Some(false),
            keep_interpreters: global.runtime.destroy_interpreter == Some(false),
            engine: OnceLock::new(),
            reported: AtomicBool::new(false),
        }
    }

    /// The engine; starts it on the first call of this child, while others wait.
    fn engine(&self) -> Result<&Engine, &str> {
        self.engine.get_or_init(|| self.start()).as_ref().map_err(String::as_str)
    }

    /// As [`Embedded::engine`], for a request: the whole story once in a child, then a line for each request that suffers
    /// from it.
    fn ready_engine(&self) -> Result<&Engine, &str> {
        self.engine().map_err(|why| {
            let first = !self.reported.swap(true, Ordering::Relaxed);
            if first { why } else { "this child could not start embedded Python (its first error line says why)" }
        })
    }

    fn start(&self) -> Result<Engine, String> {
        forked::install(|| ())
            .map_err(|error| format!("cannot prepare for processes that applications fork: {error}"))?;
        forked::leave_out_listeners(socket::listening());
        let engine_files = self.engine_files.as_ref().map_err(Clone::clone)?;
        let python = interpreter(self.home.as_deref());
        let answered = Command::new(&python).args(libpython::ARGUMENTS).stdin(Stdio::null()).output();
        let library = libpython::library(&python, answered, Path::is_file)
            .map_err(|why| format!("cannot start embedded Python: {why}"))?;
        let tag = library.tag.as_deref();
        let engine_file = engine_files.of(tag).ok_or_else(|| {
            let why = engines::missing(&python, tag.unwrap_or_default());
            format!("cannot start embedded Python: {why}")
        })?;
        let (threads, processes) = process::mpm_shape();
        let is_venv = |home: &String| Path::new(home).join("pyvenv.cfg").is_file();
        let python_from = named_by(self.home.as_deref());
        let config = EmbedConfig {
            python_from,
            protocol: wsgi_wire::PROTOCOL,
            python,
            python_home: self.home.clone().filter(|home| !is_venv(home)),
            python_options: self.at_start.options.clone(),
            python_path: self.path.clone(),
            layers: self.at_start.layers.clone(),
            free_threading: self.free_threading,
            preload: self.at_start.preload.clone(),
            multithread: threads > 1,
            multiprocess: processes > 1,
            threads,
            processes,
            server_metrics: self.server_metrics,
            case_insensitive: self.case_insensitive,
            log_level: process::main_log_level(),
            apache_version: process::version(),
            httpd: process::about(),
            keep_streams: process::is_single(),
            keep_interpreters: self.keep_interpreters,
            telemetry: self.at_start.telemetry.clone(),
        };
        let config = serde_json::to_vec(&config).map_err(|error| error.to_string())?;
        library::start(&library.path, engine_file, &config)
    }

    /// Sets the variables of the environment in which Python is to start. The child has no other thread yet.
    pub(crate) fn prepare(&self) {
        for (name, value) in &self.variables {
            process::set_variable(name, value);
        }
    }

    /// Starts Python now, if the configuration has it load scripts in each child.
    pub(crate) fn preload(&self) {
        if self.at_start.preload.is_empty() {
            return;
        }
        if let Err(why) = self.engine() {
            self.reported.store(true, Ordering::Relaxed);
            let text = format!(
                "Python initialisation failed in Apache child process: {why}; this child cannot load the scripts of \
                 WSGIImportScript and of aliases"
            );
            process::report_main(Message::PythonNotStarted, &text);
        }
    }

    /// Ends Python before the child's pool is gone.
    pub(crate) fn finish_with(&'static self, pchild: Pool<'_>) {
        pchild.own(AtEnd(self));
    }
}

/// What the directives put into the environment of children, because Python or its libraries look nowhere else.
fn variables(global: &GlobalConfig) -> Vec<(&'static str, String)> {
    let seed = global.runtime.python_hash_seed.map(|seed| ("PYTHONHASHSEED", seed.to_string()));
    let eggs = global.runtime.python_eggs.as_deref();
    let eggs = eggs.map(|directory| ("PYTHON_EGG_CACHE", String::from_utf8_lossy(directory).into_owned()));
    seed.into_iter().chain(eggs).collect()
}

/// Ends Python when the child ends.
struct AtEnd(&'static Embedded);

impl Drop for AtEnd {
    fn drop(&mut self) {
        if let Some(Ok(engine)) = self.0.engine.get() {
            engine.finish(FINISH_MS);
        }
    }
}

static EMBEDDED: AtomicPtr<Embedded> = AtomicPtr::new(std::ptr::null_mut());

/// Puts `embedded` in force; it belongs to `pconf`.
pub(crate) fn publish(pconf: Pool<'_>, embedded: Embedded) {
    pconf.publish(&EMBEDDED, embedded);
}

/// What is in force.
pub(crate) fn get() -> Option<&'static Embedded> {
    pool::shared(&EMBEDDED)
}

/// Serves a request in this child. The result is for httpd: 0, or an error status.
pub(crate) fn serve(
    request: Request<'_>,
    embedded: &'static Embedded,
    payload: &[u8],
    body: BodyLength,
    delivery: Delivery,
) -> i32 {
    let engine = match embedded.ready_engine() {
        Ok(engine) => engine,
        Err(why) => {
            let text = format!(
                "Embedded mode of mod_wsgi cannot be used as Python was not initialised in this process: {why}; the client \
                 gets 500"
            );
            request.report(Message::EmbeddedUnavailable, &text);
            return 500;
        }
    };
    let mut passed = Passed::new(Serving::new(request, body, delivery, false));
    let outcome = engine.run(payload, &mut passed);
    let serving = passed.into_serving();
    match outcome {
        0 => serving.end(),
        failure => {
            let failure = Failure::from_byte(u8::try_from(failure).unwrap_or(0));
            serving.fail(failure)
        }
    }
}

/// Asks a script to decide, in this child.
///
/// # Errors
/// A sentence's end: there is no answer. Where the script is at fault, the log has the cause.
pub(crate) fn ask(request: Request<'_>, embedded: &'static Embedded, payload: &[u8]) -> Result<Answer, String> {
    let engine = embedded.ready_engine()?;
    let delivery = Delivery { error_override: false, sendfile: false };
    let mut passed = Passed::new(Serving::new(request, BodyLength::Empty, delivery, true));
    let outcome = engine.run(payload, &mut passed);
    let answer = passed.into_serving().into_answer();
    answer.filter(|_| outcome == 0).ok_or_else(|| "it gave no answer (an earlier line says why)".to_owned())
}
