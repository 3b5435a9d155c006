//! What a daemon process executes: `<python> [-X utf8] -c CODE`, with the control socket as descriptor 3, the opened
//! engine as 4, those for free-threaded Python from 5 on, and its output going to the supervisor. The code is that of
//! [`serve`]; the doctor executes that of [`probe`] instead.
//!
//! The interpreter itself knows what it is, and so chooses its engine. Free-threaded Python has the state of its GIL from
//! its command line, so it executes itself once more if `WSGIFreeThreading` says otherwise.

use crate::engines::{self, Engines};
use crate::messages::Message;

/// Runs far enough on any Python since 2.7 to say that it is the wrong one, and imports the engine from its
/// descriptor. Where nothing names descriptors (a root directory without /proc), the engine is loaded from a copy
/// that is gone at once.
macro_rules! load {
    () => {
        r#"import sys
if sys.path[:1] == ['']:
    del sys.path[0]
if sys.version_info < (3, 10):
    sys.stderr.write('WSGI1300: mod_wsgi needs CPython 3.10 or later; %s is Python %s\n' % (sys.executable, sys.version.split('\n')[0]))
    sys.exit(64)
_fd = 4
def _choose():
    tag = 'cp%d%dt' % sys.version_info[:2]
    if tag not in _free:
        sys.stderr.write(_missing % (sys.executable, tag, sys.executable) + '\n')
        sys.exit(64)
    if sys._xoptions.get('gil') != _gil:
        import os
        python = sys.orig_argv[0] if '/' in sys.orig_argv[0] else sys.executable
        os.execv(python, [python, '-X', 'gil=' + _gil] + sys.orig_argv[1:])
    return 5 + _free.index(tag)
def _copy():
    import os, tempfile
    try:
        out, path = tempfile.mkstemp('.so', 'mod_wsgi-')
        try:
            at, piece = 0, True
            while piece:
                piece = os.pread(_fd, 1 << 20, at)
                at += os.write(out, piece)
        except BaseException:
            os.unlink(path)
            raise
        finally:
            os.close(out)
        return path
    except OSError as error:
        raise OSError('there is no /proc in this root directory (chroot=), and the engine cannot be copied: %s; mount /proc there, or let the user write to its /tmp' % error)
def _boot():
    import importlib.machinery, importlib.util, os
    found = [path for path in ('/proc/self/fd/%d' % _fd, '/dev/fd/%d' % _fd) if os.path.exists(path)]
    path = found[0] if found else _copy()
    name = '_mod_wsgi_engine'
    try:
        loader = importlib.machinery.ExtensionFileLoader(name, path)
        spec = importlib.util.spec_from_file_location(name, path, loader=loader)
        engine = importlib.util.module_from_spec(spec)
        loader.exec_module(engine)
    finally:
        if not found:
            os.unlink(path)
    sys.modules[name] = engine
    for fd in range(4, 5 + len(_free)):
        os.close(fd)
    return engine
try:
    if 'free-threading' in sys.version:
        _fd = _choose()
    _engine = _boot()
except SystemExit:
    raise
except BaseException as error:
    sys.stderr.write('WSGI1300: mod_wsgi cannot start in %s (Python %s): %s: %s\n' % (sys.executable, sys.version.split()[0], type(error).__name__, error))
    sys.exit(65)
"#
    };
}

/// The program of a daemon process. It exits as [`crate::control::Exit`] says, through Python's own finalisation.
const BOOT: &str = concat!(load!(), "sys.exit(_engine.serve(3))\n");

/// How the line begins that [`probe`] writes when all is well: version and prefix follow.
pub const WELL: &str = "mod_wsgi-doctor: ";

/// How the line begins that says how much address space that took at most: the line of proc(5)'s `status` follows.
pub const PEAK: &str = "mod_wsgi-doctor-peak: ";

/// As [`BOOT`] up to where it would serve; then tells what it is, and what it takes.
const PROBE: &str = concat!(
    load!(),
    "sys.stdout.write('\\nmod_wsgi-doctor: %d.%d.%d %s\\n' % (sys.version_info[:3] + (sys.prefix,)))\n",
    "try:\n",
    "    _status = open('/proc/self/status').read().splitlines()\n",
    "    sys.stdout.writelines('mod_wsgi-doctor-peak: %s\\n' % line for line in _status if line.startswith('VmPeak:'))\n",
    "except OSError:\n",
    "    pass\n",
);

/// The program of a daemon process that has these engines. `free_threading`: a free-threaded Python runs without its GIL.
pub fn serve<T>(engines: &Engines<T>, free_threading: bool) -> String {
    program(engines, free_threading, BOOT)
}

/// As [`serve`], for the doctor.
pub fn probe<T>(engines: &Engines<T>, free_threading: bool) -> String {
    program(engines, free_threading, PROBE)
}

fn program<T>(engines: &Engines<T>, free_threading: bool, code: &str) -> String {
    let tags: Vec<String> = engines.free.iter().map(|(tag, _)| format!("'{tag}'")).collect();
    let missing = Message::EngineMissing.line(engines::missing("%s", "%s"));
    format!("_free, _gil = [{}], '{}'\n_missing = \"{missing}\"\n{code}", tags.join(", "), u8::from(!free_threading))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_can_be_arguments() {
        assert!(!BOOT.contains('\0') && !PROBE.contains('\0') && PROBE.contains(WELL) && PROBE.contains(PEAK));
    }

    #[test]
    fn the_program_knows_the_engines_and_the_gil() {
        let mut engines = Engines { usual: (), free: Vec::new() };
        let missing =
            "\n_missing = \"WSGI1313: %s is free-threaded, and its engine is missing: libwsgi_engine-%s.so has";
        assert!(serve(&engines, false).starts_with(&format!("_free, _gil = [], '1'{missing}")));
        engines.free = vec![("cp314t".to_owned(), ()), ("cp315t".to_owned(), ())];
        assert!(probe(&engines, true).starts_with(&format!("_free, _gil = ['cp314t', 'cp315t'], '0'{missing}")));
    }
}
