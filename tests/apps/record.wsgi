"""Shows the request line by way of apache.request_rec, httpd's record of the request."""
import ctypes

THE_REQUEST = 6 * ctypes.sizeof(ctypes.c_void_p)


def application(environ, start_response):
    capsule = environ.get("apache.request_rec")
    said = "none"
    if capsule is not None:
        pointer = ctypes.pythonapi.PyCapsule_GetPointer
        pointer.restype, pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
        line = ctypes.c_char_p.from_address(pointer(capsule, None) + THE_REQUEST)
        said = line.value.decode()
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [said.encode()]
