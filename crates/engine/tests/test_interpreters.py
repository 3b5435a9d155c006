"""
Sub-interpreters, made, used and ended again and again, with one GIL and with one each. See test_daemon.py.

WSGI_INTERPRETERS is how many there are in all, ten in each process; `make check-interpreters` takes 1,000.
"""
import os
import subprocess
import unittest

from test_load import PYTHON, Case

INTERPRETERS = int(os.environ.get('WSGI_INTERPRETERS', 4))
IN_PROCESS = min(INTERPRETERS, 10)
ROUNDS = INTERPRETERS // IN_PROCESS
VERSION = tuple(map(int, subprocess.check_output(
    [PYTHON, '-c', 'import sys; print(*sys.version_info[:2])'], text=True).split()))

APPLICATION = '''
    import asyncio, collections, dataclasses, datetime, decimal, enum, hashlib, json, re, sqlite3, ssl, threading, zoneinfo

    class Color(enum.IntEnum):
        RED = 1

    class Circle:
        pass

    @dataclasses.dataclass
    class Person:
        name: str

    kept = collections.deque(maxlen=100)

    def application(environ, start_response):
        # Some of everything, and something for the garbage collector.
        circle = Circle()
        circle.it = circle
        thread = threading.Thread(target=kept.append, args=(b'x' * 1000,))
        thread.start()
        thread.join()
        with sqlite3.connect(':memory:') as db:
            total = db.execute('select 40 + 2').fetchone()[0]
        db.close()
        try:
            int('x')
        except ValueError as error:
            text = str(error)
        now = datetime.datetime(2026, 1, 2, tzinfo=zoneinfo.ZoneInfo('UTC')).isoformat()
        told = [total, text, now, str(decimal.Decimal(1) / 4), re.sub('a+', 'b', 'caat'), repr(Person('Ada')),
                Color.RED.name, hashlib.sha256(b'x').hexdigest()[:8], asyncio.run(asyncio.sleep(0, 'slept'))]
        start_response('200 OK', [('Content-Type', 'text/plain')])
        return [json.dumps(told).encode()]
'''
TOLD = (b'[42, "invalid literal for int() with base 10: \'x\'", "2026-01-02T00:00:00+00:00", "0.25", "cbt", "Person(name=\'Ada\')", '
        b'"RED", "2d711642", "slept"]')


def layer(has_own_gil):
    return {'application_group': None, 'python_path': [], 'restrict_stdin': None, 'restrict_stdout': None,
            'restrict_signal': None, 'per_interpreter_gil': has_own_gil}


def resident(pid):
    with open('/proc/%d/statm' % pid) as file:
        return int(file.read().split()[1]) * os.sysconf('SC_PAGE_SIZE')


class Interpreters(Case):
    def both(self):
        return [False, True] if VERSION >= (3, 12) else [False]

    def answers(self, connection, script, group):
        # A busy machine, and modules that are compiled for the first time.
        connection.sock.settimeout(120)
        found = connection.get(script, group=group)
        self.assertEqual((found.status, found.logs), (200, []))
        self.assertEqual(found.body, TOLD)

    def unexpected(self, daemon):
        return [line for line in daemon.output if 'CPython issue 117482' not in line]

    def test_they_are_made_used_and_ended(self):
        script = self.write('app.wsgi', APPLICATION)
        for has_own_gil in self.both():
            for number in range(ROUNDS):
                with self.start(layers=[layer(has_own_gil)], shutdown_timeout_ms=600000) as daemon:
                    connections = [(daemon.connect(), 'group %d' % at) for at in range(IN_PROCESS)]
                    for connection, group in connections * 2:
                        self.answers(connection, script, group)
                    self.assertEqual(daemon.stop(60), 0, daemon.output)
                    self.assertEqual(self.unexpected(daemon), [])
            self.tell(has_own_gil, '%d interpreters in %d processes' % (ROUNDS * IN_PROCESS, ROUNDS))

    def tell(self, has_own_gil, what):
        if ROUNDS > 1:
            print(PYTHON, 'a GIL each:' if has_own_gil else 'one GIL:', what, flush=True)

    def test_memory_stays_what_it_is_while_they_are_used(self):
        script = self.write('app.wsgi', APPLICATION)
        for has_own_gil in self.both():
            daemon = self.start(layers=[layer(has_own_gil)], shutdown_timeout_ms=600000)
            connections = [(daemon.connect(), group) for group in ('one', 'two')]
            sizes = []
            for _ in range(3):
                for _ in range(30 * ROUNDS):
                    for connection, group in connections:
                        self.answers(connection, script, group)
                sizes.append(resident(daemon.process.pid))
            # The first part is the warm-up.
            self.assertLess(sizes[2] - sizes[1], 1 << 20, sizes)
            self.assertEqual(daemon.stop(60), 0, daemon.output)
            self.tell(has_own_gil, '%d requests, resident after each third %s KB' % (180 * ROUNDS, [it >> 10 for it in sizes]))
