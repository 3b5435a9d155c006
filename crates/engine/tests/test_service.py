"""Processes with threads=0: import scripts on the main thread, their end, their signals. See test_daemon.py."""
import signal
import time
import unittest

from test_load import Case

RETIRE_GRACEFUL = b'\x02\x03'


class Service(Case):
    def begin(self, *texts, **options):
        scripts = [self.write('service%d.py' % number, text) for number, text in enumerate(texts)]
        options.setdefault('main_script', scripts[0] if len(scripts) == 1 else None)
        return self.start(threads=0, preload=[{'script': script, 'application_group': ''} for script in scripts], **options)

    def wait_for_line(self, daemon, text):
        """Waits for a line of the process."""
        end = time.monotonic() + 20
        while not any(text in line for line in daemon.output):
            self.assertLess(time.monotonic(), end, daemon.output)
            time.sleep(0.01)

    def ended(self, daemon):
        status = daemon.process.wait(20)
        daemon.reader.join(2)
        return status

    FOREVER = '''
        import signal, threading, time
        print('main thread', threading.current_thread() is threading.main_thread())
        try:
            print('running')
            while True:
                time.sleep(60)
        finally:
            print('cleaned up')
    '''

    def test_ready_comes_before_the_script_and_stop_ends_it(self):
        daemon = self.begin(self.FOREVER)
        self.wait_for_line(daemon, 'running')
        self.assertEqual(daemon.stop(), 0)
        self.assertEqual(daemon.output, ['main thread True', 'running', 'cleaned up'])

    def test_stop_wakes_a_script_at_whatever_moment_it_comes(self):
        for _ in range(20):
            daemon = self.begin('import time\nprint("running")\nwhile True:\n time.sleep(60)', shutdown_timeout_ms=20000)
            self.wait_for_line(daemon, 'running')
            self.assertEqual(daemon.stop(), 0)
            self.assertEqual(daemon.output, ['running'])

    def test_sigterm_ends_it_and_a_second_one_disturbs_nothing(self):
        daemon = self.begin('''
            import time
            try:
                print('running')
                # Not at once: a signal that comes right before a system call does not interrupt it.
                while True:
                    time.sleep(0.01)
            finally:
                print('cleaning')
                time.sleep(0.5)
                print('cleaned up')
        ''')
        self.wait_for_line(daemon, 'running')
        daemon.process.send_signal(signal.SIGTERM)
        self.wait_for_line(daemon, 'cleaning')
        daemon.process.send_signal(signal.SIGTERM)
        self.assertEqual(self.ended(daemon), 0)
        self.assertEqual(daemon.output, ['running', 'cleaning', 'cleaned up'])

    def test_a_script_that_does_not_listen_is_bounded(self):
        daemon = self.begin('''
            import time
            print('running')
            while True:
                try:
                    time.sleep(60)
                except SystemExit:
                    pass
        ''', shutdown_timeout_ms=500)
        self.wait_for_line(daemon, 'running')
        self.assertEqual(daemon.stop(), 0)
        self.assertIn('did not end within shutdown-timeout=0.5; its import script is cut off', daemon.output[-1])

    def test_sigusr1_asks_for_a_replacement(self):
        daemon = self.begin(self.FOREVER)
        self.wait_for_line(daemon, 'running')
        daemon.process.send_signal(signal.SIGUSR1)
        self.assertEqual(daemon.next_message(), RETIRE_GRACEFUL)
        self.assertEqual(daemon.stop(), 0)

    def test_the_scripts_own_handler_stays(self):
        daemon = self.begin('''
            import signal, threading
            done = threading.Event()
            signal.signal(signal.SIGTERM, lambda *_: done.set())
            print('running')
            done.wait()
            print('handled')
        ''')
        self.wait_for_line(daemon, 'running')
        self.assertEqual(daemon.stop(), 0)
        self.assertEqual(daemon.output, ['running', 'handled'])

    def test_scripts_run_one_after_the_other_and_the_process_ends(self):
        daemon = self.begin('import atexit; atexit.register(print, "exit function"); print("one")',
                            'import sys; print("two"); sys.exit(3)', 'print("three")', log_level=6)
        self.assertEqual(self.ended(daemon), 0)
        self.assertEqual(daemon.output[:3], ['one', 'two', 'three'])
        begin = "Loading WSGI script '%s/service%d.py' into "
        self.assertEqual([line.startswith(begin % (self.dir, at)) for at, line in enumerate(daemon.loads)], [True] * 3)
        self.assertRegex(daemon.output[3], 'process group "test": import scripts ended after .* the supervisor starts another process')
        self.assertEqual(daemon.output[4:], ['exit function'])

    def test_sigterm_leaves_out_the_scripts_that_follow(self):
        daemon = self.begin('import time; print("running"); time.sleep(60)', 'print("two")')
        self.wait_for_line(daemon, 'running')
        self.assertEqual(daemon.stop(), 0)
        self.assertEqual(daemon.output, ['running'])

    def test_an_exception_is_logged_once_and_tells_in_the_status(self):
        daemon = self.begin('raise RuntimeError("broken")', 'print("two")')
        self.assertEqual(self.ended(daemon), 1)
        self.assertEqual(daemon.output[0], "WSGI0110: Unable to execute Python script file '%s/service0.py'." % self.dir)
        self.assertEqual(daemon.output[-2:], ['RuntimeError: broken', 'two'])
        self.assertEqual(len([line for line in daemon.output if 'broken' in line and 'Error' in line and 'raise' not in line]), 1)

    def test_threads_of_a_script_are_waited_for(self):
        daemon = self.begin('''
            import threading, time
            def work():
                time.sleep(0.3)
                print('worked')
            threading.Thread(target=work).start()
            print('returns')
        ''')
        self.assertEqual(self.ended(daemon), 0)
        self.assertEqual(daemon.output, ['returns', 'worked'])

    def test_stop_ends_the_wait_for_threads(self):
        daemon = self.begin('''
            import atexit, threading, time
            atexit.register(print, 'exit function')
            threading.Thread(target=time.sleep, args=(60,)).start()
            print('returns')
        ''', shutdown_timeout_ms=20000)
        self.wait_for_line(daemon, 'returns')
        self.assertEqual(daemon.stop(), 0)
        self.assertEqual(daemon.output, ['returns', 'exit function'])

    def test_it_ends_with_its_supervisor(self):
        daemon = self.begin(self.FOREVER)
        self.wait_for_line(daemon, 'running')
        daemon.control.close()
        self.assertEqual(self.ended(daemon), 0)
        self.assertEqual(daemon.output[-1], 'cleaned up')

    def test_without_scripts_it_ends(self):
        daemon = self.start(threads=0)
        self.assertEqual(self.ended(daemon), 0)

    def test_a_group_of_its_own(self):
        script = self.write('service.py', 'import mod_wsgi, os; print(mod_wsgi.application_group, os.getpid())')
        daemon = self.start(threads=0, preload=[{'script': script, 'application_group': 'one'}, {'script': script, 'application_group': 'two'}])
        self.assertEqual(self.ended(daemon), 0)
        self.assertEqual(daemon.output, ['%s %d' % (group, daemon.process.pid) for group in ('one', 'two')])

    def test_a_child_process_ends_by_sigterm(self):
        daemon = self.begin('''
            import subprocess, os, signal
            child = subprocess.Popen(['sleep', '60'])
            child.terminate()
            print('child', child.wait())
        ''')
        self.assertEqual(self.ended(daemon), 0)
        self.assertEqual(daemon.output, ['child -15'])


if __name__ == '__main__':
    unittest.main()
