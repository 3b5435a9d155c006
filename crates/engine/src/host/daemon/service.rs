//! A process with `threads=0`: it runs import scripts on its main thread and serves nothing.
//!
//! It is ready before the first script runs, which may run for ever. As Python has the main thread, another one
//! hears the supervisor; it sends the process SIGTERM, whose handler in Python raises SystemExit in the script.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use wsgi_sys::{process, signal, thread};
use wsgi_wire::control::{Exit, FromDaemon};
use wsgi_wire::messages::Message;

use crate::host::daemon::load::steps;
use crate::host::daemon::main_thread::Daemon;
use crate::log;
use crate::python::interpreters;
use crate::python::interpreters::inside;
use crate::python::py::Gil;
use crate::request::script;

/// Exit status when an exception ended a script, as Python itself has it.
const SCRIPT_FAILED: i32 = 1;

/// How often the process wakes a script that must end. After that it leaves the script's last steps in peace.
const NUDGES: u32 = 20;
/// The time between.
const NUDGE: Duration = Duration::from_millis(50);

/// Runs the scripts one after the other; the exit status of the process.
pub fn run(gil: Gil, daemon: &'static Daemon) -> i32 {
    // No connection is taken.
    daemon.threads.stop();
    let is_early = ask(gil, daemon, "begin");
    daemon.threads.tell(FromDaemon::Ready);
    let is_over = Arc::new(AtomicBool::new(false));
    if let Err(error) = hear(daemon, is_over.clone()) {
        let text = format!("process group \"{}\": cannot start a thread: {error}", daemon.config.name);
        log::report(Message::ServiceThread, &text);
        return Exit::Bootstrap as i32;
    }
    let begin = Instant::now();
    let failed = !is_early && run_scripts(gil, daemon);
    // Threads that the scripts leave behind are a part of the service.
    let some_are_left = ask(gil, daemon, "wait");
    is_over.store(true, Ordering::SeqCst);
    let was_asked = ask(gil, daemon, "end");
    gil.detach(|| {
        daemon.tell_stopping();
        daemon.end_probe();
    });
    if some_are_left && !daemon.config.keep_interpreters {
        // Python would wait for them once more.
        interpreters::end_named(gil);
        interpreters::run_exit_functions(gil, daemon.main, "atexit");
        process::exit_now(Exit::Stopped as i32);
    }
    if !was_asked {
        let (name, seconds) = (&daemon.config.name, begin.elapsed().as_secs_f64());
        let how = if failed { "failed" } else { "ended" };
        let text = format!(
            "process group \"{name}\": import scripts {how} after {seconds:.1} s; the supervisor starts another process"
        );
        gil.detach(|| log::info(&text));
    }
    daemon.finish(gil, if failed { SCRIPT_FAILED } else { Exit::Stopped as i32 })
}

/// True when an exception ended one of the scripts.
fn run_scripts(gil: Gil, daemon: &'static Daemon) -> bool {
    let mut failed = false;
    for step in steps(&daemon.config) {
        let done = inside(gil, daemon.main, step.application_group, |gil, interp| {
            step.reported_group.iter().for_each(|group| interp.report_application_group(gil, group.as_bytes()));
            script::run_service(gil, interp, step.script)
        });
        if ask(gil, daemon, "asked") {
            return false;
        }
        failed |= done != Some(true);
    }
    failed
}

/// Calls the prelude's `service`. True also when that raises: then SIGTERM came during the call.
fn ask(gil: Gil, daemon: &Daemon, part: &str) -> bool {
    let answer = gil.str(part).and_then(|part| daemon.main.objects.service.get(gil).call(&[&part])?.truth());
    answer.unwrap_or_else(|raised| {
        drop(gil.fetch(raised));
        true
    })
}

/// Starts the thread that hears the supervisor.
fn hear(daemon: &'static Daemon, is_over: Arc<AtomicBool>) -> io::Result<()> {
    let (_, main_thread) = thread::numbers();
    let builder = std::thread::Builder::new().name("wsgi-control".to_owned());
    let thread = builder.spawn(move || {
        // Whatever ended the wait, there is one thing to do.
        daemon.serve_messages();
        daemon.bound_end();
        if !is_over.load(Ordering::SeqCst) {
            signal::send_to_thread(main_thread, libc::SIGTERM);
        }
        // Python may have looked for signals for the last time before it began to wait in a system call.
        for _ in 0..NUDGES {
            std::thread::sleep(NUDGE);
            if !is_over.load(Ordering::SeqCst) {
                signal::interrupt_thread(main_thread);
            }
        }
    });
    thread.map(drop)
}
