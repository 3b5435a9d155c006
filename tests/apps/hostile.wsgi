"""A daemon process that turns against its supervisor and the children. PATH_INFO names how; MARK in the query is
written first. What a process of ours holds is found by looking at its descriptors; nothing of the module is imported.
"""
import array
import contextlib
import os
import signal
import socket
import stat
import struct
import threading
import time

LIMIT = 64 << 20
AREA = 1 << 20
MARK = ""


def application(environ, start_response):
    how = environ["PATH_INFO"].strip("/")
    global MARK
    mark = MARK = environ["QUERY_STRING"]
    if mark:
        with open(mark, "w") as file:
            file.write(str(os.getpid()))
    name, _, argument = how.partition("/")
    globals()[name](*filter(None, [argument]))
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [str(os.getpid()).encode()]


def nothing():
    pass


def descriptors():
    return [int(name) for name in os.listdir("/proc/self/fd") if int(name) > 0]


def sockets(kind):
    """Copies, because closing one must not close the process's own."""
    found = []
    for number in descriptors():
        try:
            if stat.S_ISSOCK(os.fstat(number).st_mode):
                sock = socket.socket(fileno=os.dup(number))
                if sock.type & 0xF == kind:
                    found.append(sock)
        except OSError:
            pass
    return found


def control():
    return sockets(socket.SOCK_SEQPACKET)


def send(sock, data, seconds=3):
    """Until it is sent, or nobody takes it any more."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            return sock.send(data, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
        except BlockingIOError:
            time.sleep(0.001)
        except OSError:
            return 0
    return 0


# -- the control socket ----------------------------------------------------------------------------


def noise():
    """Messages of all lengths."""
    for sock in control():
        for length in range(1, 200):
            send(sock, os.urandom(length))


def flood():
    """64 MB in large messages."""
    for sock in control():
        for _ in range(LIMIT // 100_000):
            if not send(sock, bytes(100_000)):
                return


def ready():
    for sock in control():
        for _ in range(100_000):
            send(sock, b"\x01\x00")


def metrics():
    """Questions whose answers it does not read for long."""
    for sock in control():
        for _ in range(100_000):
            send(sock, b"\x05\x00")


def retire():
    """Wants to be replaced, for all reasons at once and again and again."""
    for sock in control():
        for number in range(100_000):
            send(sock, bytes([2, 1 + number % 12]))


def loaded():
    """Could not load its script, and could, in turn."""
    for sock in control():
        for number in range(100_000):
            send(sock, bytes([3 + number % 2, 0]))


def scripts():
    """Has loaded more scripts than there are, with names of all lengths; then one whose name is too long."""
    def message(asked, group, script):
        parts = b"".join(len(text).to_bytes(2, "big") + text for text in (group, script))
        return bytes([6, asked]) + parts
    for sock in control():
        for number in range(20_000):
            length = number % 4000
            send(sock, message(number % 3 != 0, b"g" * (number % 1000), b"/%d-" % number + b"s" * length))
        send(sock, message(1, b"g" * 2000, b"/x"))


def passes():
    """Sends descriptors to whoever listens."""
    files = [os.open("/dev/null", os.O_RDONLY) for _ in range(8)]
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", files))]
    for sock in control() + sockets(socket.SOCK_STREAM):
        for _ in range(500):
            try:
                sock.sendmsg([b"\x01\x00"], rights, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
            except OSError:
                break
    for number in files:
        os.close(number)


# -- connections -----------------------------------------------------------------------------------


def frame(numbers):
    """A frame as `tag,flags,length`, then as many random bytes, at most 1 MB, on every connection."""
    tag, flags, length = map(int, numbers.split(","))
    payload = os.urandom(min(length, 1 << 20))
    for sock in sockets(socket.SOCK_STREAM):
        data = bytes([tag, flags, 0, 0]) + length.to_bytes(4, "big") + payload
        while data:
            sent = send(sock, data)
            if not sent:
                break
            data = data[sent:]


def stream():
    """64 MB of noise."""
    noise = os.urandom(1 << 16)
    for sock in sockets(socket.SOCK_STREAM):
        for _ in range(LIMIT >> 16):
            if not send(sock, noise, 1):
                break


def answer(*frames, file=None):
    """A response that the engine has not made, on every connection: its head and these frames."""
    fields = b"".join(len(text).to_bytes(size, "big") + text for size, text in ((2, b"Content-Type"), (4, b"text/plain")))
    data = whole(HEAD, 0, struct.pack(">HHI", 200, 0, 1) + fields) + b"".join(frames)
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [file]))] if file is not None else []
    for sock in sockets(socket.SOCK_STREAM):
        try:
            sock.sendmsg([data], rights, socket.MSG_NOSIGNAL)
            # What the engine sends would be taken for the answer to the next request.
            sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass


HEAD, FILE, SHARED = 16, 18, 23


def whole(tag, flags, payload):
    return bytes([tag, flags, 0, 0]) + len(payload).to_bytes(4, "big") + payload


def folder():
    return os.path.dirname(MARK)


def open_opath():
    """A file that this user may not read."""
    return os.open(f"{folder()}/secret", os.O_PATH)


def open_writeonly():
    return os.open(f"{folder()}/file", os.O_WRONLY)


def open_directory():
    return os.open("/", os.O_RDONLY)


def open_pipe():
    """Whose other end says nothing."""
    return os.pipe()[0]


def open_fifo():
    """That nobody writes to."""
    os.mkfifo(f"{folder()}/fifo")
    return os.open(f"{folder()}/fifo", os.O_RDWR)


def open_zero():
    return os.open("/dev/zero", os.O_RDONLY)


def open_socket():
    return socket.socketpair()[0].detach()


def open_short():
    """A file that is shorter than is said."""
    return os.open(f"{folder()}/file", os.O_RDONLY)


def open_memory():
    """That is cut while it is sent."""
    memory = os.memfd_create("loose")
    os.truncate(memory, LIMIT)
    threading.Thread(target=lambda: (time.sleep(0.02), os.truncate(memory, 4096))).start()
    return memory


def sends(kind):
    """As a response's file a descriptor of this kind."""
    length = LIMIT if kind == "memory" else 20
    answer(whole(FILE, 1, struct.pack(">QQ", 0, length)), file=globals()[f"open_{kind}"]())


