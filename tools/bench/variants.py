"""What the benchmarks compare: a name, what is preloaded, and how it is set up.

The first three are always measured. The others are exact heap profilers that are measured with
--others, each only where it is installed; their ratios include the allocator that they bring.
"""

import os
import tempfile

FORWARDER = os.environ.get("BENCH_FORWARDER", "")
LIBRARY = os.environ.get("BENCH_LIBRARY", "")

scratch = tempfile.TemporaryDirectory(prefix="tally-bench-")


def installed(*names):
    """The first of these libraries that is there, by soname or by path."""
    for name in names:
        if os.path.isabs(name) and os.path.exists(name):
            return name
        for directory in ("/usr/lib/x86_64-linux-gnu", "/lib/x86_64-linux-gnu", "/usr/lib64"):
            path = os.path.join(directory, name)
            if os.path.exists(path):
                return path
    return None


def environment(preload, **settings):
    env = {k: v for k, v in os.environ.items()
           if not k.startswith(("LD_PRELOAD", "HEAPTALLY_", "MALLOC_"))}
    if preload:
        env["LD_PRELOAD"] = preload
    env.update(settings)
    return env


def always():
    """[(name, environment)] of plain, forwarder and heaptally."""
    return [
        ("plain", environment(None)),
        ("forwarder", environment(FORWARDER)),
        ("heaptally", environment(LIBRARY,
                                  HEAPTALLY_OUTPUT=os.path.join(scratch.name, "%e-%p-%n.htl"),
                                  HEAPTALLY_RUNDIR=os.path.join(scratch.name, "run"))),
    ]


def others():
    """([(name, environment)], [names that are not installed])."""
    profile = os.path.join(scratch.name, "profile")
    wanted = (
        ("heaptrack", ("/usr/lib/heaptrack/libheaptrack_preload.so",
                       "/usr/lib/x86_64-linux-gnu/heaptrack/libheaptrack_preload.so"),
         {"DUMP_HEAPTRACK_OUTPUT": "/dev/null"}),
        ("gperftools", ("libtcmalloc.so.4",),
         {"HEAPPROFILE": profile, "HEAP_PROFILE_ALLOCATION_INTERVAL": "0",
          "HEAP_PROFILE_INUSE_INTERVAL": "0"}),
        ("jemalloc prof", ("libjemalloc.so.2",),
         {"MALLOC_CONF": f"prof:true,lg_prof_sample:0,prof_prefix:{profile}"}),
    )
    found, missing = [], []
    for name, libraries, settings in wanted:
        path = installed(*libraries)
        if path:
            found.append((name, environment(path, **settings)))
        else:
            missing.append(name)
    return found, missing
