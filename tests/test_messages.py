"""What the functions that applications are given say when they are called wrongly, or too late."""

import pytest


def results(site, code):
    response = site.post("/calls", code.encode())
    assert response.status == 200
    return response.text.splitlines()


def start(arguments):
    return f"attempt(start_response, {arguments})"


MESSAGES = [
    ("attempt(start_response)", "TypeError: start_response() takes at least 2 arguments (0 given)"),
    (start("'200 OK', [], None, None"), "TypeError: start_response() takes at most 3 arguments (4 given)"),
    (start("'200 OK', ()"), "TypeError: start_response() argument 2 must be list, not tuple"),
    (start("'200 OK', None"), "TypeError: start_response() argument 2 must be list, not None"),
    (start("'200 OK', [], 5"), "RuntimeError: start_response() argument 'exc_info' must be a 3-tuple or None"),
    (start("200, []"), "TypeError: must be str, not int"),
    (start("b'200 OK', []"), "TypeError: must be str, not bytes"),
    (start("'', []"), "ValueError: status code must be a 3 digit integer: b''"),
    (start("'2000 OK', []"), "ValueError: status code must be a 3 digit integer: b'2000 OK'"),
    (start("'200OK', []"), "ValueError: no space following status code: b'200OK'"),
    (start("'200\\tOK', []"), "ValueError: no space following status code: b'200\\tOK'"),
    (start("'200 O\\nK', []"), "ValueError: control character in status reason phrase: b'200 O\\nK'"),
    (start("'200 OK', [1]"), "TypeError: each header must be a 2-tuple, not int"),
    (start("'200 OK', [['a', 'b']]"), "TypeError: each header must be a 2-tuple, not list"),
    (start("'200 OK', [()]"), "ValueError: each header must be a 2-tuple, got length 0"),
    (start("'200 OK', [('a', 1)]"), "TypeError: must be str, not int"),
    (start("'200 OK', [(None, 'b')]"), "TypeError: must be str, not NoneType"),
    (start("'200 OK', [('', 'b')]"), "ValueError: header name is empty"),
    (start("'200 OK', [('a b', 'b')]"), "ValueError: space character in header name: b'a b'"),
    (start("'200 OK', [('a\\nb', 'b')]"), "ValueError: control character in header name: b'a\\nb'"),
    (start("'200 OK', [('a', 'b\\rc')]"), "ValueError: carriage return/line feed character in header value: b'b\\rc'"),
    (start('"200 OK", [("a", "it\'s\\n")]'),
     "ValueError: carriage return/line feed character in header value: b\"it's\\n\""),
    ("attempt(start_response('200 OK', []), 'text')", "TypeError: write() argument must be bytes, not str"),
    ("attempt(start_response('200 OK', []), bytearray(b'x'))",
     "TypeError: write() argument must be bytes, not bytearray"),
    *[(f"attempt(start_response('200 OK', [('Content-Length', '{value}')]), b'')",
       f"ValueError: invalid Content-Length header value: '{value}'") for value in ("x", "-1", " 5 ", "1,2")],
    ("attempt(errors.write, b'x')", "TypeError: write() argument must be str, not bytes"),
    ("attempt(errors.read)", "UnsupportedOperation: not readable"),
    ("attempt(FileWrapper, io.BytesIO(), -1)", "ValueError: blksize must not be negative"),
    ("attempt(FileWrapper, io.BytesIO(), 'x')", "TypeError: 'str' object cannot be interpreted as an integer"),
    ("attempt(next, FileWrapper(io.StringIO('x')))", "TypeError: file wrapper read() must return bytes, not str"),
    ("f = FileWrapper(io.BytesIO(b'x')); f.close(); attempt(next, f)", "ValueError: I/O operation on closed file"),
    ("attempt(input.read, 'x')", "TypeError: 'str' object cannot be interpreted as an integer"),
]


@pytest.mark.parametrize("code, message", MESSAGES)
def test_a_wrong_call_raises(site, code, message):
    assert results(site, code) == [message]


OURS = [
    (start("'200 OK', [], (1, 2)"), "RuntimeError: start_response() argument 'exc_info' must be a 3-tuple or None"),
    (start("'100 Continue', []"), "ValueError: status code is not one of a final response: b'100 Continue'"),
    (start("'200 OK', [('a:b', 'c')]"), "ValueError: character that is not allowed in header name: b'a:b'"),
    (start("'200 OK', [('a\\xe9', 'c')]"), "ValueError: character that is not allowed in header name: b'a\\xe9'"),
    (start("'200 OK', [('a', 'b\\0')]"), "ValueError: null character in header value: b'b\\x00'"),
    ("attempt(start_response('200 OK', [('Content-Length', '1'), ('Content-Length', '2')]), b'')",
     "ValueError: invalid Content-Length header value: '2'"),
    ("attempt(input.read, None)", "b''"),
]


@pytest.mark.ours("the original accepts the first six, and refuses None")
@pytest.mark.parametrize("code, message", OURS)
def test_a_call_that_the_original_takes_otherwise(site, code, message):
    assert results(site, code) == [message]


def test_write_of_nothing_commits(site):
    code = "start_response('200 OK', [])(b''); written = True\nattempt(start_response, '201 Created', [])"
    assert results(site, code) == ["RuntimeError: start_response() called more than once without exc_info"]


@pytest.mark.parametrize("call, message", [
    ("kept['start_response'], '200 OK', []", "RuntimeError: start_response() called after request completed"),
    ("kept['write'], b'x'", "RuntimeError: write() called after request completed"),
    ("kept['input'].read", "RuntimeError: read() called on wsgi.input after request completed"),
    ("kept['input'].readline", "RuntimeError: readline() called on wsgi.input after request completed"),
    ("kept['input'].readlines", "RuntimeError: readlines() called on wsgi.input after request completed"),
    ("next, kept['input']", "RuntimeError: iteration of wsgi.input attempted after request completed"),
])
@pytest.mark.mpms("event")
def test_what_is_used_after_its_request_raises(site, call, message):
    keep = "kept.update(start_response=start_response, write=start_response('200 OK', []), input=input)"
    results(site, keep)
    assert results(site, f"attempt({call})") == [message]


@pytest.mark.mpms("event")
@pytest.mark.ours("the original raises RuntimeError")
def test_wsgi_errors_may_be_used_after_its_request(site):
    site.log.expect("late line")
    results(site, "kept.update(errors=errors)")
    assert results(site, "attempt(kept['errors'].write, 'late line\\n')") == ["10"]


def test_the_buffer_below_a_stream_takes_bytes_and_for_once_text(site):
    site.log.allow("^.*(bytes|array|view|text)$")
    code = """import warnings
for data in (b"bytes\\n", bytearray(b"array\\n"), memoryview(b"view\\n"), "text\\n", "text\\n"):
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        errors.buffer.write(data)
    attempt(lambda: [warning.category.__name__ for warning in found])
attempt(errors.buffer.write, None)
"""
    *warned, failed = results(site, code)
    assert warned == ["[]", "[]", "[]", "['DeprecationWarning']", "[]"]
    assert failed.startswith("TypeError: ") and "bytes-like object" in failed
