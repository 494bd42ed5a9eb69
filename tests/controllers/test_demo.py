#!/usr/bin/env python3
"""What the demo's books say, for every leak mode, and that both builds of it say the same.

    test_demo.py DEMO-PLAIN [DEMO-TAGGED]

With one program: figures of demo-plain against arithmetic done here. With two: equal books.
"""

import json
import os
import subprocess
import sys
import tempfile
import unittest

ROW_BYTES = {"classical": 48, "sta": 32, "adaptive": 40, "hybrid": 32}
NAMES = list(ROW_BYTES)
POINTER = 8
RING_ROWS = 100
STANDING_STEPS = 10000
WARM_UP = 24 << 20

PROGRAMS = []


def books(program, *options):
    """Runs the demo without pauses; its output and its books by controller."""
    with tempfile.TemporaryDirectory() as directory:
        truth = os.path.join(directory, "truth.json")
        # The leaks are on purpose: a sanitizer must not take them for a failure.
        environment = dict(os.environ, ASAN_OPTIONS="detect_leaks=0")
        run = subprocess.run([program, "--duration", "0", "--truth", truth, *options],
                             env=environment, stdout=subprocess.PIPE, text=True, check=True)
        with open(truth, encoding="utf-8") as file:
            document = json.load(file)
    assert document["schema"] == "heaptally-demo-truth/1"
    assert [entry["tag"] for entry in document["controllers"]] == NAMES
    return run.stdout, {entry["tag"]: entry for entry in document["controllers"]}


