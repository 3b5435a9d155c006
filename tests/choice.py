"""Which of the tests are run. Called by conftest.

`--check` is what a developer runs before each commit: every test function on a server that its file shares, in both
modes but with the first of its parameters only, and of each file where each test has a server of its own those marked
`check`; where none is, the first. So a new file is part of it without being named anywhere.
"""

import pythons

MPMS = ("event", "prefork", "worker")


def mpms(marked, chosen):
    """The MPMs of a test: those it is marked for, of those that were chosen."""
    wanted = list(marked or chosen or ["event"])
    if not chosen:
        return wanted
    if "event" not in chosen and "worker" in chosen:
        # What needs threads in a child is shown by one of the two.
        wanted = ["worker" if mpm == "event" else mpm for mpm in wanted]
    return [mpm for mpm in dict.fromkeys(wanted) if mpm in chosen]


def on_shared_server(item):
    """Its server is one of the whole file: a fixture of the module's scope starts it."""
    found = item._fixtureinfo.name2fixturedefs
    return any(name not in ("mpm", "mode") and definitions[-1].scope == "module"
               for name, definitions in found.items() if name in item.fixturenames)


def first_ones(items):
    """Of each function the first in each mode."""
    seen = {}
    for item in items:
        params = item.callspec.params if hasattr(item, "callspec") else {}
        seen.setdefault((item.originalname, params.get("mode")), item)
    return list(seen.values())


def for_check(items):
    """The part that `--check` runs."""
    files = {}
    for item in items:
        files.setdefault(item.path, []).append(item)
    chosen = []
    for of_file in files.values():
        shared = [item for item in of_file if on_shared_server(item)]
        own = [item for item in of_file if item not in shared]
        marked = [item for item in own if item.get_closest_marker("check")]
        if not marked and not shared:
            marked = [item for item in own if item.originalname == own[0].originalname]
        chosen += first_ones(shared) + first_ones(marked)
    chosen = set(chosen)
    return [item for item in items if item in chosen]


def missing_pythons():
    """Versions that CI must have and this machine does not."""
    return [version for version in pythons.CI_VERSIONS if version not in pythons.candidates()]
