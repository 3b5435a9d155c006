# What telemetry tells of the garbage collector of the main interpreter. Run in the namespace of the prelude, once in each
# interpreter. Nothing is noted unless watch_collections() is called.

# How many collections are noted at most until they are told, and how many are told at a time.
_NOTED, _TOLD = 256, 64
_collections, _left_out = [], [0]


def watch_collections():
    """From now on each collection of this interpreter is noted."""
    import gc
    import time

    begun = [0, 0]

    # What it needs is bound here: Python calls it at its end as well, when modules are empty.
    def note(phase, info, *, noted=_collections, left_out=_left_out, limit=_NOTED, clock=time.monotonic_ns,
             wall=time.time_ns, count=len):
        if phase == 'start':
            begun[:] = wall() // 1000, clock()
        elif begun[1]:
            if count(noted) < limit:
                pause = (clock() - begun[1]) // 1000
                noted.append((begun[0], pause, info['generation'], info['collected'], info['uncollectable']))
            else:
                left_out[0] += 1

    gc.callbacks.append(note)


def collections():
    """The switch interval in microseconds, the collector's state, and the collections since the last call, as numbers."""
    import gc

    noted = _collections[:_TOLD]
    del _collections[:len(noted)]
    stats = gc.get_stats()
    numbers = [int(sys.getswitchinterval() * 1e6)]
    for three in gc.get_count(), gc.get_threshold():
        numbers += (*three, 0, 0, 0)[:3]
    for name in 'collections', 'collected', 'uncollectable':
        numbers += [*(generation[name] for generation in stats), 0, 0, 0][:3]
    numbers += [gc.isenabled(), gc.get_freeze_count(), _left_out[0]]
    for event in noted:
        numbers += event
    return [int(number) for number in numbers]
