"""What a request sees of threads: `threading` is imported late, as by a library that the first request needs."""
import json
import os
import sys

LOADED_BY = os.path.basename(f"/proc/self/task/{__import__('_thread').get_native_id()}")


async def work():
    import asyncio

    await asyncio.gather(*(asyncio.sleep(0.01) for _ in range(5)))
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", "print(6 * 7)", stdout=asyncio.subprocess.PIPE)
    out, _ = await process.communicate()
    return [out.decode().strip(), process.returncode]


def handler_refused():
    """Whether signal.signal works in the main thread only, as the documentation says."""
    import signal

    try:
        signal.signal(signal.SIGUSR2, signal.SIG_IGN)
    except ValueError as error:
        return "main thread" in str(error)
    return False


def application(environ, start_response):
    import threading

    main, current = threading.main_thread(), threading.current_thread()
    told = {
        "class": type(current).__name__,
        "current": threading.get_native_id(),
        "is_main": current is main or current.ident == main.ident,
        "main_is_the_process": main.native_id == os.getpid(),
        "main_lives": main.is_alive() and main in threading.enumerate() and main.name == "MainThread" and not main.daemon,
        "refused": handler_refused(),
        "loaded_here": int(LOADED_BY) == threading.get_native_id(),
        "pid": os.getpid(),
        "version": "%d.%d" % sys.version_info[:2],
    }
    if environ["QUERY_STRING"] == "run":
        import asyncio

        told["run"] = asyncio.run(work())
    body = json.dumps(told).encode()
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]
