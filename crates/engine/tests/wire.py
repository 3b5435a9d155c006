"""The wire from the child's and the supervisor's side, for tests: starts an engine in a real Python and speaks to it."""
import array
import faulthandler
import json
import os
import re
import select
import socket
import struct
import subprocess
import threading
import time
import weakref

# A test that waits for what never comes shows where.
faulthandler.dump_traceback_later(900, exit=True)

# PROTOCOL of crates/wire.
PROTOCOL = 11

HERE = os.path.dirname(os.path.abspath(__file__))
BOOT = re.search(r'r#"(.*?)"#', open(os.path.join(HERE, '../../wire/src/boot.rs')).read(), re.S).group(1)
BOOT = "_free, _gil = [], '1'\n_missing = 'missing for %%s: %%s: %%s'\n%ssys.exit(_engine.serve(3))\n" % BOOT
# As the file of an engine for free-threaded Python is called: `make engine` makes it.
TAGGED = re.compile('libwsgi_engine-(.*)[.]so$')
KNOWN = re.findall(r'^    "([^"]+)",$', open(os.path.join(HERE, '../../wire/src/keys.rs')).read(), re.M)

HELLO, REQUEST, BODY, ABORTED, HEAD, DATA, FILE, LOG, FAILED, STALE, CONTINUE, SHARED = 1, 2, 3, 4, 16, 17, 18, 19, 20, 21, 22, 23
LAST, WHOLE = 1, 2
RELOAD, CONFIRM, MAIN, ON_READ = 1, 2, 4, 32
# Why a request has failed: it was interrupted.
TIMEOUT = 6
# What a daemon process says to its supervisor; the last one is followed by more.
READY, FAILED_LOAD, CHANGED, RETIRE_SCRIPT = b'\x01\x00', b'\x03\x00', b'\x04\x00', b'\x02\x01'
LOADED = b'\x06'


def frame(tag, payload=b'', last=False):
    return struct.pack('>BBHI', tag, last, 0, len(payload)) + payload


def hello(area=False):
    return frame(HELLO, struct.pack('>I?', PROTOCOL, area))


def short(data):
    return struct.pack('>H', len(data)) + data


def long(data):
    return struct.pack('>I', len(data)) + data


def request(script, environ=(), flags=0, mtime=0, group='', callable='application', last=True, log_level=7):
    if flags & RELOAD and not mtime:
        mtime = os.stat(script).st_mtime_ns // 1000
    variables = {'REQUEST_METHOD': 'GET', 'SCRIPT_NAME': '', 'PATH_INFO': '/', 'QUERY_STRING': '', 'SERVER_NAME': 'x',
                 'SERVER_PORT': '80', 'SERVER_PROTOCOL': 'HTTP/1.1', 'wsgi.url_scheme': 'http'}
    variables.update(environ)
    out = struct.pack('>BBqqq', flags, log_level, mtime, int(time.time() * 1e6), int(time.time() * 1e6))
    out += long(script.encode()) + long(callable.encode()) + long(group.encode()) + struct.pack('>I', len(variables))
    for key, value in variables.items():
        value = value.encode('latin-1')
        if key in KNOWN:
            out += struct.pack('>H', 0x8000 | KNOWN.index(key))
        else:
            out += short(key.encode())
        out += long(value)
    return frame(REQUEST, out, last)


class Response:
    def __init__(self):
        self.status = self.reason = self.failed = None
        self.headers, self.logs, self.tags = [], [], []
        self.body = b''
        self.complete = self.stale = self.confirmed = self.lost = self.whole = False
        self.file = None


class Connection:
    def __init__(self, sock, area=None):
        self.sock, self.data, self.fds, self.area = sock, b'', [], area
        sock.settimeout(20)
        weakref.finalize(self, sock.close)
        socket.send_fds(sock, [hello(area is not None)], [] if area is None else [area])

    def send(self, data):
        self.sock.sendall(data)

    def next_frame(self):
        while len(self.data) < 8 or len(self.data) < 8 + struct.unpack('>I', self.data[4:8])[0]:
            got, fds, _, _ = socket.recv_fds(self.sock, 1 << 20, 4)
            self.fds += fds
            if not got:
                raise EOFError
            self.data += got
        tag, last, _, length = struct.unpack('>BBHI', self.data[:8])
        payload, self.data = self.data[8:8 + length], self.data[8 + length:]
        return tag, last, payload

    def response(self, until_continue=False):
        found, parts = Response(), []
        while True:
            tag, last, payload = self.next_frame()
            found.tags.append(tag)
            if tag == LOG:
                found.logs += payload[1:].decode().split('\n')
            elif tag == CONTINUE:
                found.confirmed = True
                if until_continue:
                    return found
            elif tag == HEAD:
                found.whole = bool(last & WHOLE)
                found.status, size = struct.unpack('>HH', payload[:4])
                found.reason, at = payload[4:4 + size].decode(), 4 + size
                (count,), at = struct.unpack_from('>I', payload, at), at + 4
                for _ in range(count):
                    (size,), at = struct.unpack_from('>H', payload, at), at + 2
                    name, at = payload[at:at + size], at + size
                    (size,), at = struct.unpack_from('>I', payload, at), at + 4
                    found.headers.append((name.decode('latin-1'), payload[at:at + size].decode('latin-1')))
                    at += size
            elif tag == DATA:
                parts.append(payload)
            elif tag == FILE:
                offset, length = struct.unpack('>QQ', payload)
                found.file = self.fds.pop(0)
                parts.append(os.pread(found.file, length, offset))
            elif tag == SHARED:
                offset, length = struct.unpack('>QQ', payload)
                parts.append(os.pread(self.area, length, offset))
            elif tag == FAILED:
                found.failed = payload[0]
            elif tag == STALE:
                found.stale = True
            if last & LAST or tag in (FAILED, STALE):
                found.complete, found.body = bool(last & LAST), b''.join(parts)
                return found

    def get(self, script, environ=(), body=None, **options):
        data = request(script, environ, last=body is None, **options)
        if body is not None:
            data += frame(BODY, body, True)
        self.send(data)
        return self.response()


