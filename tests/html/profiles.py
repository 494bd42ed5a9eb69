"""Snapshot files for the tests of the HTML report: one to look at, one hostile, one large."""
import math
import os
import re
import shutil
import subprocess
import sys

sys.path.insert(0, os.environ.get("ANALYZER_SOURCE", ""))
# pylint: disable=wrong-import-position
import driver  # noqa: E402
import htl  # noqa: E402

MAKER = os.environ.get("LARGE_MAKER", "")

HOSTILE = {
    "script": "<script>window.hurt=1</script>",
    "image": "<img src=x onerror=window.hurt=2>",
    "end": "</script><script>window.hurt=3</script>",
    "comment": "<!--<script>",
    "quotes": "\"'`><b>bold</b>",
    "entity": "&lt;i&gt; &amp; &#60;",
    "lines": "one\u2028two\u2029three",
    "json": "\\\"}],\\u003cscript\\u003e",
    "template": "${window.hurt=4} {{hurt}} @DATA@ @SCRIPT@",
    "direction": "abc\u202etxt.exe",
    "proto": "__proto__",
    "long": "long_" * 25,
}
# The analyzer cleans what turns the direction of writing.
SHOWN = {name.replace("\u202e", "\ufffd") for name in HOSTILE.values()}


def hostile_library(directory):
    """A library whose functions have those names; its path, and the functions' offsets. None where
    there is no assembler."""
    if not shutil.which("as") or not shutil.which("ld"):
        return None
    path = os.path.join(directory, "lib<b>'\"&.so")
    names = [n for n in HOSTILE.values() if not set(n) & set('\\"@')]  # what a linker takes
    names.append("very_" * 4000 + "long")
    with open(path + ".s", "w", encoding="utf-8") as out:
        out.write(".text\n")
        for name in names:
            out.write(f'.globl "{name}"\n.type "{name}", @function\n"{name}":\n.fill 64,1,0x90\n'
                      f'.size "{name}", 64\n')
    for command in (["as", "-o", path + ".o", path + ".s"],
                    ["ld", "-shared", "-o", path, path + ".o"]):
        if subprocess.run(command, stderr=subprocess.DEVNULL, check=False).returncode:
            return None
    listing = subprocess.run(["readelf", "-SW", path], capture_output=True, text=True, check=True)
    start = int(re.search(r" \.text +PROGBITS +(\S+)", listing.stdout)[1], 16)
    return path, [start + 64 * i + 9 for i in range(len(names))]


def hostile(directory):
    """Every name that a profile carries is an attempt to be more than text."""
    f = htl.File(exe="/opt/" + HOSTILE["end"], host=HOSTILE["image"])
    f.record(htl.SETTINGS, "".join(f"{v}={v}\n" for v in HOSTILE.values()).encode())
    library = hostile_library(directory)
    f.module(1, "/opt/" + HOSTILE["script"] + "/" + HOSTILE["quotes"], flags=htl.MAIN)
    if library:
        f.module(2, library[0])
    else:
        print("no assembler: functions have no names")
    tags, sites = {}, {}
    for number, name in enumerate(HOSTILE.values(), 1):
        f.tag(number, name)
        frames = [(2, offset) for offset in library[1]] if library else []
        f.stack(number, [*frames[number % 5:], (1, 64 * number)])
        f.site(number, number, number)
        tags[number] = sites[number] = dict(allocated=(1000 * number, number))
    for t in (1, 2, 3):
        f.tick(t, rss=50 * htl.MB, tags=tags)
    f.snapshot(4, rss=51 * htl.MB, tags=tags, sites=sites)
    for number, name in enumerate(HOSTILE.values(), 1):
        f.alert(number / 4, tag=number, kind=number, message=name)
    return f.end(5)