def flips():
    """A response in the connection's shared memory, which goes on changing while httpd sends it."""
    with open("/proc/self/maps") as maps:
        lines = [line.split()[0] for line in maps if "memfd:wsgi-area" in line]
    areas = [int(line.partition("-")[0], 16) for line in lines]
    answer(whole(SHARED, 1, struct.pack(">QQ", 0, AREA)))
    end = time.monotonic() + 1
    # The engine unmaps the area of another connection when that ends: written to in this way, it does no harm.
    with open("/proc/self/mem", "r+b", buffering=0) as memory:
        while time.monotonic() < end:
            for value in range(256):
                for area in areas:
                    with contextlib.suppress(OSError):
                        os.pwrite(memory.fileno(), bytes([value]) * AREA, area)


# -- everything ------------------------------------------------------------------------------------


def garbage():
    """To every descriptor there is, as far as it takes it; files are cut, too."""
    noise = os.urandom(4096)
    for number in descriptors():
        try:
            os.set_blocking(number, False)
            for _ in range(100):
                os.write(number, noise)
        except OSError:
            pass
        try:
            os.ftruncate(number, 0)
        except OSError:
            pass


def closes():
    os.closerange(3, 4096)


def stops():
    os.kill(os.getpid(), signal.SIGSTOP)


def forks():
    """Children of its own that live on, and hold all that it had."""
    if os.fork() == 0:
        if os.fork() == 0:
            time.sleep(4)
        os._exit(0)
    os.wait()
