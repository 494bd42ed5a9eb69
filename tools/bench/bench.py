#!/usr/bin/env python3
"""Nanoseconds of thread CPU time per malloc with its free, side by side.

Each round runs every variant once, one after the other, so that what the machine does meanwhile
strikes them all; the ratio to plain is taken within the round, and the table shows medians over
the rounds. Nothing is asserted: a machine is what it is.
"""

import argparse
import os
import statistics
import subprocess
import sys

import variants

PAIRS = os.environ.get("BENCH_PAIRS", "")

# Workload and how many pairs take some tenths of a second.
WORKLOADS = (("hot4", 8000000), ("hot24", 8000000), ("threads", 8000000), ("million", 1000000),
             ("pipe", 3000000))


def measure(workload, count, env):
    done = subprocess.run([PAIRS, workload, str(count)], env=env, stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=600, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{workload}: status {done.returncode}: {done.stderr.strip()}")
    return float(done.stdout), done.stderr


def rounds_of(workload, count, chosen, rounds):
    """{name: [ns per round]}; a variant that does not do what it should is left out and said."""
    ns = {name: [] for name, _ in chosen}
    usual = len(variants.always())
    for _ in range(rounds):
        for i, (name, env) in enumerate(chosen):
            # A profiler that takes microseconds a block shows so with fewer pairs.
            value, complaint = measure(workload, count if i < usual else count // 50, env)
            if "Invalid conf" in complaint:
                ns.pop(name, None)
                print(f"SKIP {name}: {complaint.strip().splitlines()[0]}")
                chosen = [c for c in chosen if c[0] != name]
                continue
            ns[name].append(value)
    return ns


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=int(os.environ.get("BENCH_ROUNDS", "7")))
    parser.add_argument("--scale", type=float, default=1.0, help="share of the usual pairs")
    parser.add_argument("--others", action="store_true",
                        default=os.environ.get("BENCH_OTHERS") == "1",
                        help="also heaptrack, gperftools and jemalloc's profiler")
    parser.add_argument("workloads", nargs="*")
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
    print(f"{'workload':10} {'variant':14} {'ns/pair':>9} {'lowest':>9} {'x plain':>8} "
          f"{'x forwarder':>12}")
    for workload, count in WORKLOADS:
        if options.workloads and workload not in options.workloads:
            continue
        ns = rounds_of(workload, max(50, int(count * options.scale)), chosen, options.rounds)
        for name, values in ns.items():
            by_round = [statistics.median(v / p for v, p in zip(values, ns[base]))
                        for base in ("plain", "forwarder")]
            print(f"{workload:10} {name:14} {statistics.median(values):9.1f} {min(values):9.1f} "
                  f"{by_round[0]:8.2f} {by_round[1]:12.2f}", flush=True)


if __name__ == "__main__":
    main()
