#!/usr/bin/env python3
"""`heaptally run`: the program is the program, with its status, signals, environment and output."""

import os
import signal

import harness
from harness import controller


class Run(harness.TallyTest):
    def command(self, *argv, env=None, **keywords):
        environment = harness.clean_environment()
        environment["HEAPTALLY_RUNDIR"] = os.path.join(self.dir, "run")
        environment.update(env or {})
        return harness.run([harness.COMMAND, *argv], self.dir, environment, **keywords)

    def test_statuses(self):
        for way, status in (("return", 0), ("exit", 7), ("_exit", 8),
                            ("segv", -signal.SIGSEGV), ("kill", -signal.SIGKILL)):
            with self.subTest(way):
                result = self.command("run", "--interval", "20ms", "--output", "%e-%p.htl", "--",
                                      harness.program("ending"), way)
                self.expect(f"run {way}: status", result.status, status)
                self.assertEqual(result.err, "")

    def test_found_in_path(self):
        result = self.command("run", "sh", "-c", "echo found; exit 3")
        self.expect("run sh: status and output", (result.status, result.out), (3, "found\n"))

    def test_default_name_and_one_line(self):
        """The default file name, and where it is, said once."""
        result = self.command("run", harness.program("just_allocate"))
        self.expect("run: status and output", (result.status, result.out), (0, "done\n"))
        name = os.path.basename(self.only_snapshot())
        self.expect_that("run: name of the file", name,
                         name.startswith("heaptally-just_allocate-"), "heaptally-just_allocate-PID")
        self.expect("run: lines that name the file", sum(name in l for l in result.own), 1)
        live = controller(self.report(self.only_snapshot()), "kept")["live_bytes"]
        self.expect("run: live bytes", live, 150000)

    def test_preload_is_kept(self):
        """What was preloaded stays, behind ours; over it the figures are exact as well."""
        beneath = harness.program("signal_safe_allocator.so")
        result = self.command("run", "sh", "-c", "echo $LD_PRELOAD", env={"LD_PRELOAD": beneath})
        loaded = result.out.replace(":", " ").split()
        self.expect_that("run: LD_PRELOAD", loaded,
                         len(loaded) == 2 and loaded[1] == beneath
                         and os.path.basename(loaded[0]).startswith("libheaptally"),
                         "libheaptally.so, then what was there")

    def test_options_arrive(self):
        """A rule names the owner of blocks that no scope owns."""
        self.command("run", "--interval=30ms", "--tag", "mine=main", "--output", "options.htl",
                     harness.program("flaw_unrelated"))
        report = self.report(os.path.join(self.dir, "options.htl"))
        self.expect("run --tag: live bytes of the rule", controller(report, "mine")["live_bytes"],
                    50 * harness.MB)

    def test_limit_on_one_program(self):
        """--only: the shell is left alone, the program that matches is watched."""
        self.command("run", "--only", "just_*", "--output", "%e-%p.htl", "--interval", "20ms", "sh",
                     "-c", f"'{harness.program('just_allocate')}'; true")
        names = [os.path.basename(p).rsplit("-", 1)[0] for p in self.snapshots()]
        self.expect("run --only: files of", names, ["just_allocate"])


if __name__ == "__main__":
    harness.main()
