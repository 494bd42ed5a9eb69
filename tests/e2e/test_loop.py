#!/usr/bin/env python3
"""heaptally loop: a controller from a shared object, run for some steps and judged."""

import json
import os
import subprocess

import harness

CONTROLLERS = os.environ.get("E2E_CONTROLLERS", "")
REFERENCE_KEYS = ["iterations", "alerts", "final_memory_mb", "growth_mb",
                  "growth_rate_mb_per_hour", "passed"]


class Loop(harness.TallyTest):
    def loop(self, *arguments, env=None):
        return harness.run([harness.COMMAND, "loop", *arguments], self.dir,
                           {**harness.clean_environment(), "HEAPTALLY_LIBRARY": harness.LIBRARY,
                            "HEAPTALLY_RUNDIR": os.path.join(self.dir, "run"), **(env or {})})

    def judged(self, controller, *options, config=None):
        """Exit status and JSON of a run; `config` is the text of --config."""
        arguments = ["--format", "json", *options, controller]
        if config is not None:
            path = os.path.join(self.dir, "config")
            with open(path, "w", encoding="utf-8") as file:
                file.write(config)
            arguments += ["--config", path]
        result = self.loop(*arguments)
        self.assertIn(result.status, (0, 1), f"{arguments}: {result.own} {result.err}")
        return result, json.loads(result.out)

    def probe(self, config, *options):
        return self.judged(harness.program("loop_probe.so"), *options, config=config)

    def own(self, report):
        """The controller's own row, which comes first."""
        return report["controllers"][0]

    # ---- verdicts ----

    def demo(self, law, config, *options):
        result, report = self.judged(os.path.join(CONTROLLERS, law + ".so"), *options,
                                     config=config)
        row = self.own(report)
        self.expect(f"{law}: tag and cycles", (row["tag"], row["cycles"]), (law, 10000))
        return result.status, row, report

    def test_demo_controllers_are_clean(self):
        for law in ("classical", "sta", "adaptive", "hybrid"):
            with self.subTest(law):
                status, row, report = self.demo(law, "", "--duration", "1")
                self.expect(f"{law}: exit status, passed", (status, report["passed"]), (0, True))
                self.expect_that(f"{law}: verdict", row["verdict"], row["verdict"] != "leak",
                                 "no leak")
                self.expect(f"{law}: bytes per step", row["bytes_per_step"], 0.0)
                self.expect(f"{law}: live bytes at the end", row["live_bytes"], 0)

    def test_demo_controllers_that_grow(self):
        """The history that is never given back: 6, 4, 5 and 4 doubles a step."""
        for law, doubles in (("classical", 6), ("sta", 4), ("adaptive", 5), ("hybrid", 4)):
            with self.subTest(law):
                status, row, report = self.demo(law, "leak = growing\n", "--duration", "1")
                self.expect(f"{law} grows: exit status, passed, verdict",
                            (status, report["passed"], row["verdict"]), (1, False, "leak"))
                # Chunks of 100 rows and a pointer.
                self.expect(f"{law} grows: bytes per step", row["bytes_per_step"],
                            (100 * doubles * 8 + 8) / 100)

    def test_leak_that_the_reference_passes(self):
        """2,000 bytes a step are 19 MB in 10,000: it looks at the 50 MB alone, and passes them."""
        result, report = self.probe("leak 2000")
        self.expect("2,000 bytes a step: exit status, passed, verdict",
                    (result.status, report["passed"], self.own(report)["verdict"]),
                    (1, False, "leak"))
        self.expect("2,000 bytes a step: bytes per step", self.own(report)["bytes_per_step"],
                    2000.0)
        self.expect("2,000 bytes a step: live bytes", self.own(report)["live_bytes"], 20000000)
        self.expect_that("2,000 bytes a step: growth in MB", report["growth_mb"],
                         report["growth_mb"] < 50, "below the 50 that pass")

    def test_what_is_held_to_the_end(self):
        """Given back by destroy: it grew all the same."""
        result, report = self.probe("hold 200")
        self.expect("held: exit status, verdict", (result.status, self.own(report)["verdict"]),
                    (1, "leak"))
        self.expect("held: live bytes after destroy", self.own(report)["live_bytes"], 0)

    def test_what_is_allocated_once(self):
        result, report = self.probe(f"once {24 << 20}")
        self.expect("24 MB once: exit status, passed", (result.status, report["passed"]), (0, True))
        self.expect("24 MB once: bytes per step", self.own(report)["bytes_per_step"], 0.0)

    def test_growth_alone(self):
        """60 MB at once are no leak, and do not pass."""
        result, report = self.probe(f"once {60 << 20}")
        self.expect("60 MB once: exit status, passed, alerts",
                    (result.status, report["passed"], report["alerts"]), (1, False, 0))
        self.expect_that("60 MB once: verdict", self.own(report)["verdict"],
                         self.own(report)["verdict"] != "leak", "no leak")

    def test_alerts_are_edges(self):
        """Above 100 MB for nearly the whole run: the reference alerts at each of these steps."""
        result, report = self.probe(f"once {120 << 20}")
        self.expect("120 MB from the first step on: alerts in 10,000 steps", report["alerts"], 1)
        self.expect("120 MB from the first step on: exit status", result.status, 1)

    # ---- any number of steps ----

    def test_any_number_of_iterations(self):
        for n in (0, 1, 9, 100, 101, 1000):
            with self.subTest(n):
                result, report = self.probe("count 0", "--iterations", str(n), "--duration", "0")
                self.expect(f"{n} iterations: exit status, done, passed",
                            (result.status, report["iterations"], report["passed"]), (0, n, True))
                self.expect(f"{n} iterations: keys of the reference that are missing",
                            [k for k in REFERENCE_KEYS if k not in report], [])

    def test_life_of_the_controller(self):
        for options, cleaned in (([], 100), (["--cleanup-interval", "1"], 10000),
                                 (["--cleanup-interval", "20000"], 1)):
            result, _ = self.probe("count 0", "--duration", "0", *options)
            words = result.err.split()
            self.expect(f"life with {options}",
                        words[:7], ["probe:", "initialised", "1", "computed", "10000", "cleaned",
                                    str(cleaned)])

    def test_states(self):
        """Standard normal, the same for the same seed, others for another."""
        lines = [self.probe("count 0", "--duration", "0", "--iterations", "50000",
                            "--seed", seed)[0].err for seed in ("42", "42", "43")]
        self.expect("the same seed twice", lines[0], lines[1])
        self.expect_that("another seed", lines[2], lines[2] != lines[0], "other states")
        words = lines[0].split()
        mean, variance = (float(words[words.index(w) + 1]) for w in ("mean", "variance"))
        # Of 300,000 numbers: 5 standard errors.
        self.expect_that("mean", mean, abs(mean) < 5 / 300000 ** 0.5, "0 within 0.0091")
        self.expect_that("variance", variance, abs(variance - 1) < 5 * (2 / 300000) ** 0.5,
                         "1 within 0.0129")

    def test_progress_on_a_terminal(self):
        """On stderr, if that is a terminal, and never in the way of the result."""
        ours, theirs = os.openpty()
        argv = [harness.COMMAND, "loop", "--format", "json", harness.program("loop_probe.so")]
        with subprocess.Popen(argv, cwd=self.dir, stdout=subprocess.PIPE, stderr=theirs,
                              env={**harness.clean_environment(),
                                   "HEAPTALLY_LIBRARY": harness.LIBRARY}) as process:
            os.close(theirs)
            said = b""
            try:
                while chunk := os.read(ours, 4096):
                    said += chunk
            except OSError:  # the terminal has no other side any more
                pass
            out = process.stdout.read()
        os.close(ours)
        self.expect("terminal: exit status", process.returncode, 0)
        self.expect_that("terminal: says how far it is", said[-300:], b"control steps" in said,
                         "control steps")
        self.expect("terminal: the result", json.loads(out)["iterations"], 10000)

    # ---- what can go wrong ----

    def complains(self, name, status, words, *arguments):
        result = self.loop(*arguments)
        own = [line for line in result.own if "counting; the snapshot" not in line]
        self.expect(f"{name}: exit status", result.status, status)
        self.expect_that(f"{name}: says", own, len(own) == 1 and words in own[0],
                         f"one line with '{words}'")
        self.expect(f"{name}: output", result.out, "")

    def with_config(self, text):
        path = os.path.join(self.dir, "config")
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        return ["--config", path, harness.program("loop_probe.so")]

    def test_objects_that_cannot_be_used(self):
        self.complains("no such file", 2, "cannot be read", "/nonexistent.so")
        left = [name for name in os.listdir(self.dir) if "nonexistent" in name]
        self.expect("no such file: snapshots left", left, [])
        self.complains("no shared object", 2, "cannot be loaded", __file__)
        self.complains("no symbol", 2, "defines no heaptally_controller",
                       harness.program("deepbind_plugin.so"))
        self.complains("wrong version", 2, "has version 99", harness.program("loop_future.so"))

    def test_controllers_that_fail(self):
        self.complains("refuses", 2, "makes no controller: as it was told",
                       *self.with_config("refuse 0"))
        self.complains("configuration", 2, "no word and number", *self.with_config("nonsense"))
        self.complains("fails", 1, "step 6 failed", *self.with_config("fail 5"))
        self.complains("crashes", 1, "signal 11", *self.with_config("crash 5"))
        self.complains("exits", 1, "status 7 in step 6", *self.with_config("exit 5"))

    def test_usage(self):
        probe = harness.program("loop_probe.so")
        for name, words, arguments in (
                ("no controller", "no controller is given", []),
                ("two controllers", "one controller at a time", [probe, probe]),
                ("iterations", "--iterations '-1'", ["--iterations", "-1", probe]),
                ("cleanup", "--cleanup-interval '0'", ["--cleanup-interval", "0", probe]),
                ("seed", "--seed 'x'", ["--seed", "x", probe]),
                ("format", "no such format", ["--format", "xml", probe]),
                ("config", "cannot be read", ["--config", "/nonexistent", probe]),
                ("option", "--iteration", ["--iterationz", "1", probe])):
            self.complains(name, 2, words, *arguments)

    def test_library_that_is_missing(self):
        result = self.loop(harness.program("loop_probe.so"),
                           env={"HEAPTALLY_LIBRARY": "/nonexistent.so"})
        self.expect("no library: exit status", result.status, 125)
        self.expect_that("no library: says", result.own, len(result.own) == 1, "one line")

    def test_text(self):
        config = self.with_config("leak 500")
        result = self.loop(*config)
        self.expect("text: exit status", result.status, 1)
        lines = result.out.splitlines()
        self.expect_that("text: first line", lines[0],
                         lines[0].endswith("loop_probe.so: NOT PASSED, 10,000 iterations"),
                         "NOT PASSED")
        row = next(line.split() for line in lines if line.startswith("loop_probe "))
        self.expect("text: tag, bytes per step, live bytes, verdict", row[:4],
                    ["loop_probe", "500.0", "5,000,000", "leak:"])


if __name__ == "__main__":
    harness.main()