class Plain(unittest.TestCase):
    """demo-plain: the leaky pays, the innocent do not."""

    def run_plain(self, *options):
        output, figures = books(PROGRAMS[0], *options)
        self.assertNotIn("FELL", output)
        self.assertEqual(output.count(" stands after"), 2 * len(NAMES))
        return figures

    def assert_only_leaky(self, figures, *leaky):
        for name in NAMES:
            live = figures[name]["live_bytes"], figures[name]["live_blocks"]
            if name in leaky:
                self.assertGreater(min(live), 0, name)
            else:
                self.assertEqual(live, (0, 0), name)
            self.assertEqual(figures[name]["lost_rows"], 0)

    def test_default_story(self):
        figures = self.run_plain()
        self.assert_only_leaky(figures, "classical")
        for name in NAMES:
            self.assertEqual(figures[name]["instantiations"], 1000)
            self.assertGreater(figures[name]["allocated_blocks"], 3 * 1000 - 1)
        # Each forgets its history's container and one block of 100 rows; the one in service, of
        # which the history is a ring, has no pointer in that block.
        self.assertEqual(figures["classical"]["live_blocks"], 2000)
        container = self.container()
        self.assertEqual(figures["classical"]["live_bytes"],
                         1000 * (container + 100 * 48) + 999 * POINTER)

    def container(self):
        """Size of a history's container: what a controller forgets that was never used."""
        figures = self.run_plain("--constructions", "2", "--steps", "0")
        ring = RING_ROWS * ROW_BYTES["classical"]
        self.assertEqual(figures["classical"]["live_blocks"], 3)
        return (figures["classical"]["live_bytes"] - ring) // 2

    def test_no_leak(self):
        self.assert_only_leaky(self.run_plain("--leak", "none", "--constructions", "50"))

    def test_modes_of_every_controller(self):
        for mode in ("forget-history", "no-cleanup", "noop-cleanup", "no-destructor", "growing"):
            for name in NAMES:
                with self.subTest(mode=mode, controller=name):
                    figures = self.run_plain("--leak", f"{name}={mode}", "--constructions", "20")
                    self.assert_only_leaky(figures, name)

    def test_several_leaks(self):
        figures = self.run_plain("--leak", "adaptive=noop-cleanup", "--leak",
                                 "hybrid=no-destructor", "--constructions", "20")
        self.assert_only_leaky(figures, "adaptive", "hybrid")

    def test_missing_destructor_leaves_one_block_each(self):
        live = self.run_plain("--leak", "hybrid=no-destructor", "--constructions", "37")["hybrid"]
        self.assertEqual(live["live_blocks"], 37)
        self.assertEqual(live["live_bytes"] % 37, 0)

    def test_leak_is_proportional_to_steps(self):
        """100 steps more in each of 19 constructions are 100 rows and one pointer more in each."""
        for name in NAMES:
            options = ["--leak", f"{name}=forget-history", "--constructions", "20", "--steps"]
            less = self.run_plain(*options, "100")[name]
            more = self.run_plain(*options, "200")[name]
            self.assertEqual(more["live_bytes"] - less["live_bytes"],
                             19 * (100 * ROW_BYTES[name] + POINTER))
            self.assertEqual(more["live_blocks"] - less["live_blocks"], 19)

    def test_growth_per_step(self):
        """One controller in service, 10,000 steps and then 100 per construction."""
        for name in NAMES:
            options = ["--leak", f"{name}=growing", "--storage", "array", "--constructions"]
            short = self.run_plain(*options, "1")[name]
            long = self.run_plain(*options, "51")[name]
            self.assertEqual(long["live_bytes"] - short["live_bytes"], 50 * 100 * ROW_BYTES[name])
            self.assertEqual(short["cycles"], STANDING_STEPS)
            self.assertEqual(long["cycles"], STANDING_STEPS + 2 * 50 * 100)

    def test_bounded_histories_are_no_leak(self):
        for bound in ("ring", "trim", "unbounded"):
            figures = self.run_plain("--leak", "none", "--history", bound, "--constructions", "20")
            self.assert_only_leaky(figures)
            peak = figures["classical"]["peak_bytes"]
            if bound == "unbounded":
                self.assertGreater(peak, 48 * STANDING_STEPS)
            else:
                self.assertLess(peak, 48 * 1100 + 48 * 200 + 4096)

    def test_warm_up_block_is_there_once(self):
        options = ["--leak", "none", "--warm-up", "24MB", "--constructions"]
        for constructions in ("1", "30"):
            figures = self.run_plain(*options, constructions)
            self.assert_only_leaky(figures, "sta")
            self.assertEqual(figures["sta"]["live_bytes"], WARM_UP)
            self.assertEqual(figures["sta"]["live_blocks"], 1)

    def test_every_plant_and_integrator(self):
        for plant in ("fullM", "lagrange", "simplified"):
            for integrator in ("rk4", "euler"):
                figures = self.run_plain("--plant", plant, "--integrator", integrator,
                                         "--constructions", "10")
                self.assert_only_leaky(figures, "classical")

    def test_own_surface_is_said_to_fall(self):
        for plant in ("fullM", "simplified", "lowrank"):
            output, figures = books(PROGRAMS[0], "--surface", "own", "--plant", plant,
                                    "--constructions", "5")
            self.assertEqual(output.count("FELL after"), 2 * len(NAMES))
            self.assert_only_leaky(figures, "classical")

    def test_usage_errors(self):
        for options in (["--leak", "classical"], ["--leak", "classical=often"],
                        ["--leak", "pid=growing"], ["--constructions", "0"], ["--steps", "-1"],
                        ["--plant", "lowrank"], ["--rows", "300", "--history", "trim"],
                        ["--rows", "0"], ["--duration", "soon"], ["--unknown"], ["more"]):
            run = subprocess.run([PROGRAMS[0], *options], stdout=subprocess.PIPE,
                                 stderr=subprocess.PIPE, text=True, check=False)
            self.assertEqual(run.returncode, 2, options)
            self.assertEqual(run.stdout, "", options)
            self.assertIn(options[-1] if len(options) < 3 else options[0], run.stderr)
            self.assertEqual(run.stderr.count("\n"), 1, run.stderr)

    def test_truth_that_cannot_be_written(self):
        for path in ("/dev/full", "/no/such/directory/truth"):
            run = subprocess.run([PROGRAMS[0], "--duration", "0", "--constructions", "1",
                                  "--truth", path], stdout=subprocess.PIPE,
                                 stderr=subprocess.PIPE, text=True, check=False)
            self.assertEqual(run.returncode, 1)
            self.assertIn(path, run.stderr)


class Tagged(unittest.TestCase):
    """demo-tagged: the marks of heaptally.h change nothing."""

    def test_both_builds_agree(self):
        self.assertEqual(books(PROGRAMS[0]), books(PROGRAMS[1]))
        for options in (["--leak", "none"], ["--leak", "sta=growing", "--storage", "doubling"],
                        ["--leak", "adaptive=noop-cleanup", "--history", "trim"],
                        ["--leak", "hybrid=no-destructor", "--warm-up", "24MB"]):
            with self.subTest(options=options):
                options += ["--constructions", "100"]
                self.assertEqual(books(PROGRAMS[0], *options), books(PROGRAMS[1], *options))


if __name__ == "__main__":
    PROGRAMS = sys.argv[1:]
    if len(PROGRAMS) not in (1, 2):
        sys.exit(__doc__)
    unittest.main(argv=sys.argv[:1], defaultTest="Plain" if len(PROGRAMS) == 1 else "Tagged",
                  verbosity=2)
