# What the engine keeps in Python: run once in each interpreter, with the functions of `types::log_functions` given.
import _thread
import atexit
import builtins
import functools
import hashlib
import io
import operator
import os
import stat
import sys
import threading
import traceback
import types

_FILE = __file__
# httpd's levels.
_CRIT, _ERROR, _WARN, _INFO, _DEBUG = 2, 3, 4, 6, 7


class RequestTimeout(BaseException):
    """A request ran longer than its time limit."""

    __module__ = 'mod_wsgi'


def _log_handler():
    """The class of mod_wsgi.LogHandler. `logging` is imported only where it is used."""
    import logging

    class LogHandler(logging.Handler):
        """Writes records to httpd's error log, each at the httpd level that corresponds to its own."""

        __module__ = 'mod_wsgi'
        __qualname__ = 'LogHandler'

        def emit(self, record):
            try:
                steps = ((50, _CRIT), (40, _ERROR), (30, _WARN), (20, _INFO))
                level = next((level for least, level in steps if record.levelno >= least), _DEBUG)
                if _log_wanted(level):
                    text = self.format(record)
                    _log_record(level, text.removesuffix('\n').encode('utf-8', 'backslashreplace'))
            except RecursionError:
                raise
            except Exception:
                self.handleError(record)

    return LogHandler


def _late(name):
    """Attributes of mod_wsgi that are made when they are first used."""
    if name not in _LATE:
        raise AttributeError("module 'mod_wsgi' has no attribute %r" % name)
    # Two threads at once get the same object.
    return vars(sys.modules['mod_wsgi']).setdefault(name, _LATE[name]())


# They cost something, so they are made only where they are used.
_LATE = {'LogHandler': _log_handler, 'active_requests': lambda: _look(), '__path__': lambda: _installed()}


class FileWrapper:
    """Iterates over a file-like object in blocks (PEP 3333, wsgi.file_wrapper)."""

    __module__ = 'mod_wsgi'
    __slots__ = ('_filelike', '_blksize', '_closed', '__weakref__', '__dict__')

    def __init__(self, filelike, blksize=8192):
        blksize = operator.index(blksize)
        if blksize < 0:
            raise ValueError('blksize must not be negative')
        self._filelike = filelike
        self._blksize = blksize
        self._closed = False

    filelike = property(lambda self: self._filelike)
    blksize = property(lambda self: self._blksize)

    def __iter__(self):
        return self

    def __next__(self):
        if self._closed:
            raise ValueError('I/O operation on closed file')
        data = self._filelike.read(self._blksize)
        if not isinstance(data, bytes):
            raise TypeError('file wrapper read() must return bytes, not %s' % type(data).__name__)
        if data:
            return data
        raise StopIteration

    def close(self):
        if not self._closed:
            self._closed = True
            try:
                close = getattr(self._filelike, 'close', None)
                if close is not None:
                    close()
            except Exception:
                pass


def file_extent(wrapper):
    """Descriptor, position, size of a wrapped regular file, or None."""
    try:
        filelike = wrapper._filelike
        if wrapper._closed:
            return None
        if isinstance(filelike, io.BufferedIOBase) and not isinstance(filelike, (io.BufferedReader, io.BufferedRandom)):
            return None  # What is read is not what is in the file: gzip, lzma ...
        fd = filelike.fileno()
        found = os.fstat(fd)
        position = filelike.tell()
        if not stat.S_ISREG(found.st_mode) or type(position) is not int or os.lseek(fd, 0, os.SEEK_CUR) < 0:
            return None
        return fd, position, found.st_size
    except Exception:
        return None


class Log(io.BufferedIOBase):
    """The buffer below sys.stdout, sys.stderr and wsgi.errors: complete lines become log records."""

    __module__ = 'mod_wsgi'
    __slots__ = ('_stream', 'name', '_write', '_flush', '_fd')
    closed = False
    encoding = 'utf-8'
    errors = 'replace'
    mode = 'wb'

    def __init__(self, stream, name, fd=None):
        self._stream = stream
        self.name = name
        # What is written there reaches a log as well, as a line of the process.
        self._fd = fd
        self._write = _log_write
        self._flush = _log_flush

    def write(self, data):
        return self._put(data, 4)

    def writelines(self, lines):
        for line in lines:
            self._put(line, 4)

    def _put(self, data, depth):
        if isinstance(data, str):
            _warn_of_text(self.name, depth)
            data = data.encode('utf-8', 'replace')
        elif type(data) is not bytes:
            data = bytes(memoryview(data))
        self._write(self._stream, data)
        return len(data)

    def flush(self):
        self._flush(self._stream)

    def close(self):
        self._flush(self._stream)

    def writable(self):
        return True

    def fileno(self):
        if self._fd is None:
            raise io.UnsupportedOperation('%s is not a file, it has no descriptor' % self.name)
        return self._fd


