"""The engine as a daemon process, without httpd. WSGI_TEST_ENGINE is the library, WSGI_TEST_PYTHONS the interpreters."""
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
import unittest

import wire
from wire import BODY, ABORTED, CONFIRM, DATA, FAILED, FILE, HEAD, LOG, MAIN, RELOAD, Daemon, frame, request

ENGINE = os.environ['WSGI_TEST_ENGINE']
PYTHON = os.environ.get('WSGI_TEST_PYTHON', '/usr/bin/python3')

with open(os.path.join(wire.HERE, 'app.wsgi'), encoding='utf-8') as _file:
    APP = _file.read()

BAD = '''TypeError: start_response() argument 2 must be list, not tuple
RuntimeError: start_response() argument 'exc_info' must be a 3-tuple or None
TypeError: must be str, not int
ValueError: status code must be a 3 digit integer: b'20 OK'
ValueError: status code must be a 3 digit integer: b'2000 OK'
ValueError: no space following status code: b'200OK'
ValueError: control character in status reason phrase: b'200 O\\nK'
TypeError: each header must be a 2-tuple, not str
ValueError: each header must be a 2-tuple, got length 1
TypeError: must be str, not int
ValueError: header name is empty
ValueError: space character in header name: b'a b'
ValueError: control character in header name: b'a\\n'
ValueError: character that is not allowed in header name: b'a:'
ValueError: carriage return/line feed character in header value: b'x\\r\\ny'
UnicodeEncodeError: 'latin-1' codec can't encode character '\\u20ac' in position 0: ordinal not in range(256)
fine
fine'''


