#!/usr/bin/env python3
"""What heaptally costs against an empty forwarder, both in one process: see beside.c.

Medians over the processes' own medians. On a machine whose neighbours are busy these ratios move
less from run to run than those of bench.py, where every variant is a process of its own. Nothing is
asserted: a machine is what it is.
"""

import argparse
import collections
import os
import statistics
import subprocess
import sys

import variants

BESIDE = os.environ.get("BENCH_BESIDE", "")
WORKLOADS = ("hot4", "hot24", "million", "cycles")


def measure(workload, rounds, env):
    """{quantity: ratio} of one process."""
    done = subprocess.run([BESIDE, workload, str(rounds), variants.FORWARDER], env=env,
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=600,
                          check=True)
    return {name: float(ratio) for name, ratio in map(str.split, done.stdout.splitlines())}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--processes", type=int, default=int(os.environ.get("BENCH_ROUNDS", "7")))
    parser.add_argument("--rounds", type=int, default=60, help="within each process")
    parser.add_argument("workloads", nargs="*", default=WORKLOADS)
    options = parser.parse_args()
    if not os.path.exists(variants.LIBRARY):
        print("SKIP all: libheaptally.so is not built")
        sys.exit(77)
    env = dict(variants.always())["heaptally"]
    print(f"{'quantity':12} {'x forwarder':>12} {'from':>8} {'to':>8}")
    for workload in options.workloads:
        found = collections.defaultdict(list)
        for _ in range(options.processes):
            for name, ratio in measure(workload, options.rounds, env).items():
                found[name].append(ratio)
        for name, ratios in found.items():
            print(f"{name:12} {statistics.median(ratios):12.2f} {min(ratios):8.2f} "
                  f"{max(ratios):8.2f}", flush=True)


if __name__ == "__main__":
    main()
