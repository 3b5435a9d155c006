//! The threads of the timers that take a GIL, which the watchdog never does. One thread shows that the GIL of the main
//! interpreter can be had. Another one interrupts requests and shows stacks. There are two because the first one waits in the
//! main interpreter, where it may wait for ever: before Python 3.13 a thread that computes in one interpreter lets no thread
//! of another one have the GIL that they share. That is no deadlock, because threads of its own interpreter can have the GIL.
//! So before the watchdog finds a deadlock, a third thread asks for the GIL there.
//!
//! An interpreter with a GIL of its own has two such threads as well, so that one that is stuck keeps nothing from the others.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use std::{io, mem, ptr};

use wsgi_sys::clock;

use crate::log;
use crate::python::interp::Interp;
use crate::python::interpreters::{self, facts};
use crate::python::py::{Gil, Res};
use crate::python::threads;
use crate::timers::slots::{Running, Slots};

/// How often a GIL is taken, at least.
const BEAT: Duration = Duration::from_secs(1);
/// How long a GIL may take to come. After that the watchdog shows stacks without it.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long further stacks may then take. They may not come at all, because Python reads files for them.
const WRITING: Duration = Duration::from_secs(2);

/// Stack of a thread that takes the GIL in a named interpreter, bytes.
const ASKING_STACK: usize = 512 << 10;

/// What the watchdog asks for, as far as it concerns interpreters that share a GIL.
#[derive(Debug)]
struct Part {
    /// Addresses of the interpreters' records: first those that matter most.
    interps: Vec<usize>,
    /// RequestTimeout is raised in these, after their stacks were shown.
    interrupt: Vec<Running>,
    /// The watchdog wants the stacks: the number of its question, and what is executed.
    stacks: Option<(u64, Vec<Running>)>,
}

/// A GIL.
#[derive(Debug)]
struct Watched {
    /// Whose it is, by the address of the record: the main interpreter, or one that shares it with none.
    owner: usize,
    /// When a thread of ours last had it, by the monotonic clock. `None`: no thread takes it all the time.
    had: Option<Duration>,
    /// What is to be done with it.
    parts: VecDeque<Part>,
    /// A thread does that.
    has_thread: bool,
}

/// What was said to the watchdog's last question, by those who share a GIL.
#[derive(Debug)]
struct Answer {
    owner: usize,
    text: String,
    is_complete: bool,
}

impl Answer {
    /// The GIL could be had.
    fn is_begun(&self) -> bool {
        self.is_complete || !self.text.is_empty()
    }
}

#[derive(Debug, Default)]
struct State {
    stopping: bool,
    gils: Vec<Watched>,
    /// The number of the last question; nobody waits for answers to those before it.
    question: u64,
    answers: Vec<Answer>,
    /// Interpreters that share the GIL of the main one, in which a thread of its own takes it.
    asked: Vec<Asked>,
}

impl State {
    fn gil(&mut self, owner: usize) -> &mut Watched {
        let at = self.gils.iter().position(|known| known.owner == owner).unwrap_or_else(|| {
            self.gils.push(Watched { owner, had: None, parts: VecDeque::new(), has_thread: false });
            self.gils.len() - 1
        });
        &mut self.gils[at]
    }
}

#[derive(Debug)]
struct Asked {
    /// Address of the interpreter's record.
    interp: usize,
    /// The thread must take the GIL once more.
    is_due: bool,
}

/// Stacks that the watchdog has asked for.
pub struct Shown {
    /// Those that came in time; empty when no thread executes Python code.
    pub text: String,
    /// Whose GIL did not come in time: the main interpreter, or one with a GIL of its own.
    pub silent: Vec<&'static Interp>,
}

/// The threads, as others see them.
#[derive(Debug)]
pub struct Probe {
    slots: &'static Slots,
    state: Mutex<State>,
    changed: Condvar,
    /// How often GILs are taken, if the watchdog must know that they can be had.
    beat: Option<Duration>,
    stack_size: usize,
    /// Threads that have not ended.
    threads: AtomicUsize,
}

fn address(interp: &'static Interp) -> usize {
    ptr::from_ref(interp).addr()
}

