"""Runs a program as systemd's sandbox would: the unit of Debian's apache2 from 2.4.65-4 on, as far as a test can.

    hardened.py [no-new-privileges] [write-execute] [home] [system] [proc] -- PROGRAM ARGUMENT...

write-execute is MemoryDenyWriteExecute=yes, home is ProtectHome=read-only, system is ProtectSystem=full, proc is
ProtectProc=invisible with ProcSubset=pid. The last three need root.
"""

import ctypes
import os
import subprocess
import sys

PR_SET_NO_NEW_PRIVS, PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN = 38, 65, 1
CLONE_NEWNS, MS_SLAVE, MS_REC, MS_BIND, MS_REMOUNT, MS_RDONLY = 0x20000, 1 << 19, 1 << 14, 1 << 12, 1 << 5, 1

libc = ctypes.CDLL(None, use_errno=True)


def call(name, *arguments):
    arguments = [a.encode() if isinstance(a, str) else a for a in arguments]
    if getattr(libc, name)(*arguments) != 0:
        errno = ctypes.get_errno()
        raise OSError(errno, f"{name}: {os.strerror(errno)}")


def read_only(*places):
    for place in filter(os.path.isdir, places):
        call("mount", place, place, None, MS_BIND | MS_REC, None)
        call("mount", None, place, None, MS_BIND | MS_REMOUNT | MS_RDONLY, None)


def harden(options):
    if {"home", "system", "proc"} & set(options):
        call("unshare", CLONE_NEWNS)
        call("mount", None, "/", None, MS_SLAVE | MS_REC, None)
    if "home" in options:
        read_only("/home", "/root")
    if "system" in options:
        read_only("/usr", "/boot", "/etc")
    if "proc" in options:
        call("mount", "proc", "/proc", "proc", 0, "hidepid=invisible,subset=pid")
    if "write-execute" in options:
        call("prctl", PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN, 0, 0, 0)
    if "no-new-privileges" in options:
        call("prctl", PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)


def works(*options):
    """Whether this system can do it."""
    command = ["/usr/bin/python3", os.path.abspath(__file__), *options, "--", "/bin/true"]
    return subprocess.run(command, capture_output=True).returncode == 0


if __name__ == "__main__":
    at = sys.argv.index("--")
    harden(sys.argv[1:at])
    os.execv(sys.argv[at + 1], sys.argv[at + 1:])
