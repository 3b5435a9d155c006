# Calls that reach into all interpreters of the process, which must not be made once one of them has a GIL of its own: its
# threads run meanwhile. Run in the namespace of the prelude, once in each interpreter.

_current_frames = sys._current_frames


def prepare_own_gils(facts):
    """Where interpreters may have GILs of their own: such calls raise RuntimeError as soon as one has."""
    if not facts['own_gils']:
        return
    if facts['has_own_gil']:
        prepare_extensions()
    cure = "; give the application a process group of its own"
    for name in ('_current_frames', '_current_exceptions'):
        if hasattr(sys, name):
            setattr(sys, name, _only_alone(getattr(sys, name), 'sys.%s()' % name, cure))
    if facts['application_group']:
        return  # Nothing forks there.
    cure += ', or use the spawn or forkserver method of multiprocessing'
    for name in ('fork', 'forkpty'):
        if hasattr(os, name):
            setattr(os, name, _only_alone(getattr(os, name), 'os.%s()' % name, cure))
    import _posixsubprocess

    start = _posixsubprocess.fork_exec
    start_alone = _only_alone(start, 'preexec_fn of subprocess', '; use start_new_session, process_group, user, umask and the like')

    @functools.wraps(start)
    def fork_exec(*arguments):
        # What is given there runs in a forked process, before the program.
        return (start if len(arguments) <= 21 or arguments[21] is None else start_alone)(*arguments)

    _posixsubprocess.fork_exec = fork_exec
    subprocess = sys.modules.get('subprocess')
    if hasattr(subprocess, '_fork_exec'):
        subprocess._fork_exec = fork_exec


def _only_alone(function, shown, cure):
    @functools.wraps(function)
    def call(*arguments, **options):
        if not _begin_alone():
            text = ' is not possible in this process, in which an application group has a GIL of its own (WSGIPerInterpreterGIL On)'
            raise RuntimeError(shown + text + cure)
        try:
            return function(*arguments, **options)
        finally:
            _end_alone()

    return call


def threads_and_entries(threads):
    """
    What the threads of this interpreter execute, the innermost call last, by thread. `threads` tells which thread has a Python
    thread state; one that is not in there goes by the state's address, where no better name is known.
    """
    found = {}
    if _begin_alone():
        try:
            own = vars(builtins)
            # Frames of all interpreters, of which those of others are let go of at once.
            for ident, frame in _current_frames().items():
                if frame.f_builtins is own:
                    found[ident] = frame
        finally:
            _end_alone()
    else:
        for state, frame in _frames():
            found[threads.get(state, state)] = frame
    return {ident: traceback.extract_stack(frame) for ident, frame in found.items()}


# Extension modules that the main interpreter has loaded, or has tried to.
_tried = set()


def load_extension(name, origin):
    """
    Loads an extension module in the main interpreter, before one with a GIL of its own does.

    What such a module shares between interpreters, as types that are C data, then is the main interpreter's and outlives the
    others: without that CPython 3.12 and 3.13 corrupt their memory (datetime, ssl, sqlite3). And a module that is not made for
    it runs no code in the other interpreter before that refuses it. From 3.13 on Python sees to the latter itself.
    """
    if (name, origin) in _tried or name in sys.modules:
        return
    _tried.add((name, origin))
    import importlib.machinery
    import _imp

    try:
        if origin == 'built-in' or not _is_foreign(origin):
            importlib.import_module(name)
        elif sys.version_info < (3, 13):
            _imp.create_dynamic(importlib.machinery.ModuleSpec(name, None, origin=origin))
    except Exception:
        pass  # It fails in the other interpreter, too, and there somebody wants to know.


def prepare_extensions():
    """In an interpreter with a GIL of its own: the main interpreter loads each extension module first."""
    import _imp

    def after_main(create):
        @functools.wraps(create)
        def call(spec):
            _load_in_main(spec.name, spec.origin or '')
            return create(spec)

        return call

    for name in ('create_dynamic', 'create_builtin'):
        setattr(_imp, name, after_main(getattr(_imp, name)))
    if sys.version_info < (3, 13):
        # It follows a null pointer where _datetime refuses to be loaded, as it does there. zoneinfo then has one in Python.
        sys.modules['_zoneinfo'] = None
