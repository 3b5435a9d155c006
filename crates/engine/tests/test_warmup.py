"""warmup=/path: what the application sees, and what its answer leads to. See test_daemon.py."""
import unittest

from test_load import Case

APP = '''
import sys
import mod_wsgi
CALLS = []
class Body:
    def __init__(self, *items):
        self.items = list(items)
    def __iter__(self):
        return self
    def __next__(self):
        if not self.items:
            raise StopIteration
        return self.items.pop(0)
    def close(self):
        CALLS.append('closed')
def application(environ, start_response):
    CALLS.append(environ['PATH_INFO'])
    path = environ['PATH_INFO']
    if path == '/calls':
        start_response('200 OK', [])
        return [repr(CALLS).encode()]
    if path == '/raise':
        raise ValueError('raised')
    write = start_response({'/busy': '503 Busy', '/none': '404 Not Found'}.get(path, '200 OK'), [])
    if path == '/write':
        write(b'x' * 300000)
    if path == '/valid':
        from wsgiref.validate import check_environ
        environ = {key: value for key, value in environ.items() if key != 'wsgi.file_wrapper'}
        check_environ(environ)
        print(environ['wsgi.input'].read(), environ['wsgi.input'].readline(), file=environ['wsgi.errors'])
        names = 'SCRIPT_NAME PATH_INFO QUERY_STRING REQUEST_URI HTTP_HOST SERVER_NAME mod_wsgi.application_group'
        print(*[repr(environ[name]) for name in names.split()], mod_wsgi.application_group)
    if path == '/file':
        return environ['wsgi.file_wrapper'](open(__file__, 'rb'))
    return Body(b'x' * 70000, b'', b'y')
'''


class Warmup(Case):
    def begin(self, path, **target):
        script = self.write('app.wsgi', APP)
        target = {'script': script, 'callable': 'application', 'application_group': '', 'is_main': True, 'prefix': '/', **target}
        warmup = {'path': path, 'host': 'site.example', 'target': target}
        main = script if target['is_main'] else None
        preload = [] if main else [{'script': script, 'application_group': target['application_group'], 'serves': True}]
        return script, self.start(main_script=main, preload=preload, warmup=warmup, log_level=6)

    def output(self, daemon):
        self.assertEqual(daemon.stop(), 0)
        return daemon.output

    def test_it_is_called_once_and_closed_before_the_process_is_ready(self):
        script, daemon = self.begin('/x')
        self.assertEqual(eval(daemon.connect().get(script, {'PATH_INFO': '/calls'}).body), ['/x', 'closed', '/calls'])
        self.assertRegex(self.output(daemon)[0], r'process group "test": warmup=/x was answered with 200 after 0\.\d+ s')

    def test_each_way_to_answer(self):
        for path in ('/write', '/file'):
            _, daemon = self.begin(path)
            self.assertIn('answered with 200', self.output(daemon)[-1])

    def test_the_environ_is_complete(self):
        _, daemon = self.begin('/app/valid?a=%20b', prefix='/app/')
        output = self.output(daemon)
        self.assertIn("b'' b''", output)
        self.assertIn("'/app' '/valid' 'a=%20b' '/app/valid?a=%20b' 'site.example' 'site.example' '' ", output)

    def test_in_a_group_of_its_own(self):
        _, daemon = self.begin('/valid', is_main=False, application_group='g', prefix='/app')
        output = self.output(daemon)
        self.assertIn("'/app' '/valid' '' '/app/valid' 'site.example' 'site.example' 'g' g", output)

    def test_failures_are_logged_and_change_nothing(self):
        for path, words in (('/busy', 'was answered with 503'), ('/raise', 'failed'), ('/none', 'was answered with 404')):
            script, daemon = self.begin(path)
            self.assertEqual(daemon.connect().get(script).status, 200)
            output = self.output(daemon)
            self.assertIn(f'warmup={path} {words}', output[-1])
            self.assertEqual('ValueError: raised' in output, path == '/raise')
            self.assertEqual('all the same' in output[-1], path != '/none')

    def test_a_missing_callable(self):
        script, daemon = self.begin('/', callable='missing')
        output = self.output(daemon)
        self.assertEqual(output[0], f"WSGI0089: Target WSGI script '{script}' does not contain WSGI application 'missing'.")
        self.assertIn('warmup=/ failed', output[1])

    def test_an_application_that_is_not_known(self):
        daemon = self.start(warmup={'path': '/', 'host': 'x', 'target': None})
        self.assertIn('warmup=/ needs to know its application', self.output(daemon)[0])

    def test_not_after_a_failed_load(self):
        script = self.write('app.wsgi', 'raise RuntimeError')
        target = {'script': script, 'callable': 'application', 'application_group': '', 'is_main': True, 'prefix': '/'}
        daemon = self.start(main_script=script, warmup={'path': '/', 'host': 'x', 'target': target}, ready='failed')
        self.assertFalse([line for line in self.output(daemon) if 'warmup' in line])


if __name__ == '__main__':
    unittest.main()
