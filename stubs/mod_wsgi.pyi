"""Types of the module `mod_wsgi`, which exists inside of the server only. Names with an underscore exist only here."""

import logging
from collections.abc import Callable, Iterator
from typing import Any, Protocol, TypedDict, TypeVar

_Callback = TypeVar("_Callback", bound=Callable[..., object])

class _Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...

version: tuple[int, int, int]
process_group: str
application_group: str
maximum_processes: int
threads_per_process: int

class RequestTimeout(BaseException): ...

class LogHandler(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None: ...

class FileWrapper:
    def __init__(self, filelike: _Readable, blksize: int = 8192) -> None: ...
    @property
    def filelike(self) -> _Readable: ...
    @property
    def blksize(self) -> int: ...
    def __iter__(self) -> Iterator[bytes]: ...
    def __next__(self) -> bytes: ...
    def close(self) -> None: ...

def subscribe_events(callback: _Callback, /) -> _Callback: ...
def subscribe_shutdown(callback: _Callback, /) -> _Callback: ...
def subscribe_signals(callback: _Callback, /) -> _Callback: ...

event_callbacks: list[Callable[..., object]]
shutdown_callbacks: list[Callable[..., object]]
signal_callbacks: list[Callable[..., object]]

def request_data() -> dict[Any, Any]: ...

active_requests: dict[str, dict[Any, Any]]

class _RequestMetrics(TypedDict):
    pid: int
    start_time: float
    stop_time: float
    sample_period: float
    cpu_user_utilization: float
    cpu_system_utilization: float
    cpu_utilization: float
    cpu_user_time: float
    cpu_system_time: float
    cpu_time: float
    memory_rss: int
    memory_max_rss: int
    request_threads_maximum: int
    request_threads_started: int
    request_threads_active: int
    capacity_utilization: float
    request_count: int
    request_throughput: float
    status_1xx: int
    status_2xx: int
    status_3xx: int
    status_4xx: int
    status_5xx: int
    input_bytes: int
    input_reads: int
    output_bytes: int
    output_writes: int
    gil_wait_count: int
    server_time: float
    server_time_min_us: int | None
    server_time_max_us: int | None
    server_time_buckets: list[int]
    queue_time: float | None
    queue_time_min_us: int | None
    queue_time_max_us: int | None
    queue_time_buckets: list[int]
    daemon_time: float | None
    daemon_time_min_us: int | None
    daemon_time_max_us: int | None
    daemon_time_buckets: list[int]
    application_time: float
    application_time_min_us: int | None
    application_time_max_us: int | None
    application_time_buckets: list[int]
    request_time: float
    request_time_min_us: int | None
    request_time_max_us: int | None
    request_time_buckets: list[int]
    gil_wait_time: float
    gil_wait_time_min_us: int | None
    gil_wait_time_max_us: int | None
    gil_wait_time_buckets: list[int]
    input_read_time: float
    input_read_time_min_us: int | None
    input_read_time_max_us: int | None
    input_read_time_buckets: list[int]
    output_write_time: float
    output_write_time_min_us: int | None
    output_write_time_max_us: int | None
    output_write_time_buckets: list[int]
    request_threads_completed: list[int]
    request_threads_buckets: list[int]
    request_threads_busy_time: list[float]
    request_threads_cpu_time: list[float]
    request_threads_current_elapsed: list[float]
    request_threads_max_duration: list[float]

class _ThreadMetrics(TypedDict):
    thread_id: int
    request_count: int

class _ProcessMetrics(TypedDict):
    pid: int
    request_count: int
    request_busy_time: float
    memory_rss: int
    memory_max_rss: int
    cpu_user_time: float
    cpu_system_time: float
    cpu_time: float
    restart_time: float
    current_time: float
    running_time: int
    request_threads: int
    active_requests: int
    threads: list[_ThreadMetrics]

class _ServerThread(TypedDict):
    thread_num: int
    generation: int
    status: str
    access_count: int
    bytes_served: int
    start_time: float
    stop_time: float
    last_used: float
    client: str
    request: str
    vhost: str

class _ServerChild(TypedDict):
    process_num: int
    pid: int
    generation: int
    quiescing: bool
    workers: list[_ServerThread]

class _ServerMetrics(TypedDict):
    server_limit: int
    thread_limit: int
    running_generation: int
    restart_time: float
    current_time: float
    running_time: int
    processes: list[_ServerChild]

def start_recording_metrics() -> None: ...
def request_metrics() -> _RequestMetrics | None: ...
def process_metrics() -> _ProcessMetrics | None: ...
def server_metrics() -> _ServerMetrics | None: ...
