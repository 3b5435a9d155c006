//! What a daemon process executes: `<python> [-X utf8] -c BOOT`, with the control socket as descriptor 3,
//! the opened engine as 4, and its output going to the supervisor. The doctor executes [`PROBE`] instead.

/// Runs far enough on any Python since 2.7 to say that it is the wrong one, and imports the engine from its
/// descriptor. Where nothing names descriptors (a root directory without /proc), the engine is loaded from a copy
/// that is gone at once.
macro_rules! load {
    () => {
        r#"import sys
if sys.path[:1] == ['']:
    del sys.path[0]
if sys.version_info < (3, 10) or 'free-threading' in sys.version:
    sys.stderr.write('WSGI1300: mod_wsgi needs CPython 3.10 or later with the GIL; %s is Python %s\n' % (sys.executable, sys.version.split('\n')[0]))
    sys.exit(64)
def _copy():
    import os, tempfile
    try:
        out, path = tempfile.mkstemp('.so', 'mod_wsgi-')
        try:
            at, piece = 0, True
            while piece:
                piece = os.pread(4, 1 << 20, at)
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
    found = [path for path in ('/proc/self/fd/4', '/dev/fd/4') if os.path.exists(path)]
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
    os.close(4)
    return engine
try:
    _engine = _boot()
except BaseException as error:
    sys.stderr.write('WSGI1300: mod_wsgi cannot start in %s (Python %s): %s: %s\n' % (sys.executable, sys.version.split()[0], type(error).__name__, error))
    sys.exit(65)
"#
    };
}

/// The program of a daemon process. It exits as [`crate::control::Exit`] says, through Python's own finalisation.
pub const BOOT: &str = concat!(load!(), "sys.exit(_engine.serve(3))\n");

/// How the line begins that [`PROBE`] writes when all is well: version and prefix follow.
pub const WELL: &str = "mod_wsgi-doctor: ";

/// How the line begins that says how much address space that took at most: the line of proc(5)'s `status` follows.
pub const PEAK: &str = "mod_wsgi-doctor-peak: ";

/// As [`BOOT`] up to where it would serve; then tells what it is, and what it takes.
pub const PROBE: &str = concat!(
    load!(),
    "sys.stdout.write('\\nmod_wsgi-doctor: %d.%d.%d %s\\n' % (sys.version_info[:3] + (sys.prefix,)))\n",
    "try:\n",
    "    _status = open('/proc/self/status').read().splitlines()\n",
    "    sys.stdout.writelines('mod_wsgi-doctor-peak: %s\\n' % line for line in _status if line.startswith('VmPeak:'))\n",
    "except OSError:\n",
    "    pass\n",
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_can_be_arguments() {
        assert!(!BOOT.contains('\0') && !PROBE.contains('\0') && PROBE.contains(WELL) && PROBE.contains(PEAK));
    }
}