def rich(hours=3, step=30):
    """Three hours of a plant: a planner that leaks, a camera that fills its cache, control loops
    that come and go, and an alert or two."""
    f = htl.File(exe="/opt/plant/bin/plant-controller", host="rig-07", pid=3117)
    f.settings(leak_threshold="1.0", interval="30s", static_allocator="0", stacks="full")
    for number, (path, flags) in enumerate((("/opt/plant/bin/plant-controller", htl.MAIN),
                                            ("/usr/lib/libc.so.6", htl.RUNTIME),
                                            ("/opt/plant/lib/libplanner.so.2", 0),
                                            ("/opt/plant/lib/libvision.so.1", 0),
                                            ("/opt/plant/lib/libpid.so", 0)), 1):
        f.module(number, path, flags=flags, build_id=bytes([number] * 20))
    names = ("planner", "vision", "pid", "logger", "safety")
    for number, name in enumerate(names, 1):
        f.tag(number, name)
    owners = {}  # site: (tag, share of its tag)
    shares = {1: (0.7, 0.2, 0.1), 2: (0.5, 0.25, 0.15, 0.1), 3: (0.6, 0.4), 4: (0.9, 0.1), 5: (1,)}
    for tag, parts in shares.items():
        module = {1: 3, 2: 4, 3: 5}.get(tag, 1)
        for i, share in enumerate(parts):
            number = len(owners) + 1
            owners[number] = (tag, share)
            f.stack(number, [(2, 0x9000), (module, 0x1000 + 64 * number), (module, 0x800 + 32 * i),
                             (1, 0x4000 + 16 * tag), (1, 0x3000), (2, 0x2700)])
            f.site(number, number, tag)

    def live(tag, t):
        hour = t / 3600
        return int(htl.MB * {1: 3 + 9 * hour, 2: 24 * (1 - math.exp(-3 * hour)),
                             3: 4 + 3 * (t // step % 20) / 20, 4: 1.5 + 0.5 * math.sin(hour * 5),
                             5: 0.6}[tag])

    def figures(bytes_, t):
        turnover = int(t * 20000)
        return dict(allocated=(bytes_ + turnover, bytes_ // 256 + turnover // 300),
                    freed=(turnover, turnover // 300))

    ticks = hours * 3600 // step
    for i in range(1, ticks + 1):
        t = i * step
        tags = {tag: {**figures(live(tag, t), t), "made": 40 * i if tag in (1, 3) else htl.UNKNOWN}
                for tag in shares}
        sites = {n: figures(int(live(tag, t) * share), t) for n, (tag, share) in owners.items()}
        rss = 22 * htl.MB + int(1.15 * sum(live(tag, t) for tag in shares))
        make = f.snapshot if i == ticks else f.tick
        make(t, rss=rss, own=5500000, tags=tags, sites=sites)
    f.alert(0.45 * hours * 3600, tag=1, kind=4, severity=1,
            message="WARNING per_1000 planner 7.4 MB per 1000 instantiations, limit 1.0")
    f.alert(0.8 * hours * 3600, tag=1, kind=5, severity=2, state=1,
            message="CRITICAL leak planner +9.0 MB/h [8.9, 9.1], 24.6 MB live")
    f.alert(0.62 * hours * 3600, tag=2, kind=3, state=2, severity=0,
            message="INFO tag_growth vision: below its threshold again")
    return f.end(hours * 3600)


def big(directory, ticks=86400, sites=5000):
    """A day with a tick each second; its path, or None where it cannot be made."""
    if not os.path.exists(MAKER) or not shutil.which("readelf"):
        return None
    with open("/proc/self/maps", encoding="utf-8") as maps:
        libc = next(line.split()[-1] for line in maps if re.search(r"/libc[.-][^/]*$", line))
    listing = subprocess.run(["readelf", "-SW", libc], capture_output=True, text=True, check=True)
    _, start, _, size = re.search(r" \.text +(\S+) +(\S+) (\S+) (\S+)", listing.stdout).groups()
    path = os.path.join(directory, "big.htl")
    subprocess.run([MAKER, path, str(ticks), str(sites), libc, "0x" + start, "0x" + size],
                   check=True)
    return path
