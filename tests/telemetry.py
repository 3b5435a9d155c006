"""A receiver of telemetry, and a decoder of its datagrams, written from the description of the format: a head of 24 bytes,
then fields of a number, a type and a value, all little-endian."""

import os
import socket
import struct
import threading
from dataclasses import dataclass

from processes import wait_until

KINDS = {2: "REQUEST", 4: "SLOW_REQUEST", 5: "STARTED", 6: "STOPPING", 7: "STOPPED", 8: "GC_SNAPSHOT", 9: "GC_EVENT"}
PHASES = ("server", "queue", "daemon", "application", "request", "gil_wait", "input_read", "output_write")
FIELDS = {
    1: "mod_wsgi_version", 2: "python_version", 3: "apache_version", 4: "mpm_name", 5: "hostname", 6: "process_group",
    7: "parent_pid", 8: "interpreter_name",
    10: "sample_period", 11: "telemetry_interval", 12: "slow_requests_threshold", 13: "switch_interval",
    20: "request_count", 21: "request_throughput", 22: "capacity_utilization",
    30: "cpu_user_utilization", 31: "cpu_system_utilization", 32: "cpu_utilization",
    40: "memory_rss", 41: "memory_max_rss",
    50: "request_threads_maximum", 51: "request_threads_started", 52: "request_threads_active",
    **{60 + at: f"{phase}_time" for at, phase in enumerate(PHASES)},
    **{70 + at: f"{phase}_min" for at, phase in enumerate(PHASES)},
    **{80 + at: f"{phase}_max" for at, phase in enumerate(PHASES)},
    **{90 + at: f"{phase}_buckets" for at, phase in enumerate(PHASES)},
    100: "input_bytes", 101: "input_reads", 102: "output_bytes", 103: "output_writes",
    110: "slot_completed", 111: "slot_busy_time", 112: "slot_cpu_time", 113: "slot_current_elapsed", 114: "slot_max_duration",
    **{119 + digit: f"status_{digit}xx" for digit in range(1, 6)},
    130: "shutdown_reason", 131: "uptime", 132: "lifetime_count", 133: "active_at_decision", 134: "active_at_exit",
    135: "graceful_drain",
    200: "state", 201: "start", 202: "duration", 203: "thread", 204: "log_id", 205: "server_pid",
    210: "method", 211: "scheme", 212: "host", 213: "script_name", 214: "path_info", 215: "protocol", 216: "peer_ip",
    217: "user_agent",
    220: "phase_server", 221: "phase_queue", 222: "phase_daemon", 223: "phase_application",
    224: "gil_wait_time", 225: "gil_wait_count",
    230: "io_230", 231: "io_231", 232: "io_232", 233: "io_233", 234: "io_234", 235: "io_235",
    240: "status", 250: "cpu_user", 251: "cpu_system", 260: "active_at_start", 261: "active_at_completion",
    **{first + at: f"gc_{name}_{at}" for first, name in
       ((300, "count"), (303, "threshold"), (306, "collections"), (309, "collected"), (312, "uncollectable"))
       for at in range(3)},
    315: "gc_enabled", 316: "gc_freeze", 317: "gc_dropped",
    320: "event_start", 321: "event_duration", 322: "event_generation", 323: "event_collected", 324: "event_uncollectable",
}
NUMBERS = {1: "<Q", 2: "<d", 3: "<q"}
ARRAYS = {5: ("i", 4), 6: ("d", 8)}


@dataclass
class Report:
    """A datagram."""

    kind: str
    pid: int
    seq: int
    stamp: float
    fields: dict
    types: dict
    size: int

    def __getitem__(self, name):
        return self.fields[name]

    def __contains__(self, name):
        return name in self.fields


def decode(data):
    magic, version, kind, flags, pid, seq, stamp = struct.unpack_from("<4sBBHIId", data)
    assert (magic, version, flags) == (b"WSGI", 1, 0) and len(data) <= 8192, data[:24]
    at, fields, types = 24, {}, {}
    while at < len(data):
        number, kind_of = struct.unpack_from("<HB", data, at)
        at += 3
        if kind_of in NUMBERS:
            (value,) = struct.unpack_from(NUMBERS[kind_of], data, at)
            at += 8
        else:
            (count,) = struct.unpack_from("<H", data, at)
            at += 2
            if kind_of == 4:
                value = data[at:at + count].decode()
                assert len(data) >= at + count
                at += count
            else:
                letter, size = ARRAYS[kind_of]
                value = list(struct.unpack_from(f"<{count}{letter}", data, at))
                at += count * size
        name = FIELDS[number]
        assert name not in fields, f"twice: {name}"
        fields[name], types[number] = value, kind_of
    return Report(KINDS[kind], pid, seq, stamp, fields, types, len(data))


class Receiver:
    """Receives on a socket of its own until the block ends; keeps all reports."""

    def __init__(self, path, mode=0o666):
        self.path, self.reports = str(path), []
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        self.socket.bind(self.path)
        os.chmod(self.path, mode)
        self.thread = threading.Thread(target=self._run, daemon=True)

    def _run(self):
        while data := self.socket.recv(65536):
            self.reports.append(decode(data))

    def of(self, kind, **wanted):
        """Reports of this kind whose fields have these values."""
        return [report for report in list(self.reports) if report.kind == kind
                and all(report.fields.get(name) == value for name, value in wanted.items())]

    def wait_for(self, kind, condition=lambda report: True, timeout=20, **wanted):
        """The first report of this kind that meets the condition."""
        def found():
            return next((report for report in self.of(kind, **wanted) if condition(report)), None)
        return wait_until(found, timeout, f"a report {kind} {wanted}")

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
            other.sendto(b"", self.path)
        self.thread.join(20)
        self.socket.close()
        os.unlink(self.path)
