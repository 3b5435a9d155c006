"""Uses the write callable; PATH_INFO names what is written."""


def application(environ, start_response):
    case = environ["PATH_INFO"].strip("/")
    write = start_response("200 OK", [("Content-Type", "text/plain")])
    if case == "parts":
        write(b"one ")
        write(b"two ")
        return [b"three"]
    if case == "empty":
        write(b"")
        return []
    try:
        write("text")
    except TypeError as error:
        return [f"TypeError: {error}".encode()]
    return [b"a str was accepted"]