@functools.cache
def _warn_of_text(name, depth):
    import warnings

    text = 'Writing str to the buffer below %s is deprecated; write a bytes-like object instead.' % name
    warnings.warn(text, DeprecationWarning, depth)


class _Text(io.TextIOWrapper):
    # What applications see of it. In truth each write reaches the Log object at once, which finds the lines
    # itself: a flush after each newline would cut lines that are written in several parts.
    line_buffering = True
    mode = 'w'

    def reconfigure(self, *, line_buffering=None, write_through=None, **options):
        super().reconfigure(**options)

    def detach(self):
        """For a wrapper with another encoding. Others write here still: all requests have the same wsgi.errors."""
        self.flush()
        return self.buffer


_Text.__module__, _Text.__name__, _Text.__qualname__ = '_io', 'TextIOWrapper', 'TextIOWrapper'


def _text(stream, name, fd=None):
    return _Text(Log(stream, name, fd), encoding='utf-8', errors='replace', newline='\n', write_through=True)


errors = _text(0, '<wsgi.errors>')


class Restricted:
    """Stands for a stream that applications may not use."""

    __module__ = 'mod_wsgi'
    __slots__ = ('_name',)

    def __init__(self, name):
        object.__setattr__(self, '_name', name)

    def __getattribute__(self, name):
        raise OSError('%s access restricted by mod_wsgi' % object.__getattribute__(self, '_name'))

    __setattr__ = __delattr__ = lambda self, *_: getattr(self, '_name')


# The signals of timers: an application that sets a timer relies on its handler.
_OF_TIMERS = ('SIGALRM', 'SIGVTALRM', 'SIGPROF')


def _restrict_signal():
    """Makes signal.signal a function that registers nothing: the signals of this process are mod_wsgi's."""
    import signal

    register, process, reported = signal.signal, os.getpid(), set()

    @functools.wraps(register)
    def ignore(signalnum, handler):
        # A process that the application forked is its own.
        if os.getpid() != process:
            return register(signalnum, handler)
        number = operator.index(signalnum)
        # Without its handler the signal would end the process, and every request in it.
        is_dropped = handler is not signal.SIG_DFL and _drop_signal(number)
        if number in reported:
            return handler
        reported.add(number)
        try:
            name = signal.Signals(number).name
        except ValueError:
            name = 'of the application'
        text = 'Ignoring Python signal handler registration for signal %d (%s) in WSGI process; mod_wsgi manages signals (WSGIRestrictSignal).'
        if is_dropped:
            text += ' From now on the process ignores the signal.'
        frames = traceback.extract_stack(sys._getframe(1))
        own = max((at for at, frame in enumerate(frames, 1) if frame.filename == _FILE), default=0)
        record = text % (number, name) + '\n' + ''.join(traceback.format_list(frames[own:]))
        if is_dropped and name in _OF_TIMERS:
            level, record = _WARN, 'WSGI1381: ' + record
        else:
            level = _INFO
        _log_record(level, record.removesuffix('\n').encode('utf-8', 'replace'))
        return handler

    signal.signal = ignore


def setup(facts):
    """Makes this interpreter's modules and streams."""
    sys.argv = ['mod_wsgi']
    if not facts['keep_streams']:
        # Descriptor 1 leads to the log in a daemon process, and in httpd's children, which have no group, nowhere.
        stdout = 1 if facts['process_group'] else 2
        _replace_streams(facts['restrict_stdin'], facts['restrict_stdout'], stdout)
    sys.stderr = _text(2, '<stderr>', 2)
    if facts['restrict_signal']:
        _restrict_signal()
    api = types.ModuleType('mod_wsgi')
    api.version = (6, 1, 1)
    api.process_group = facts['process_group']
    api.application_group = facts['application_group']
    api.maximum_processes = facts['maximum_processes']
    api.threads_per_process = facts['threads_per_process']
    api.FileWrapper = FileWrapper
    api.RequestTimeout = RequestTimeout
    add_metrics(api)
    add_events(api, bool(facts['process_group']))
    api.__getattr__ = _late
    api.__dir__ = lambda: sorted({*vars(api), 'LogHandler', 'active_requests'})
    sys.modules['mod_wsgi'] = api
    for directories in facts['python_paths']:
        _hoist(directories)
    if facts['switch_interval'] is not None:
        sys.setswitchinterval(facts['switch_interval'])
    if facts['home']:
        sys.path.insert(0, facts['home'])
    add_apache(facts)
    if facts['telemetry'] and not facts['application_group']:
        watch_collections()


