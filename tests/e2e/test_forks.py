#!/usr/bin/env python3
"""Processes with children: who writes a file, what stands in it, and that nothing hangs."""

import os
import signal
import time

import harness
from harness import controller


class Forks(harness.TallyTest):
    def family(self, way, status=0):
        result = self.tally([harness.program("fork_child"), way])
        self.expect(f"{way}: exit status", result.status, status)
        self.assertEqual(result.err, "")
        return result

    def pid_of(self, path):
        return self.report(path)["process"]["pid"]

    def test_child_that_stays(self):
        """The child's counts go on from the parent's at the fork; each has a file of its own."""
        child = int(self.family("stay").out)
        files = {self.pid_of(p): self.report(p) for p in self.snapshots()}
        self.expect("stay: files", len(files), 2)
        self.assertIn(child, files, f"a file of the child {child}")
        theirs = files.pop(child)
        ours = files.popitem()[1]
        self.expect("stay: child's own live bytes", controller(theirs, "child")["live_bytes"], 3000)
        self.expect("stay: inherited by the child", controller(theirs, "kept")["live_bytes"],
                    100000)
        self.expect("stay: parent's live bytes", controller(ours, "kept")["live_bytes"], 150000)
        self.expect("stay: child's blocks in the parent's file",
                    [c for c in ours["controllers"] if c["tag"] == "child" and c["live_bytes"]], [])

    def only_the_parent(self, way):
        self.family(way)
        report = self.report(self.only_snapshot())
        self.expect(f"{way}: parent's live bytes", controller(report, "kept")["live_bytes"], 150000)
        self.expect(f"{way}: complete", report["process"]["complete"], True)

    def test_child_that_ends_at_once(self):
        self.only_the_parent("brief")

    def test_child_that_execs(self):
        self.only_the_parent("exec")

    def test_vfork(self):
        self.only_the_parent("vfork")

    def test_vfork_and_exit(self):
        """What the child of a vfork runs at its end, in the parent's memory, ends no watch."""
        self.family("vexit", -signal.SIGKILL)
        report = self.report(self.only_snapshot())
        self.expect("vexit: parent's live bytes", controller(report, "kept")["live_bytes"], 150000)
        self.expect("vexit: complete", report["process"]["complete"], False)

    def late(self, way, live=200000):
        """A process that another one started, and that is watched from its first tick on."""
        result = self.tally([harness.program("late_child"), way], {"ROOT": "1"})
        self.expect(f"late {way}: exit status", result.status, 0)
        report = self.report(self.only_snapshot())
        self.expect(f"late {way}: live bytes", controller(report, "late")["live_bytes"], live)

    def test_late_child_that_allocates_seldom(self):
        """In a burst, not every allocation looks at the clock: one of the next eight does."""
        self.late("seldom", 20800)

    def test_late_child_that_only_resizes(self):
        self.late("realloc")

    def test_late_child_that_is_gone_before_its_second_tick(self):
        """What it had by its first tick is in its file soon after that."""
        result = self.tally([harness.program("late_child"), "realloc"],
                            {"ROOT": "1", "INTERVAL": "460ms"})
        self.expect("late, short: exit status", result.status, 0)
        report = self.report(self.only_snapshot())
        self.expect("late, short: live blocks", controller(report, "late")["live_blocks"], 200)

    def test_late_child_whose_own_child_allocates_after_vfork(self):
        """No thread is started in there: it would be the child's, and gone with its exec."""
        self.late("vfork")

    def test_daemon(self):
        """The first process ends, the daemon goes on in another directory: files stay here."""
        result = self.tally([harness.program("fork_child"), "daemon"], {"OUTPUT": None})
        self.expect("daemon: exit status", result.status, 0)
        daemon = int(result.out)
        deadline = time.monotonic() + 20
        while os.path.exists(f"/proc/{daemon}") and time.monotonic() < deadline:
            time.sleep(0.05)
        self.assertFalse(os.path.exists(f"/proc/{daemon}"), "the daemon never ended")
        files = {self.pid_of(p): self.report(p) for p in self.snapshots()}
        self.assertIn(daemon, files, "a file of the daemon in the first working directory")
        report = files[daemon]
        self.expect("daemon: live bytes", controller(report, "kept")["live_bytes"], 150000)
        self.expect("daemon: its own live bytes", controller(report, "child")["live_bytes"], 3000)
        self.expect("daemon: complete", report["process"]["complete"], True)

    def test_child_that_only_asks(self):
        """A child that allocates nothing any more is watched once it asks, after its first tick."""
        result = self.tally([harness.program("questions"), "late"], {"ROOT": "1"})
        self.expect("late question of a child: end and answer", (result.status, result.out),
                    (-signal.SIGKILL, "0\n"))
        kept = controller(self.report(self.only_snapshot()), "kept")
        self.expect("late question of a child: live blocks and bytes",
                    (kept["live_blocks"], kept["live_bytes"]), (10, 1000))

    def test_no_children(self):
        result = self.tally([harness.program("fork_child"), "stay"], {"NO_CHILDREN": "1"})
        self.expect("no-children: exit status", result.status, 0)
        self.expect("no-children: files", len(self.snapshots()), 1)

    def test_shell_pipeline_leaves_one_file(self):
        """Children that end within a tick leave no file: every pipeline would litter."""
        script = "echo b a | tr ' ' '\\n' | sort | head -1; sleep 0.3"
        result = self.tally(["/bin/sh", "-c", script], {"INTERVAL": "200ms"})
        self.expect("pipeline: output", result.out, "a\n")
        self.assertEqual(result.status, 0)
        long_lived = [p for p in self.snapshots() if "-sleep-" in p or "/sleep-" in p]
        self.expect("pipeline: files but of sleep", len(self.snapshots()) - len(long_lived), 1)

    def test_forks_while_threads_allocate(self):
        result = self.tally([harness.program("fork_storm")], {"INTERVAL": "10ms"}, timeout=150)
        self.expect("150 forks among allocating threads: exit status", result.status, 0)
        self.assertEqual(result.err, "")
        parent = [r for r in map(self.report, self.snapshots())
                  if controller(r, "kept")["live_bytes"] == 100000]
        self.expect("fork storm: parent's file with its live bytes", len(parent), 1)

    def test_forks_with_stacks_off(self):
        result = self.tally([harness.program("fork_storm")],
                            {"INTERVAL": "1s", "STACKS": "off"}, timeout=150)
        self.expect("150 forks, stacks off: exit status", result.status, 0)

    def test_namespaces_left_by_many_threads(self):
        """The monitor is away while a thread leaves a namespace: also where several do so at once,
        and children, some of whom share its memory."""
        result = self.tally([harness.program("namespace_storm")], {"INTERVAL": "10ms"},
                            timeout=110)
        self.expect("namespace storm: exit status; snapshot and callback afterwards",
                    (result.status, result.out), (0, "0 0\n"))
        self.assertEqual(result.err, "")
        parent = [r for r in map(self.report, self.snapshots())
                  if controller(r, "kept")["live_bytes"] == 100000]
        self.expect("namespace storm: parent's file, complete",
                    [r["process"]["complete"] for r in parent], [True])

    def test_namespaces_left_again_and_again(self):
        """A monitor that is away again and again has its ticks, and is not sent away needlessly."""
        result = self.tally([harness.program("namespace_hops")], {"INTERVAL": "300ms"})
        self.expect("namespace hops: exit status; the same monitor", (result.status, result.out),
                    (-signal.SIGKILL, "1\n"))
        report = self.report(self.only_snapshot())
        live = controller(report, "kept")["live_bytes"]
        self.expect_that("namespace hops: live bytes in the file of 100,000", live, live > 50000,
                         "over 50,000")


if __name__ == "__main__":
    harness.main()
