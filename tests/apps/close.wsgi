"""An iterable whose close() is counted; PATH_INFO names how the iteration ends."""
import json
import time

closed = {}


class Body:
    def __init__(self, case, start_response):
        self.case, self.sent, self.start_response = case, 0, start_response

    def __iter__(self):
        return self

    def __next__(self):
        self.sent += 1
        if self.case == "error" and self.sent == 2:
            raise ValueError("in the middle")
        if self.case == "error-first":
            raise ValueError("at the beginning")
        if self.case == "disconnect" and self.sent < 3000:
            time.sleep(0.001)
            return b"x" * 65536
        if self.sent > 2:
            raise StopIteration
        return b"part"

    def close(self):
        closed[self.case] = closed.get(self.case, 0) + 1
        if self.case == "close-raises":
            raise ValueError("in close")


def application(environ, start_response):
    case = environ["PATH_INFO"].strip("/")
    start_response("200 OK", [("Content-Type", "text/plain")])
    if case == "closed":
        return [json.dumps(closed).encode()]
    return Body(case, start_response)
