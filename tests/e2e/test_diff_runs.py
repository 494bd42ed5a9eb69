#!/usr/bin/env python3
"""heaptally diff on real runs: under ASLR two runs of the same program show nothing, and a leak
planted in one of them shows alone."""
import json
import os

import harness

RULES = [word for name in ("classical", "sta", "adaptive", "hybrid")
         for word in ("--tag", f"{name}={name}_*", "--construct", f"{name}={name}_create")]


class Diff(harness.TallyTest):
    def setUp(self):
        super().setUp()
        if not os.path.exists(harness.DEMO):
            self.skipTest("the demo is not built")

    def run_demo(self, name, *leaks):
        """One run of the demo; the path of its snapshot, and its own books."""
        path, truth = os.path.join(self.dir, name + ".htl"), os.path.join(self.dir, name + ".json")
        argv = [harness.COMMAND, "run", "--output", path, "--interval", "50ms", *RULES,
                harness.DEMO,
                "--duration", "300ms", "--constructions", "200", "--truth", truth]
        for leak in leaks:
            argv += ["--leak", leak]
        result = harness.run(argv, self.dir,
                             harness.clean_environment() | {"HEAPTALLY_LIBRARY": harness.LIBRARY})
        self.assertEqual(result.status, 0, result.err + str(result.own))
        return path

    def diff(self, old, new):
        result = harness.run([harness.COMMAND, "diff", "--format", "json", old, new], self.dir)
        self.assertEqual((result.status, result.err, result.own), (0, "", []))
        return json.loads(result.out)["controllers"]

    def live(self, path, tag):
        return harness.controller(self.report(path), tag)["live_bytes"]

    def test_two_runs_and_a_planted_leak(self):
        first = self.run_demo("first", "classical=forget-history")
        second = self.run_demo("second", "classical=forget-history")
        planted = self.run_demo("planted", "classical=forget-history", "sta=forget-history")
        self.expect_that("live bytes of the leak in both", self.live(first, "classical"),
                         self.live(first, "classical") > 0, "more than 0")
        self.expect("controllers that changed from run to run", self.diff(first, second), [])
        changed = self.diff(second, planted)
        self.expect("controllers that changed with the planted leak", [c["tag"] for c in changed],
                    ["sta"])
        self.expect("growth", changed[0]["growth_bytes"],
                    self.live(planted, "sta") - self.live(second, "sta"))
        functions = {site["stack"][0]["function"] for site in changed[0]["sites"]}
        self.expect("innermost functions", functions, {"sta_history_push", "sta_history_start"})


if __name__ == "__main__":
    harness.main()
