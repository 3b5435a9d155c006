"""What a daemon process executes is understood by Pythons that are too old for it: they say so. See test_daemon.py."""
import ast
import subprocess
import unittest

from wire import BOOT


class Boot(unittest.TestCase):
    def test_it_has_no_newer_syntax(self):
        ast.parse(BOOT, feature_version=(3, 4))

    def test_it_refuses_an_old_python_in_its_own_words(self):
        # The version is looked at before anything else is.
        program = 'import sys; sys.version_info = (3, 9)\n' + BOOT
        done = subprocess.run(['python3', '-c', program], stderr=subprocess.PIPE, text=True)
        self.assertEqual(done.returncode, 64)
        self.assertRegex(done.stderr, '^WSGI1300: mod_wsgi needs CPython 3.10 or later with the GIL; .* is Python')


if __name__ == '__main__':
    unittest.main()
