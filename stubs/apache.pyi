"""Types of the module `apache`, which exists inside of the server only."""

version: tuple[int, int, int]
description: str
mpm_name: str
build_date: str
maximum_processes: int
threads_per_process: int