def _replace_streams(restrict_stdin, restrict_stdout, fd):
    if restrict_stdin:
        sys.stdin = Restricted('sys.stdin')
    if restrict_stdout:
        sys.stdout = Restricted('sys.stdout')
        # Python flushes it at its end; registered first, this runs last.
        atexit.register(setattr, sys, 'stdout', None)
    else:
        sys.stdout = _text(1, '<stdout>', fd)


def set_application_group(name):
    """The application group that the main interpreter stands for."""
    sys.modules['mod_wsgi'].application_group = name


def _hoist(directories):
    if directories:
        import site

        before = list(sys.path)
        for directory in directories:
            site.addsitedir(directory)
            if directory not in sys.path:
                sys.path.append(directory)
        wanted = [entry for entry in sys.path if entry not in before]
        # A directory that was there already is to stand first as well.
        wanted += [entry for entry in directories if entry in before and entry not in wanted]
        sys.path[:] = wanted + [entry for entry in sys.path if entry not in wanted]


def _name(path, lower):
    text = os.fsencode(path)
    return '_mod_wsgi_' + hashlib.md5(text.lower() if lower else text, usedforsecurity=False).hexdigest()


def load(path, lower):
    """Executes a script as a module of its own."""
    name = _name(path, lower)
    with open(path, 'rb') as file:
        mtime = os.fstat(file.fileno()).st_mtime_ns // 1000
        source = file.read()
    sys.modules.pop(name, None)
    code = compile(source.partition(b'\0')[0], path, 'exec', 0, True)
    module = types.ModuleType(name)
    module.__file__ = path
    sys.modules[name] = module
    try:
        exec(code, module.__dict__)
    except BaseException:
        if sys.modules.get(name) is module:
            del sys.modules[name]
        raise
    module.__mtime__ = mtime
    return module


def describe(kind, value, tb):
    """The traceback's lines, without our own frames in front."""
    while tb is not None and tb.tb_frame.f_code.co_filename == _FILE:
        tb = tb.tb_next
    text = ''.join(traceback.format_exception(kind, value, tb))
    return text.encode('utf-8', 'replace')


def is_source(path, tb):
    """Whether a script has failed to load before a line of it was executed: it cannot be read, or is no Python."""
    while tb is not None:
        if tb.tb_frame.f_code.co_filename == path:
            return False
        tb = tb.tb_next
    return True


def missing(error):
    """Where a module was looked for; empty if that is not why the load failed."""
    if not any(isinstance(it, ModuleNotFoundError) for it in _chain(error)):
        return b''
    return ('sys.path was %r.' % (sys.path,)).encode('utf-8', 'replace')


def concerned(path, error):
    """What a failed load of the script `path` depends on: a letter (source, modules, presence) and a path each."""
    sources, others = {path: None}, {}
    for it in _chain(error):
        _add_files_of(it, sources, others)
    folders = [os.path.dirname(file) for file in sources if _is_foreign(file)]
    folders += [entry for entry in sys.path if type(entry) is str]
    modules = [module for name, module in list(sys.modules.items()) if name != '_mod_wsgi_engine']
    modules = [file for file in map(_file_of, modules) if type(file) is str and file not in sources]
    # Packages that were installed change seldom: they stand behind the application's own.
    modules.sort(key=lambda file: '-packages/' in file)
    folders += [os.path.dirname(file) for file in modules if '-packages/' not in file]
    found = {}
    for letter, paths in (b's', sources), (b'm', folders), (b'p', others), (b's', modules):
        wanted = (os.path.abspath(path) for path in paths if letter == b'p' or _is_foreign(path))
        found.update((letter + os.fsencode(path), None) for path in wanted)
    return list(found)


