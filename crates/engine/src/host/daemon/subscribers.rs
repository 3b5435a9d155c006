//! What a daemon process tells the subscribers of its interpreters: that it ends, and why, and the signals that are theirs.
//! [`super::main_thread`] calls this.

use std::sync::mpsc::{self, Sender};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use wsgi_sys::signal;
use wsgi_wire::messages::Message;

use crate::host::daemon::main_thread::Daemon;
use crate::log;
use crate::python::{interpreters, threads};

/// Signals that mean nothing to us, and something to applications that have subscribed to them.
pub(super) const THEIRS: [i32; 2] = [libc::SIGHUP, libc::SIGUSR2];

/// How often the main thread looks whether the thread below has ended.
const LOOK: Duration = Duration::from_millis(2);

/// The thread that tells subscribers of signals. The first signal starts it.
#[derive(Debug, Default)]
pub(super) struct Signals(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    thread: Option<(Sender<i32>, JoinHandle<()>)>,
    /// Python ends: no thread may ask for the GIL any more.
    is_over: bool,
}

impl Signals {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands a signal to the thread. Does nothing after [`Signals::end`].
    fn hand(&self, number: i32) -> std::io::Result<()> {
        let mut state = self.state();
        if state.is_over {
            return Ok(());
        }
        if state.thread.is_none() {
            let (sender, signals) = mpsc::channel::<i32>();
            let builder = std::thread::Builder::new().name("wsgi-signals".to_owned());
            let started = builder.spawn(move || {
                for number in signals {
                    let name = signal::name(number);
                    interpreters::in_each(|gil, interp| interp.objects.events.tell_signal(gil, &name, number));
                }
                threads::release();
            })?;
            state.thread = Some((sender, started));
        }
        if let Some((sender, _)) = state.thread.as_ref() {
            // The thread ends only when this end is gone.
            let _ = sender.send(number);
        }
        Ok(())
    }

    /// Ends the thread, after the signals that it has. What a subscriber does meanwhile is bounded as the process's end is.
    fn end(&self) {
        let last = {
            let mut state = self.state();
            state.is_over = true;
            state.thread.take()
        };
        let Some((sender, thread)) = last else { return };
        drop(sender);
        while !thread.is_finished() {
            std::thread::sleep(LOOK);
        }
    }
}

impl Daemon {
    /// A signal for subscribers has come.
    pub(super) fn pass_on(&self, number: i32) {
        let (name, pid, signal) = (&self.config.name, std::process::id(), signal::name(number));
        let who = "the callbacks of mod_wsgi.subscribe_signals() hear of it";
        let text = format!("process group \"{name}\": process {pid} got {signal}; {who}");
        log::info_without_waiting(&text);
        if let Err(error) = self.signals_for_subscribers.hand(number) {
            let text = format!("process group \"{name}\": process {pid}: cannot start a thread for {signal}: {error}");
            log::report_without_waiting(Message::SignalThread, &text);
        }
    }

    /// Tells the subscribers of each interpreter that the process ends, and why. The thread is attached to none.
    pub(super) fn tell_stopping(&self) {
        self.signals_for_subscribers.end();
        let reason = self.threads.reason();
        interpreters::in_each(|gil, interp| interp.objects.events.tell_stopping(gil, reason));
    }
}
