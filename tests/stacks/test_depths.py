#!/usr/bin/env python3
"""Stacks about as deep as those that are told in full, and deeper: see odd_depths.c. Each is told in
full up to 128 frames, and cut to its innermost 128 beyond; never to fewer, and never with frames
of another."""

import collections
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "e2e"))

import harness

WAYS, INNER, SHALLOW, DEPTHS = 8, 7, 95, 46  # as in odd_depths.c
MOST = 128  # frames of a stack


def stacks(count):
    """The (depth, outer, inner) that the program goes through."""
    state = 1

    def any_below(below):
        nonlocal state
        state = (state * 1664525 + 1013904223) & 0xffffffff
        return (state >> 8) % below

    depth, outer, inner = SHALLOW, 0, 0
    for _ in range(count):
        what = any_below(8)
        if what < 4:
            inner = any_below(WAYS)
        elif what < 6:
            outer = any_below(WAYS)
        elif what == 6:
            depth = SHALLOW + any_below(DEPTHS)
        elif depth < SHALLOW + DEPTHS - 1:
            depth += 1
        yield depth, outer, inner


def size_of(depth, outer, inner):
    return 1000 + (depth * WAYS + outer) * WAYS + inner


def functions_of(depth, outer, inner):
    """From deep_leaf to the one that main calls."""
    ways = [inner if level < INNER else outer for level in range(depth)]
    turns = [way >> level % 3 & 1 for level, way in enumerate(ways)] + [0]
    return ["deep_leaf"] + ["deep_right" if t else "deep_left" for t in turns]


class DepthsTest(harness.TallyTest):
    def told(self, report):
        """What is told of each stack of deep_leaf, {(frames, cut): [blocks, bytes]}, and the sum of
        those that are fallback."""
        found, fallback = collections.defaultdict(lambda: [0, 0]), [0, 0]
        for site in (s for c in report["controllers"] for s in c["sites"]):
            names = tuple(f["function"] for f in site["stack"] if not f["inlined"])
            if not names or names[0] != "deep_leaf":
                continue
            place = fallback if site["fallback"] else found[names, site["cut"]]
            place[0] += site["allocated_blocks"]
            place[1] += site["allocated_bytes"]
        return found, fallback

    def test_depths(self):
        result = self.tally([harness.program("odd_depths")])
        self.assertEqual(result.status, 0, f"{result.err} {result.own}")
        made = int(result.out)
        found, fallback = self.told(self.report(self.only_snapshot()))
        whole = next(names for names, cut in found if not cut)
        beyond = tuple(n for n in whole if not n.startswith("deep_"))  # main and its callers
        self.expect_that("what lies beyond", beyond, beyond[0] == "main", "main and its callers")

        truth = collections.defaultdict(lambda: [0, 0])
        for stack, count in collections.Counter(stacks(made)).items():
            names = tuple(functions_of(*stack)) + beyond
            figures = truth[names[:MOST], len(names) > MOST]
            figures[0] += count
            figures[1] += count * size_of(*stack)
        wrong = [f"{'cut' if cut else 'whole'}, {len(names)} frames: {figures}, true are"
                 f" {truth.get((names, cut))}" for (names, cut), figures in found.items()
                 if (names, cut) not in truth
                 or any(a > b for a, b in zip(figures, truth[names, cut]))]
        self.expect("wrong stacks", wrong[:5], [])
        self.expect_that("whole stacks, cut ones", (sum(not cut for _, cut in found),
                                                    sum(cut for _, cut in found)),
                         len(found) > 0.95 * len(truth), f"of {len(truth)}")
        missing = [sum(v[i] for v in truth.values()) - sum(v[i] for v in found.values())
                   for i in (0, 1)]
        self.expect("blocks and bytes that stacks lack, and those of fallback", missing, fallback)
        self.expect_that("fallback", f"{fallback[0] / made:.2%}", fallback[0] < made / 20, "< 5 %")


if __name__ == "__main__":
    harness.main()
