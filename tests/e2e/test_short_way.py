#!/usr/bin/env python3
"""Allocations whose stack is remembered, and frees of their blocks, take the short way, with each
allocator, and so does what is resized: callgrind counts how often the long one was taken. And the
figures are exact.

So do those of a process that another one started, before it has lived for a tick, and for good
where it can have no monitor."""

import os
import re
import subprocess

import harness
from harness import controller

LONG_WAYS = ("allocate_cold", "ht_site_walk", "release_cold", "resize_cold")


def calls(path):
    """How often each of LONG_WAYS was called, by a file of callgrind's."""
    found, callee = dict.fromkeys(LONG_WAYS, 0), None
    with open(path, encoding="utf-8", errors="replace") as file:
        for line in file:
            if line.startswith("cfn="):  # what comes after a dot is the compiler's
                callee = line[len("cfn="):].strip().partition(".")[0]
            elif line.startswith("calls=") and callee in found:
                found[callee] += int(re.match(r"calls=(\d+)", line)[1])
    return found


class ShortWay(harness.TallyTest):
    def without_debug(self, path):
        """A copy that valgrind reads whoever compiled it: not all debug information is known to it."""
        copy = os.path.join(self.dir, os.path.basename(path))
        subprocess.run(["strip", "--strip-debug", "-o", copy, path], check=True)
        return copy

    def measure(self, name, settings, beneath, how=""):
        """Runs the program and looks at its calls; the figures that it states."""
        for tool in ("valgrind", "strip"):
            harness.need_program(self, tool)
        env = self.environment(settings, beneath, self.without_debug(harness.LIBRARY))
        result = harness.run(
            ["valgrind", "--tool=callgrind", "--compress-strings=no", "--fair-sched=try",
             "--dump-before=measuring_begins", "--dump-before=measuring_ends",
             f"--callgrind-out-file={self.dir}/out",
             self.without_debug(harness.program("short_way")), how], self.dir, env, timeout=300)
        self.assertEqual(result.status, 0, result.err)
        self.said = result.own
        pairs, *figures = map(int, result.out.split())
        before, measured = (calls(f"{self.dir}/out.{i}") for i in (1, 2))
        for way in LONG_WAYS:
            if way != "resize_cold" or "HEAPTALLY_ROOT" not in env:  # there nothing is awaited
                self.expect_that(f"{way} over {name}, at first", before[way], before[way] > 0,
                                 "some")
            self.expect_that(f"{way} over {name}, of {pairs} calls then", measured[way],
                             measured[way] <= pairs // 200, f"{pairs // 200} at most")
        return figures

    def compare(self, name, beneath):
        self.compare_file(name, self.measure(name, {"INTERVAL": "1s"}, beneath))

    def compare_file(self, name, figures):
        ways = controller(self.report(self.only_snapshot("short_way")), "ways")
        self.expect(f"blocks over {name}: bytes and blocks, ever and live",
                    [ways[f] for f in ("allocated_bytes", "allocated_blocks", "live_bytes",
                                       "live_blocks")], figures)

    def test_glibc(self):
        self.compare("glibc", None)

    def test_first_tick_of_a_child(self):
        self.measure("glibc", {"INTERVAL": "1h", "ROOT": "1"}, None)
        self.assertEqual(self.snapshots("short_way"), [])

    def test_confined_in_its_first_tick(self):
        """Nobody will ever watch it."""
        self.measure("glibc, confined", {"INTERVAL": "100ms", "ROOT": "1"}, None, "confined")
        self.assertEqual(self.snapshots("short_way"), [])

    def test_no_thread_for_the_monitor_of_a_child(self):
        figures = self.measure("glibc, without a monitor", {"INTERVAL": "100ms", "ROOT": "1"}, None,
                               "no_threads")
        self.expect_that("what it says", self.said,
                         len(self.said) == 1 and "monitor thread cannot be started" in self.said[0],
                         "that its monitor cannot be started")
        self.compare_file("glibc, without a monitor", figures)

    def over(self, library):
        path = harness.find_library(library)
        if not path:
            self.skipTest(f"{library} is not installed")
        self.compare(library, path)

    def test_jemalloc(self):
        self.over("libjemalloc.so.2")

    def test_tcmalloc(self):
        self.over("libtcmalloc_minimal.so.4")

    def test_mimalloc(self):
        self.over("libmimalloc.so.2")


if __name__ == "__main__":
    harness.main()
