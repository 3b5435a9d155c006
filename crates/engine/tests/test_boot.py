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
        self.assertRegex(done.stderr, '^WSGI1300: mod_wsgi needs CPython 3.10 or later; .* is Python')

    def test_free_threaded_python_without_its_engine_names_the_file(self):
        program = "import sys; sys.version_info, sys.version = (3, 14, 1), '3.14.1 free-threading build'\n" + BOOT
        done = subprocess.run(['python3', '-c', program], stderr=subprocess.PIPE, text=True)
        self.assertEqual(done.returncode, 64)
        self.assertRegex(done.stderr, '^missing for (/.*python3.*): cp314t: \\1\n$')

    def test_free_threaded_python_executes_itself_with_the_gil_that_was_asked_for(self):
        program = ("import os, sys; sys.version_info, sys.version = (3, 14, 1), '3.14.1 free-threading build'\n"
                   "os.execv = lambda path, arguments: sys.exit('%s %s' % (path, ' '.join(arguments[:5])))\n")
        for gil in '01':
            boot = BOOT.replace("[], '1'", "['cp314t'], '%s'" % gil, 1)
            done = subprocess.run(['python3', '-B', '-c', program + boot], stderr=subprocess.PIPE, text=True)
            self.assertRegex(done.stderr, '^(/.*python3.*) \\1 -X gil=%s -B -c\n$' % gil)


if __name__ == '__main__':
    unittest.main()
