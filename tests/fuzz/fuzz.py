#!/usr/bin/python3
"""Runs a fuzzer of snapshot files: short and always the same as a test, or for long.

    fuzz.py replay    PROGRAM                 the corpus, the golden files, and mutations of them
    fuzz.py libfuzzer PROGRAM                 the same with libFuzzer, a fixed number of runs
    fuzz.py libfuzzer PROGRAM --minutes N     until N minutes are over; what is found that is new is
                                              kept in --work DIRECTORY and is used by the next run

Golden files are what once went wrong: each is run first, unchanged. A finding ends the run with
status 1 and lies in the work directory; mend it, and move it to golden/.
"""
import argparse
import os
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
SEEDS = [os.path.join(HERE, "golden"), os.path.join(HERE, "corpus")]

REPLAY_MUTATIONS = 15  # of each file
SHORT_RUNS = 1500

# A single allocation may not be larger than this, nor the process; the target itself holds memory
# against the size of each input, see consume.c. Inputs are at most LONGEST bytes.
LONGEST = 1 << 14
LIMITS = [f"-max_len={LONGEST}", "-timeout=10", "-rss_limit_mb=1024", "-malloc_limit_mb=64"]


def environment():
    env = {k: v for k, v in os.environ.items()
           if not k.startswith(("HEAPTALLY_", "LD_", "DEBUGINFOD", "COLUMNS", "NO_COLOR"))}
    env["ASAN_OPTIONS"] = "detect_leaks=1:allocator_may_return_null=0:abort_on_error=0"
    env["UBSAN_OPTIONS"] = "halt_on_error=1:print_stacktrace=1"
    return env


def run(command, work):
    print(" ".join(command), flush=True)
    return subprocess.run(command, cwd=work, env=environment(), stdin=subprocess.DEVNULL,
                          check=False).returncode


def libfuzzer(program, work, minutes):
    found = os.path.join(work, "found")
    os.makedirs(found, exist_ok=True)
    limits = [f"-max_total_time={round(60 * minutes)}"] if minutes else [f"-runs={SHORT_RUNS}",
                                                                           "-seed=1"]
    golden = sorted(os.path.join(SEEDS[0], n) for n in os.listdir(SEEDS[0])
                    if n.endswith(".htl"))
    if golden:
        status = run([program, *LIMITS, *golden], work)
        if status:
            return status
    return run([program, *LIMITS, *limits, f"-dict={os.path.join(HERE, 'htl.dict')}",
                f"-artifact_prefix={work}/", "-print_final_stats=1", found, *SEEDS], work)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("way", choices=("replay", "libfuzzer"))
    parser.add_argument("program", nargs="?")
    parser.add_argument("--minutes", type=float, default=0)
    parser.add_argument("--work", help="directory of what is found; thrown away by default")
    arguments = parser.parse_args()
    if not arguments.program:
        print(f"SKIP {arguments.way}: libFuzzer is part of clang, and this build is another "
              "compiler's")
        sys.exit(77)
    program = os.path.abspath(arguments.program)
    with tempfile.TemporaryDirectory(prefix="fuzz-") as short:
        work = os.path.abspath(arguments.work or short)
        if arguments.way == "replay":
            status = run([program, str(REPLAY_MUTATIONS), *SEEDS], work)
        else:
            status = libfuzzer(program, work, arguments.minutes)
    if status:
        print(f"the {arguments.way} fuzzer ended with status {status}")
    sys.exit(1 if status else 0)


if __name__ == "__main__":
    main()
