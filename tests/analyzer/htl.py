"""Writes snapshot files from a description: a second, independent reading of the format.

A file is built record by record; `File.ends` keeps where each record ends, so that a test knows
what a reader must still find in a file that was cut.
"""
import struct

MAGIC = b"\x89HTL\r\n\x1a\n"
UNKNOWN = 2**64 - 1
NO_MODULE = 2**32 - 1

SETTINGS, MODULE, TAG, STACK, SITE, TICK, SNAPSHOT, HISTORY, ALERT, END, REGION = range(1, 12)
REQUIRED = 1
MAIN, RUNTIME, SKIPPED, CLOSED = 1, 2, 4, 8
EXPLICIT, RULE, DEFAULT = 1, 2, 3
CUT, FALLBACK = 1, 2

KB = 1 << 10
MB = 1 << 20
SECOND = 10**9


def _crc_table():
    table = []
    for byte in range(256):
        crc = byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
        table.append(crc)
    return table


_TABLE = _crc_table()


def crc32c(data, crc=0):
    crc ^= 0xFFFFFFFF
    for byte in data:
        crc = _TABLE[(crc ^ byte) & 255] ^ crc >> 8
    return crc ^ 0xFFFFFFFF


def pad8(data):
    return data + bytes(-len(data) % 8)


def figures(allocated=(0, 0), freed=(0, 0)):
    """(bytes, blocks) allocated and freed."""
    return struct.pack("<4Q", *allocated, *freed)