class DaemonTest(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.dir)
        self.script = self.write('app.wsgi', APP)

    def write(self, name, text):
        path = os.path.join(self.dir, name)
        with open(path, 'w', encoding='utf-8') as file:
            file.write(textwrap.dedent(text))
        return path

    def start(self, **options):
        daemon = Daemon(PYTHON, ENGINE, **options)
        self.addCleanup(daemon.__exit__)
        return daemon

    def begin_sleep(self, connection, seconds):
        """Sends a request that sleeps; returns when the application has begun to."""
        began = os.path.join(self.dir, 'began')
        connection.send(request(self.script, {'PATH_INFO': '/sleep', 'QUERY_STRING': f'{seconds}&{began}'}))
        end = time.monotonic() + 10
        while not os.path.exists(began):
            self.assertLess(time.monotonic(), end)

    def test_responses(self):
        daemon = self.start(main_script=self.script)
        c = daemon.connect()

        def get(path, *args, **options):
            return c.get(self.script, dict({'PATH_INFO': '/' + path}, **options.pop('environ', {})), *args, **options)

        found = get('hello')
        self.assertEqual((found.status, found.reason, found.body, found.complete), (200, 'OK', b'Hello', True))
        self.assertEqual(found.tags, [HEAD, DATA])
        self.assertIn(('Content-Length', '5'), found.headers)
        found = get('stream')
        self.assertEqual((found.tags, found.body), ([HEAD, DATA, DATA, DATA], b'onetwo'))
        self.assertEqual(get('closed').body, b'1')
        self.assertEqual(get('write').body, b'written returned')
        self.assertEqual(len(get('large').body), 6400000)
        found = get('empty')
        self.assertEqual((found.body, found.tags), (b'', [HEAD]))
        self.assertIn(('Content-Length', '0'), found.headers)
        self.assertTrue(get('hello').whole and get('empty').whole and not get('stream').whole)
        found = get('file')
        self.assertEqual(found.body, (b'0123456789' * 10000)[5:])
        self.assertEqual((found.tags, found.whole), ([HEAD, FILE], True))
        os.close(found.file)
        self.assertIn(('Content-Length', '99995'), found.headers)
        self.assertEqual(get('bytesio').body, b'0123456789')
        found = get('replace')
        self.assertEqual((found.status, found.body), (503, b'replaced'))
        found = get('bad')
        self.assertEqual(found.body.decode().split('\n'), BAD.split('\n'))
        self.assertEqual(found.headers[0], ('a', '\xe9'))

    def test_failures(self):
        daemon = self.start(main_script=self.script)
        c = daemon.connect()
        place = "for main interpreter of daemon process 'test'"
        first = "WSGI0174: ValueError exception raised processing WSGI script '%s' %s." % (self.script, place)

        def get(path, **environ):
            return c.get(self.script, dict({'PATH_INFO': '/' + path}, **environ))

        found = get('raise')
        self.assertEqual((found.status, found.failed, found.logs[0]), (None, 1, first))
        self.assertEqual(found.logs[1], 'Traceback (most recent call last):')
        self.assertIn(self.script, found.logs[2])
        self.assertEqual(found.logs[-1], 'ValueError: before \xe9')
        found = get('late')
        self.assertEqual((found.status, found.failed, found.body, found.complete), (200, 1, b'some', False))
        self.assertEqual(found.logs[-1], 'ValueError: after')
        found = get('exit')
        self.assertEqual((found.failed, found.logs[-1]), (1, 'SystemExit: 3'))
        self.assertEqual(found.logs[0], "WSGI0175: SystemExit exception raised by WSGI script '%s' %s; ignored." % (self.script, place))
        self.assertEqual(get('none').logs[-1], "TypeError: 'NoneType' object is not iterable")
        text = 'RuntimeError: start_response() must be called before response content is produced'
        self.assertEqual(get('unstarted').logs[-1], text)
        self.assertEqual(get('str').logs[-1], 'TypeError: response iterable must yield bytes, not str')
        found = get('short')
        self.assertEqual((found.status, found.body, found.failed, len(found.logs)), (200, b'four', 1, 1))
        self.assertIn('Content-Length of 10 and produced 4 bytes', found.logs[0])
        found = get('excess')
        self.assertEqual((found.body, found.complete, found.logs), (b'four', True, []))
        found = get('head', REQUEST_METHOD='HEAD')
        self.assertEqual((found.complete, found.failed), (True, None))
        found = get('hello', REQUEST_METHOD='HEAD')
        self.assertEqual((found.tags, found.body), ([HEAD], b''))
        self.assertIn(('Content-Length', '5'), found.headers)
        found = get('exc_info')
        self.assertEqual((found.status, found.failed, found.logs[-1]), (200, 1, "KeyError: 'inner'"))
        found = c.get(self.script, callable='missing')
        self.assertEqual((found.failed, len(found.logs)), (2, 1))
        found = c.get(self.write('broken.wsgi', 'import nothing_of_this_name'))
        self.assertEqual(found.failed, 2)
        self.assertIn('nothing_of_this_name', found.logs[-2])
        self.assertIn('sys.path was [', found.logs[-1])
        self.assertEqual(get('hello').body, b'Hello')

    def test_bodies(self):
        daemon = self.start(main_script=self.script, threads=1)
        c = daemon.connect()

        def get(path, body, size=None):
            environ = {'PATH_INFO': '/' + path, 'REQUEST_METHOD': 'POST'}
            if size is not None:
                environ['CONTENT_LENGTH'] = str(size)
            return c.get(self.script, environ, body)

        self.assertEqual(get('echo', b'abc', 3).body, b'abc')
        self.assertEqual(get('echo', b'abc').body, b'abc')
        self.assertEqual(get('echo', b'', 0).body, b'')
        # A filter may have made the body longer or shorter than the client announced.
        for announced in (1, 5, 9):
            self.assertEqual(get('echo', b'abcdef', announced).body, b'abcdef')
        self.assertEqual(get('echo', b'x' * 300000, 7).body, b'x' * 300000)
        large = os.urandom(3 << 20)
        c.send(request(self.script, {'PATH_INFO': '/echo', 'CONTENT_LENGTH': str(len(large))}, last=False))
        for at in range(0, len(large), 100000):
            c.send(frame(BODY, large[at:at + 100000]))
        c.send(frame(BODY, b'', True))
        self.assertEqual(c.response().body, large)
        lines = get('lines', b'one\ntwo\nthree\nfour\nfive').body
        self.assertEqual(lines, repr([b'one\n', b'tw', b'o\n', b'three\n', b'four\n', b'five', b'']).encode())
        # What the application left unread does not disturb the next exchange, however it arrives.
        self.assertEqual(get('part', b'abcdef' * 100000, 600000).body, b'abc')
        self.assertEqual(get('hello', b'abcdef').body, b'Hello')
        c.send(request(self.script, {'PATH_INFO': '/hello'}, last=False))
        self.assertEqual(c.response().body, b'Hello')
        other = daemon.connect()
        self.assertEqual(other.get(self.script).body, b'Hello')
        c.send(frame(BODY, b'x' * 1000))
        c.send(frame(ABORTED, b'\x01') + request(self.script))
        self.assertEqual(c.response().body, b'Hello')
        c.send(request(self.script, {'PATH_INFO': '/echo', 'CONTENT_LENGTH': '10'}, last=False))
        c.send(frame(BODY, b'xxx') + frame(ABORTED, b'\x01'))
        found = c.response()
        self.assertEqual((found.failed, found.logs[-1]), (1, 'OSError: mod_wsgi request data read error: Connection was terminated'))

    def test_duplex(self):
        daemon = self.start(main_script=self.script)
        c = daemon.connect()
        for path in ('duplex', 'reader'):
            c.send(request(self.script, {'PATH_INFO': '/' + path}, last=False))
            block = b'x' * 100000

            def body():
                for _ in range(50):
                    c.send(frame(BODY, block))
                c.send(frame(BODY, b'', True))

            thread = threading.Thread(target=body)
            thread.start()
            self.assertEqual(len(c.response().body), 5000000 + (2 if path == 'reader' else 0))
            thread.join()

    def test_split_frames(self):
        daemon = self.start(main_script=self.script)
        c = daemon.connect()
        data = request(self.script, {'PATH_INFO': '/echo'}, last=False) + frame(BODY, b'ab') + frame(BODY, b'cd', True)
        for at in range(0, len(data), 7):
            c.send(data[at:at + 7])
            if at % 3 == 0:
                time.sleep(0.001)
        self.assertEqual(c.response().body, b'abcd')
        big = {'HTTP_X_BIG': 'x' * 400000}
        self.assertEqual(c.get(self.script, big).body, b'Hello')

    def test_garbage_closes_the_connection_only(self):
        daemon = self.start(main_script=self.script)
        for junk in (b'\xff' * 100, frame(HEAD, b'x'), frame(BODY, b'x', True)):
            c = daemon.connect()
            c.send(junk)
            self.assertEqual(c.sock.recv(10), b'')
        c = daemon.connect()
        c.send(frame(2, b'short', True))
        self.assertEqual(c.response().failed, 3)
        self.assertEqual(c.get(self.script).body, b'Hello')

    def test_logs(self):
        daemon = self.start(main_script=self.script)
        c = daemon.connect()
        found = c.get(self.script, {'PATH_INFO': '/print'})
        self.assertEqual(sorted(found.logs), ['a', 'b', 'no newline', 'printed 1'])
        self.assertEqual(found.status, 200)

    def test_what_no_frame_takes(self):
        c = self.start(main_script=self.script).connect()
        found = c.get(self.script, {'PATH_INFO': '/huge_head'})
        self.assertEqual((found.status, found.failed), (None, 1))
        self.assertEqual(found.logs[-1], f'ValueError: status and headers are longer than {(16 << 20) - 64} bytes, the most '
                         'that mod_wsgi takes')
        found = c.get(self.script, {'PATH_INFO': '/huge_line'})
        self.assertEqual((found.body, found.logs[-1], len(''.join(found.logs[:-1]))), (b'done', 'end', 17 << 20))
        found = c.get(self.script, {'PATH_INFO': '/huge_error'})
        self.assertIn('ValueError: xx', [line[:14] for line in found.logs])
        self.assertEqual(found.failed, 1)
        self.assertEqual(c.get(self.script, {'PATH_INFO': '/hello'}).body, b'Hello')

    def test_links_are_cut(self):
        c = self.start(main_script=self.script).connect()
        c.get(self.script, {'PATH_INFO': '/kept'})
        found = c.get(self.script, {'PATH_INFO': '/after'}).body.decode().split('|')
        self.assertEqual(found, ['read() called on wsgi.input after request completed',
                                 'start_response() called after request completed',
                                 'iteration of wsgi.input attempted after request completed'])

    def test_interpreters(self):
        daemon = self.start()
        c = daemon.connect()
        get = lambda **options: eval(c.get(self.script, {'PATH_INFO': '/group'}, **options).body)
        self.assertEqual(get(group='one'), ('one', 'one', 1))
        self.assertEqual(get(group='one'), ('one', 'one', 2))
        self.assertEqual(get(group='two'), ('two', 'two', 1))
        self.assertEqual(get(group=''), ('', '', 1))
        self.assertEqual(get(group='alone', flags=MAIN), ('alone', 'alone', 2))
        self.assertEqual(daemon.stop(), 0)

    def test_interpreters_from_many_threads(self):
        daemon = self.start(threads=8)
        problems = []

        def client(number):
            c = daemon.connect()
            for at in range(200):
                body = c.get(self.script, {'PATH_INFO': '/group'}, group='g%d' % ((number + at) % 3)).body
                if b'g' not in body:
                    problems.append(body)

        threads = [threading.Thread(target=client, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(problems, [])
        self.assertEqual(daemon.stop(), 0)

    def test_stale(self):
        daemon = self.start(main_script=self.script)
        c = daemon.connect()
        self.assertEqual(c.get(self.script, flags=RELOAD).body, b'Hello')
        # Another time in the request alone means nothing: the file decides.
        self.assertEqual(c.get(self.script, flags=RELOAD, mtime=5).body, b'Hello')
        c.send(request(self.script, {'PATH_INFO': '/echo'}, flags=RELOAD | CONFIRM, last=False))
        self.assertTrue(c.response(until_continue=True).confirmed)
        c.send(frame(BODY, b'confirmed', True))
        self.assertEqual(c.response().body, b'confirmed')
        os.utime(self.script, (1, 1))
        c.send(request(self.script, flags=RELOAD | CONFIRM, last=False))
        found = c.response()
        self.assertEqual((found.stale, found.tags), (True, [wire.STALE]))
        self.assertEqual(daemon.message(), b'\x02\x01')
        self.assertIsNone(daemon.message(0.1))

    def test_retirement(self):
        daemon = self.start(main_script=self.script, maximum_requests=3)
        c = daemon.connect()
        for _ in range(5):
            self.assertEqual(c.get(self.script).body, b'Hello')
        self.assertEqual(daemon.message(), b'\x02\x02')
        daemon = self.start(main_script=self.script)
        daemon.process.send_signal(signal.SIGUSR1)
        self.assertEqual(daemon.message(), b'\x02\x03')

    def test_stop_finishes_what_runs(self):
        daemon = self.start(main_script=self.script, threads=2)
        busy, idle = daemon.connect(), daemon.connect()
        idle.get(self.script)
        self.begin_sleep(busy, '0.5')
        daemon.control.send(b'\x02')
        self.assertEqual(idle.sock.recv(1), b'')
        self.assertEqual(busy.response().body, b'slept')
        self.assertEqual(daemon.process.wait(5), 0)

    def test_stop_gives_an_unread_request_back(self):
        daemon = self.start(main_script=self.script, threads=1)
        busy, waiting = daemon.connect(), daemon.connect()
        waiting.get(self.script)
        self.begin_sleep(busy, '0.5')
        waiting.send(request(self.script))
        daemon.control.send(b'\x02')
        with self.assertRaises(ConnectionResetError):
            waiting.sock.recv(1)
        self.assertEqual(busy.response().body, b'slept')

    def test_watchdog(self):
        daemon = self.start(main_script=self.script, shutdown_timeout_ms=500)
        c = daemon.connect()
        self.begin_sleep(c, '30')
        begin = time.monotonic()
        daemon.process.send_signal(signal.SIGTERM)
        self.assertEqual(daemon.process.wait(5), 0)
        self.assertLess(time.monotonic() - begin, 2)
        daemon.reader.join(2)
        self.assertIn('shutdown-timeout=0.5', daemon.output[-1])

    def test_exit_functions_run(self):
        script = self.write('exit.wsgi', '''
            import atexit, threading, time
            atexit.register(print, 'goodbye from', __name__)
            def linger():
                time.sleep(0.3)
                print('thread ended', flush=True)
            threading.Thread(target=linger).start()
            def application(environ, start_response):
                start_response('200 OK', [])
                return [b'']
        ''')
        daemon = self.start(main_script=script)
        daemon.connect().get(self.script, group='other')
        self.assertEqual(daemon.stop(), 0)
        self.assertEqual([line.split(' _')[0] for line in daemon.output], ['thread ended', 'goodbye from'])

    def test_exit_functions_do_not_run_where_interpreters_are_kept(self):
        script = self.write('exit.wsgi', '''
            import atexit, sys, threading, time
            atexit.register(print, 'goodbye')
            threading.Thread(target=time.sleep, args=(60,)).start()
            sys.stdout.write('an unfinished line')
            def application(environ, start_response):
                start_response('200 OK', [])
                return [b'']
        ''')
        daemon = self.start(main_script=script, keep_interpreters=True)
        daemon.connect().get(self.script, group='other')
        self.assertEqual(daemon.stop(), 0)
        self.assertEqual(daemon.output, ['an unfinished line'])

    def test_daemon_threads_in_a_group_do_not_abort_the_end(self):
        script = self.write('thread.wsgi', '''
            import atexit, threading, time
            atexit.register(print, 'goodbye')
            threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
            def application(environ, start_response):
                start_response('200 OK', [])
                return [b'']
        ''')
        daemon = self.start()
        c = daemon.connect()
        self.assertEqual((c.get(script, group='other').status, c.get(script).status), (200, 200))
        self.assertEqual(daemon.stop(), 0)
        self.assertEqual(daemon.output, ['goodbye', 'goodbye'])

    def test_orphan_serves_and_ends(self):
        daemon = self.start(main_script=self.script)
        c = daemon.connect()
        c.get(self.script)
        daemon.control.close()
        end = time.monotonic() + 0.3
        while time.monotonic() < end:
            self.assertEqual(c.get(self.script).body, b'Hello')
        c.sock.close()
        self.assertEqual(daemon.process.wait(2), 0)

    def test_orphan_of_a_dead_parent(self):
        gone = subprocess.Popen(['true'])
        gone.wait()
        daemon = self.start(main_script=self.script, parent=gone.pid, shutdown_timeout_ms=300)
        c = daemon.connect()
        self.begin_sleep(c, '30')
        daemon.control.close()
        self.assertEqual(daemon.process.wait(3), 0)

    def test_unfit(self):
        daemon = self.start(ready=False, protocol=99)
        self.assertEqual(daemon.process.wait(5), 64)
        daemon.reader.join(2)
        self.assertIn('protocol 99', daemon.output[0])

    def test_title_and_path(self):
        extra = os.path.join(self.dir, 'extra')
        os.mkdir(extra)
        script = self.write('path.wsgi', '''
            import sys
            def application(environ, start_response):
                start_response('200 OK', [])
                return [repr((sys.path, sys.argv)).encode()]
        ''')
        daemon = self.start(main_script=script, python_path=[extra], home=self.dir, display_name='my title')
        path, argv = eval(daemon.connect().get(script).body)
        self.assertEqual((path[:2], argv), ([self.dir, extra], ['mod_wsgi']))
        self.assertNotIn('', path)
        with open('/proc/%d/cmdline' % daemon.process.pid) as file:
            self.assertEqual(file.read().strip('\0'), 'my title')
        daemon = self.start(main_script=script)
        with open('/proc/%d/cmdline' % daemon.process.pid) as file:
            self.assertEqual(file.read().strip('\0'), PYTHON + ' (wsgi:test)')

    def test_children_of_the_application_get_signals(self):
        script = self.write('child.wsgi', '''
            import subprocess
            def application(environ, start_response):
                start_response('200 OK', [])
                return [subprocess.check_output(['grep', 'SigBlk', '/proc/self/status']), subprocess.check_output(['ls', '-l', '/proc/self/fd'], close_fds=False)]
        ''')
        found = self.start(main_script=script).connect().get(script).body.decode().split('\n')
        self.assertEqual(found[0].split()[1], '0' * 16)
        self.assertFalse([line for line in found if 'anon_inode' in line or 'socket:' in line or 'wsgi_engine' in line], found)

    def test_a_forked_child_can_be_ended_alone(self):
        script = self.write('fork.wsgi', '''
            import os, signal, time
            def application(environ, start_response):
                pid = os.fork()
                if pid == 0:
                    time.sleep(30)
                    os._exit(0)
                os.kill(pid, signal.SIGTERM)
                start_response('200 OK', [])
                return [str(os.waitpid(pid, 0)[1]).encode()]
        ''')
        c = self.start(main_script=script).connect()
        for _ in range(2):
            self.assertEqual(c.get(script).body, b'15')

    def test_wsgiref_validate_is_silent(self):
        script = self.write('valid.wsgi', '''
            import io, warnings
            from wsgiref.validate import validator
            warnings.simplefilter('error')
            def plain(environ, start_response):
                stream, path = environ['wsgi.input'], environ['PATH_INFO']
                environ['wsgi.errors'].write('x\\n'); environ['wsgi.errors'].flush(); environ['wsgi.errors'].writelines(['y\\n'])
                body = stream.read(3) + stream.readline() + b''.join(stream.readlines()) + b''.join(stream)
                write = start_response('200 OK', [('Content-Type', 'text/plain')])
                if path == '/write':
                    write(b'w')
                if path == '/stream':
                    return iter([body, body])
                if path == '/file':
                    return environ['wsgi.file_wrapper'](io.BytesIO(body))
                return [body]
            application = validator(plain)
        ''')
        c = self.start(main_script=script).connect()
        for path in ('/', '/write', '/stream', '/file'):
            environ = {'PATH_INFO': path, 'REQUEST_METHOD': 'POST', 'CONTENT_LENGTH': '9', 'SCRIPT_NAME': '/s'}
            found = c.get(script, environ, b'abcd\nefgh')
            self.assertIn(b'abcd\nefgh', found.body, found.logs)
            self.assertEqual((found.complete, found.logs), (True, ['x', 'y']))

    def test_client_gone(self):
        script = self.write('gone.wsgi', '''
            STATE = []
            class Endless:
                def __iter__(self): return self
                def __next__(self): return b'x' * 100000
                def close(self): STATE.append('closed')
            def application(environ, start_response):
                write = start_response('200 OK', [])
                if environ['PATH_INFO'] == '/state':
                    return [repr(STATE).encode()]
                if environ['PATH_INFO'] == '/write':
                    try:
                        while True: write(b'x' * 100000)
                    except OSError as error:
                        STATE.append(str(error))
                        raise
                return Endless()
        ''')
        daemon = self.start(main_script=script)
        for path in ('/iterate', '/write'):
            c = daemon.connect()
            c.send(request(script, {'PATH_INFO': path}))
            c.sock.recv(1000)
            c.sock.close()
        state = []
        while len(state) < 2:
            state = eval(daemon.connect().get(script, {'PATH_INFO': '/state'}).body)
        self.assertEqual(sorted(state), ['closed', 'mod_wsgi client connection closed'])


if __name__ == '__main__':
    unittest.main()
