#!/usr/bin/env python3
"""Paths that look alike at the allocation are told apart: see twins.c."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "e2e"))

import harness

TIMES = 20000
PLUGIN_ROUNDS = 400
LEAST_FULL = 0.5  # of the blocks, so that the comparison is about something
BUILDS = ("twins_O0", "twins_O2", "twins_O3_keep")


class TwinsTest(harness.TallyTest):
    def check(self, case, program, *more, least_full=LEAST_FULL):
        result = self.tally([harness.program(program), case, *more])
        if result.status == 4:
            self.skipTest(result.err.strip())
        self.assertEqual(result.status, 0, f"{result.err} {result.own}")
        paths = [line.split() for line in result.out.splitlines()]
        sizes = {name: int(size) for name, size, _ in paths}
        counts = {name: int(count) for name, _, count in paths}
        report = self.report(self.only_snapshot())
        full, immediate = dict.fromkeys(sizes, 0), [0, 0]
        wrong = []
        for site in (s for c in report["controllers"] for s in c["sites"]):
            names = [f["function"] for f in site["stack"]]
            blocks, size = site["allocated_blocks"], site["allocated_bytes"]
            if site["fallback"]:
                if names and names[0] in ("leaf", "plugin_inner_a", "plugin_inner_b"):
                    immediate[0] += blocks
                    immediate[1] += size
                continue
            on = [name for name in sizes if name in names]
            if not on:
                if "leaf" in names or any(n and n.startswith("plugin_inner") for n in names):
                    wrong.append(f"on no path, {blocks} blocks: {names}")
                continue
            if len(on) > 1 or size != blocks * sizes[on[0]]:
                wrong.append(f"{blocks} blocks of {size} bytes: {names}")
            full[on[0]] += blocks
        label = f"{program} {case}"
        self.expect(f"{label}: wrong stacks", wrong, [])
        for name in sizes:
            self.expect_that(f"{label}: full stacks of {name}", full[name],
                             least_full * counts[name] <= full[name] <= counts[name],
                             f"at most {counts[name]}, most of them")
        self.expect(f"{label}: blocks, with those of the immediate caller only",
                    sum(full.values()) + immediate[0], sum(counts.values()))
        self.expect(f"{label}: their bytes",
                    sum(full[n] * sizes[n] for n in sizes) + immediate[1],
                    sum(counts[n] * sizes[n] for n in sizes))

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

    # Where libraries come and go this fast, many stacks cannot be found out in time.

    def test_libraries_at_one_address(self):
        self.each_build("plugin", PLUGIN_ROUNDS, *self.plugins(), least_full=0.005)

    def test_libraries_at_one_address_shared_leaf(self):
        self.each_build("shared", PLUGIN_ROUNDS, *self.plugins(), least_full=0.005)


if __name__ == "__main__":
    harness.main()
