#!/usr/bin/python3
"""Writes the seeds of the fuzzer into corpus/: small files that between them reach every kind of
record and every way of reading one. Run it after the format has grown."""
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(HERE, "..", "analyzer"))

import htl  # noqa: E402  (found beside the tests of the analyzer)

HOSTILE = "<script>alert(1)</script>\"'&\x1b[31m\u202e\n,;=%s"


def every_kind():
    f = htl.File()
    f.settings(leak_threshold="2.0", static_allocator="1", interval="1s")
    f.module(1, "/nonexistent/a", b"\x01\x02\x03", flags=htl.MAIN)
    f.tag(1, "pid").stack(1, [(1, 16), (htl.NO_MODULE, 99)]).site(1, 1, 1)
    f.history(1, [(0.1, 5, 9, 100, 10, 1), (0.2, 6, 9, 200, 20, 2)])
    f.history(htl.NO_MODULE, [(0.1, 1 << 20, 1 << 20, 0, 0, 0)])
    f.history(1, [(0.1, 1, 2, 3, 4, 5), (0.3, 2, 2, 4, 5, 5)], flags=1)
    for t in range(1, 4):
        f.tick(t, rss=1 << 24, left_out=(1, 50),
               tags={1: dict(allocated=(100 * t, t), made=t, cycles=2 * t)},
               sites={1: dict(allocated=(100 * t, t))})
    for state in range(3):
        f.alert(3, tag=1, kind=1 + state, state=state, severity=state, values=(1, 2, 3, 4),
                message="tag pid grows")
    f.record(200, b"from the future")
    f.snapshot(4, tags={1: dict(allocated=(400, 4), made=4)}, sites={1: dict(allocated=(400, 4))})
    return f.end(4)


def merged():
    """Sites that move to another tag and stack and become one; a module that is described again."""
    f = htl.File().module(1, "/nonexistent/a").module(2, "/nonexistent/a", generation=1)
    f.tag(1, "pid").tag(2, "sta").tag(1, "pid again")
    f.stack(1, [(1, 16)]).stack(2, [(2, 16)]).stack(3, [], flags=htl.FALLBACK | htl.CUT)
    f.site(1, 1, 1).site(2, 2, 2).site(3, 3, 2)
    f.tick(1, tags={1: dict(allocated=(10, 1)), 2: dict(allocated=(9, 1))},
           sites={1: dict(allocated=(10, 1)), 2: dict(allocated=(9, 1))})
    f.site(2, 2, 1).module(1, "/nonexistent/a", flags=htl.CLOSED).module(2, "[vdso]")
    f.tick(2, tags={1: dict(allocated=(20, 2))}, sites={1: dict(allocated=(12, 1)),
                                                        2: dict(allocated=(9, 1), freed=(9, 1))})
    return f


def hostile():
    f = htl.File(exe="/tmp/" + HOSTILE, host=HOSTILE)
    f.settings(leak_threshold=HOSTILE, tag=HOSTILE)
    f.module(1, b"/nonexistent/" + HOSTILE.encode()).module(2, b"\xff\xfe\xc0\xaf")
    f.tag(1, HOSTILE).tag(2, b"\xed\xa0\x80\xff").tag(3, "\u4e2d" * 42)
    f.stack(1, [(1, 16), (2, 2**64 - 1), (htl.NO_MODULE, 0)]).site(1, 1, 1).site(2, 1, 3)
    f.alert(1, tag=1, values=(float("nan"), float("inf"), -1e308, 5e-324), message=HOSTILE)
    f.snapshot(1, rss=2**63, total=htl.figures((2**64 - 1, 9)),
               tags={n: dict(allocated=(2**64 - 1, 2**63), made=1) for n in (1, 3)},
               sites={1: dict(allocated=(2**64 - 1, 2**63)), 2: dict(allocated=(2**40, 7))})
    return f.end(1)


def leak(ticks, per_tick, saw=0):
    """A past that is long enough to be judged."""
    f = htl.File()
    f.settings(leak_threshold="1.0", interval="60s", warmup="60s")
    f.module(1, "/nonexistent/plant").tag(1, "classical").stack(1, [(1, 64), (1, 32)])
    f.site(1, 1, 1)
    for t in range(1, ticks + 1):
        size = per_tick * t + saw * (t % 7)
        f.tick(60 * t, rss=(1 << 24) + size,
               tags={1: dict(allocated=(size + t, 2 * t), freed=(t, t), made=t, cycles=3 * t)},
               sites={1: dict(allocated=(size, t))})
    f.snapshot(60 * ticks + 1, tags={1: dict(allocated=(per_tick * ticks, ticks), made=ticks)},
               sites={1: dict(allocated=(per_tick * ticks, ticks))})
    return f.end(60 * ticks + 2)


def deep():
    f = htl.File().module(1, "/nonexistent/a").tag(1, "pid")
    f.stack(1, [(1, 16 * i + 1) for i in range(200)], flags=htl.CUT).site(1, 1, 1)
    return f.snapshot(1, tags={1: dict(allocated=(8, 1))}, sites={1: dict(allocated=(8, 1))})


def torn():
    f = every_kind()
    del f.data[-30:]
    return f


def undescribed():
    f = htl.File().stack(1, [(9, 16)]).site(1, 1, 9).site(2, 9, 9).history(5, [], flags=1)
    return f.snapshot(1, tags={9: dict(allocated=(3, 3), freed=(4, 4)), 8: {}},
                      sites={1: dict(allocated=(1, 1)), 3: dict(allocated=(1, 1))}).end(1, reason=9)


def grown():
    """Strides of a later version."""
    f = htl.File(compatible=7).module(1, "/nonexistent/a").tag(1, "pid")
    f.stack(1, [(1, 16), (1, 32)], extra=8).site(1, 1, 1)
    return f.snapshot(1, extra=24, tags={1: dict(allocated=(10, 1))},
                      sites={1: dict(allocated=(10, 1))}).end(1)


SEEDS = {
    "empty": lambda: htl.File(),
    "every_kind": every_kind,
    "merged": merged,
    "hostile": hostile,
    "leak": lambda: leak(40, 4096),
    "sawtooth": lambda: leak(30, 0, 1000),
    "deep": deep,
    "torn": torn,
    "undescribed": undescribed,
    "grown": grown,
    "controllers": lambda: htl.controllers(),
}


def main():
    for name, make in SEEDS.items():
        make().write(os.path.join(HERE, "corpus", name + ".htl"))


if __name__ == "__main__":
    main()
