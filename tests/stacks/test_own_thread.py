#!/usr/bin/env python3
"""The program's threads never do what is slow: system calls, unwinding, the loader."""

import os
import re
import signal
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "e2e"))

import harness

# Sets breakpoints, counts by thread and by whether the process is ending, where libheaptally stands
# in for its monitor, which is gone by then.
GDB_SCRIPT = """
import gdb, collections
counts = collections.Counter()
class Count(gdb.Breakpoint):
    def stop(self):
        names, frame = set(), gdb.newest_frame()
        while frame:
            names.add(frame.name())
            frame = frame.older()
        when = "at exit" if "ht_monitor_final" in names else "running"
        counts[self.location, gdb.selected_thread().name, when] += 1
        return False
gdb.execute("set breakpoint pending on")
gdb.execute("set pagination off")
for place in ("unwind_rule_find", "_Ux86_64_dwarf_search_unwind_table", "ht_modules_refresh"):
    Count(place)
gdb.execute("run")
for (place, thread, when), n in sorted(counts.items()):
    print("HITS", place, thread, when.replace(" ", "-"), n)
"""


def tree_blocks(report):
    """Blocks under full stacks, how many such stacks, and blocks of immediate callers only."""
    full, stacks, immediate = 0, 0, 0
    for site in (s for c in report["controllers"] for s in c["sites"]):
        names = [f["function"] for f in site["stack"]]
        if site["fallback"] and names and names[0] in ("tree_leaf", "fresh"):
            immediate += site["allocated_blocks"]
        elif names and names[0] in ("tree_leaf", "fresh"):
            full += site["allocated_blocks"]
            stacks += site["allocated_blocks"] > 0
    return full, stacks, immediate


class OwnThreadTest(harness.TallyTest):
    def test_no_system_calls(self):
        program = harness.program("no_syscalls")
        proof = self.tally([program, "prove"])
        if proof.status == 77:
            self.skipTest(proof.err.strip())
        self.expect("a system call after the filter ends with", proof.status, -signal.SIGSYS)
        for path in self.snapshots():
            os.unlink(path)
        result = self.tally([program], timeout=120)
        self.expect("without any", result.status, 0)
        report = self.report(self.only_snapshot())
        full, stacks, immediate = tree_blocks(report)
        wanted = int(result.out) + 16  # and those before the filter
        self.expect("blocks", full + immediate, wanted)
        self.expect_that("full stacks", stacks, stacks >= 1000, ">= 1000")
        live = {c["tag"]: c["live_bytes"] for c in report["controllers"]}
        kept = [live.get(f"owner {i}") for i in range(40)]
        self.expect("owners that kept their resized block", kept.count(200), 40)

    def test_unwinding_is_the_monitors(self):
        gdb = harness.need_program(self, "gdb")
        script = os.path.join(self.dir, "count.py")
        with open(script, "w") as file:
            file.write(GDB_SCRIPT)
        wrapper = " ".join(f"{k}={v}" for k, v in self.environment().items()
                           if k.startswith(("HEAPTALLY_", "LD_PRELOAD")))
        done = subprocess.run(
            [gdb, "-batch", "-nx", "-ex", "set debuginfod enabled off", "-ex",
             f"set exec-wrapper env {wrapper}", "-x", script, "--args",
             harness.program("twins_O2"), "deep", "2000"],
            cwd=self.dir, env=harness.clean_environment(), capture_output=True, text=True,
            stdin=subprocess.DEVNULL, timeout=200)
        hits = re.findall(r"^HITS (\S+) (\S+) (\S+) (\d+)$", done.stdout, re.M)
        for place, thread, when, count in hits:
            print(f"{place}: {count} on {thread}, {when}")
        unwinding = [h for h in hits if h[0] != "ht_modules_refresh" and h[2] == "running"]
        if not unwinding:
            self.skipTest(f"gdb saw nothing: {done.stdout[-500:]} {done.stderr[-500:]}")
        self.expect("threads that unwind", sorted({h[1] for h in unwinding}), ["heaptally"])
        refreshes = {h[1] for h in hits if h[0] == "ht_modules_refresh" and h[2] == "running"}
        print(f"the list of modules is read on {sorted(refreshes)}")

    def test_exceptions_stay_the_programs(self):
        result = self.tally([harness.program("raise_owner")])
        self.assertEqual(result.status, 0, result.err)
        caught, owner, mapped = result.out.split()
        self.expect("libunwind is there", mapped, "yes")
        self.expect("exceptions caught", int(caught), 40)
        self.expect_that("_Unwind_RaiseException is in", owner,
                         os.path.basename(owner).startswith("libgcc_s.so"), "libgcc_s.so.*")


if __name__ == "__main__":
    harness.main()
