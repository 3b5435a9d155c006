//! Starting a program with exactly the given descriptors, environment, identity and limits.
//!
//! Only async-signal-safe calls run between fork and exec. So everything that allocates comes before the fork.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::ptr;

use super::limit::Limit;
use super::step::Step;
use super::{exit_now, new_session, wait};
use crate::fd::{self, cvt};
use crate::signal;

/// The identity that a started process has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ids {
    /// User id.
    pub uid: u32,
    /// Primary group id.
    pub gid: u32,
    /// Supplementary groups.
    pub groups: Vec<u32>,
}

/// What to start. Descriptors that are not named are closed in the new process; signals have their
/// default actions and are not blocked.
#[derive(Debug, Default)]
pub struct Program<'a> {
    /// File to execute.
    pub path: CString,
    /// Its arguments, the first being its own name.
    pub arguments: Vec<CString>,
    /// Its environment, `NAME=value`; complete.
    pub environment: Vec<CString>,
    /// Its descriptors: number there, descriptor here.
    pub descriptors: Vec<(RawFd, BorrowedFd<'a>)>,
    /// Make it the leader of a session of its own (setsid).
    pub session: bool,
    /// Scheduling priority, -20 (first) to 20. If the system refuses it, the process starts without.
    pub priority: Option<i32>,
    /// Limits. If the system refuses one, the process starts without it.
    pub limits: Vec<Limit>,
    /// Root directory. The other paths here are meant inside of it.
    pub chroot: Option<CString>,
    /// Change to this identity.
    pub ids: Option<Ids>,
    /// File mode mask.
    pub umask: Option<u32>,
    /// Working directory, entered as the new identity.
    pub directory: Option<CString>,
}

/// How a start went.
#[derive(Debug)]
pub enum Outcome {
    /// Nothing is known yet; ask again when [`Spawned::report`] is readable.
    Pending,
    /// This step failed, and the start goes on without it; ask again.
    WentWithout(Step, io::Error),
    /// The program runs.
    Executed,
    /// This step failed; the process has exited with status 127 and must be waited for.
    Failed(Step, io::Error),
}

/// A started process.
#[derive(Debug)]
pub struct Spawned {
    /// Process id.
    pub pid: i32,
    report: OwnedFd,
}

impl Spawned {
    /// Readable (or at its end) as soon as [`Spawned::outcome`] knows more. Non-blocking.
    pub fn report(&self) -> BorrowedFd<'_> {
        self.report.as_fd()
    }

    /// How the start went, as far as is known; does not wait.
    pub fn outcome(&self) -> Outcome {
        let mut record = [0; 5];
        match fd::read(self.report.as_fd(), &mut record) {
            Ok(5) => {
                let errno = i32::from_ne_bytes([record[1], record[2], record[3], record[4]]);
                let (step, error) = (Step::from_byte(record[0]), io::Error::from_raw_os_error(errno));
                if step.is_dispensable() { Outcome::WentWithout(step, error) } else { Outcome::Failed(step, error) }
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {
                Outcome::Pending
            }
            _ => Outcome::Executed,
        }
    }

    /// Waits until the program runs or its start has failed. If it has failed, also waits for the process to exit.
    ///
    /// # Errors
    /// The step's name and what it said.
    pub fn wait_executed(self) -> io::Result<i32> {
        fd::set_nonblocking(self.report.as_fd(), false)?;
        loop {
            match self.outcome() {
                Outcome::Pending | Outcome::WentWithout(..) => {}
                Outcome::Executed => return Ok(self.pid),
                Outcome::Failed(step, error) => {
                    let _ = wait(self.pid);
                    return Err(io::Error::new(error.kind(), format!("{}: {error}", step.name())));
                }
            }
        }
    }
}

