//! The threads of the timers that take the GIL, which the watchdog never does. One thread shows that the GIL can be
//! had. The other one interrupts requests and shows stacks. There are two because the first one waits in the main
//! interpreter, where it may wait for ever: before Python 3.13 a thread that computes in one interpreter lets no thread
//! of another one have the GIL. That is no deadlock, because threads of its own interpreter can have the GIL. So before
//! the watchdog finds a deadlock, a third thread asks for the GIL there.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use std::{io, mem, ptr};

use wsgi_sys::clock;

use crate::python::interp::Interp;
use crate::python::interpreters;
use crate::python::py::{Gil, Res};
use crate::python::threads;
use crate::timers::slots::{Running, Slots};

/// How often it takes the GIL, at least.
const BEAT: Duration = Duration::from_secs(1);
/// How long the GIL may take to come. After that the watchdog shows stacks without it.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long further stacks may then take. They may not come at all, because Python reads files for them.
const WRITING: Duration = Duration::from_secs(2);

/// Stack of a thread that takes the GIL in a named interpreter, bytes.
const ASKING_STACK: usize = 512 << 10;

/// What the watchdog asks of the second thread.
#[derive(Debug)]
struct Job {
    /// The thread raises RequestTimeout in these, after it has shown their stacks.
    interrupt: Vec<Running>,
    /// The watchdog wants the stacks, and this is what is executed.
    stacks: Option<Vec<Running>>,
}

impl Job {
    /// The interpreters that the job is about: first those that matter most.
    fn interps(&self) -> Vec<&'static Interp> {
        let named = self.interrupt.iter().chain(self.stacks.iter().flatten()).map(|running| running.interp);
        let main = interpreters::main().filter(|_| self.stacks.is_some());
        let mut found: Vec<&'static Interp> = Vec::new();
        for interp in named.filter_map(interpreters::at).chain(main) {
            if !found.iter().any(|other| ptr::eq(*other, interp)) {
                found.push(interp);
            }
        }
        found
    }
}

#[derive(Debug, Default)]
struct State {
    stopping: bool,
    jobs: VecDeque<Job>,
    /// The stacks that were asked for last, as far as they are there.
    stacks: String,
    /// They are all there.
    complete: bool,
    /// Named interpreters in which a thread of its own takes the GIL.
    asked: Vec<Asked>,
}

#[derive(Debug)]
struct Asked {
    /// Address of the interpreter's record.
    interp: usize,
    /// The thread must take the GIL once more.
    is_due: bool,
}

/// The threads, as others see them.
#[derive(Debug)]
pub struct Probe {
    slots: &'static Slots,
    state: Mutex<State>,
    changed: Condvar,
    /// When the first thread last had the GIL, in microseconds of the monotonic clock; the greatest number when it does
    /// not take it any more.
    had_us: AtomicU64,
    /// How often it takes the GIL by itself.
    beat: Option<Duration>,
    /// Threads that have not ended.
    threads: AtomicUsize,
}

