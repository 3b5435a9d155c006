"""An application in embedded mode that turns against what its child shares with others: the scoreboards, the socket to
the supervisor, the descriptors that httpd gave to the child. PATH_INFO names how. The file in the query gets the child's
process id and what was reached, because the answer may not.
"""
import array
import ctypes
import os
import random
import socket
import stat
import tempfile

PLACES = 3
EPOCHS = 4


def application(environ, start_response):
    how = environ["PATH_INFO"].strip("/")
    reached = globals()[how]()
    with open(environ["QUERY_STRING"] + ".new", "w") as mark:
        mark.write(f"{os.getpid()} {reached}")
    os.rename(mark.name, environ["QUERY_STRING"])
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"done"]


def nothing():
    return 0


def descriptors():
    return [int(name) for name in os.listdir("/proc/self/fd")]


# -- the scoreboards -------------------------------------------------------------------------------


def cuts():
    """Every file in memory, by whatever way it can be reached; how many were cut."""
    cut = 0
    ways = [f"/proc/{pid}/fd" for pid in ("self", os.getppid(), *filter(str.isdigit, os.listdir("/proc")))]
    for way in [*ways, "/proc/self/map_files"]:
        try:
            names = os.listdir(way)
        except OSError:
            continue
        for name in names:
            try:
                if "memfd:" not in os.readlink(f"{way}/{name}"):
                    continue
                number = int(name) if way == "/proc/self/fd" else os.open(f"{way}/{name}", os.O_RDWR)
                os.ftruncate(number, 0)
                cut += 1
            except OSError:
                pass
    return cut


def boards():
    """Address and length of each scoreboard that is mapped here."""
    with open("/proc/self/maps") as maps:
        for line in maps:
            if "memfd:wsgi-scoreboard" in line:
                first, last = (int(end, 16) for end in line.split()[0].split("-"))
                yield first, last - first


def scribbles():
    """All of every scoreboard, with numbers that mean something and numbers that mean nothing."""
    some = [0, 1, 2, 3, 15, 16, 17, 1 << 20, 1 << 31, 0xFFFF_FFFF, os.getpid(), os.getppid()]
    number = 0
    for address, length in boards():
        words = ctypes.cast(address, ctypes.POINTER(ctypes.c_uint32))
        for at in range(min(length // 4, 40_000)):
            words[at] = random.choice(some)
        number += 1
    return number


def fills():
    """As above, with ones only: whatever is an index or a length is the largest that there is."""
    number = 0
    for address, length in boards():
        ctypes.memset(address, 0xFF, length)
        number += 1
    return number


# -- the socket to the supervisor ------------------------------------------------------------------


def ways():
    """The sockets for messages, as copies."""
    for number in descriptors():
        try:
            if stat.S_ISSOCK(os.fstat(number).st_mode):
                sock = socket.socket(fileno=os.dup(number))
                if sock.family == socket.AF_UNIX and sock.type & 0xF == socket.SOCK_DGRAM:
                    yield sock
        except OSError:
            pass


def say(sock, data, files=()):
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", files))] if files else []
    for _ in range(2000):
        try:
            return sock.sendmsg([data], rights, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
        except BlockingIOError:
            os.sched_yield()
        except OSError:
            return 0
    return 0


def connect(group, slot, epoch):
    return group.to_bytes(8, "big") + slot.to_bytes(4, "big") + epoch.to_bytes(4, "big")


def noise():
    """Messages of all lengths, and the right length with any content."""
    sent = 0
    for sock in ways():
        for length in range(1, 200):
            sent += say(sock, os.urandom(length)) > 0
        for _ in range(2000):
            sent += say(sock, os.urandom(16)) > 0
    return sent


def tells():
    """Everything that a child can say without a descriptor, of every group."""
    sent = 0
    for sock in ways():
        for number in range(3000):
            sent += say(sock, connect(number % PLACES, 0xFFFF_FFFF - number % 4, number)) > 0
    return sent


def kinds():
    """A descriptor of every kind."""
    ends = [*os.pipe(), *[end.detach() for end in socket.socketpair()]]
    listening = socket.socket()
    listening.listen()
    memory = os.memfd_create("loose")
    os.truncate(memory, 1 << 20)
    folder = tempfile.mkdtemp()
    os.mkfifo(f"{folder}/fifo")
    fifo = os.open(f"{folder}/fifo", os.O_RDONLY | os.O_NONBLOCK)
    os.unlink(f"{folder}/fifo")
    os.rmdir(folder)
    plain = tempfile.TemporaryFile()
    files = [("/", os.O_RDONLY), ("/etc/passwd", os.O_PATH), ("/etc/passwd", os.O_RDONLY), ("/dev/zero", os.O_RDWR),
             ("/dev/null", os.O_WRONLY), ("/proc/self/maps", os.O_RDONLY)]
    opened = [os.open(path, flags) for path, flags in files]
    datagram = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).detach()
    return [*ends, listening.detach(), memory, fifo, os.dup(plain.fileno()), *opened, datagram]


def passes():
    """As connections to every process of every group, and as an answer to what nobody asked."""
    files, sent = kinds(), 0
    for sock in ways():
        for file in files:
            for group in range(PLACES):
                for epoch in range(EPOCHS):
                    sent += say(sock, connect(group, 0, epoch), [file]) > 0
                    sent += say(sock, connect(1, 0xFFFF_FFFE, epoch), [file]) > 0
        sent += say(sock, connect(1, 0, 1), files[:8]) > 0
        sent += say(sock, connect(1, 0, 1), files * 10) > 0
    for file in files:
        os.close(file)
    return sent


# -- everything ------------------------------------------------------------------------------------


def garbage():
    """To every socket there is, as far as it takes it."""
    sent = 0
    for number in descriptors():
        try:
            if stat.S_ISSOCK(os.fstat(number).st_mode):
                with socket.socket(fileno=os.dup(number)) as sock:
                    sent += sock.send(os.urandom(4096), socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL) > 0
        except OSError:
            pass
    return sent


def closes():
    os.closerange(3, 4096)
    return 0
