"""Loading at the start of a daemon process, and what follows when it fails. See test_daemon.py."""
import os
import shutil
import tempfile
import textwrap
import unittest

import wire
from wire import CHANGED, CONFIRM, FAILED_LOAD, RELOAD, RETIRE_SCRIPT, Daemon, request

ENGINE = os.environ['WSGI_TEST_ENGINE']
PYTHON = os.environ.get('WSGI_TEST_PYTHON', '/usr/bin/python3')

GOOD = '''
def application(environ, start_response):
    start_response('200 OK', [])
    return [b'%s']
'''


class Case(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.dir)

    def write(self, name, text):
        """Replaces the file, as a deploy does: never half of it is there."""
        path = os.path.join(self.dir, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path + '~', 'w', encoding='utf-8') as file:
            file.write(textwrap.dedent(text))
        os.rename(path + '~', path)
        return path

    def start(self, **options):
        daemon = Daemon(PYTHON, ENGINE, **options)
        self.addCleanup(daemon.__exit__)
        return daemon


class FailedLoad(Case):
    def test_it_is_tried_once_and_each_request_gets_a_line_that_refers_to_the_traceback(self):
        script = self.write('bad.wsgi', '''
            import os
            print('import', os.getpid())
            raise RuntimeError('number %d' % os.getpid())
        ''')
        daemon = self.start(main_script=script, ready='failed')
        c = daemon.connect()
        logs = [c.get(script).logs for _ in range(3)]
        pid = daemon.process.pid
        failed = "Unable to execute Python script file '%s'." % script
        raised = "WSGI0174: RuntimeError exception raised processing WSGI script '%s' for main interpreter of daemon process 'test'." % script
        for log in logs:
            self.assertEqual(len(log), 1)
            self.assertRegex(log[0], r'WSGI0109: %s RuntimeError: number %d \(process %d tried it \d+ s ago; ' % (failed, pid, pid))
        self.assertEqual(c.get(script).failed, 2)
        self.assertEqual(daemon.stop(), 0)
        self.assertEqual(daemon.output[:3], ['import %d' % pid, 'WSGI0110: ' + failed, raised])
        self.assertEqual(daemon.output[-1], 'RuntimeError: number %d' % pid)

    def test_system_exit_is_a_failed_load(self):
        script = self.write('exit.wsgi', 'raise SystemExit(3)')
        daemon = self.start(main_script=script, ready='failed')
        found = daemon.connect().get(script)
        self.assertEqual((found.failed, len(found.logs)), (2, 1))
        self.assertIn(' SystemExit: 3 (', found.logs[0])

    def test_a_changed_script_is_told_of_once_and_its_request_is_sent_back(self):
        script = self.write('bad.wsgi', 'import')
        daemon = self.start(main_script=script, ready='failed')
        c = daemon.connect()
        self.assertEqual(c.get(script, flags=RELOAD).failed, 2)
        self.write('bad.wsgi', GOOD % 'mended')
        self.assertEqual(daemon.next_message(), CHANGED)
        self.assertEqual(c.get(script).failed, 2, 'without WSGIScriptReloading nothing else happens')
        c.send(request(script, flags=RELOAD | CONFIRM))
        self.assertTrue(c.response().stale)
        self.assertEqual(daemon.next_message(), RETIRE_SCRIPT)
        self.assertIsNone(daemon.message(0.5))
        self.write('bad.wsgi', 'import again')
        self.assertEqual(daemon.next_message(), CHANGED)

    def test_files_of_the_traceback_and_of_what_was_imported_are_watched(self):
        self.write('helper.py', 'VALUE = 1')
        self.write('package/__init__.py', 'import helper\nfrom . import inner')
        self.write('package/inner.py', 'def f(:')
        script = self.write('app.wsgi', 'import package')
        daemon = self.start(main_script=script, home=self.dir, ready='failed')
        self.assertIn('inner.py', daemon.connect().get(script).logs[0])
        # What was compiled is cached beside the sources while they are loaded.
        for name in ('package/inner.py', 'helper.py', 'package/__init__.py', 'app.wsgi'):
            self.write(name, '# %s' % name)
            self.assertEqual(daemon.next_message(), CHANGED, name)
        self.assertIsNone(daemon.message(0.5))

    def test_a_missing_module_is_noticed_when_it_appears(self):
        lib = os.path.join(self.dir, 'lib')
        script = self.write('app.wsgi', 'try:\n import missing\nexcept ImportError as e:\n raise ValueError from e')
        daemon = self.start(main_script=script, python_path=[lib], ready='failed')
        self.write('database.sqlite', 'is no module')
        self.assertIsNone(daemon.message(0.5))
        self.write('lib/missing.py', 'x = 1')
        self.assertEqual(daemon.next_message(), CHANGED)

    def test_the_working_directory_is_none_from_which_modules_come(self):
        os.mkdir(os.path.join(self.dir, 'work'))
        self.addCleanup(os.chdir, os.getcwd())
        os.chdir(os.path.join(self.dir, 'work'))
        daemon = self.start(main_script=self.write('app/app.wsgi', 'import missing'), ready='failed')
        self.write('work/missing.py', 'x = 1')
        self.assertIsNone(daemon.message(0.5))
        self.write('app/missing.py', 'x = 1')
        self.assertEqual(daemon.next_message(), CHANGED)

    def test_a_missing_file_is_noticed_when_it_appears(self):
        script = self.write('app.wsgi', 'open(%r)' % os.path.join(self.dir, 'settings.ini'))
        daemon = self.start(main_script=script, ready='failed')
        self.write('settings.ini', '')
        self.assertEqual(daemon.next_message(), CHANGED)

    def test_an_error_that_cannot_be_looked_at_is_watched_all_the_same(self):
        script = self.write('app.wsgi', '''
            class Bad(OSError):
                filename = property(lambda self: 1 / 0)
            raise Bad('x')
        ''')
        daemon = self.start(main_script=script, ready='failed')
        self.write('app.wsgi', '')
        self.assertEqual(daemon.next_message(), CHANGED)

    def test_only_scripts_that_serve_fail_a_process(self):
        bad = self.write('bad.wsgi', 'raise RuntimeError("import")')
        good = self.write('good.wsgi', GOOD % 'good')
        daemon = self.start(preload=[{'script': bad, 'application_group': ''}, {'script': good, 'application_group': 'g', 'serves': True}])
        self.assertEqual(daemon.connect().get(good, group='g').body, b'good')
        # What is not loaded at start is tried at each request.
        c = daemon.connect()
        self.assertEqual(c.get(bad).failed, 2)
        self.write('bad.wsgi', GOOD % 'mended')
        self.assertEqual(c.get(bad).body, b'mended')
        self.assertEqual(daemon.stop(), 0)

    def test_siblings_of_a_failed_script_are_served(self):
        bad = self.write('bad.wsgi', 'raise RuntimeError("preload")')
        good = self.write('good.wsgi', GOOD % 'good')
        preload = [{'script': bad, 'application_group': 'a', 'serves': True}, {'script': good, 'application_group': 'b', 'serves': True}]
        daemon = self.start(preload=preload, ready='failed')
        c = daemon.connect()
        self.assertEqual((c.get(bad, group='a').failed, c.get(good, group='b').body), (2, b'good'))
        self.write('bad.wsgi', '')
        self.assertEqual(daemon.next_message(), CHANGED)
        self.assertEqual(daemon.stop(), 0)

    def test_preloaded_scripts_are_loaded_in_their_groups(self):
        script = self.write('app.wsgi', 'import mod_wsgi; print("loaded in", mod_wsgi.application_group)')
        daemon = self.start(preload=[{'script': script, 'application_group': 'one'}, {'script': script, 'application_group': 'two'}])
        self.assertEqual(daemon.stop(), 0)
        self.assertEqual(daemon.output, ['loaded in one', 'loaded in two'])


