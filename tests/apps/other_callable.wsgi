"""Two callables that are not called `application`."""


def answer(text):
    def run(environ, start_response):
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [text]
    return run


first, second = answer(b"first"), answer(b"second")
