#!/usr/bin/env python3
"""Instructions per malloc with its free, counted by callgrind: repeatable where times are not.

What the thread that allocates executes while pairs.c measures, divided by the number of pairs, is
what a pair takes, the loop around it included. What heaptally adds to the forwarder is compared
with instructions.txt, where it was kept before: more is a failure. So is a run that counted call
sites which it had not learnt yet, and with --limits a pair that takes more than LIMITS in all.

--keep writes down what was measured.
"""

import argparse
import glob
import json
import os
import shutil
import subprocess
import sys
import tempfile

import variants

PAIRS = os.environ.get("BENCH_PAIRS", "")
COMMAND = os.environ.get("BENCH_COMMAND", "")
COMPILER = os.environ.get("BENCH_COMPILER", "")

KEPT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "instructions.txt")
HEAD = """# What heaptally adds to a malloc with its free, in instructions: see instructions.py, which
# compares with this and writes it (--keep). Remembered words beyond the first few are compared in
# one of several ways, as the processor is: see `arch` in ARCHITECTURE.md.
#
# compiler  words     workload               added
"""
TOLERANCE = 0.02  # of what is added
LIMITS = {"hot4": 250.0}  # a whole pair, the allocator's own and the loop included

BLOCK_BYTES = 64  # in all, where a block is resized
BURSTS_BYTES = 8 * 4000 * BLOCK_BYTES  # what pairs.c allocates before it measures
SETTLE_MS = (400, 4000, 20000)


def compared_words():
    """How words of a deep stack are compared on this machine (preload/arch.c)."""
    try:
        with open("/sys/devices/system/cpu/vulnerabilities/gather_data_sampling",
                  encoding="ascii") as file:
            unhindered = file.read().startswith("Not affected")
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            words = file.read().split()
    except OSError:
        return "singly"
    return "gathered" if unhindered and "GenuineIntel" in words and "avx2" in words else "singly"


def allocating_thread(directory):
    """Instructions of the first thread between callgrind's first two dumps."""
    with open(f"{directory}/out.2-01", encoding="utf-8", errors="replace") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("totals:"))


def fallback_bytes(directory):
    """What heaptally knew by the return address only; 0 where it was not there."""
    files = glob.glob(f"{directory}/pairs-*.htl")
    if not files:
        return 0
    done = subprocess.run([COMMAND, "report", "--format", "json", files[0]], capture_output=True,
                          text=True, timeout=120, check=True)
    return json.loads(done.stdout)["quality"]["fallback_bytes"]


def without_debug(path, directory):
    """A copy that valgrind reads whoever compiled it: not all debug information is known to it."""
    copy = os.path.join(directory, os.path.basename(path))
    subprocess.run(["strip", "--strip-debug", "-o", copy, path], check=True)
    return copy


def count_once(workload, pairs, env, beneath, settle_ms):
    """(instructions, bytes in fallback) of one run."""
    with tempfile.TemporaryDirectory(prefix="tally-bench-") as directory:
        if "HEAPTALLY_OUTPUT" in env:
            env = dict(env, HEAPTALLY_OUTPUT=os.path.join(directory, "%e-%p-%n.htl"))
        preloads = [without_debug(path, directory) for path in env.get("LD_PRELOAD", "").split()]
        if beneath:
            preloads.append(beneath)
        env = dict(env, LD_PRELOAD=" ".join(preloads))
        done = subprocess.run(
            ["valgrind", "--tool=callgrind", "--separate-threads=yes", "--fair-sched=try",
             "--dump-before=measuring_begins", "--dump-before=measuring_ends",
             f"--callgrind-out-file={directory}/out", without_debug(PAIRS, directory),
             workload, str(pairs), str(settle_ms)],
            env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=900,
            check=False)
        if done.returncode != 0:
            sys.exit(f"FAIL {workload}: status {done.returncode}: {done.stderr[-500:]}")
        return allocating_thread(directory), fallback_bytes(directory)