/// All that the child needs, as the pointers and numbers that the calls take.
struct Prepared<'a> {
    program: &'a Program<'a>,
    arguments: Vec<*const libc::c_char>,
    environment: Vec<*const libc::c_char>,
    /// Copies of the descriptors, above every number of the new process.
    copies: Vec<(RawFd, OwnedFd)>,
    /// One above the highest number of the new process.
    end: RawFd,
    report: OwnedFd,
    empty: libc::sigset_t,
}

fn pointers(strings: &[CString]) -> Vec<*const libc::c_char> {
    strings.iter().map(|text| text.as_ptr()).chain([ptr::null()]).collect()
}

/// Starts a program. The call returns when the process exists; [`Spawned::outcome`] tells whether it executes the
/// program.
///
/// # Errors
/// When descriptors or processes are exhausted.
pub fn spawn(program: &Program<'_>) -> io::Result<Spawned> {
    let end = program.descriptors.iter().map(|(number, _)| number + 1).max().unwrap_or(0).max(3);
    let (report, writer) = fd::pipe()?;
    fd::set_nonblocking(report.as_fd(), true)?;
    let copy = |(number, fd): &(RawFd, BorrowedFd<'_>)| Ok((*number, fd::duplicate(*fd, end)?));
    let prepared = Prepared {
        program,
        arguments: pointers(&program.arguments),
        environment: pointers(&program.environment),
        copies: program.descriptors.iter().map(copy).collect::<io::Result<_>>()?,
        end,
        report: fd::duplicate(writer.as_fd(), end)?,
        empty: signal::set(false),
    };
    drop(writer);
    let full = signal::set(true);
    let mut old = signal::set(false);
    // A handler of ours must not run in the child, where it would act on shared descriptors.
    // SAFETY: both sets live during the call.
    cvt(unsafe { libc::sigprocmask(libc::SIG_SETMASK, &raw const full, &raw mut old) })?;
    // SAFETY: the child only runs `execute`, which makes async-signal-safe calls and does not return.
    let pid = cvt(unsafe { libc::fork() });
    if matches!(pid, Ok(0)) {
        execute(&prepared);
    }
    // SAFETY: the set lives during the call.
    let _ = unsafe { libc::sigprocmask(libc::SIG_SETMASK, &raw const old, ptr::null_mut()) };
    Ok(Spawned { pid: pid?, report })
}

/// What the child does up to exec. If a step fails, the child reports that and exits.
fn execute(prepared: &Prepared<'_>) -> ! {
    let (step, errno) = match prepare(prepared) {
        Ok(()) => {
            let path = prepared.program.path.as_ptr();
            // SAFETY: path, arguments and environment are C strings, the lists end with NULL.
            unsafe { libc::execve(path, prepared.arguments.as_ptr(), prepared.environment.as_ptr()) };
            (Step::Exec, io::Error::last_os_error().raw_os_error().unwrap_or(0))
        }
        Err(failed) => failed,
    };
    report(prepared, (step, errno));
    // Not exit: its handlers belong to the parent.
    exit_now(127)
}

/// Tells the parent of a failed step.
fn report(prepared: &Prepared<'_>, (step, errno): (Step, i32)) {
    let errno = errno.to_ne_bytes();
    let record = [step as u8, errno[0], errno[1], errno[2], errno[3]];
    let _ = fd::write(prepared.report.as_fd(), &record);
}

fn failed(step: Step) -> impl FnOnce(io::Error) -> (Step, i32) {
    move |error| (step, error.raw_os_error().unwrap_or(0))
}

/// Sets identity, directory, descriptors and signals of the new process. Async-signal-safe. The order matters: limits,
/// priority and root while the process may still set them, groups before user, directory as the new user, signals last.
fn prepare(prepared: &Prepared<'_>) -> Result<(), (Step, i32)> {
    let program = prepared.program;
    if program.session {
        new_session().map_err(failed(Step::Session))?;
    }
    place(prepared).map_err(failed(Step::Descriptors))?;
    if let Some(priority) = program.priority {
        // SAFETY: takes its arguments by value.
        let set = cvt(unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, priority) });
        let _ = set.map_err(failed(Step::Priority)).map_err(|failed| report(prepared, failed));
    }
    for limit in &program.limits {
        let _ = limit.set().map_err(failed(limit.of.step())).map_err(|failed| report(prepared, failed));
    }
    become_other(program.chroot.as_deref(), program.ids.as_ref())?;
    if let Some(mask) = program.umask {
        // SAFETY: takes its argument by value and cannot fail.
        unsafe { libc::umask(mask as libc::mode_t) };
    }
    if let Some(directory) = &program.directory {
        // SAFETY: a C string that lives during the call.
        cvt(unsafe { libc::chdir(directory.as_ptr()) }).map_err(failed(Step::Directory))?;
    }
    for signal in 1..=64 {
        // SAFETY: takes its arguments by value; signals that have no action to set are only an error.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
    // SAFETY: the set lives during the call.
    unsafe { libc::sigprocmask(libc::SIG_SETMASK, &raw const prepared.empty, ptr::null_mut()) };
    Ok(())
}