def _file_of(module):
    try:
        return module.__file__
    except Exception:
        return None


def _chain(error):
    """An exception and those behind it."""
    seen, todo = {}, [error]
    while todo:
        it = todo.pop()
        if isinstance(it, BaseException) and id(it) not in seen:
            seen[id(it)] = it
            todo += [it.__context__, it.__cause__, *getattr(it, 'exceptions', ())]
    return seen.values()


def _add_files_of(error, sources, others):
    tb = error.__traceback__
    while tb is not None:
        sources[tb.tb_frame.f_code.co_filename] = None
        tb = tb.tb_next
    into = sources if isinstance(error, SyntaxError) else others if isinstance(error, OSError) else {}
    names = (getattr(error, 'filename', None), getattr(error, 'filename2', None))
    into.update((os.fsdecode(name), None) for name in names if name and isinstance(name, (str, bytes, os.PathLike)))


def _is_foreign(path):
    """Not a part of Python itself, nor made up, nor a view of the kernel's (the engine is opened below /proc)."""
    library = os.path.dirname(os.__file__)
    if path.startswith(('/proc/', '/dev/', '/sys/')):
        return False
    is_own = (path + '/').startswith(library + '/') and '-packages' not in path
    return not is_own and not path.startswith('<')


def _stopped_stacks():
    """As threads_and_entries, where threads run while others look at them: faulthandler stops them all, and writes."""
    import faulthandler
    import re

    with open(os.memfd_create('mod_wsgi-stacks'), 'w+b') as file:
        faulthandler.dump_traceback(file)
        file.seek(0)
        text = file.read().decode('utf-8', 'replace')
    for part in re.split('\n(?=Thread 0x|Current thread 0x)', text):
        head, *lines = part.split('\n')
        if head.startswith('Thread 0x'):
            calls = filter(None, (re.match(r'  File "(.*)", line (\d+) in (.*)', line) for line in reversed(lines)))
            entries = [traceback.FrameSummary(call[1], int(call[2]), call[3]) for call in calls]
            yield int(head.split()[1], 16), entries


def stacks(labels, threads):
    """The stacks of this interpreter's threads but the calling one; `labels` names some of them by thread."""
    runs_free = hasattr(sys, '_is_gil_enabled') and not sys._is_gil_enabled()
    found = dict(_stopped_stacks()) if runs_free else threads_and_entries(threads)
    found.pop(_thread.get_ident(), None)
    names = {ident: thread.name for ident, thread in list(getattr(threading, '_active', {}).items())}
    parts = []
    for ident in sorted(found, key=lambda ident: (ident not in labels, ident)):
        entries = [entry for entry in found[ident] if entry.filename not in ('<string>', _FILE)]
        if entries:
            name = labels.get(ident) or names.get(ident) or 'not started by Python'
            parts += ['Thread 0x%x (%s), most recent call last:\n' % (ident, name), *traceback.format_list(entries)]
    return ''.join(parts).encode('utf-8', 'replace')


def finish(part):
    """What Python does at the end of an interpreter: waits for threads that are no daemons, runs atexit functions."""
    if part != 'atexit':
        # As threading._shutdown does, which Python calls itself later and which can be called once only.
        for call in reversed(list(getattr(threading, '_threading_atexits', ()))):
            call()
        for thread in threading.enumerate():
            if not thread.daemon and thread is not threading.main_thread() and thread is not threading.current_thread():
                thread.join()
    if part != 'join':
        atexit._run_exitfuncs()


_asked = []


def service(part):
    """Ends the script of a service process by SystemExit when SIGTERM comes; whether it came, or threads are left."""
    import signal

    def leave(number, frame):
        # Once: a second signal does not disturb what the script does at its end.
        if not _asked:
            _asked.append(number)
            raise SystemExit(0)

    if part == 'begin':
        signal.signal(signal.SIGTERM, leave)
    elif part == 'end':
        signal.signal(signal.SIGTERM, lambda number, frame: None)
    elif part == 'wait':
        try:
            finish('join')
        except SystemExit:
            pass
        own = threading.main_thread(), threading.current_thread()
        return any(not thread.daemon and thread not in own for thread in threading.enumerate())
    return bool(_asked)


def threads():
    """Threads of this interpreter that Python started and that still run."""
    return _thread._count()
