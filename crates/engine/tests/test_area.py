"""The memory that a child gives to a connection: bodies, and the count of requests that were begun. See test_daemon.py."""
import fcntl
import os
import struct
import unittest

from test_load import Case
from wire import DATA, HEAD, SHARED


class Area(Case):
    def test_a_body_of_middling_size_is_put_into_the_area(self):
        script = self.write('middling.wsgi', '''
            def application(environ, start_response):
                start_response('200 OK', [])
                return [b'a' * 60000, b'b' * int(environ['QUERY_STRING'])]
            ''')
        area = os.memfd_create('area', os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        self.addCleanup(os.close, area)
        os.ftruncate(area, (1 << 20) + 4096)
        # As the child makes it: nobody can cut it.
        fcntl.fcntl(area, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
        c = self.start(main_script=script).connect(area)
        for size, tags in ((1000, [HEAD, DATA, DATA]), (10000, [HEAD, SHARED]), (988576, [HEAD, SHARED]), (0, None)):
            found = c.get(script, {'QUERY_STRING': str(size)})
            self.assertEqual(found.body, b'a' * 60000 + b'b' * size)
            self.assertTrue(tags is None or (found.tags, found.whole) == (tags, True), found.tags)
        found = c.get(script, {'QUERY_STRING': '988577'})
        self.assertEqual((SHARED in found.tags, len(found.body)), (False, 1048577))
        found = c.get(script, {'QUERY_STRING': '988577', 'REQUEST_METHOD': 'HEAD'})
        self.assertEqual((found.tags, found.body), ([HEAD], b''))
        # Behind the bodies: one for the area, and one for each request that was begun.
        self.assertEqual(os.pread(area, 4, 1 << 20), struct.pack('=I', 7))


if __name__ == '__main__':
    unittest.main()