class Daemon:
    """An engine in a process of `python`."""

    def __init__(self, python, engine, ready=True, protocol=PROTOCOL, parent=None, handed=(), **group):
        config = {'id': 1, 'name': 'test', 'defined_at': 'here:1', 'processes': 1, 'threads': 2, 'multiprocess': False,
                  'python': python, 'python_from': 'test', 'identity': None, 'home': None, 'umask': None, 'display_name': None,
                  'env': [], 'utf8_mode': False, 'python_path': [], 'main_script': None, 'preload': [], 'maximum_requests': 0,
                  'shutdown_timeout_ms': 2000, 'graceful_timeout_ms': 0, 'min_processes': 1,
                  'max_processes': 1, 'idle_timeout_ms': 0, 'rolling': False, 'restart_interval_ms': 0,
                  'startup_timeout_ms': 0, 'deadlock_timeout_ms': 0, 'request_timeout_ms': 0,
                  'interrupt_timeout_ms': 0, 'eviction_timeout_ms': 0, 'cpu_time_limit': 0, 'maximum_memory': 0,
                  'memory_limit': 0, 'virtual_memory_limit': 0, 'case_insensitive': False, 'log_level': 4,
                  'apache_version': [2, 4, 71]}
        config.update(group)
        self.control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.control.settimeout(20)
        library = os.open(engine, os.O_RDONLY)
        high = [os.dup2(theirs.fileno(), 100), os.dup2(library, 101)]
        tag = TAGGED.search(engine)
        boot = BOOT.replace("[], '1'", "['%s'], '0'" % tag.group(1), 1) if tag else BOOT

        def place():
            os.dup2(100, 3)
            os.dup2(101, 4)
            if tag:
                os.dup2(101, 5)
            os.close(100)
            os.close(101)

        self.process = subprocess.Popen([python, '-c', boot], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                        stderr=subprocess.STDOUT, preexec_fn=place, close_fds=False)
        for fd in high + [library]:
            os.close(fd)
        theirs.close()
        # What the process writes; the lines about scripts that it loads are in `loads`.
        self.output, self.loads = [], []
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()
        # What it has said of scripts that requests ask for: asked, application group, path.
        self.loaded = []
        handed = [{'script': script, 'application_group': group, 'serves': serves} for script, group, serves in handed]
        message = {'protocol': protocol, 'parent_pid': parent or os.getpid(), 'group': config, 'handed': handed}
        self.control.send(json.dumps(message).encode())
        if ready:
            message = self.message(20)
            if message != (FAILED_LOAD if ready == 'failed' else READY):
                self.process.kill()
                self.process.wait()
                self.reader.join(2)
                raise RuntimeError('not ready: %r %r' % (message, self.output))

    def _read(self):
        for line in self.process.stdout:
            # Without the mark of wsgi_wire::output.
            text = re.sub('^\x1e\\d', '', line.decode().rstrip('\n'))
            (self.loads if text.startswith('Loading WSGI script ') else self.output).append(text)

    def connect(self, area=None):
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        self.control.sendmsg([b'\x01'], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array('i', [theirs.fileno()]))])
        theirs.close()
        return Connection(ours, area)

    def message(self, timeout=5):
        end = time.monotonic() + timeout
        while select.select([self.control], [], [], max(0, end - time.monotonic()))[0]:
            message = self.control.recv(1 << 13)
            if message[:1] != LOADED:
                return message
            length, = struct.unpack_from('>H', message, 2)
            group, script = message[4:4 + length], message[6 + length:]
            self.loaded.append((bool(message[1]), group.decode(), os.path.basename(script.decode())))
        return None

    def loaded_scripts(self, count):
        """The messages about loaded scripts, once there are `count` of them."""
        for _ in range(200):
            if len(self.loaded) >= count:
                break
            assert self.message(0.1) is None
        return self.loaded

    def next_message(self):
        message = self.message(20)
        assert message is not None, 'nothing was said: %r' % self.output
        return message

    def stop(self, timeout=10):
        self.control.send(b'\x02')
        status = self.process.wait(timeout)
        self.reader.join(2)
        return status

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.reader.join(2)
        self.process.stdout.close()
        self.control.close()
