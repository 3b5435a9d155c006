# Scripts that decide (WSGIAccessScript and its like): calls their functions, and makes an answer of what these return.
# request/decide.rs calls `decide`. What is no answer is told by type, never by value: it may be a secret.

# The numbers of wsgi_wire::decision::Question and Answer.
_ACCESS, _PASSWORD, _REALM_HASH, _GROUPS, _DISPATCH = 1, 2, 3, 4, 5
_YES, _NO, _NOTHING, _TEXTS = (1, ()), (2, ()), (3, ()), 4


class _NoAnswer(Exception):
    """A function returned what is no answer, or is not there. The text is a number of wsgi_wire::messages and a sentence without its end."""


def _kind(value):
    if isinstance(value, (str, bytes)) and not value:
        return 'an empty %s' % type(value).__name__
    return 'a value of type %s' % type(value).__name__


def _one(value, encoding):
    """The bytes of a text that is not empty and has no NUL, which httpd would take for its end; else None."""
    if isinstance(value, str):
        value = value.encode(encoding)
    return value if isinstance(value, bytes) and value and 0 not in value else None


def _is_truth(value):
    return value is True or value is False or value is None


def _truth(value):
    return _YES if value is True else _NO if value is False else _NOTHING


def _access(value):
    if _is_truth(value):
        return _truth(value)
    raise _NoAnswer('WSGI0055: allow_access() returned %s; it must return True, False or None' % _kind(value))


def _password(value):
    if _is_truth(value):
        return _truth(value)
    user = _one(value, 'utf-8') if isinstance(value, str) else None
    if user is not None:
        return _TEXTS, (user,)
    number = 'WSGI0176' if isinstance(value, str) and not value else 'WSGI0177'
    text = ': check_password() returned %s; it must return True, False, None (no such user) or the name of the user as a str'
    raise _NoAnswer(number + text % _kind(value))


def _realm_hash(value):
    if value is None:
        return _NOTHING
    digest = _one(value, 'latin-1')
    if digest is not None:
        return _TEXTS, (digest,)
    number = 'WSGI0178' if isinstance(value, (str, bytes)) and not value else 'WSGI0179'
    text = ': get_realm_hash() returned %s; it must return the hash as a str or bytes, or None (no such user)'
    raise _NoAnswer(number + text % _kind(value))


def _groups(value):
    names = None if isinstance(value, (str, bytes)) else _iterator(value)
    if names is None:
        text = 'WSGI0051: groups_for_user() returned %s; it must return an iterable of names, such as a list'
        raise _NoAnswer(text % _kind(value))
    found = []
    for name in names:
        group = _one(name, 'latin-1')
        if group is None:
            text = 'WSGI0050: groups_for_user() returned %s among the names; each must be a str or bytes'
            raise _NoAnswer(text % _kind(name))
        found.append(group)
    return _TEXTS, tuple(found)


def _iterator(value):
    try:
        return iter(value)
    except TypeError:
        return None


def _dispatch(namespace, environ):
    found = []
    for name in ('process_group', 'application_group', 'callable_object'):
        function = namespace.get(name)
        value = None if function is None else function(environ)
        text = None if value is None else _one(value, 'latin-1')
        # An empty group is embedded mode, or the main interpreter.
        if isinstance(value, (str, bytes)) and not value and name != 'callable_object':
            text = b''
        if value is not None and text is None:
            raise _NoAnswer('WSGI1220: %s() returned %s; it must return a str or bytes, or None' % (name, _kind(value)))
        found.append(text)
    return _TEXTS, tuple(found)


_QUESTIONS = {
    _ACCESS: ('allow_access', _access, 'WSGI0056'),
    _PASSWORD: ('check_password', _password, 'WSGI0043'),
    _REALM_HASH: ('get_realm_hash', _realm_hash, 'WSGI0046'),
    _GROUPS: ('groups_for_user', _groups, 'WSGI0052'),
}


def _tls_functions(variables):
    # As mod_ssl has it: an empty text for what the connection does not have; None without mod_ssl.
    unknown = variables.get('')

    def is_https():
        return int(variables.get('HTTPS') == 'on')

    def var_lookup(name):
        return variables.get(name, unknown)

    return {'mod_ssl.is_https': is_https, 'mod_ssl.var_lookup': var_lookup}


def decide(question, namespace, environ, variables, arguments):
    """Asks a script. The answer's number and its texts; a str instead says why there is none, behind the number of the line."""
    environ.update(_tls_functions(variables))
    try:
        if question == _DISPATCH:
            return _dispatch(namespace, environ)
        name, read, number = _QUESTIONS[question]
        function = namespace.get(name)
        if function is None:
            raise _NoAnswer('%s: it does not contain a function %s()' % (number, name))
        return read(function(environ, *arguments))
    except _NoAnswer as error:
        return str(error)
