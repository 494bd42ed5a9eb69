#!/usr/bin/env python3
"""However a process ends, its snapshot file can be read, up to the last tick at least."""

import csv
import os
import signal
import time

import harness
from harness import controller

BEFORE, ALL = 100000, 101000  # live bytes of "kept" some ticks before the end, and at the end

# How it ends, the exit status of the program alone, and what must be in the file: ALL is exact, a
# set is any of these.
ENDINGS = (
    ("return", 0, {ALL}, True),
    ("exit", 7, {ALL}, True),
    ("_exit", 8, {BEFORE, ALL}, None),
    ("quick_exit", 9, {ALL}, True),
    ("abort", -signal.SIGABRT, {BEFORE, ALL}, False),
    ("segv", -signal.SIGSEGV, {BEFORE, ALL}, False),
    ("kill", -signal.SIGKILL, {BEFORE, ALL}, False),
    ("term", -signal.SIGTERM, {BEFORE, ALL}, False),
    ("pthread_exit", 0, {ALL}, True),
    ("demanding", 0, {ALL}, True),
    ("outgrown", 0, {ALL}, True),
    ("worker_exit", 11, {ALL}, True),
    ("exec_failed", 0, {ALL}, True),
    ("atexit", 0, {ALL}, True),
)
# 5 blocks of 100 bytes after all else.
WITH_LATE = ("pthread_exit", "demanding", "exec_failed", "atexit")


class Endings(harness.TallyTest):
    def check_file(self, name, path, kept, complete):
        report = self.report(path)
        live = controller(report, "kept")["live_bytes"]
        self.expect_that(f"{name}: live bytes", live, live in kept, sorted(kept))
        if complete is not None:
            self.expect(f"{name}: complete", report["process"]["complete"], complete)
        return report

    def test_endings(self):
        for name, status, kept, complete in ENDINGS:
            with self.subTest(name):
                result = self.tally([harness.program("ending"), name])
                self.expect(f"{name}: exit status", result.status, status)
                self.assertEqual(result.err, "", "error output beside heaptally's")
                path = self.only_snapshot()
                report = self.check_file(name, path, kept, complete)
                if name in WITH_LATE:
                    self.expect(f"{name}: live bytes of the last blocks",
                                controller(report, "late")["live_bytes"], 500)
            for path in self.snapshots():
                os.unlink(path)

    def test_memory_without_main_thread(self):
        """What is resident is still known when the main thread has ended, at every tick."""
        result = self.tally([harness.program("ending"), "outgrown"], {"THRESHOLD": "16"})
        self.expect("outgrown: exit status", result.status, 0)
        path = self.only_snapshot()
        memory = self.report(path)["memory"]
        self.expect_that("outgrown: MB that are resident", memory["rss_mb"], memory["rss_mb"] > 24,
                         "more than the 24 that came last")
        self.expect_that("outgrown: MB of growth", memory["growth_mb"],
                         24 <= memory["growth_mb"] < 48, "24 to 48")
        self.expect_that("outgrown: alert", result.own, any("rss_growth" in l for l in result.own),
                         "one that resident memory has grown")
        rows = harness.run([harness.COMMAND, "report", "--format", "csv", path], self.dir).out
        resident = self.resident_of_process(rows)
        self.expect_that("outgrown: least MB resident at a tick", min(resident) / harness.MB,
                         min(resident) > harness.MB, "more than 1")

    @staticmethod
    def resident_of_process(csv_text):
        rows = csv.DictReader(csv_text.splitlines())
        return [int(r["resident_bytes"]) for r in rows if r["resident_bytes"]]

    def test_exec_of_another(self):
        result = self.tally([harness.program("ending"), "exec_other"])
        self.expect("exec_other: exit status", result.status, 12)
        self.check_file("exec_other", self.only_snapshot("ending-"), {BEFORE, ALL}, None)
        for path in self.snapshots():
            self.report(path)

    def test_exec_of_itself(self):
        """One process id, one program name, two files: nothing is overwritten."""
        result = self.tally([harness.program("ending"), "exec_self"])
        self.expect("exec_self: exit status", result.status, 0)
        # The new image's name may be another: it was started as /proc/self/exe.
        found = self.snapshots()
        self.expect("exec_self: files", len(found), 2)
        live = sorted(controller(self.report(p), "kept")["live_bytes"] for p in found)
        self.expect_that("exec_self: live bytes in each", live,
                         live[0] in (BEFORE, ALL) and live[1] == ALL, [f"{BEFORE} or {ALL}", ALL])

    def test_allocated_before_our_constructor(self):
        """A main thread that has allocated before heaptally was ready ends like any other."""
        result = self.tally([harness.program("ending"), "pthread_exit"],
                            beneath=harness.program("early_threads.so"), timeout=20)
        self.expect("early allocation: exit status", result.status, 0)
        report = self.check_file("early allocation", self.only_snapshot(), {ALL}, True)
        self.expect("early allocation: live bytes of the last blocks",
                    controller(report, "late")["live_bytes"], 500)

    def test_threads_before_our_constructor(self):
        """What such threads need is given back at their end."""
        own = []
        for threads in (1, 200):
            env = self.environment(beneath=harness.program("early_threads.so"))
            env["EARLY_THREADS"] = str(threads)
            result = harness.run([harness.program("ending"), "return"], self.dir, env)
            self.expect(f"early threads: exit status with {threads}", result.status, 0)
            own.append(self.report(self.snapshots()[-1])["quality"]["own_bytes"])
        self.expect_that("early threads: own bytes with 1 and with 200", own,
                         own[1] - own[0] < harness.MB, "less than 1 MB apart")

    def test_killed_from_outside(self):
        process = harness.start([harness.program("just_allocate"), 60], self.dir,
                                self.environment())
        time.sleep(0.7)
        process.kill()
        result = harness.finish(process, 20)
        self.expect("killed from outside: status", result.status, -signal.SIGKILL)
        self.check_file("killed from outside", self.only_snapshot(), {BEFORE}, False)


if __name__ == "__main__":
    harness.main()