impl Probe {
    /// Starts the threads. `deadlock`: how soon the watchdog must know that the GIL cannot be had, if it must know
    /// that.
    pub fn start(slots: &'static Slots, deadlock: Option<Duration>, stack_size: usize) -> io::Result<&'static Probe> {
        let probe = Box::leak(Box::new(Probe {
            slots,
            state: Mutex::default(),
            changed: Condvar::new(),
            had_us: AtomicU64::new(0),
            beat: deadlock.map(|limit| BEAT.min(limit / 4)),
            threads: AtomicUsize::new(0),
        }));
        let probe: &'static Probe = probe;
        probe.note();
        probe.spawn("wsgi-timers", stack_size, |probe| probe.work_on_jobs())?;
        if let Some(beat) = probe.beat {
            probe.spawn("wsgi-probe", stack_size, move |probe| probe.take_gil_every(beat))?;
        }
        Ok(probe)
    }

    fn spawn(
        &'static self,
        name: &str,
        stack_size: usize,
        body: impl FnOnce(&'static Probe) + Send + 'static,
    ) -> io::Result<()> {
        self.threads.fetch_add(1, Ordering::SeqCst);
        let builder = std::thread::Builder::new().name(name.to_owned()).stack_size(stack_size);
        let spawned = builder.spawn(move || {
            body(self);
            threads::release();
            self.threads.fetch_sub(1, Ordering::SeqCst);
        });
        if spawned.is_err() {
            self.threads.fetch_sub(1, Ordering::SeqCst);
        }
        spawned.map(drop)
    }

    /// Takes the GIL in each named interpreter that executes one of these requests, as soon as it can be had there.
    /// Does not wait for that.
    pub fn ask_in_named(&'static self, running: &[Running]) {
        for interp in
            running.iter().filter_map(|request| interpreters::at(request.interp)).filter(|found| !found.is_main())
        {
            let address = ptr::from_ref(interp).addr();
            let mut state = self.lock();
            if let Some(known) = state.asked.iter_mut().find(|asked| asked.interp == address) {
                known.is_due = true;
                continue;
            }
            state.asked.push(Asked { interp: address, is_due: true });
            drop(state);
            if self.spawn("wsgi-probe", ASKING_STACK, move |probe| probe.take_gil_in(interp)).is_err() {
                self.lock().asked.retain(|asked| asked.interp != address);
            }
        }
        self.changed.notify_all();
    }

    /// Takes the GIL in this interpreter each time that somebody asks for it. The thread keeps its Python thread state
    /// until the end, since giving it back takes the GIL in the main interpreter.
    fn take_gil_in(&self, interp: &'static Interp) {
        let address = ptr::from_ref(interp).addr();
        let is_asked = |state: &mut State| {
            let found = state.asked.iter_mut().find(|asked| asked.interp == address);
            found.is_some_and(|asked| mem::take(&mut asked.is_due))
        };
        loop {
            let idle = |state: &mut State| !state.stopping && !is_asked(state);
            let state = self.changed.wait_while(self.lock(), idle).unwrap_or_else(PoisonError::into_inner);
            if state.stopping {
                return;
            }
            drop(state);
            threads::attach(interp, |_| self.note());
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self) {
        let now = u64::try_from(clock::monotonic().as_micros()).unwrap_or(u64::MAX);
        self.had_us.fetch_max(now, Ordering::SeqCst);
    }

    /// When the first thread last had the GIL, by the monotonic clock; a time that never comes when it does not take it
    /// any more.
    pub fn had_gil(&self) -> Duration {
        Duration::from_micros(self.had_us.load(Ordering::SeqCst))
    }

    /// Ends them, as soon as they can have the GIL.
    pub fn stop(&self) {
        self.lock().stopping = true;
        self.changed.notify_all();
    }

    /// They use Python no more.
    pub fn has_ended(&self) -> bool {
        self.threads.load(Ordering::SeqCst) == 0
    }

    /// Makes the second thread raise RequestTimeout in these requests.
    pub fn interrupt(&self, requests: Vec<Running>) {
        self.lock().jobs.push_back(Job { interrupt: requests, stacks: None });
        self.changed.notify_all();
    }

    /// Returns the Python stacks of the main interpreter's threads and of those that execute these requests; then
    /// RequestTimeout is raised in the requests of `interrupt`. `None` when the GIL cannot be had in time; empty when
    /// no thread executes Python code.
    pub fn stacks(&self, running: &[Running], interrupt: Vec<Running>) -> Option<String> {
        let mut state = self.lock();
        (state.stacks, state.complete) = (String::new(), false);
        state.jobs.push_back(Job { interrupt, stacks: Some(running.to_vec()) });
        self.changed.notify_all();
        let until = |limit, condition: fn(&State) -> bool, state| {
            let waited = self.changed.wait_timeout_while(state, limit, |state: &mut State| !condition(state));
            waited.unwrap_or_else(PoisonError::into_inner).0
        };
        state = until(PATIENCE, |state| state.complete || !state.stacks.is_empty(), state);
        if !state.stacks.is_empty() {
            state = until(WRITING, |state| state.complete, state);
        }
        state.jobs.iter_mut().for_each(|job| job.stacks = None);
        let is_complete = state.complete;
        Some(mem::take(&mut state.stacks)).filter(|text| is_complete || !text.is_empty())
    }

    fn take_gil_every(&self, beat: Duration) {
        let Some(main) = interpreters::main() else { return };
        let mut state = self.lock();
        while !state.stopping {
            drop(state);
            threads::attach(main, |_| ());
            self.note();
            let waited = self.changed.wait_timeout_while(self.lock(), beat, |state| !state.stopping);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        // From now on the thread's silence must not mean a deadlock.
        self.had_us.store(u64::MAX, Ordering::SeqCst);
    }

    fn work_on_jobs(&self) {
        while let Some(job) = self.next() {
            self.work(&job);
        }
    }

    /// Waits for something to do. Nothing when it is to end.
    fn next(&self) -> Option<Job> {
        let idle = |state: &mut State| !state.stopping && state.jobs.is_empty();
        let mut state = self.changed.wait_while(self.lock(), idle).unwrap_or_else(PoisonError::into_inner);
        if state.stopping { None } else { state.jobs.pop_front() }
    }

    fn work(&self, job: &Job) {
        for interp in job.interps() {
            threads::attach(interp, |gil| {
                if let Some(running) = &job.stacks {
                    let text = part(gil, interp, running);
                    self.lock().stacks += &text;
                    self.changed.notify_all();
                }
                let here = job.interrupt.iter().filter(|request| request.interp == ptr::from_ref(interp).addr());
                here.for_each(|request| self.raise_in(gil, interp, request));
            });
            // A state of this thread must keep no interpreter from ending.
            threads::release_named();
        }
        if job.stacks.is_some() {
            self.lock().complete = true;
            self.changed.notify_all();
        }
    }

    fn raise_in(&self, gil: Gil, interp: &Interp, request: &Running) {
        let Some(slot) = self.slots.of(request.thread) else { return };
        // The thread must not go on to its next request between the two.
        let _one = slot.raising.enter(gil);
        if slot.interrupt(request.serial) {
            gil.raise_in_thread(request.ident, interp.objects.timeout.get(gil));
        }
    }
}

/// The stacks of one interpreter's threads.
fn part(gil: Gil, interp: &Interp, running: &[Running]) -> String {
    stacks(gil, interp, running).unwrap_or_else(|raised| {
        let problem = gil.fetch(raised).brief(gil);
        format!("The stacks of application group '{}' cannot be shown: {problem}\n", interp.name())
    })
}

fn stacks(gil: Gil, interp: &Interp, running: &[Running]) -> Res<String> {
    let labels = gil.dict()?;
    for request in running {
        let ident = gil.int(i64::try_from(request.ident).unwrap_or(0))?;
        labels.set(&ident, &*gil.str(&request.to_string())?)?;
    }
    let text = interp.objects.stacks.get(gil).call(&[&labels])?;
    Ok(String::from_utf8_lossy(text.as_bytes().unwrap_or_default()).into_owned())
}