/// Whose GIL an interpreter has.
fn owner_of(interp: &'static Interp) -> &'static Interp {
    if interp.has_own_gil() { interp } else { interpreters::main().unwrap_or(interp) }
}

impl Probe {
    /// Starts the threads. `deadlock`: how soon the watchdog must know that a GIL cannot be had, if it must know that.
    pub fn start(slots: &'static Slots, deadlock: Option<Duration>, stack_size: usize) -> io::Result<&'static Probe> {
        let probe = Box::leak(Box::new(Probe {
            slots,
            state: Mutex::default(),
            changed: Condvar::new(),
            beat: deadlock.map(|limit| BEAT.min(limit / 4)),
            stack_size,
            threads: AtomicUsize::new(0),
        }));
        let probe: &'static Probe = probe;
        let Some(main) = interpreters::main() else { return Ok(probe) };
        probe.lock().gil(address(main)).has_thread = true;
        probe.spawn("wsgi-timers", stack_size, move |probe| probe.work_for(address(main)))?;
        if let Some(beat) = probe.beat {
            probe.note(main);
            probe.spawn("wsgi-probe", stack_size, move |probe| probe.take_gil_every(beat, main))?;
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

    /// From now on also takes the GILs of interpreters that have come meanwhile with their own.
    pub fn watch_own_gils(&'static self) {
        let Some(beat) = self.beat else { return };
        for interp in interpreters::named().into_iter().filter(|interp| interp.has_own_gil()) {
            if self.lock().gil(address(interp)).had.is_some() {
                continue;
            }
            self.note(interp);
            if self.spawn("wsgi-probe", ASKING_STACK, move |probe| probe.take_gil_every(beat, interp)).is_err() {
                self.lock().gil(address(interp)).had = None;
            }
        }
    }

    /// Takes the GIL in each interpreter that shares that of the main one and executes one of these requests, as soon as it
    /// can be had there. Does not wait for that.
    pub fn ask_in_named(&'static self, running: &[Running]) {
        let found = running.iter().filter_map(|request| interpreters::at(request.interp));
        for interp in found.filter(|found| !found.is_main() && !found.has_own_gil()) {
            let address = address(interp);
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
        let is_asked = |state: &mut State| {
            let found = state.asked.iter_mut().find(|asked| asked.interp == address(interp));
            found.is_some_and(|asked| mem::take(&mut asked.is_due))
        };
        loop {
            let idle = |state: &mut State| !state.stopping && !is_asked(state);
            let state = self.changed.wait_while(self.lock(), idle).unwrap_or_else(PoisonError::into_inner);
            if state.stopping {
                return;
            }
            drop(state);
            threads::attach(interp, |_| self.note(interp));
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A thread has, or has just had, the GIL of this interpreter.
    fn note(&self, interp: &'static Interp) {
        let (now, mut state) = (clock::monotonic(), self.lock());
        let had = &mut state.gil(address(owner_of(interp))).had;
        *had = (*had).max(Some(now));
    }

    /// Of all GILs that are taken, the one that could not be had for longest: when it was had last, by the monotonic clock (a
    /// time that never comes when nobody takes it any more), and whose it is.
    pub fn longest_kept(&self) -> (Duration, Option<&'static Interp>) {
        let state = self.lock();
        let known = state.gils.iter().filter_map(|gil| Some((gil.had?, gil.owner)));
        let (had, owner) = known.min().unwrap_or((Duration::MAX, 0));
        (had, interpreters::at(owner))
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

    /// Has RequestTimeout raised in these requests.
    pub fn interrupt(&'static self, requests: Vec<Running>) {
        self.hand_out(parts(&[], requests, None));
    }

    /// Asks for the Python stacks of the main interpreter's threads and of those that execute these requests; then
    /// RequestTimeout is raised in the requests of `interrupt`.
    pub fn stacks(&'static self, running: &[Running], interrupt: Vec<Running>) -> Shown {
        let mut state = self.lock();
        state.question += 1;
        let parts = parts(running, interrupt, Some(state.question));
        let answer = |(owner, _): &(usize, Part)| Answer { owner: *owner, text: String::new(), is_complete: false };
        state.answers = parts.iter().map(answer).collect();
        drop(state);
        self.hand_out(parts);
        let until = |limit, is_enough: fn(&Answer) -> bool, state| {
            let waits = |state: &mut State| !state.answers.iter().all(is_enough);
            self.changed.wait_timeout_while(state, limit, waits).unwrap_or_else(PoisonError::into_inner).0
        };
        let state = until(PATIENCE, Answer::is_begun, self.lock());
        let mut state = until(WRITING, |answer| answer.is_complete || !answer.is_begun(), state);
        state.question += 1;
        let silent = state.answers.iter().filter(|answer| !answer.is_begun());
        let silent = silent.filter_map(|answer| interpreters::at(answer.owner)).collect();
        let text = state.answers.drain(..).map(|answer| answer.text).collect();
        Shown { text, silent }
    }

    /// Gives parts to the threads that do them, and starts those that are not there yet.
    fn hand_out(&'static self, parts: Vec<(usize, Part)>) {
        for (owner, part) in parts {
            let mut state = self.lock();
            let gil = state.gil(owner);
            gil.parts.push_back(part);
            let is_new = !mem::replace(&mut gil.has_thread, true);
            drop(state);
            if is_new && self.spawn("wsgi-timers", self.stack_size, move |probe| probe.work_for(owner)).is_err() {
                self.lock().gil(owner).has_thread = false;
            }
        }
        self.changed.notify_all();
    }

    fn take_gil_every(&self, beat: Duration, interp: &'static Interp) {
        let mut state = self.lock();
        while !state.stopping {
            drop(state);
            threads::attach(interp, |_| ());
            self.note(interp);
            let waited = self.changed.wait_timeout_while(self.lock(), beat, |state| !state.stopping);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        // From now on the thread's silence must not mean a deadlock.
        state.gil(address(interp)).had = Some(Duration::MAX);
    }

    /// Does what is to be done with a GIL.
    fn work_for(&self, owner: usize) {
        while let Some(part) = self.next(owner) {
            self.work(owner, &part);
        }
    }

    /// Waits for something to do. Nothing when the thread is to end.
    fn next(&self, owner: usize) -> Option<Part> {
        let idle = |state: &mut State| !state.stopping && state.gil(owner).parts.is_empty();
        let mut state = self.changed.wait_while(self.lock(), idle).unwrap_or_else(PoisonError::into_inner);
        if state.stopping { None } else { state.gil(owner).parts.pop_front() }
    }

    fn work(&self, owner: usize, part: &Part) {
        for interp in part.interps.iter().filter_map(|interp| interpreters::at(*interp)) {
            threads::attach(interp, |gil| {
                if let Some((question, running)) = part.stacks.as_ref().filter(|(question, _)| self.is_asked(*question))
                {
                    let text = stacks_of(gil, interp, running);
                    self.answer(owner, *question, |answer| answer.text += &text);
                }
                let here = part.interrupt.iter().filter(|request| request.interp == address(interp));
                here.for_each(|request| self.raise_in(gil, interp, request));
            });
            // A state of this thread must keep no interpreter from ending.
            threads::release_named();
        }
        if let Some((question, _)) = part.stacks {
            self.answer(owner, question, |answer| answer.is_complete = true);
        }
    }

    fn is_asked(&self, question: u64) -> bool {
        self.lock().question == question
    }

    /// Changes the answer to this question, if anybody waits for it.
    fn answer(&self, owner: usize, question: u64, change: impl FnOnce(&mut Answer)) {
        let mut state = self.lock();
        if state.question == question {
            state.answers.iter_mut().find(|answer| answer.owner == owner).map(change);
            self.changed.notify_all();
        }
    }

    fn raise_in(&self, gil: Gil, interp: &Interp, request: &Running) {
        let Some(slot) = self.slots.of(request.thread) else { return };
        // The thread must not go on to its next request between the two.
        let _one = slot.raising.enter(gil);
        if slot.interrupt(request.serial) {
            gil.raise_in_thread(request.ident, interp.objects.timeout.get(gil));
            let group = facts().map_or("", |facts| &facts.process_group);
            let thread = request.thread;
            log::info_without_waiting(&format!(
                "Injected RequestTimeout into thread {thread} of daemon process '{group}'."
            ));
        }
    }
}

/// Divides what the watchdog asks for among the GILs that it takes, by their owners: RequestTimeout for the requests of
/// `interrupt`; with a question also the stacks of all interpreters that execute something, and of the main one.
fn parts(running: &[Running], interrupt: Vec<Running>, question: Option<u64>) -> Vec<(usize, Part)> {
    let named = interrupt.iter().chain(running).map(|running| running.interp);
    let main = interpreters::main().filter(|_| question.is_some());
    let mut found: Vec<(usize, Part)> = Vec::new();
    for interp in named.filter_map(interpreters::at).chain(main) {
        let owner = address(owner_of(interp));
        let at = found.iter().position(|(known, _)| *known == owner).unwrap_or_else(|| {
            let stacks = question.map(|question| (question, running.to_vec()));
            found.push((owner, Part { interps: Vec::new(), interrupt: Vec::new(), stacks }));
            found.len() - 1
        });
        let interps = &mut found[at].1.interps;
        if !interps.contains(&address(interp)) {
            interps.push(address(interp));
        }
    }
    for request in interrupt {
        let part = found.iter_mut().find(|(_, part)| part.interps.contains(&request.interp));
        part.into_iter().for_each(|(_, part)| part.interrupt.push(request.clone()));
    }
    found
}

/// The stacks of one interpreter's threads.
fn stacks_of(gil: Gil, interp: &Interp, running: &[Running]) -> String {
    stacks(gil, interp, running).unwrap_or_else(|raised| {
        let problem = gil.fetch(raised).brief(gil);
        format!("The stacks of application group '{}' cannot be shown: {problem}\n", interp.name())
    })
}

fn stacks(gil: Gil, interp: &Interp, running: &[Running]) -> Res<String> {
    let (labels, threads) = (gil.dict()?, gil.dict()?);
    for request in running {
        let ident = gil.int(i64::try_from(request.ident).unwrap_or(0))?;
        labels.set(&ident, &*gil.str(&request.to_string())?)?;
        threads.set(&*gil.int(i64::try_from(request.state).unwrap_or(0))?, &ident)?;
    }
    let text = interp.objects.stacks.get(gil).call(&[&labels, &threads])?;
    Ok(String::from_utf8_lossy(text.as_bytes().unwrap_or_default()).into_owned())
}