class File:
    def __init__(self, exe="/usr/bin/plant", host="rig", pid=4242, start_real=1700000000 * SECOND,
                 start=1000 * SECOND, version=1, compatible=0, incompatible=0, magic=MAGIC, parent=1):
        self.start = start
        self.start_real = start_real
        self.sequence = 0
        names = exe.encode() + host.encode()
        size = -(-(64 + len(names)) // 8) * 8

        def header(crc):
            return pad8(struct.pack("<8sHHIIIIIQQIHHII", magic, version, 62, size, compatible,
                                    incompatible, pid, parent, start_real, start, 4096,
                                    len(exe.encode()), len(host.encode()), 0, crc) + names)

        self.data = bytearray(header(crc32c(header(0))))
        self.ends = []

    def record(self, kind, payload, flags=0):
        head = struct.pack("<HHIII", kind, flags, len(payload), 0, 0)
        crc = crc32c(payload, crc32c(head))
        self.data += pad8(struct.pack("<HHIII", kind, flags, len(payload), crc, 0) + payload)
        self.ends.append(len(self.data))
        return self

    def settings(self, **values):
        text = "".join(f"{key.replace('_', '-')}={value}\n" for key, value in values.items())
        return self.record(SETTINGS, text.encode())

    def module(self, number, path, build_id=b"", flags=0, bias=0, generation=0, soname=b""):
        path = path.encode() if isinstance(path, str) else path
        return self.record(MODULE, struct.pack("<IIIHHQQQ", number, generation, flags,
                                               len(build_id),
                                               len(path), bias, bias, bias + 0x100000)
                           + build_id + path + soname)

    def tag(self, number, name, kind=EXPLICIT):
        name = name.encode() if isinstance(name, str) else name
        return self.record(TAG, struct.pack("<IHH", number, kind, len(name)) + name)

    def stack(self, number, frames, flags=0, extra=0):
        """`frames` is a list of (module, offset); `extra` bytes make each frame longer than
        known."""
        body = b"".join(struct.pack("<IIQ", m, 0, o) + b"\xaa" * extra for m, o in frames)
        head = struct.pack("<IIII", number, flags, len(frames), 16 + extra)
        return self.record(STACK, head + body)

    def site(self, number, stack, tag, flags=0, region=0):
        return self.record(SITE, struct.pack("<IIIHH", number, stack, tag, flags, region))

    def region(self, number, name, allocations, size):
        """A region without allocations, and what was allocated in it all the same."""
        return self.record(REGION, struct.pack("<HHIQQ", number, len(name.encode()), 0,
                                               allocations, size) + name.encode())

    def tick(self, t, tags=(), sites=(), rss=UNKNOWN, total=None, fallback=None, foreign=(0, 0),
             overruns=0, own=0, dropped=0, truncated=0, left_out=(0, 0), flags=0, kind=TICK,
             extra=0):
        """`t` in seconds; tags: {id: dict(allocated, freed, low, peak, made, cycles)}, sites:
        {id: dict(allocated, freed)}; pairs are (bytes, blocks)."""
        self.sequence += 1
        tags, sites = dict(tags), dict(sites)
        if total is None:
            source = sites if kind == SNAPSHOT else tags
            sums = [[sum(v.get(k, (0, 0))[i] for v in source.values()) for i in (0, 1)]
                    for k in ("allocated", "freed")]
            total = figures(*sums)
        body = b""
        for number, v in tags.items():
            allocated, freed = v.get("allocated", (0, 0)), v.get("freed", (0, 0))
            live = max(0, allocated[0] - freed[0])
            body += struct.pack("<II", number, 0) + figures(allocated, freed)
            body += struct.pack("<4Q", v.get("low", live), v.get("peak", live),
                                v.get("made", UNKNOWN), v.get("cycles", UNKNOWN))
            body += b"\xbb" * extra
        for number, v in sites.items():
            body += struct.pack("<II", number, 0)
            body += figures(v.get("allocated", (0, 0)), v.get("freed", (0, 0))) + b"\xcc" * extra
        ns = int(t * SECOND)
        head = struct.pack("<3QIIQ", self.sequence, self.start + ns, self.start_real + ns, flags, 0,
                           rss)
        head += total + (fallback or figures())
        head += struct.pack("<6Q", *foreign, overruns, own, dropped, truncated)
        head += struct.pack("<4I2Q", len(tags), 72 + extra, len(sites), 40 + extra, *left_out)
        assert len(head) == 184
        return self.record(kind, head + body)

    def snapshot(self, t, **arguments):
        return self.tick(t, kind=SNAPSHOT, **arguments)

    def history(self, subject, points, flags=0):
        """Points are (seconds, low, high, allocated bytes, allocated blocks, freed blocks)."""
        body = b"".join(struct.pack("<8Q", int(p[0] * SECOND), *p[1:], UNKNOWN, UNKNOWN)
                        for p in points)
        return self.record(HISTORY, struct.pack("<IIII", subject, flags, len(points), 64) + body)

    def alert(self, t, tag=NO_MODULE, kind=1, state=0, severity=1, values=(0, 0, 0, 0), message=""):
        text = message.encode()
        ns = int(t * SECOND)
        return self.record(ALERT, struct.pack("<QQIHBB4dII", self.start + ns, self.start_real + ns,
                                              tag, kind, state, severity, *values, len(text), 0)
                           + text)

    def end(self, t, reason=1):
        ns = int(t * SECOND)
        times = self.start + ns, self.start_real + ns
        return self.record(END, struct.pack("<QQII", *times, reason, 0))

    def write(self, path):
        with open(path, "wb") as out:
            out.write(self.data)
        return path


def controllers(**header):
    """The file that most tests begin with: four controllers, of which one leaks 20,480 bytes with
    each of its 1,000 instantiations."""
    f = File(**header)
    f.settings(leak_threshold="1.0", interval="1s", static_allocator="0")
    f.module(1, "/nonexistent/plant", build_id=bytes(range(20)), flags=MAIN)
    f.module(2, "/nonexistent/libc.so.6", flags=RUNTIME)
    for number, name in enumerate(("classical", "adaptive", "sta", "hybrid"), 1):
        f.tag(number, name)
    f.stack(1, [(2, 0x9000), (1, 0x1234), (1, 0x2000)])
    f.stack(2, [(1, 0x3000), (1, 0x2000)], flags=CUT)
    f.stack(3, [(1, 0x3000)], flags=FALLBACK | CUT)
    for number, (stack, tag) in enumerate(((1, 1), (2, 1), (2, 2), (3, 3)), 1):
        f.site(number, stack, tag)
    for t in range(1, 13):
        made = min(1000, 100 * t)
        f.tick(t, rss=24 * MB + t * 4096, own=1500000,
               tags={1: dict(allocated=(20480 * made + 64, made + 1), freed=(64, 1), made=made,
                             cycles=10 * made),
                     2: dict(allocated=(1000 * t, t), freed=(1000 * t, t), peak=4000, made=made)},
               sites={1: dict(allocated=(20480 * made, made))})
    f.snapshot(12, rss=24 * MB + 12 * 4096, own=1500000, foreign=(3, 333), overruns=1,
               fallback=figures((2000, 2), (1000, 1)),
               tags={1: dict(allocated=(20480064, 1001), freed=(64, 1), made=1000, cycles=10000),
                     2: dict(allocated=(12000, 12), freed=(12000, 12), peak=4000, made=1000),
                     3: dict(allocated=(50000, 10), freed=(50000, 10), made=1000),
                     4: dict(made=1000)},
               sites={1: dict(allocated=(20480000, 1000)),
                      2: dict(allocated=(64, 1), freed=(64, 1)),
                      3: dict(allocated=(12000, 12), freed=(12000, 12)),
                      4: dict(allocated=(50000, 10), freed=(50000, 10))})
    f.end(12.5)
    return f
