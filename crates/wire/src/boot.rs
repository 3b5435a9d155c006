//! What a daemon process executes: `<python> [-X utf8] -c BOOT`, with the control socket as descriptor 3,
//! the opened engine as 4, and its output going to the supervisor.

/// The program. It runs far enough on any Python since 2.7 to say that it is the wrong one, imports the
/// engine from its descriptor, and exits as [`crate::control::Exit`] says, through Python's own finalisation.
pub const BOOT: &str = r#"import sys
if sys.path[:1] == ['']:
    del sys.path[0]
if sys.version_info < (3, 10) or 'free-threading' in sys.version:
    sys.stderr.write('mod_wsgi needs CPython 3.10 or later with the GIL; %s is Python %s\n' % (sys.executable, sys.version.split('\n')[0]))
    sys.exit(64)
def _boot():
    import importlib.machinery, importlib.util, os
    path = '/proc/self/fd/4' if os.path.exists('/proc/self/fd/4') else '/dev/fd/4'
    name = '_mod_wsgi_engine'
    loader = importlib.machinery.ExtensionFileLoader(name, path)
    spec = importlib.util.spec_from_file_location(name, path, loader=loader)
    engine = importlib.util.module_from_spec(spec)
    loader.exec_module(engine)
    sys.modules[name] = engine
    os.close(4)
    return engine
try:
    _engine = _boot()
except BaseException as error:
    sys.stderr.write('mod_wsgi cannot start in %s (Python %s): %s: %s\n' % (sys.executable, sys.version.split()[0], type(error).__name__, error))
    sys.exit(65)
sys.exit(_engine.serve(3))
"#;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_can_be_an_argument() {
        assert!(!BOOT.contains('\0'));
    }
}
