# What the interpreters of a process share, or each needs for itself; run in the namespace of the prelude, once in each
# interpreter, before any code of applications.


def own_process(facts):
    """Gives this interpreter its view of the process; whether its str() is wrong (`wsgi_wire::faults`)."""
    is_sub = bool(facts['application_group'])
    _set_main_thread(facts['main_thread'], is_sub)
    if is_sub:
        # Applications in other interpreters may have changed what Python has copied.
        os.environ._data.clear()
        os.environ._data.update(facts['environment'])
        own_environment()
    return is_sub and '__str__' in vars(int)


def _set_main_thread(ident, is_sub):
    """The main thread is the one that has started Python, and not the one that makes this interpreter, a request thread."""
    main = threading.main_thread()
    # In an httpd child Python has a thread of its own, which stands for the process's first one.
    main._native_id = os.getpid()
    if main.ident != ident:
        # Only before 3.13: threading takes the thread that imports it first for the main one.
        del threading._active[main.ident]
        main._ident = ident
        threading._active[ident] = main
    lock = getattr(main, '_tstate_lock', None)
    if is_sub and lock is not None:
        # Python releases this one with the first thread state, and threading._shutdown, in the main thread, wants to do
        # that itself. (3.13 has no such lock.)
        threading._shutdown_locks.discard(lock)
        main._tstate_lock = _thread.allocate_lock()
        main._tstate_lock.acquire()


def own_environment():
    """
    From now on programs that this interpreter starts inherit its os.environ.

    A change of os.environ also changes the environment of C, as always; programs would inherit that. But all interpreters
    of the process change it, so that it fits none of them.
    """
    import _posixsubprocess
    import posix

    # Where the environment stands among the arguments.
    _give_environment(_posixsubprocess, 'fork_exec', 5, lambda: [b'='.join(it) for it in list(os.environ._data.items())])
    subprocess = sys.modules.get('subprocess')
    if hasattr(subprocess, '_fork_exec'):
        subprocess._fork_exec = _posixsubprocess.fork_exec
    # From 3.13 on subprocess uses it, with None for the environment.
    for name in ('posix_spawn', 'posix_spawnp'):
        if hasattr(posix, name):
            _give_environment(posix, name, 2, lambda: os.environ)
            setattr(os, name, getattr(posix, name))


def _give_environment(module, name, at, environment):
    """The function of this name gets a value in place of None for the environment, its positional argument `at`."""
    function = getattr(module, name)
    if hasattr(function, '_has_environment'):
        return

    @functools.wraps(function)
    def call(*arguments, **options):
        if len(arguments) > at and arguments[at] is None:
            arguments = (*arguments[:at], environment(), *arguments[at + 1:])
        return function(*arguments, **options)

    call._has_environment = True
    setattr(module, name, call)
