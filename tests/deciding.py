"""Scripts that decide, for tests: what they answer is in the query or in the name of the user."""

import base64
import json

MODULES = ("auth_basic", "auth_digest", "authn_core", "authn_file", "authz_user", "authz_host", "access_compat")

# Each call leaves a line in the file beside the script: the function, the environ's texts, the other arguments.
SCRIPT = """
import json
import os

CALLS = {calls!r}


def note(function, environ, *arguments):
    texts = {{key: value for key, value in environ.items() if isinstance(value, (str, tuple))}}
    line = json.dumps([function, texts, arguments, os.getpid(), os.geteuid()]) + '\\n'
    with open(CALLS, 'a') as calls:
        calls.write(line)


ANSWERS = {{'yes': True, 'no': False, 'none': None, 'one': 1, 'text': 'x', 'empty': '', 'bytes': b'x'}}


def answer(word):
    if word == 'raise':
        raise RuntimeError('refused')
    return ANSWERS[word]


def allow_access(environ, host):
    note('allow_access', environ, host)
    return answer(environ['QUERY_STRING'] or 'yes')


def check_password(environ, user, password):
    note('check_password', environ, user, password)
    if user.startswith('as-'):
        return user[3:]
    if user in ANSWERS or user == 'raise':
        return answer(user)
    return password == 'secret'


def get_realm_hash(environ, user, realm):
    import hashlib
    note('get_realm_hash', environ, user, realm)
    if user in ANSWERS or user == 'raise':
        return answer(user)
    digest = hashlib.md5(f'{{user}}:{{realm}}:secret'.encode()).hexdigest()
    return digest.encode() if user == 'bytes-user' else digest


def groups_for_user(environ, user):
    note('groups_for_user', environ, user)
    if user == 'raise':
        return answer(user)
    return {{'listed': ['users', 'Staff'], 'tuple': ('staff',), 'bytes': [b'staff'], 'generator': (name for name in ['staff']),
            'nobody': [], 'others': ['users'], 'letters': 'staff', 'numbers': [1, 2], 'nothing': None}}[user]
"""


def write_script(httpd, text=SCRIPT, name="decide.py"):
    """The script; what it notes is in `calls(httpd)`."""
    (httpd.root / "marks").mkdir(exist_ok=True)
    (httpd.root / "marks/calls").touch()
    (httpd.root / "marks/calls").chmod(0o666)
    return httpd.write(f"apps/{name}", text.format(calls=str(httpd.root / "marks/calls")))


def calls(httpd, function=None):
    """What the script was called with: function, environ, arguments, process, user."""
    lines = [json.loads(line) for line in (httpd.root / "marks/calls").read_text().splitlines()]
    return [line for line in lines if function in (None, line[0])]


def basic(user, password="secret"):
    """The header of a login."""
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}
