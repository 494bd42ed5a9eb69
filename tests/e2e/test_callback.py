#!/usr/bin/env python3
"""The program is called back for each alert, on a thread of its own. A callback that blocks, throws,
allocates, or calls heaptally harms neither the program nor the monitor's ticks.
"""

import re

import harness
from harness import controller

TAGS = 40
MOST_PENDING = 17  # 16 wait, and one is being worked on


class Callback(harness.TallyTest):
    def grow(self, mode):
        """Runs a program whose 40 tags each pass their threshold; what it says, what heaptally says
        besides the alerts themselves, and the report."""
        thresholds = ";".join(f"tag{i}=1KB" for i in range(TAGS))
        result = self.tally([harness.program("callback"), mode],
                            {"THRESHOLD": thresholds, "ALERT_LOG": f"{self.dir}/alerts"})
        self.expect(f"{mode}: exit status", (result.status, result.err), (0, ""))
        called, wrong = map(int, re.fullmatch(r"called (\d+) wrong (\d+)\n", result.out).groups())
        self.expect(f"{mode}: calls with other arguments than they should have", wrong, 0)
        report = self.report(self.only_snapshot())
        grown = [a for a in report["alerts"] if a["kind"] == "tag_growth"]
        self.expect_that(f"{mode}: tags that were found to grow", len({a["tag"] for a in grown}),
                         len({a["tag"] for a in grown}) == TAGS, f"all {TAGS}")
        self.expect_that(f"{mode}: dropped ticks", report["quality"]["dropped_ticks"],
                         report["quality"]["dropped_ticks"] == 0, "none")
        lines = [line for line in result.own if "the alert callback" in line]
        return called, lines, report

    def test_nothing_special(self):
        called, lines, _ = self.grow("plain")
        self.expect_that("plain: calls", called, called >= TAGS, f"at least {TAGS}")
        self.expect("plain: lines about it", lines, [])

    def test_blocks(self):
        called, lines, report = self.grow("block")
        self.expect("blocks: calls", called, 1)
        self.expect_that("blocks: lines about it", lines, len(lines) == 1
                         and "has not returned" in lines[0], "one, that it has not returned")
        count = len(report["alerts"])
        self.expect_that("blocks: alerts in the file", count, count > MOST_PENDING,
                         f"more than the {MOST_PENDING} that it could have got")

    def test_throws(self):
        called, lines, _ = self.grow("throw")
        self.expect_that("throws: calls", called, called >= TAGS, f"at least {TAGS}")
        self.expect_that("throws: lines about it", lines, len(lines) == 1
                         and "threw an exception" in lines[0], "one, that it threw")

    def test_allocates(self):
        called, lines, report = self.grow("allocate")
        self.expect("allocates: lines about it", lines, [])
        entry = controller(report, "of the callback")
        self.expect("allocates: counted as the program's",
                    (entry["live_blocks"], entry["live_bytes"]), (called, 1000 * called))

    def test_calls_back(self):
        called, lines, _ = self.grow("call")
        self.expect("calls back: ended itself at the second call", (called, lines), (2, []))

    def test_ten_thousand_checks(self):
        result = self.tally([harness.program("callback"), "checks"],
                            {"THRESHOLD": "10MB", "ALERT_LOG": f"{self.dir}/alerts"})
        self.expect("10,000 checks above the threshold: alerts", result.out.splitlines()[0],
                    "checks 10000 entered 1 escalated 1 cleared 1")
        self.expect("10,000 checks: exit status", result.status, 0)

    def at_the_end(self, mode, called, **keywords):
        """What the callback uses is destroyed at the end of the process; then a tag grows."""
        result = self.tally([harness.program("callback_at_exit"), mode],
                            {"THRESHOLD": "early=1KB;late=1KB"}, timeout=20, **keywords)
        self.expect(f"end, {mode}: status and output", (result.status, result.out, result.err),
                    (0, f"called {called} after the end 0\n", ""))
        grown = [a["tag"] for a in self.report(self.only_snapshot())["alerts"]
                 if a["kind"] == "tag_growth" and a["state"] == "enter"]
        self.expect(f"end, {mode}: alerts in the file", grown, ["early", "late"])

    def test_not_after_destructors(self):
        self.at_the_end("destructor", 1)

    def test_destructors_wait_for_it(self):
        self.at_the_end("running", 1)

    def test_not_after_handlers_of_quick_exit(self):
        self.at_the_end("quick", 1)

    def test_ends_the_process_itself(self):
        self.at_the_end("itself", 1)

    def test_not_after_destructors_of_libraries(self):
        """A library that sets the callback as it is loaded, and is destroyed after all else: whether
        it has been called by then, or never was."""
        env = self.environment({"THRESHOLD": "early=1KB;late=1KB"})
        env["LD_PRELOAD"] = harness.program("early_callback.so") + " " + env["LD_PRELOAD"]
        for name, more, called in (("called", {}, 1), ("never called", {"QUIET": "1"}, 0)):
            result = harness.run([harness.program("just_allocate"), "1"], self.dir, env | more,
                                 timeout=20)
            self.expect(f"end of a library, {name}: status and output", (result.status, result.out),
                        (0, f"done\ncalled {called} after the end 0\n"))


if __name__ == "__main__":
    harness.main()
