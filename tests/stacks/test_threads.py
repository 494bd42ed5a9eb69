#!/usr/bin/env python3
"""Counts stay exact, and own memory flat, with threads and fibers that come and go."""

import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "e2e"))

import harness
import path_sizes

THREADS = 500
ROUNDS = 100
OWN_GROWTH = 256 << 10  # one arena of own memory
RESIDENT_GROWTH_KB = 1024  # beyond what the program has by itself
LEAST_FULL = 0.5


class ThreadsTest(harness.TallyTest):
    def storm(self, threads, rounds):
        for path in self.snapshots():
            os.unlink(path)
        result = self.tally([harness.program("thread_storm"), threads, rounds], timeout=300)
        if result.status == 77:
            self.skipTest(result.err.strip())
        self.assertEqual(result.status, 0, result.err)
        report = self.report(self.only_snapshot())
        blocks, freed, early, late = map(int, result.out.split())
        counted, live = 0, 0
        for site in (s for c in report["controllers"] for s in c["sites"]):
            if site["stack"] and site["stack"][0]["function"] == "tree_leaf":
                counted += site["allocated_blocks"]
                live += site["live_blocks"]
        label = f"{threads} threads, {rounds} times"
        self.expect(f"{label}: blocks", counted, blocks)
        self.expect(f"{label}: live blocks", live, blocks - freed)
        return report["quality"]["own_bytes"], early, late

    def test_storm(self):
        own_short, _, _ = self.storm(THREADS, ROUNDS // 2)
        own, early, late = self.storm(THREADS, ROUNDS)
        self.expect_that(f"own memory after {ROUNDS} rounds against {ROUNDS // 2}",
                         f"{own} to {own_short}", own <= own_short + OWN_GROWTH,
                         f"at most {OWN_GROWTH} more")
        plain = harness.run([harness.program("thread_storm"), THREADS, ROUNDS], self.dir, timeout=300)
        alone = [int(word) for word in plain.out.split()[2:]]
        growth = late - early - max(alone[1] - alone[0], 0)
        self.expect_that(f"resident kB from half of the rounds to all, {early} to {late}, beyond"
                         f" the plain program's {alone[0]} to {alone[1]}", growth,
                         growth <= RESIDENT_GROWTH_KB, f"<= {RESIDENT_GROWTH_KB}")

    def test_fibers(self):
        result = self.tally([harness.program("fibers")])
        self.assertEqual(result.status, 0, result.err)
        path_sizes.check(self, "1000 fibers", result.out, self.report(self.only_snapshot()),
                         LEAST_FULL)


if __name__ == "__main__":
    harness.main()
