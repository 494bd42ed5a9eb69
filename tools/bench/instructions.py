#!/usr/bin/env python3
"""Instructions per malloc with its free, counted by callgrind: repeatable where times are not.

A workload runs with N and with 2N pairs; the difference in the instructions of the threads that
allocate, divided by N, is what a pair takes, the loop around it included.
"""

import argparse
import glob
import os
import shutil
import subprocess
import sys
import tempfile

import variants

PAIRS = os.environ.get("BENCH_PAIRS", "")


def count_instructions(workload, pairs, env):
    """Instructions executed by the main thread."""
    with tempfile.TemporaryDirectory(prefix="tally-bench-") as directory:
        done = subprocess.run(
            ["valgrind", "--tool=callgrind", "--separate-threads=yes",
             f"--callgrind-out-file={directory}/out", PAIRS, workload, str(pairs), "3000"],
            env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=900,
            check=False)
        if done.returncode != 0:
            raise RuntimeError(f"{workload}: status {done.returncode}: {done.stderr[-500:]}")
        files = glob.glob(f"{directory}/out*-01") or glob.glob(f"{directory}/out*")
        total = 0
        for path in files[:1]:
            with open(path, encoding="utf-8", errors="replace") as file:
                for line in file:
                    if line.startswith(("totals:", "summary:")):
                        total = int(line.split()[1])
        return total


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--pairs", type=int, default=100000)
    parser.add_argument("workloads", nargs="*", default=["hot4", "hot24"])
    options = parser.parse_args()
    if not os.path.exists(variants.LIBRARY):
        print("SKIP all: libheaptally.so is not built")
        sys.exit(77)
    if not shutil.which("valgrind"):
        print("SKIP all: valgrind is not installed")
        sys.exit(77)
    print(f"{'workload':10} {'variant':14} {'instructions/pair':>18}")
    for workload in options.workloads:
        for name, env in variants.always():
            once, twice = (count_instructions(workload, options.pairs * n, env) for n in (1, 2))
            print(f"{workload:10} {name:14} {(twice - once) / options.pairs:18.1f}", flush=True)


if __name__ == "__main__":
    main()