class Rolling(Case):
    def test_old_code_serves_and_each_change_is_told_of_once(self):
        script = self.write('app.wsgi', GOOD % 'old')
        daemon = self.start(main_script=script, rolling=True)
        c = daemon.connect()
        self.assertEqual(c.get(script, flags=RELOAD).body, b'old')
        self.assertIsNone(daemon.message(0.1))
        for text in ('def broken(:', GOOD % 'mended'):
            self.write('app.wsgi', text)
            for _ in range(3):
                self.assertEqual(c.get(script, flags=RELOAD).body, b'old')
            self.assertEqual(daemon.next_message(), RETIRE_SCRIPT)
            self.assertIsNone(daemon.message(0.2))

    def test_other_reasons_to_retire_stay(self):
        script = self.write('app.wsgi', GOOD % 'old')
        daemon = self.start(main_script=script, rolling=True, maximum_requests=2)
        c = daemon.connect()
        self.write('app.wsgi', '')
        for _ in range(2):
            self.assertEqual(c.get(script, flags=RELOAD).body, b'old')
        self.assertEqual([daemon.next_message(), daemon.next_message()], [RETIRE_SCRIPT, b'\x02\x02'])

    def test_what_failed_sends_requests_back(self):
        script = self.write('app.wsgi', 'import')
        daemon = self.start(main_script=script, rolling=True, ready='failed')
        c = daemon.connect()
        self.assertEqual(c.get(script, flags=RELOAD).failed, 2)
        self.write('app.wsgi', GOOD % 'mended')
        c.send(request(script, flags=RELOAD))
        self.assertTrue(c.response().stale)


class Recycling(Case):
    def test_a_process_that_asked_to_be_replaced_goes_on(self):
        script = self.write('app.wsgi', GOOD % 'served')
        daemon = self.start(main_script=script, maximum_requests=10)
        connections = [daemon.connect() for _ in range(4)]
        for _ in range(50):
            for c in connections:
                c.send(request(script))
            self.assertEqual([c.response().body for c in connections], [b'served'] * 4)
        self.assertEqual(daemon.next_message(), b'\x02\x02')
        # Requests that are there when it is to stop were begun, or are given back unread.
        for c in connections:
            c.send(request(script))
        daemon.control.send(b'\x02')
        for c in connections:
            try:
                self.assertEqual(c.response().body, b'served')
            except (ConnectionResetError, EOFError) as error:
                self.assertIsInstance(error, ConnectionResetError)
        self.assertEqual(daemon.process.wait(10), 0)


if __name__ == '__main__':
    unittest.main()
