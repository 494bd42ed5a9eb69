#!/usr/bin/env python3
"""What a monitor gets wrong that looks at resident memory from within the control loop, and what
heaptally says of the same course of things.

The reference's figures were measured by running it on the same scenarios.
"""

import json
import os
import shutil
import sys
import tempfile

import harness
from harness import controller

sys.path.insert(0, os.path.join(os.path.dirname(__file__), os.pardir, "analyzer"))
import htl  # noqa: E402  pylint: disable=wrong-import-position

MB = harness.MB


# Runs of some five seconds that sleep most of the time: all at once. Arguments, then what clock
# jumps by how many seconds.
LONG_RUNS = {
    "2000 a step": (["flaw_per_step", 2000], None),
    "48 a step": (["flaw_per_step", 48], None),
    "clock is set": (["flaw_per_step", 2000], ("realtime", -3600)),
    "one step": (["flaw_one_step"], None),
}


class MonitorFlaws(harness.TallyTest):
    long_runs = {}  # name: (directory, process)

    @classmethod
    def tearDownClass(cls):
        for where, process in cls.long_runs.values():
            if process.poll() is None:
                process.kill()
            process.communicate()
            shutil.rmtree(where, ignore_errors=True)

    def start_long_runs(self):
        for name, (argv, jump) in LONG_RUNS.items():
            where = tempfile.mkdtemp(prefix="tally-")
            env = self.environment({"OUTPUT": os.path.join(where, "run.htl")})
            if jump:
                env["LD_PRELOAD"] += " " + harness.program("clock_jump.so")
                env.update(JUMP_CLOCK=jump[0], JUMP_SECONDS=str(jump[1]))
            argv = [harness.program(argv[0]), *argv[1:]]
            self.long_runs[name] = (where, harness.start(argv, where, env))

    def long_run(self, name):
        """The report of one of them."""
        if not self.long_runs:
            self.start_long_runs()
        where, process = self.long_runs[name]
        self.expect(f"{name}: exit status", process.wait(120), 0)
        return self.report(os.path.join(where, "run.htl"))

    def beside(self, name, measured, expected, reference):
        self.expect(f"{name} (reference: {reference})", measured, expected)

    def beside_that(self, name, measured, condition, expected, reference):
        self.expect_that(f"{name} (reference: {reference})", measured, condition, expected)

    def tallied_with(self, argv, options=None, jump=None):
        env = self.environment(options, harness.program("clock_jump.so") if jump else None)
        if jump:
            env.update(JUMP_CLOCK=jump[0], JUMP_SECONDS=str(jump[1]))
        result = harness.run(argv, self.dir, env, 120)
        self.assertEqual(result.status, 0, f"{argv}: {result.err} {result.own}")
        return self.report(self.only_snapshot())

    # ---- alerts ----

    def test_one_alert_for_each_crossing(self):
        """Above the threshold for many ticks, above 1.5 times it, and below again."""
        report = self.tallied_with([harness.program("flaw_threshold")],
                                   {"THRESHOLD": "1GB;storm=10MB"})
        events = [a["state"] for a in report["alerts"]
                  if a["kind"] == "tag_growth" and a["tag"] == "storm"]
        self.beside("events", events, ["enter", "escalate", "clear"],
                    "a callback at each of 10,000 checks, and no word of the end")
        severities = [a["severity"] for a in report["alerts"] if a["kind"] == "tag_growth"]
        self.expect("severities of the first two", severities[:2], ["warning", "critical"])

    def test_hint_above_the_threshold(self):
        """An hour passes, by the clock, while memory is above the threshold: the hint comes."""
        report = self.tallied_with([harness.program("flaw_hint")], {"THRESHOLD": "5MB"},
                                   ("monotonic", 3601))
        kinds = [(a["kind"], a["state"]) for a in report["alerts"]]
        self.expect_that("above the threshold", kinds, ("rss_growth", "enter") in kinds,
                         "rss_growth was entered")
        self.expect_that("and not cleared", kinds, ("rss_growth", "clear") not in kinds, "not")
        hints = [k for k, _ in kinds if k == "trim_hint"]
        self.beside("hints after an hour", len(hints), 1, "0: returns before it comes to that")

    def checks(self, *modes):
        """For each mode what the loop saw, and how many ticks the monitor took meanwhile."""
        started = {}
        for mode in modes:
            env = self.environment({"OUTPUT": os.path.join(self.dir, f"{mode}.htl"),
                                    "THRESHOLD": "20MB"})
            started[mode] = harness.start([harness.program("flaw_checks"), mode], self.dir, env)
        for mode, process in started.items():
            result = harness.finish(process, 120)
            self.expect(f"callback that does {mode}: exit status", result.status, 0)
            report = self.report(os.path.join(self.dir, f"{mode}.htl"))
            ticks = report["trend"]["samples"]
            self.expect_that(f"{mode}: ticks of the monitor", ticks, ticks >= 40, "40 at least")
            yield mode, json.loads(result.out)

    def test_ten_thousand_checks(self):
        """One call for each crossing, on another thread, whatever it does there."""
        for mode, seen in self.checks("throw", "allocate", "ask"):
            self.expect_that(f"{mode}: checks of which above", seen["above"],
                             seen["above"] > 1000, "more than 1,000")
            self.beside(f"{mode}: checks, calls on entering", (seen["checks"], seen["enter"]),
                        (10000, 1), "10,000 calls")
            self.beside(f"{mode}: calls on escalating and clearing",
                        (seen["escalate"], seen["clear"]), (1, 1), "never told")
            self.beside(f"{mode}: calls on the loop's thread, exceptions in the loop",
                        (seen["on_loop_thread"], seen["thrown"]), (0, 0),
                        "each, ZeroDivisionError out of check_memory")

    def test_callback_that_blocks(self):
        for _, seen in self.checks("block"):
            self.beside("checks while the callback does not return", seen["checks"], 10000,
                        "1: the loop stands still")
            self.expect("calls", (seen["enter"], seen["escalate"], seen["clear"]), (1, 0, 0))

    # ---- asking ----

    def test_trend_of_what_is_flat(self):
        result = self.tally([harness.program("flaw_trend")], {"INTERVAL": "50ms"})
        seen = json.loads(result.out)
        early, flat, after = seen["early"], seen["flat"], seen["after reset"]
        self.beside("with few samples: answer, insufficient data",
                    (early["answer"], early["insufficient"]), (0, 1), "KeyError in the loop's end")
        self.expect("and the report", early["report"], "Insufficient data for memory report")
        self.beside("flat: monotonic growth, shape, MB/hour",
                    (flat["monotonic"], flat["shape"], flat["rate"]), (0, "flat", 0),
                    "Monotonic Growth: Yes")
        self.beside("right after a reset: insufficient data, first line of the report",
                    (after["insufficient"], after["report"]), (0, flat["report"]),
                    "Insufficient data for memory report, for 10 samples")

    def test_asked_by_four_threads_at_once(self):
        result = self.tally([harness.program("flaw_concurrent")])
        seen = json.loads(result.out)
        self.expect("exit status", result.status, 0)
        self.expect_that("questions answered", seen, seen["answered"] > 100, "more than 100")
        self.beside("answers that are wrong", seen["wrong"], 0,
                    "no lock between append, pop, clear and iteration")
        worker = controller(self.report(self.only_snapshot()), "worker")
        self.expect("live bytes and instantiations meanwhile",
                    (worker["live_bytes"], worker["instantiations"]), (200000, 20000))

    # ---- the loop ----

    def test_no_cost_in_the_loop(self):
        result = self.tally([harness.program("flaw_loop_cost")])
        self.beside("steps, with 20 allocator calls each, without any system call",
                    (result.status, result.out), (0, "10000\n"), "11 us a step, system calls in each")
        entry = controller(self.report(self.only_snapshot()), "controller")
        self.expect("cycles that were counted", entry["cycles"], 10200)
        self.expect("blocks that were counted", entry["allocated_blocks"], 102000)

    # ---- rates and verdicts ----

    def test_one_step_is_no_rate(self):
        entry = controller(self.long_run("one step"), "loop")
        self.beside("verdict on 1 MiB once", entry["verdict"], "bounded", "growth, monotonic: Yes")
        rate = entry["growth_rate_mb_per_hour"]
        self.beside_that("its rate, MB/hour", rate, abs(rate) < 5, "about 0", "45,879")

    def expect_rate(self, report, live_bytes):
        rate = controller(report, "controller")["growth_rate_mb_per_hour"]
        true = live_bytes / MB / report["process"]["duration_s"] * 3600
        self.expect_that("MB/hour", rate, 0.8 * true < rate < 1.25 * true, f"about {true:.0f}")

    def test_leak_per_step(self):
        """20 MB in all: less than the 50 MB that pass, and yet a leak of every step."""
        report = self.long_run("2000 a step")
        entry = controller(report, "controller")
        self.beside("live bytes", entry["live_bytes"], 20000000, "growth of 12.79 MB")
        self.beside("bytes per step", entry["bytes_per_cycle"], 2000, "not known")
        self.beside("verdict", entry["verdict"], "leak", "passed, no alert")
        self.expect_rate(report, 20000000)

    def test_history_that_is_never_cut(self):
        """One history over the whole run: what a step keeps is seen, however little it is."""
        entry = controller(self.long_run("48 a step"), "controller")
        self.beside("bytes per step of a history that grows", entry["bytes_per_cycle"], 48,
                    "0: a new history at each step")
        self.beside("verdict", entry["verdict"], "leak", "not to be seen")

    def test_the_clock_is_set(self):
        """The wall clock falls back by an hour, as if it were set: rates and times stay."""
        report = self.long_run("clock is set")
        duration = report["process"]["duration_s"]
        self.beside_that("duration, s", duration, 0 < duration < 600, "some seconds",
                         "about -3,595")
        self.beside("verdict", controller(report, "controller")["verdict"], "leak",
                    "a rate over a negative time")
        self.expect_rate(report, 20000000)

    def test_flat_is_not_growth(self):
        """20 samples of the same figure, as they would be in a file."""
        flat = htl.File().tag(1, "flat")
        for t in range(20):
            flat.tick(t + 1, rss=50 * MB, tags={1: dict(allocated=(MB, 1))})
        path = os.path.join(self.dir, "flat.htl")
        flat.write(path)
        trend = self.report(path)["trend"]
        self.beside("monotonic growth of flat samples", trend["monotonic_growth"], False, "Yes")
        self.expect("their rate", trend["growth_rate_mb_per_hour"], 0)

    # ---- the monitor's own memory ----

    def test_own_memory_is_fixed(self):
        own = []
        for count in (1000, 5000000):
            report = self.tallied_with([harness.program("flaw_many"), count])
            self.expect(f"{count} instances that were counted",
                        controller(report, "many")["instantiations"], count)
            own.append(report["quality"]["own_bytes"])
            os.unlink(self.only_snapshot())
        self.beside_that("growth of the monitor itself, bytes, for 4,999,000 instances more",
                         own[1] - own[0], own[1] - own[0] < MB,
                         "less than 1 MB: a table is laid sooner or later",
                         "49,990 samples kept for ever")

    # ---- who, and after the fact ----

    def test_who_and_where(self):
        report = self.long_run("2000 a step")
        entry = controller(report, "controller")
        names = [frame["function"] for frame in entry["sites"][0]["stack"]]
        self.beside("function of the largest site", "main" in names, True, "not known")
        self.beside("allocated blocks, live blocks, peak bytes",
                    (entry["allocated_blocks"], entry["live_blocks"], entry["peak_bytes"]),
                    (10000, 10000, 20000000), "not known")
        others = [c["tag"] for c in report["controllers"]
                  if c["tag"] != "controller" and c["verdict"] == "leak"]
        self.expect("others that are blamed", others, [])

    def test_afterwards(self):
        """A run in CI fails by itself, and its file is judged elsewhere."""
        env = self.environment()
        env.pop("LD_PRELOAD")
        env["HEAPTALLY_LIBRARY"] = harness.LIBRARY
        result = harness.run([harness.COMMAND, "run", "--fail-on-leak",
                              harness.program("flaw_per_step"), 500], self.dir, env, 120)
        self.beside("exit status of a run that leaks", result.status, 1, "0")
        moved = os.path.join(self.dir, "elsewhere.htl")
        shutil.move(self.only_snapshot(), moved)
        entry = controller(self.report(moved), "controller")
        self.beside("verdict from the file alone", entry["verdict"], "leak", "no file")


if __name__ == "__main__":
    harness.main()
