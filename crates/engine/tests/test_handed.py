"""Scripts that requests ask for are told of, and those that are handed on are loaded before the process is ready."""
import os
import time
import unittest

from test_load import GOOD, Case
from wire import CHANGED, MAIN, READY, RELOAD, RETIRE_SCRIPT


class Told(Case):
    def test_each_script_in_each_group_once(self):
        one, two = self.write('one.wsgi', GOOD % 'one'), self.write('two.wsgi', GOOD % 'two')
        daemon = self.start()
        c = daemon.connect()
        for _ in range(2):
            for script, group in ((one, 'g'), (one, ''), (two, 'g')):
                self.assertTrue(c.get(script, group=group).body)
        self.assertEqual(daemon.loaded_scripts(3), [(True, 'g', 'one.wsgi'), (True, '', 'one.wsgi'), (True, 'g', 'two.wsgi')])
        self.assertIsNone(daemon.message(0.1))
        self.assertEqual(len(daemon.loaded), 3)

    def test_the_group_is_that_of_the_interpreter(self):
        script = self.write('app.wsgi', GOOD % 'one')
        daemon = self.start()
        self.assertTrue(daemon.connect().get(script, group='g', flags=MAIN).body)
        self.assertEqual(daemon.loaded_scripts(1), [(True, '', 'app.wsgi')])

    def test_not_what_fails_and_what_the_configuration_has_loaded_only_when_it_is(self):
        main = self.write('main.wsgi', GOOD % 'main')
        preloaded = self.write('preloaded.wsgi', GOOD % 'preloaded')
        bad = self.write('bad.wsgi', 'raise RuntimeError')
        daemon = self.start(main_script=main, preload=[{'script': preloaded, 'application_group': 'g', 'serves': True}])
        c = daemon.connect()
        self.assertTrue(c.get(main, group='any').body and c.get(preloaded, group='g').body)
        self.assertEqual(c.get(bad, group='g').failed, 2)
        self.assertIsNone(daemon.message(0.1))
        configured = [(False, '', 'main.wsgi'), (False, 'g', 'preloaded.wsgi')]
        self.assertEqual(daemon.loaded, configured)
        self.write('bad.wsgi', GOOD % 'mended')
        self.assertEqual(c.get(bad, group='g').body, b'mended')
        self.assertEqual(daemon.loaded_scripts(3), [*configured, (True, 'g', 'bad.wsgi')])


class HandedOn(Case):
    def test_it_is_loaded_before_the_process_is_ready(self):
        script = self.write('app.wsgi', 'import mod_wsgi; print("loaded in", mod_wsgi.application_group)\n' + GOOD % 'app')
        daemon = self.start(handed=[(script, 'one', True), (script, 'two', False)])
        loaded = [(False, 'one', 'app.wsgi'), (False, 'two', 'app.wsgi')]
        self.assertEqual(daemon.loaded, loaded)
        for _ in range(2):
            self.assertEqual(daemon.connect().get(script, group='two').body, b'app')
        self.assertEqual(daemon.loaded_scripts(3), [*loaded, (True, 'two', 'app.wsgi')])
        self.assertIsNone(daemon.message(0.1))
        self.assertEqual(len(daemon.loaded), 3)
        self.assertEqual(daemon.stop(), 0)
        self.assertEqual(daemon.output, ['loaded in one', 'loaded in two'])

    def test_what_the_configuration_has_loaded_is_loaded_once(self):
        main = self.write('main.wsgi', 'print("loaded")\n' + GOOD % 'main')
        daemon = self.start(main_script=main, handed=[(main, 'was-not-alone', True)])
        self.assertEqual(daemon.loaded, [(False, '', 'main.wsgi')])
        self.assertEqual(daemon.stop(), 0)
        self.assertEqual(daemon.output, ['loaded'])

    def test_what_is_missing_is_left_out(self):
        missing, there = os.path.join(self.dir, 'missing.wsgi'), self.write('there.wsgi', GOOD % 'there')
        daemon = self.start(handed=[(missing, '', True), (there, '', True)])
        self.assertEqual(daemon.loaded, [(False, '', 'there.wsgi')])
        self.assertEqual(daemon.stop(), 0)
        self.assertEqual(daemon.output, [])

    def test_one_that_serves_fails_the_process_and_its_mend_is_found(self):
        good, bad = self.write('good.wsgi', GOOD % 'good'), self.write('bad.wsgi', 'raise RuntimeError("broken")')
        daemon = self.start(handed=[(bad, 'a', True), (good, 'b', True)], ready='failed')
        c = daemon.connect()
        self.assertEqual((c.get(bad, group='a').failed, c.get(good, group='b').body), (2, b'good'))
        self.assertEqual(daemon.loaded_scripts(2), [(False, 'b', 'good.wsgi'), (True, 'b', 'good.wsgi')])
        self.write('bad.wsgi', '')
        self.assertEqual(daemon.next_message(), CHANGED)

    def test_another_one_is_left_to_its_requests(self):
        bad = self.write('bad.wsgi', 'raise RuntimeError("broken")')
        daemon = self.start(handed=[(bad, 'a', False)])
        c = daemon.connect()
        self.assertEqual(c.get(bad, group='a').failed, 2)
        self.write('bad.wsgi', GOOD % 'mended')
        self.assertEqual(c.get(bad, group='a').body, b'mended')
        self.assertEqual(daemon.loaded_scripts(1), [(True, 'a', 'bad.wsgi')])

    def test_a_change_is_noticed(self):
        script = self.write('app.wsgi', GOOD % 'old')
        daemon = self.start(handed=[(script, 'g', True)], rolling=True)
        self.write('app.wsgi', GOOD % 'new')
        self.assertEqual(daemon.connect().get(script, group='g', flags=RELOAD).body, b'old')
        self.assertEqual(daemon.next_message(), RETIRE_SCRIPT)

    def loads(self):
        """A process that loads three scripts, and is at the first one."""
        mark, go = os.path.join(self.dir, 'mark'), os.path.join(self.dir, 'go')
        slow = self.write('slow.wsgi', f'''
            import os, time
            open({mark!r}, "w").close()
            while not os.path.exists({go!r}):
                time.sleep(0.01)
        ''')
        daemon = self.start(handed=[(slow, '', True), (slow, 'g', True), (slow, 'h', True)], ready=False)
        while not os.path.exists(mark):
            time.sleep(0.01)
        return daemon

    def test_a_process_that_is_to_stop_loads_no_more(self):
        daemon = self.loads()
        daemon.control.send(b'\x02')
        self.write('go', '')
        self.assertEqual(daemon.process.wait(10), 0)
        daemon.message(0)
        self.assertEqual(daemon.loaded, [(False, '', 'slow.wsgi')])

    def test_what_else_is_said_meanwhile_is_heard_later(self):
        daemon = self.loads()
        daemon.control.send(b'\x03')
        self.write('go', '')
        self.assertEqual(daemon.next_message(), READY)
        self.assertEqual(len(daemon.loaded), 3)
        self.assertEqual(daemon.stop(), 0)


if __name__ == '__main__':
    unittest.main()
