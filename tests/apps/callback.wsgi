"""C code calls back into Python: /released by ctypes.CDLL, which gives up the GIL for the call, /kept by ctypes.PyDLL."""
import ctypes
import json
import sys
import threading

sys.marker_of_this_interpreter = "mine"
local = threading.local()
COMPARE = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_int), ctypes.POINTER(ctypes.c_int))


def application(environ, start_response):
    library = (ctypes.PyDLL if environ["PATH_INFO"] == "/kept" else ctypes.CDLL)(None)
    seen = []

    def compare(a, b):
        import sys as found
        seen.append(getattr(found, "marker_of_this_interpreter", "of another interpreter"))
        return a[0] - b[0]

    numbers = (ctypes.c_int * 3)(3, 1, 2)
    library.qsort(numbers, ctypes.c_size_t(3), ctypes.c_size_t(4), COMPARE(compare))
    # What an application keeps for a thread is still there when the thread comes back from another interpreter.
    local.count = getattr(local, "count", 0) + 1
    told = {"sorted": list(numbers), "seen": sorted(set(seen)), "count": local.count,
            "version": "%d.%d" % sys.version_info[:2]}
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps(told).encode()]
