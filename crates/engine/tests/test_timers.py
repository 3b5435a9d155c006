"""The timers of a daemon process, as far as they need no httpd. See test_daemon.py."""
import os
import time
import unittest

import wire
from test_load import Case
from wire import request


class Timers(Case):
    def begun(self, daemon, script, group=''):
        """A connection on which a request is being executed."""
        mark = os.path.join(self.dir, 'begun')
        c = daemon.connect()
        c.send(request(script, {'QUERY_STRING': mark}, group=group))
        end = time.monotonic() + 20
        while not os.path.exists(mark):
            self.assertLess(time.monotonic(), end, daemon.output)
            time.sleep(0.01)
        return c

    SLOW = '''
        import atexit, time
        def application(environ, start_response):
            open(environ['QUERY_STRING'], 'w').close()
            %s
            start_response('200 OK', [])
            return [b'served']
    '''

    def test_a_process_that_ends_slowly_has_no_deadlock(self):
        script = self.write('app.wsgi', self.SLOW % 'atexit.register(time.sleep, 3); time.sleep(3)')
        daemon = self.start(main_script=script, deadlock_timeout_ms=1000, shutdown_timeout_ms=0)
        c = self.begun(daemon, script)
        daemon.control.send(b'\x02')
        self.assertEqual(c.response().body, b'served')
        self.assertEqual(daemon.process.wait(30), 0)
        daemon.reader.join(2)
        self.assertEqual(daemon.output, [])

    def test_a_request_is_interrupted_while_its_process_ends(self):
        script = self.write('app.wsgi', self.SLOW % 'while True: time.sleep(0.01)')
        daemon = self.start(main_script=script, shutdown_timeout_ms=0, request_timeout_ms=1000, threads=1,
                            interrupt_timeout_ms=20000)
        c = self.begun(daemon, script)
        daemon.control.send(b'\x02')
        self.assertEqual(c.response().failed, wire.TIMEOUT)
        self.assertEqual(daemon.process.wait(30), 0)

    def test_a_kept_gil_is_found_while_the_process_ends(self):
        script = self.write('app.wsgi', self.SLOW % '__import__("ctypes").PyDLL(None).sleep(60)')
        daemon = self.start(main_script=script, deadlock_timeout_ms=1000, shutdown_timeout_ms=0)
        self.begun(daemon, script)
        daemon.control.send(b'\x02')
        self.assertEqual(daemon.process.wait(30), 0)
        daemon.reader.join(2)
        self.assertIn('longer than deadlock-timeout=1; executing', daemon.output[0])
        self.assertIn('did not end within 5.0 s, and shutdown-timeout=0 sets no limit; 1 request is', daemon.output[-1])

    def test_work_in_a_named_interpreter_is_no_deadlock(self):
        work = 'end = time.monotonic() + 5\n            while time.monotonic() < end: pass'
        script = self.write('app.wsgi', self.SLOW % work)
        daemon = self.start(deadlock_timeout_ms=2000, threads=2)
        c = self.begun(daemon, script, group='named')
        self.assertEqual(c.response().body, b'served')
        self.assertEqual(daemon.stop(), 0)
        self.assertEqual(daemon.output, [])

    def test_a_gil_that_is_kept_in_a_named_interpreter_is_a_deadlock(self):
        script = self.write('app.wsgi', self.SLOW % '__import__("ctypes").PyDLL(None).sleep(60)')
        daemon = self.start(deadlock_timeout_ms=2000, threads=2, shutdown_timeout_ms=500)
        self.begun(daemon, script, group='named')
        self.assertEqual(daemon.process.wait(30), 0)
        daemon.reader.join(2)
        self.assertIn('longer than deadlock-timeout=2; executing', daemon.output[0])

    def test_a_request_without_python_frames_keeps_no_gil(self):
        script = self.write('app.wsgi', '''
            def application(environ, start_response):
                start_response('200 OK', [])
                return [b'x' * 10000000]
        ''')
        daemon = self.start(main_script=script, request_timeout_ms=1000, threads=1, shutdown_timeout_ms=500)
        # Nobody receives what it sends.
        c = daemon.connect()
        c.send(request(script))
        self.assertEqual(daemon.process.wait(30), 0)
        daemon.reader.join(2)
        self.assertFalse([line for line in daemon.output if 'keeps the GIL' in line], daemon.output)
        self.assertTrue([line for line in daemon.output if 'no thread executes Python code' in line], daemon.output)


if __name__ == '__main__':
    unittest.main()
