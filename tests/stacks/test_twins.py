#!/usr/bin/env python3
"""Paths that look alike at the allocation are told apart: see twins.c."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "e2e"))

import harness
import path_sizes

TIMES = 20000
PLUGIN_ROUNDS = 1000
LEAST_FULL = 0.5  # of the blocks, so that the comparison is about something
BUILDS = ("twins_O0", "twins_O2", "twins_O3_keep")


class TwinsTest(harness.TallyTest):
    def check(self, case, program, *more, least_full=LEAST_FULL, beneath=None, **keywords):
        result = self.tally([harness.program(program), *([case] if case else []), *more],
                            beneath=beneath)
        if result.status == 4:
            self.skipTest(result.err.strip())
        self.assertEqual(result.status, 0, f"{result.err} {result.own}")
        report = self.report(self.only_snapshot())
        path_sizes.check(self, f"{program} {case}".rstrip(), result.out, report, least_full,
                         **keywords)

    def each_build(self, case, *more, **keywords):
        for build in BUILDS:
            with self.subTest(build):
                for path in self.snapshots():
                    os.unlink(path)
                self.check(case, build, *more, **keywords)

    def test_callers_in_the_middle(self):
        self.each_build("middle", TIMES)

    def test_callers_at_depth_20(self):
        self.each_build("deep", TIMES)

    def test_stale_return_addresses_in_alloca(self):
        self.each_build("alloca", TIMES)

    def test_fibers_on_one_stack(self):
        self.each_build("fiber", TIMES)

    def plugins(self):
        return [os.path.join(harness.PROGRAMS, f"twin_plugin_{x}.so") for x in "ab"]

    # Where libraries come and go this fast, most stacks cannot be found out in time. In one visit of
    # 16 the library waits until they can be; then the second half of the visit is known: 3.1 %.

    def test_libraries_at_one_address(self):
        self.each_build("plugin", PLUGIN_ROUNDS, *self.plugins(), least_full=0.025)

    def test_libraries_at_one_address_shared_leaf(self):
        self.each_build("shared", PLUGIN_ROUNDS, *self.plugins(), least_full=0.025)

    def test_library_comes_while_another_goes(self):
        self.check("", "unload_window", *self.plugins(), least_full=0.2, with_nameless=True,
                   beneath=harness.program("late_dlclose.so"))


if __name__ == "__main__":
    harness.main()
