#!/usr/bin/env python3
"""Regions without allocations: every allocation in one is counted, with its stack, for the region
and for the controller that it belongs to all the same."""

import harness
from harness import controller


def names(site):
    return [frame["function"] for frame in site["stack"]]


class NoAlloc(harness.TallyTest):
    def regions(self, what, **keywords):
        report = self.tallied([harness.program("no_alloc"), what], **keywords)
        return report, {r["region"]: r for r in report["no_alloc"]}

    def expect_region(self, regions, name, allocations, size):
        """The sum, and that the sites add up to it."""
        region = regions.get(name, {"allocations": None, "bytes": None, "sites": []})
        sites = region["sites"]
        self.expect(f"{name}: allocations and bytes", (region["allocations"], region["bytes"]),
                    (allocations, size))
        self.expect(f"{name}: of its sites together",
                    (sum(s["allocations"] for s in sites), sum(s["bytes"] for s in sites)),
                    (allocations, size))
        return sites

    def test_nested(self):
        report, regions = self.regions("counts")
        self.expect("regions that were broken", sorted(regions),
                    ["adopted", "calls", "grow", "inner", "step"])
        step = self.expect_region(regions, "step", 30, 2000)
        inner = self.expect_region(regions, "inner", 5, 50)
        of = {tag: sum(s["allocations"] for s in step if s["tag"] == tag)
              for tag in ("no_alloc", "pid")}
        self.expect("step: whose allocations", of, {"no_alloc": 10, "pid": 20})
        self.expect("inner: whose allocations", {s["tag"] for s in inner}, {"pid"})
        pid = controller(report, "pid")
        self.expect("pid: allocations in and out of regions", pid["allocated_blocks"],
                    12 + 5 + 7 + 3 + 8 + 3)
        self.expect("order of the regions", [r["region"] for r in report["no_alloc"]],
                    ["step", "calls", "inner", "grow", "adopted"])

    def test_stacks(self):
        _, regions = self.regions("slowly")
        sites = self.expect_region(regions, "slow", 200, 100 * (16 + 8))
        whole = {tuple(names(s)[:-1]): s for s in sites if not s["fallback"] and not s["cut"]}
        outer = ("step_once", "slowly", "main")
        found = {stack[:stack.index("main") + 1] for stack in whole}
        self.expect("slow: whole stacks, innermost first", sorted(found),
                    [("log_line", "compute", *outer), ("log_line", *outer)])
        share = sum(s["allocations"] for s in whole.values())
        self.expect_that("slow: allocations with their whole stack", share, share > 100,
                         "more than half of 200")

    def test_a_single_violation(self):
        """Once in the life of the process: its whole stack is known all the same."""
        _, regions = self.regions("late")
        site, = self.expect_region(regions, "late", 1, 56)
        self.expect("late: its stack", names(site)[:4], ["log_line", "compute", "late", "main"])
        self.expect("late: fallback, cut", (site["fallback"], site["cut"]), (False, False))

    def alerts(self, path):
        return [(a["tag"], a["state"], a["severity"]) for a in self.report(path)["alerts"]
                if a["kind"] == "no_alloc"]

    def test_alerts_of_a_region(self):
        """However many ticks a promise is broken in: one alert, and one more for each tenfold."""
        result = self.tally([harness.program("no_alloc"), "slowly"])
        alerts = self.alerts(self.only_snapshot())
        self.expect("slow: first alert of 200 violations over some ticks", alerts[:1],
                    [("slow", "enter", "warning")])
        self.expect_that("slow: further alerts", alerts[1:], len(alerts) <= 3 and all(
            a == ("slow", "escalate", "critical") for a in alerts[1:]),
                         "two at most, each of ten times as many")
        lines = [line for line in result.own if "no_alloc" in line.split()]
        self.expect("slow: lines in the log", len(lines), len(alerts))
        self.expect_that("slow: the line names region and place", lines,
                         " no_alloc slow: " in lines[0] and "where there must be none" in lines[0] and
                         "log_line" in lines[0], "slow ... where there must be none: log_line")

    def test_alerts_of_a_short_run(self):
        self.tally([harness.program("no_alloc"), "counts"], options={"INTERVAL": "1h"})
        self.expect("alerts of a run that ends before its first tick",
                    sorted(self.alerts(self.only_snapshot())),
                    [(name, "enter", "warning")
                     for name in ("adopted", "calls", "grow", "inner", "step")])

    def test_no_alert_where_the_promise_is_kept(self):
        self.tally([harness.program("no_alloc"), "kept"])
        self.expect("kept: alerts", self.alerts(self.only_snapshot()), [])

    def test_threads(self):
        _, regions = self.regions("threads")
        sites = self.expect_region(regions, "shared", 8000, 128000)
        self.expect("shared: who owns them", {s["tag"] for s in sites}, {"worker"})

    def test_resized(self):
        report, regions = self.regions("counts")
        sites = self.expect_region(regions, "grow", 3, 5040)
        self.expect("grow: whose", sorted((s["tag"], s["bytes"]) for s in sites),
                    [("history", 2000), ("other", 40), ("other", 3000)])
        other = controller(report, "other")
        self.expect("other: its block after all of it", (other["live_blocks"], other["live_bytes"]),
                    (1, 70))
        self.expect("history: nothing is left of it", controller(report, "history")["live_bytes"],
                    0)

    def test_every_call(self):
        _, regions = self.regions("counts")
        self.expect_region(regions, "calls", 6, 6 * 64)

    def test_adopted(self):
        report, regions = self.regions("counts")
        self.expect_region(regions, "adopted", 1, 200)
        self.expect("adopter: live bytes", controller(report, "adopter")["live_bytes"], 200)

    def test_signal_handler(self):
        _, regions = self.regions("signal")
        self.expect_region(regions, "struck", 50, 50 * 24)

    def test_operators_and_exceptions(self):
        result = self.tally([harness.program("no_alloc_cxx")])
        report = self.report(self.only_snapshot())
        line = next((l for l in result.own if " no_alloc cxx: " in l), "")
        self.expect_that("C++ names in the log", line,
                         " plan::Step<double>::operator() (no_alloc_cxx+0x" in line,
                         "readable, without parameters")
        regions = {r["region"]: r for r in report["no_alloc"]}
        self.expect_region(regions, "cxx", 3, 8 + 80 + 48)
        thrown = regions.get("thrown", {"allocations": 0, "bytes": 0})
        self.expect_that("thrown: allocations and bytes, of the exception alone",
                         (thrown["allocations"], thrown["bytes"]),
                         thrown["allocations"] == 1 and thrown["bytes"] < 500, "1, below 500")
        self.expect("after: live bytes", controller(report, "after")["live_bytes"], 30)

    def test_without_stacks(self):
        for stacks in ("site", "off"):
            with self.subTest(stacks):
                for path in self.snapshots():
                    harness.os.unlink(path)
                _, regions = self.regions("counts", options={"STACKS": stacks})
                self.expect_region(regions, "step", 30, 2000)
                self.expect_region(regions, "grow", 3, 5040)

    def test_killed(self):
        result = self.tally([harness.program("no_alloc"), "killed"])
        self.expect("killed: by signal", result.status, -9)
        regions = {r["region"]: r for r in self.report(self.only_snapshot())["no_alloc"]}
        self.expect_region(regions, "killed", 10, 320)

    def test_kept(self):
        report, regions = self.regions("kept")
        self.expect("kept: regions that were broken", regions, {})
        self.expect("kept: the region is no controller",
                    [c["tag"] for c in report["controllers"] if c["tag"] == "kept"], [])

    def test_text(self):
        self.tally([harness.program("no_alloc"), "counts"])
        text = harness.run([harness.COMMAND, "report", "--debug-path", "/nonexistent",
                            self.only_snapshot()], self.dir).out
        self.expect_that("text report", [l for l in text.splitlines() if "promised" in l],
                         "step: 30 allocations of 2,000 bytes where the program promised none"
                         in text, "a line for step")

    def test_without_heaptally(self):
        for what in ("counts", "threads", "signal", "kept"):
            result = harness.run([harness.program("no_alloc"), what], self.dir)
            self.expect(f"{what} without heaptally", (result.status, result.err), (0, ""))


if __name__ == "__main__":
    harness.main()
