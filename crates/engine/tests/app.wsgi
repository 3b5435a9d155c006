# One function for each behaviour; the path chooses it.
import io, os, sys, threading, time, tempfile
COUNT = 0
CLOSED = []

class Body:
    def __init__(self, items): self.items = items
    def __iter__(self): return iter(self.items)
    def close(self): CLOSED.append(1)

def application(environ, start_response):
    global COUNT
    COUNT += 1
    path = environ['PATH_INFO'][1:]
    return globals().get('do_' + path, do_hello)(environ, start_response)

def ok(start_response, *headers):
    return start_response('200 OK', [('Content-Type', 'text/plain')] + list(headers))

def do_hello(environ, start_response):
    ok(start_response)
    return [b'Hello']

def do_echo(environ, start_response):
    ok(start_response)
    return [environ['wsgi.input'].read()]

def do_part(environ, start_response):
    ok(start_response)
    return [environ['wsgi.input'].read(3)]

def do_lines(environ, start_response):
    stream = environ['wsgi.input']
    found = [stream.readline(), stream.readline(2), stream.read(2)] + stream.readlines(1) + list(stream) + [stream.read()]
    ok(start_response)
    return [repr(found).encode()]

def do_stream(environ, start_response):
    ok(start_response)
    return Body([b'one', b'', b'two'])

def do_closed(environ, start_response):
    ok(start_response)
    return [str(len(CLOSED)).encode()]

def do_write(environ, start_response):
    write = ok(start_response)
    write(b'written ')
    return [b'returned']

def do_large(environ, start_response):
    ok(start_response)
    def blocks():
        for i in range(64):
            yield bytes([i]) * 100000
    return blocks()

def do_duplex(environ, start_response):
    ok(start_response)
    stream = environ['wsgi.input']
    return iter(lambda: stream.read(65536), b'')

def do_raise(environ, start_response):
    raise ValueError('before \xe9')

def do_late(environ, start_response):
    ok(start_response)
    yield b'some'
    raise ValueError('after')

def do_exit(environ, start_response):
    sys.exit(3)

def do_none(environ, start_response):
    ok(start_response)

def do_unstarted(environ, start_response):
    return [b'x']

def do_str(environ, start_response):
    ok(start_response)
    return ['text']

def do_short(environ, start_response):
    ok(start_response, ('Content-Length', '10'))
    return [b'four']

def do_excess(environ, start_response):
    ok(start_response, ('Content-Length', '4'))
    return Body([b'fo', b'ur too many', b'x'])

def do_head(environ, start_response):
    ok(start_response, ('Content-Length', '10'))
    return []

def do_empty(environ, start_response):
    ok(start_response)
    return []

def do_file(environ, start_response):
    ok(start_response)
    f = tempfile.TemporaryFile()
    f.write(b'0123456789' * 10000)
    f.seek(5)
    return environ['wsgi.file_wrapper'](f, 4096)

def do_bytesio(environ, start_response):
    ok(start_response)
    return environ['wsgi.file_wrapper'](io.BytesIO(b'0123456789'), 4)

def do_print(environ, start_response):
    print('printed', 1)
    environ['wsgi.errors'].write('no newline')
    sys.stderr.write('a\nb\n')
    ok(start_response)
    return [b'']

def do_group(environ, start_response):
    import mod_wsgi
    ok(start_response)
    main = threading.main_thread() if hasattr(threading, 'main_thread') else None
    return [repr((environ['mod_wsgi.application_group'], mod_wsgi.application_group, COUNT)).encode()]

def do_sleep(environ, start_response):
    seconds, _, began = environ['QUERY_STRING'].partition('&')
    if began:
        open(began, 'w').close()
    time.sleep(float(seconds))
    ok(start_response)
    return [b'slept']

def do_pid(environ, start_response):
    ok(start_response)
    return [str(os.getpid()).encode()]

def do_kept(environ, start_response):
    global KEPT
    KEPT = environ['wsgi.input'], start_response
    ok(start_response)
    return [b'']

def do_after(environ, start_response):
    found = []
    for call in (KEPT[0].read, lambda: KEPT[1]('200 OK', []), lambda: next(KEPT[0])):
        try: call()
        except RuntimeError as error: found.append(str(error))
    ok(start_response)
    return ['|'.join(found).encode()]

def do_reader(environ, start_response):
    ok(start_response)
    found = []
    thread = threading.Thread(target=lambda: found.append(environ['wsgi.input'].read()))
    thread.start()
    yield b'a'
    yield b'b'
    thread.join()
    yield b''.join(found)

def do_bad(environ, start_response):
    found = []
    def attempt(*args):
        try:
            start_response(*args)
            found.append('fine')
        except BaseException as error:
            found.append('%s: %s' % (type(error).__name__, error))
    attempt('200 OK', ())
    attempt('200 OK', [], 5)
    attempt(200, [])
    attempt('20 OK', [])
    attempt('2000 OK', [])
    attempt('200OK', [])
    attempt('200 O\nK', [])
    attempt('200 OK', ['x'])
    attempt('200 OK', [('a',)])
    attempt('200 OK', [('a', 1)])
    attempt('200 OK', [('', 'x')])
    attempt('200 OK', [('a b', 'x')])
    attempt('200 OK', [('a\n', 'x')])
    attempt('200 OK', [('a:', 'x')])
    attempt('200 OK', [('a', 'x\r\ny')])
    attempt('200 OK', [('a', '\u20ac')])
    attempt('418', [])
    attempt('200 OK', [('a', '\xe9')])
    return ['\n'.join(found).encode()]

def do_exc_info(environ, start_response):
    ok(start_response)
    yield b'begun'
    try:
        raise KeyError('inner')
    except KeyError:
        start_response('500 Oops', [], sys.exc_info())

def do_replace(environ, start_response):
    ok(start_response)
    try:
        raise KeyError('inner')
    except KeyError:
        start_response('503 Oops', [], sys.exc_info())
    return [b'replaced']

def do_huge_head(environ, start_response):
    ok(start_response, ('X-Huge', 'x' * (17 << 20)))
    return [b'never']

def do_huge_line(environ, start_response):
    environ['wsgi.errors'].write('x' * (17 << 20) + '\nend\n')
    ok(start_response)
    return [b'done']

def do_huge_error(environ, start_response):
    raise ValueError('x' * (17 << 20))
