

# --- Debug mode: exceptions are shown in the browser, and the tools that were asked for look at each step. -------------

import atexit
import contextlib
import itertools
import traceback

TOOLS = SETTINGS["tools"]
numbers = itertools.count(1)


def terminal_debugger():
    """pdb on the terminal: the streams of Python are those of the server."""
    import pdb
    return pdb.Pdb(stdin=os.fdopen(os.dup(0)), stdout=os.fdopen(os.dup(1), "w"))


def name_of_file(ending):
    return f"{time.time_ns() // 1000}-{os.getpid()}{ending}"


if "coverage" in TOOLS:
    import coverage
    measured = coverage.Coverage(data_file=None)

    @atexit.register
    def report_coverage():
        try:
            measured.html_report(directory=TOOLS["coverage"])
        except coverage.CoverageException as error:
            print(f"mod_wsgi-express: there is no report of --enable-coverage: {error}", file=sys.stderr)

if "profiler" in TOOLS:
    import cProfile
    profile = cProfile.Profile()

    @atexit.register
    def save_profile():
        profile.dump_stats(os.path.join(TOOLS["profiler"], name_of_file(".pstats")))


@contextlib.contextmanager
def looked_at():
    """The tools look at what happens inside."""
    if "coverage" in TOOLS:
        measured.start()
    if "profiler" in TOOLS:
        profile.enable()
    try:
        yield
    except Exception:
        if "debugger" in TOOLS:
            traceback.print_exc()
            debugger = terminal_debugger()
            debugger.reset()
            debugger.interaction(None, sys.exc_info()[2])
        raise
    finally:
        if "profiler" in TOOLS:
            profile.disable()
        if "coverage" in TOOLS:
            measured.stop()


class Recorded:
    """wsgi.input that keeps what was read."""

    def __init__(self, stream):
        self.stream, self.text = stream, []

    def _keep(self, block):
        self.text.append(block)
        return block

    def read(self, *size):
        return self._keep(self.stream.read(*size))

    def readline(self, *size):
        return self._keep(self.stream.readline(*size))

    def readlines(self, *hint):
        return [self._keep(line) for line in self.stream.readlines(*hint)]

    def __iter__(self):
        return map(self._keep, self.stream)


def steps(environ, start_response):
    """The response of the application, block by block."""
    global current
    with looked_at():
        if current is None:
            current = load()
        result = current(environ, start_response)
    try:
        blocks = iter(result)
        while True:
            with looked_at():
                block = next(blocks, None)
            if block is None:
                return
            yield block
    finally:
        if hasattr(result, "close"):
            with looked_at():
                result.close()


def shown(environ, start_response):
    """The response, or the traceback of the exception that has kept it from being."""
    try:
        yield from steps(environ, start_response)
    except Exception:
        text = traceback.format_exc()
        print(text, file=sys.stderr)
        start_response("500 Internal Server Error", [("Content-Type", "text/plain; charset=utf-8")], sys.exc_info())
        yield text.encode("utf-8", "replace")


def recorded(environ, start_response):
    """The response; request and response are saved in two files."""
    name = os.path.join(TOOLS["recorder"], f"{name_of_file('')}-{next(numbers)}")
    environ["wsgi.input"] = body = Recorded(environ["wsgi.input"])
    head = []

    def begin(status, headers, *more):
        head[:] = [status, headers]
        return start_response(status, headers, *more)

    sent = []
    try:
        for block in shown(environ, begin):
            sent.append(block)
            yield block
    finally:
        with open(name + ".request", "wb") as file:
            lines = [f"{key}: {value}\n" for key, value in sorted(environ.items()) if isinstance(value, str)]
            file.write("".join(lines).encode("utf-8", "surrogateescape") + b"\n" + b"".join(body.text))
        with open(name + ".response", "wb") as file:
            status, headers = head or ["", []]
            lines = [status + "\n", *(f"{key}: {value}\n" for key, value in headers)]
            file.write("".join(lines).encode("latin-1") + b"\n" + b"".join(sent))


def application(environ, start_response):
    return (recorded if "recorder" in TOOLS else shown)(environ, start_response)


current = None
if "debugger_startup" in TOOLS:
    terminal_debugger().set_trace()
try:
    with looked_at():
        current = load()
except Exception:
    # The first request tries again, and shows the traceback if there is still one.
    print(traceback.format_exc(), file=sys.stderr)
