#!/usr/bin/env python3
"""How long the cycles of a control loop take, side by side: see latency.c.

Each round runs every variant once; ratios to the forwarder are taken within the round, and the
table shows medians over the rounds. Nothing is asserted: a machine is what it is.
"""

import argparse
import os
import statistics
import subprocess
import sys

import variants

LATENCY = os.environ.get("BENCH_LATENCY", "")
COLUMNS = ("p50", "p99", "p99.9", "p99.99", "longest")


def measure(cycles, env):
    done = subprocess.run([LATENCY, str(cycles)], env=env, stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=600, check=True)
    return [float(word) for word in done.stdout.split()]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=int(os.environ.get("BENCH_ROUNDS", "7")))
    parser.add_argument("--cycles", type=int, default=200000)
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
    rounds = [{name: measure(options.cycles, env) for name, env in chosen}
              for _ in range(options.rounds)]
    print(f"{'ns a cycle':14} " + " ".join(f"{c:>9}" for c in COLUMNS) + f" {'cycles':>8}")
    for name, _ in chosen:
        values = [statistics.median(r[name][i] for r in rounds) for i in range(len(COLUMNS) + 1)]
        print(f"{name:14} " + " ".join(f"{v:9.0f}" for v in values[:-1]) + f" {values[-1]:8.0f}")
    print("x forwarder")
    for name, _ in chosen:
        ratios = [statistics.median(r[name][i] / r["forwarder"][i] for r in rounds)
                  for i in range(len(COLUMNS))]
        print(f"{name:14} " + " ".join(f"{v:9.2f}" for v in ratios))


if __name__ == "__main__":
    main()
