# Processes that the application forks; run in the namespace of the prelude, once in each interpreter.
import _signal

# Before gevent puts its own in this place.
_DummyThread = threading._DummyThread


def prepare_forks(facts):
    """From now on what is forked in this interpreter is an ordinary process."""
    if facts['application_group']:
        _refuse_forks(facts['application_group'])
    else:
        os.register_at_fork(after_in_child=_after_fork)
        if not facts['process_group']:
            _leave_signals_to_httpd()


def _after_fork():
    """In the forked process: its only thread is the main one, and signals do what they do in any process."""
    main = threading.main_thread()
    # threading has not started our request threads. Before 3.13 it makes such a thread the main one, but does not give
    # it the lock that its _shutdown wants to find.
    if type(main) is _DummyThread and hasattr(main, '_set_tstate_lock'):
        main.__class__, main._name, main._daemon = threading._MainThread, 'MainThread', False
        if main._tstate_lock is None:
            main._set_tstate_lock()
    # Handlers that are not Python's are the server's.
    for number in (_signal.SIGTERM, _signal.SIGINT, _signal.SIGHUP, _signal.SIGUSR1, _signal.SIGUSR2, _signal.SIGWINCH,
                   _signal.SIGXCPU):
        if _signal.getsignal(number) in (None, _signal.SIG_DFL):
            _signal.signal(number, _signal.SIG_DFL)


def _leave_signals_to_httpd():
    """A signal that is sent to a forked process never meets httpd's handlers, nor is it blocked as in httpd's threads."""
    masks = {}

    def before():
        masks[_thread.get_ident()] = _signal.pthread_sigmask(_signal.SIG_BLOCK, _signal.valid_signals())

    def in_parent():
        _signal.pthread_sigmask(_signal.SIG_SETMASK, masks.pop(_thread.get_ident()))

    # What is registered first runs last before the fork, and first after it; `_after_fork` was.
    os.register_at_fork(before=before, after_in_parent=in_parent,
                        after_in_child=lambda: _signal.pthread_sigmask(_signal.SIG_SETMASK, ()))


def _refuse_forks(group):
    """CPython ends what is forked in a sub-interpreter by a fatal error: better an exception before."""
    def refused(name):
        @functools.wraps(getattr(os, name))
        def refuse():
            text = 'os.%s() is not possible in application group %r, a sub-interpreter: ' % (name, group)
            cure = "use 'WSGIApplicationGroup %{GLOBAL}' for the application, or the spawn or forkserver method of multiprocessing"
            raise RuntimeError(text + cure)

        return refuse

    for name in ('fork', 'forkpty'):
        if hasattr(os, name):
            setattr(os, name, refused(name))


def end_fork(error):
    """The exit status of a forked process that comes back with `error`, or None, and whether that is to be logged."""
    status = 0
    if isinstance(error, SystemExit):
        code = error.code
        if isinstance(code, int):
            status = code & 0xff
        elif code is not None:
            print(code, file=sys.stderr)
            status = 1
    elif error is not None:
        status = 1
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except Exception:
            pass
    return status, not isinstance(error, (SystemExit, type(None)))