def count(workload, pairs, env, beneath):
    """Instructions a pair, of a run in which all that is measured was known; more patience where not."""
    for settle_ms in SETTLE_MS:
        instructions, fallback = count_once(workload, pairs, env, beneath, settle_ms)
        if fallback <= BURSTS_BYTES:
            return instructions / pairs
    sys.exit(f"FAIL {workload}: call sites were not learnt in {SETTLE_MS[-1] / 1000:.0f} s: "
             f"{fallback} bytes are fallback, {BURSTS_BYTES} were allocated before it measured")


def measure(workload, pairs):
    """{variant: instructions a pair}, or None where the allocator is not installed."""
    name, _, allocator = workload.partition("/")
    beneath = variants.installed(allocator) if allocator else None
    if allocator and not beneath:
        return None
    return {variant: count(name, pairs, env, beneath) for variant, env in variants.always()}


def read_kept():
    kept = {}
    try:
        with open(KEPT, encoding="ascii") as file:
            for line in file:
                if line.strip() and not line.startswith("#"):
                    compiler, words, workload, added = line.split()
                    kept[compiler, words, workload] = float(added)
    except FileNotFoundError:
        pass
    return kept


def write_kept(kept):
    with open(KEPT, "w", encoding="ascii") as file:
        file.write(HEAD)
        for (compiler, words, workload), added in sorted(kept.items()):
            file.write(f"{compiler:11} {words:9} {workload:21} {added:.1f}\n")


def judge(added, before):
    """(what is to be said of a workload, whether it fails)"""
    if before is None:
        return "nothing is kept for this compiler; --keep notes it", False
    if added > before * (1 + TOLERANCE):
        return f"FAIL: {before:.1f} were kept; if it must be so, --keep notes it", True
    if added < before * (1 - TOLERANCE):
        return f"ok, less than the {before:.1f} that were kept: --keep notes it", False
    return f"ok, {before:.1f} were kept", False


def judge_limit(workload, total):
    """The same of a whole pair."""
    limit = LIMITS.get(workload)
    if limit is None or total <= limit:
        return "", False
    return f"; FAIL: more than {limit:.0f} in all", True


def needs():
    """What is missing here, or None."""
    if not os.path.exists(variants.LIBRARY):
        return "libheaptally.so is not built"
    for tool in ("valgrind", "strip"):
        if not shutil.which(tool):
            return f"{tool} is not installed"
    if not COMPILER:
        return "the compiler is not known, or adds instructions of its own (a sanitizer)"
    return None


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--pairs", type=int, default=40000)
    parser.add_argument("--keep", action="store_true", help="write down what was measured")
    parser.add_argument("--limits", action="store_true", help="hold whole pairs to LIMITS, too")
    parser.add_argument("workloads", nargs="*", default=["hot4", "hot24", "grown", "hot4/libjemalloc.so.2"],
                        help="of pairs.c, with /LIBRARY over another allocator than glibc's")
    options = parser.parse_args()
    missing = needs()
    if missing:
        print(f"SKIP all: {missing}")
        sys.exit(77)
    kept, words, failed, compared = read_kept(), compared_words(), False, False
    print(f"instructions a pair, {COMPILER}, words {words}")
    print(f"{'workload':21} {'plain':>7} {'forwarder':>10} {'heaptally':>10} {'added':>7}")
    for workload in options.workloads:
        found = measure(workload, options.pairs)
        if not found:
            print(f"{workload:21} SKIP: not installed")
            continue
        added = found["heaptally"] - found["forwarder"]
        key = (COMPILER, words, workload)
        verdict, bad = judge(added, kept.get(key))
        if options.limits:
            more, above = judge_limit(workload, found["heaptally"])
            verdict, bad = verdict + more, bad or above
        failed |= bad
        compared |= key in kept
        print(f"{workload:21} {found['plain']:7.1f} {found['forwarder']:10.1f} "
              f"{found['heaptally']:10.1f} {added:7.1f}  {verdict}", flush=True)
        if options.keep:
            kept[key] = added
    if options.keep:
        write_kept(kept)
    elif not failed and not compared:
        print(f"SKIP all: nothing is kept for {COMPILER} with words {words}")
        sys.exit(77)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
