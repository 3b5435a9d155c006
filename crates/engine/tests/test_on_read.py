"""A body that the child holds back until the application reads it. See test_daemon.py."""
import unittest

from test_load import Case
from wire import BODY, CONFIRM, CONTINUE, HEAD, ON_READ, frame, request


class OnRead(Case):
    def test_the_body_is_asked_for_when_it_is_read_and_only_before_the_response(self):
        script = self.write('reads.wsgi', '''
            def application(environ, start_response):
                how = environ['PATH_INFO']
                write = start_response('200 OK', [])
                if how == '/late':
                    write(b'begun ')
                body = environ['wsgi.input'].readline() + environ['wsgi.input'].read() if how != '/never' else b'refused'
                return [body]
            ''')
        c = self.start(main_script=script).connect()
        c.send(request(script, {'PATH_INFO': '/first'}, flags=CONFIRM | ON_READ, last=False))
        self.assertTrue(c.response(until_continue=True).confirmed)
        c.send(frame(BODY, b'one\nmore', True))
        self.assertEqual(c.response().body, b'one\nmore')
        for path, body in (('/never', b'refused'), ('/late', b'begun late')):
            c.send(request(script, {'PATH_INFO': path}, flags=CONFIRM | ON_READ, last=False) + frame(BODY, b'late', True))
            found = c.response()
            self.assertEqual((found.body, found.tags[0], CONTINUE in found.tags), (body, HEAD, False))


if __name__ == '__main__':
    unittest.main()
