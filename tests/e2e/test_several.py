#!/usr/bin/env python3
"""One report over the processes of a run, and on a process that still runs."""
import json
import os
import signal
import time

import harness

DEMO = os.environ.get("E2E_DEMO", "")
PER_PROCESS = 4887992  # what one demo holds at its end, by its own books


class Several(harness.TallyTest):
    def setUp(self):
        super().setUp()
        if not os.path.exists(DEMO):
            self.skipTest("the demo is not built")

    def report_on(self, *argv, directory=None):
        done = harness.run([*harness.REPORT, *argv], directory or self.dir,
                           dict(harness.clean_environment(),
                                HEAPTALLY_RUNDIR=os.path.join(self.dir, "run")))
        self.assertEqual((done.status, done.own), (0, []), done.err)
        return json.loads(done.out)

    def run_two(self):
        """A shell that starts two demos; a tick after them it allocates once more, so that it has
        a file too."""
        script = f"{DEMO} --duration 500ms >/dev/null & {DEMO} --duration 500ms >/dev/null & wait"
        result = self.tally(["/bin/sh", "-c", script], options={"TAG": "classical=classical_*"})
        self.assertEqual(result.status, 0, result.err)

    def test_the_run_of_a_directory(self):
        """Two runs in one directory: the newest is reported, all of its processes together."""
        self.run_two()
        first = set(self.snapshots())
        self.run_two()
        second = [p for p in self.snapshots() if p not in first]
        demos = [p for p in second if "demo" in os.path.basename(p)]
        self.expect("files of the demos", len(demos), 2)
        if len(second) == len(demos):
            self.skipTest("the shell between them has no file: they are runs of their own")
        report = self.report_on(self.dir)
        pids = {p["process"]["pid"] for p in report["processes"]}
        self.expect("processes", pids, {self.report(p)["process"]["pid"] for p in second})
        self.expect("live bytes of both", harness.controller(report, "classical")["live_bytes"],
                    2 * PER_PROCESS)
        self.expect("the same without argument", self.report_on() == report, True)

    def test_files_that_are_named(self):
        self.run_two()
        demos = self.snapshots("demo")
        report = self.report_on(*demos)
        classical = harness.controller(report, "classical")
        self.expect("live bytes", classical["live_bytes"], 2 * PER_PROCESS)
        apart = [harness.controller(self.report(p), "classical") for p in demos]
        for figure in ("live_blocks", "allocated_bytes", "allocated_blocks"):
            self.expect(figure, classical[figure], sum(c[figure] for c in apart))
        self.expect("the largest call site", classical["sites"][0]["live_bytes"],
                    sum(s["live_bytes"] for c in apart for s in c["sites"]
                        if s["stack"] == classical["sites"][0]["stack"]))
        self.expect("processes", [harness.controller(p, "classical")["live_bytes"]
                                  for p in report["processes"]], [PER_PROCESS] * 2)

    def test_a_process_that_runs(self):
        """By its number, from anywhere; it is asked for all figures, so no tick needs to pass."""
        process = harness.start([DEMO, "--duration", "600s"], self.dir,
                                self.environment({"INTERVAL": "300s"}))
        try:
            deadline = time.monotonic() + 30
            while not self.snapshots() and time.monotonic() < deadline:
                time.sleep(0.05)
            live = None
            while not live and time.monotonic() < deadline:
                time.sleep(0.2)
                report = self.report_on(str(process.pid), directory="/")
                live = report["memory"]["live_bytes"]
            self.expect("pid", report["process"]["pid"], process.pid)
            self.expect("complete", report["process"]["complete"], False)
            self.expect_that("live bytes", live, bool(live), "more than nothing")
        finally:
            process.send_signal(signal.SIGKILL)
            process.communicate()


if __name__ == "__main__":
    harness.main()
