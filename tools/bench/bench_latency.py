#!/usr/bin/env python3
"""How long the cycles of a control loop take, side by side: see latency.c.

Two loops: one that computes between its cycles, and one that sleeps for a millisecond, so that each
of its cycles begins with cold caches. In each round every variant runs for a short while, one after
the other; percentiles are of the cycles of all rounds, so that what the machine does beside meets
all variants alike. "no allocator" are cycles that spin for as long as heaptally's median: timer
ticks, of this system or its host, hit long cycles more often than short ones, and where they hit
one in a thousand, p99.9 is the tick. Nothing is asserted: a machine is what it is.
"""

import argparse
import array
import os
import subprocess
import sys

import variants

LATENCY = os.environ.get("BENCH_LATENCY", "")
SHARES = (("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999), ("p99.99", 0.9999), ("longest", 1.0))
NOBODY = "no allocator"


def measure(cycles, sleep_us, env, spin_ns=0):
    """Nanoseconds of each cycle."""
    done = subprocess.run([LATENCY, str(cycles), str(sleep_us), str(spin_ns)], env=env,
                          stdin=subprocess.DEVNULL, capture_output=True, timeout=600, check=True)
    return array.array("I", done.stdout)


def percentiles(cycles):
    ordered = sorted(cycles)
    return [ordered[int(share * (len(ordered) - 1))] for _, share in SHARES]


def compare(title, rounds, cycles, sleep_us, chosen):
    pooled = {name: array.array("I") for name in [name for name, _ in chosen] + [NOBODY]}
    for _ in range(rounds):
        for name, env in chosen:
            latest = measure(cycles, sleep_us, env)
            pooled[name].extend(latest)
            if name == "heaptally":
                pooled[NOBODY].extend(measure(cycles, sleep_us, variants.environment(None),
                                              percentiles(latest)[0]))
    found = {name: percentiles(values) for name, values in pooled.items()}
    print(f"{title}: {rounds} rounds of {cycles} cycles")
    print(f"{'ns a cycle':14} " + " ".join(f"{c:>9}" for c, _ in SHARES) + f" {'cycles':>8}")
    for name, values in found.items():
        print(f"{name:14} " + " ".join(f"{v:9}" for v in values) + f" {len(pooled[name]):8}")
    print("x forwarder")
    for name in found:
        print(f"{name:14} " + " ".join(f"{v / f:9.2f}" for v, f in
                                       zip(found[name], found["forwarder"])), flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=int(os.environ.get("BENCH_ROUNDS", "25")))
    parser.add_argument("--cycles", type=int, default=20000)
    parser.add_argument("--others", action="store_true",
                        default=os.environ.get("BENCH_OTHERS") == "1",
                        help="also heaptrack, gperftools and jemalloc's profiler")
    options = parser.parse_args()
    if not os.path.exists(variants.LIBRARY):
        print("SKIP all: libheaptally.so is not built")
        sys.exit(77)
    chosen = variants.always()
    if options.others:
        found, missing = variants.others()
        chosen += found
        for name in missing:
            print(f"SKIP {name}: not installed")
    compare("a loop that computes", options.rounds, options.cycles, 0, chosen)
    compare("a loop that sleeps", options.rounds, max(1, options.cycles // 20), 1000, chosen)


if __name__ == "__main__":
    main()
