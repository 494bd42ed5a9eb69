#!/usr/bin/env python3
"""How long the cycles of a control loop take, side by side: see latency.c.

Two loops: one that computes between its cycles, and one that sleeps for a millisecond, so that each
of its cycles begins with cold caches. In each round every variant runs for a short while, one after
the other. Percentiles are of the cycles of all rounds; ratios are also given as the median of those
within a round: what the machine does beside may last for a whole run of one variant, and one in 25
of them is enough to be the p99 of all. "no allocator" are cycles that spin for as long as
heaptally's median: timer ticks, of this system or its host, hit long cycles more often than short
ones, and where they hit one in a thousand, p99.9 is the tick. Nothing is asserted: a machine is
what it is.
"""

import argparse
import array
import itertools
import os
import statistics
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


def ratios(mine, its):
    return [m / i for m, i in zip(mine, its)]


def show_ratios(name, values):
    print(f"{name:14} " + " ".join(f"{v:9.2f}" for v in values), flush=True)


def compare(title, rounds, cycles, sleep_us, chosen):
    names = [name for name, _ in chosen] + [NOBODY]
    measured = {name: [] for name in names}  # the cycles of each round
    for i in range(rounds):
        first = i % len(chosen)  # each variant comes after each other one
        for name, env in chosen[first:] + chosen[:first]:
            latest = measure(cycles, sleep_us, env)
            measured[name].append(latest)
            if name == "heaptally":
                measured[NOBODY].append(measure(cycles, sleep_us, variants.environment(None),
                                                percentiles(latest)[0]))
    pooled = {name: percentiles(itertools.chain(*measured[name])) for name in names}
    each = {name: [percentiles(values) for values in measured[name]] for name in names}
    print(f"{title}: {rounds} rounds of {cycles} cycles")
    print(f"{'ns a cycle':14} " + " ".join(f"{c:>9}" for c, _ in SHARES) + f" {'cycles':>8}")
    for name in names:
        print(f"{name:14} " + " ".join(f"{v:9}" for v in pooled[name])
              + f" {sum(map(len, measured[name])):8}")
    print("x forwarder, all rounds together")
    for name in names:
        show_ratios(name, ratios(pooled[name], pooled["forwarder"]))
    print("x forwarder, the median of the rounds")
    for name in names:
        found = (ratios(mine, its) for mine, its in zip(each[name], each["forwarder"]))
        show_ratios(name, map(statistics.median, zip(*found)))


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