/// Changes root and identity; async-signal-safe. An error names the step and errno.
pub(super) fn become_other(chroot: Option<&CStr>, ids: Option<&Ids>) -> Result<(), (Step, i32)> {
    if let Some(root) = chroot {
        // SAFETY: a C string that lives during the call.
        cvt(unsafe { libc::chroot(root.as_ptr()) }).map_err(failed(Step::Chroot))?;
        // SAFETY: a C string. Otherwise the working directory would lie outside of the root.
        cvt(unsafe { libc::chdir(c"/".as_ptr()) }).map_err(failed(Step::Chroot))?;
    }
    let Some(ids) = ids else { return Ok(()) };
    // SAFETY: pointer and length describe the list.
    cvt(unsafe { libc::setgroups(ids.groups.len() as _, ids.groups.as_ptr()) }).map_err(failed(Step::Groups))?;
    // SAFETY: takes its argument by value.
    cvt(unsafe { libc::setgid(ids.gid) }).map_err(failed(Step::Group))?;
    // SAFETY: takes its argument by value.
    cvt(unsafe { libc::setuid(ids.uid) }).map_err(failed(Step::User)).map(drop)
}

/// Puts the descriptors at their numbers; exec closes all others.
fn place(prepared: &Prepared<'_>) -> io::Result<()> {
    for number in 0..prepared.end {
        if !prepared.copies.iter().any(|(wanted, _)| *wanted == number) {
            // SAFETY: the child owns its table; nothing is used after the exec but what is placed here.
            let _ = unsafe { libc::close(number) };
        }
    }
    for (number, fd) in &prepared.copies {
        // SAFETY: takes its arguments by value. The copy is close-on-exec, the result is not.
        cvt(unsafe { libc::dup2(fd.as_raw_fd(), *number) })?;
    }
    const CLOSE_RANGE_CLOEXEC: libc::c_uint = 4;
    let (first, last) = (prepared.end, libc::c_uint::MAX);
    // SAFETY: takes its arguments by value; only marks descriptors.
    if unsafe { libc::syscall(libc::SYS_close_range, first, last, CLOSE_RANGE_CLOEXEC) } == 0 {
        return Ok(());
    }
    for number in prepared.end..fd::highest() {
        // SAFETY: takes its arguments by value; a number that is not open is only an error.
        unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) };
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::Resource;
    use crate::process::{exists, kill, killpg, pidfd_kill, pidfd_open, try_wait};
    use std::fs::File;
    use std::os::unix::process::ExitStatusExt;

    fn shell<'a>(script: &str, descriptors: Vec<(RawFd, BorrowedFd<'a>)>) -> Program<'a> {
        let text = |text: &str| CString::new(text).expect("no NUL");
        Program {
            path: text("/bin/sh"),
            arguments: vec![text("sh"), text("-c"), text(script)],
            environment: vec![text("ONLY=this")],
            descriptors,
            session: true,
            umask: Some(0o027),
            directory: Some(text("/")),
            ..Program::default()
        }
    }

    fn output(script: &str) -> String {
        let (reader, writer) = fd::pipe().expect("pipe");
        let null = File::open("/dev/null").expect("/dev/null");
        let program =
            shell(script, vec![(0, null.as_fd()), (1, writer.as_fd()), (2, writer.as_fd()), (5, null.as_fd())]);
        let pid = spawn(&program).expect("spawn").wait_executed().expect("exec");
        drop(writer);
        let text = io::read_to_string(File::from(reader)).expect("output");
        assert!(wait(pid).expect("wait").success(), "{text}");
        text
    }

    #[test]
    fn a_program_gets_exactly_what_is_named() {
        // The script has no pipe, because the shell would hold an end of it. And `ls` is not its last command, because
        // the shell would become that command.
        let text = output("echo $ONLY$HOME; pwd; umask; ls /proc/$$/fd; true");
        assert_eq!(text, "this\n/\n0027\n0\n1\n2\n5\n");
    }

    #[test]
    fn a_failed_step_is_told() {
        let mut program = shell("", Vec::new());
        program.path = c"/no/such/program".to_owned();
        let error = spawn(&program).expect("spawn").wait_executed().expect_err("exec");
        assert_eq!((error.kind(), error.to_string().starts_with("execve: ")), (io::ErrorKind::NotFound, true));
        let mut program = shell("", Vec::new());
        program.directory = Some(c"/no/such/directory".to_owned());
        let error = spawn(&program).expect("spawn").wait_executed().expect_err("chdir");
        assert!(error.to_string().starts_with("chdir: "), "{error}");
    }

    #[test]
    fn limits_and_priority_are_set_and_a_refusal_does_not_stop_the_start() {
        let text = |limits: Vec<Limit>, script: &str| {
            let (reader, writer) = fd::pipe().expect("pipe");
            let program = Program { limits, priority: Some(7), ..shell(script, vec![(1, writer.as_fd())]) };
            let spawned = spawn(&program).expect("spawn");
            fd::set_nonblocking(spawned.report(), false).expect("blocking");
            let outcomes = [spawned.outcome(), spawned.outcome()].map(|outcome| format!("{outcome:?}"));
            drop(writer);
            let text = io::read_to_string(File::from(reader)).expect("output");
            wait(spawned.pid).expect("wait");
            (outcomes, text)
        };
        let limit = |of, soft, hard| Limit { of, soft, hard };
        let limits = vec![limit(Resource::Cpu, 30, 36), limit(Resource::AddressSpace, 1 << 32, 1 << 32)];
        let (outcomes, output) = text(limits, "ulimit -St; ulimit -Ht; ulimit -v; nice");
        assert_eq!((outcomes[0].as_str(), output.as_str()), ("Executed", "30\n36\n4194304\n7\n"));
        // A soft limit above the hard one is refused to everybody.
        let (outcomes, output) = text(vec![limit(Resource::Data, 2, 1)], "echo runs");
        assert!(outcomes[0].starts_with("WentWithout(DataLimit"), "{outcomes:?}");
        assert_eq!((outcomes[1].as_str(), output.as_str()), ("Executed", "runs\n"));
    }

    #[test]
    fn killpg_reaches_the_leader_and_the_signal_is_known() {
        let program = shell("sleep 60", Vec::new());
        let pid = spawn(&program).expect("spawn").wait_executed().expect("exec");
        let pidfd = pidfd_open(pid).expect("pidfd");
        assert!(exists(pid));
        assert!(try_wait(pid).expect("wait").is_none());
        killpg(pid, libc::SIGKILL).expect("kill");
        assert_eq!(wait(pid).expect("wait").signal(), Some(libc::SIGKILL));
        assert!(pidfd_kill(pidfd.as_fd(), 0).is_err());
        assert!(kill(0, 0).is_err() && killpg(1, 0).is_err());
    }
}
