#!/usr/bin/env python3
"""What heaptally costs in memory: against the same program without it."""

import os
import re
import resource
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "e2e"))

import harness

MB = 1 << 20


def documented():
    """The fixed size that the README gives, in bytes."""
    with open(os.path.join(HERE, "..", "..", "README.md"), encoding="utf-8") as file:
        return int(float(re.search(r"fixed size is ([0-9.]+) MB", file.read())[1]) * MB)


FIXED = documented()
PER_BLOCK = 8
PER_THREAD = 64 << 10
PATHS = 500  # from main, and from a thread: a thousand call sites
SITES = 2 * PATHS
THREADS = 4
BLOCKS = 100000  # on each thread
FEW_BLOCKS = 1000
SMALL = 64  # bytes
PAUSE = 20000  # microseconds, a hundred times: some hundred ticks in which all sites grow
LEAST_TICKS = 40
STARTING_BYTES = 4096  # at most, of what the runtime allocates before the first stack is known


class MemoryTest(harness.TallyTest):
    more_env = {}  # of watched programs

    def environment(self, *arguments, **keywords):
        return super().environment(*arguments, **keywords) | self.more_env

    def plain(self, *arguments, **keywords):
        result = harness.run([harness.program("many_sites"), *arguments], self.dir, **keywords)
        return self.take(result)

    def watched(self, *arguments, options=None, **keywords):
        for path in self.snapshots():
            os.unlink(path)
        result = self.tally([harness.program("many_sites"), *arguments], timeout=120,
                            options={"INTERVAL": "1s"} | (options or {}), **keywords)
        figures = self.take(result)
        self.own = result.own
        report = self.report(self.only_snapshot())
        counted = [0, 0]
        self.tag_only = 0  # blocks whose stack could not be kept at all: the runtime's among them
        for site in (s for c in report["controllers"] for s in c["sites"]):
            if not site["stack"]:
                self.tag_only += site["allocated_blocks"]
            elif site["stack"][0]["function"] == "tree_leaf":
                counted[0] += site["allocated_blocks"]
                counted[1] += site["allocated_bytes"]
        return figures, report, counted

    def expect_exact(self, counted, figures):
        if self.tag_only:
            self.expect_that("blocks, and those under their tag alone",
                             f"{counted[0]} and {self.tag_only}",
                             counted[0] <= figures[0] <= counted[0] + self.tag_only, figures[0])
        else:
            self.expect("blocks", counted[0], figures[0])
            self.expect("bytes", counted[1], figures[1])

    def take(self, result):
        """Blocks, bytes, resident bytes now and at most, locked bytes."""
        if result.status == 5:
            self.skipTest(result.err.strip())
        self.assertEqual(result.status, 0, f"{result.err} {result.own}")
        blocks, size, resident, peak, locked = map(int, result.out.split())
        return blocks, size, resident << 10, peak << 10, locked << 10

    def watched_while_ticking(self, *arguments, **keywords):
        """The same with a control socket, and with many ticks while the program works."""
        figures, report, counted = self.watched(*arguments, options={"INTERVAL": "10ms"},
                                                **keywords)
        self.expect_exact(counted, figures)
        ticks = report["trend"]["samples"]
        self.expect_that("ticks", ticks, ticks >= LEAST_TICKS, f">= {LEAST_TICKS}")
        full = sum(not s["fallback"] for c in report["controllers"] for s in c["sites"])
        self.expect_that("full stacks", full, full >= SITES, f">= {SITES}")
        return figures, report

    def compare(self, *more, **keywords):
        arguments = PATHS, THREADS, BLOCKS, PAUSE, 512, *more
        plain = self.plain(*arguments)
        figures, report = self.watched_while_ticking(*arguments, **keywords)
        allowed = FIXED + PER_BLOCK * figures[0]
        print(f"own memory {report['quality']['own_bytes']}; resident {plain[2]} plain,"
              f" {figures[2]} watched; locked {plain[4]}, {figures[4]}")
        for what, i in ("resident bytes", 2), ("resident bytes at most", 3):
            growth = figures[i] - plain[i]
            self.expect_that(f"{what}, more than plain, with {figures[0]} blocks", growth,
                             growth <= allowed, f"<= {allowed}")

    def test_fixed_size(self):
        self.expect_that("documented fixed size", FIXED, FIXED <= 8 * MB, f"<= {8 * MB}")

    def test_blocks_and_fixed(self):
        self.compare()

    def test_all_locked(self):
        self.compare("lock")

    def unprivileged(self, blocks, most, env=None):
        """The lock limit is what the plain program needs, and what heaptally says it needs."""
        harness.need_root(self)
        os.chmod(self.dir, 0o777)
        arguments = PATHS, THREADS, blocks, PAUSE, most, "lock"
        plain = self.plain(*arguments, env=harness.clean_environment() | (env or {}))
        limit = plain[4] + PER_BLOCK * plain[0] + FIXED
        hard = resource.getrlimit(resource.RLIMIT_MEMLOCK)[1]
        if 0 <= hard < limit:
            self.skipTest(f"the hard limit here is {hard} bytes, {limit} are needed")

        def less():
            resource.setrlimit(resource.RLIMIT_MEMLOCK, (limit, limit))
            os.setgroups([])
            os.setgid(harness.NOBODY)
            os.setuid(harness.NOBODY)

        print(f"limit: {limit} bytes, of which the plain program needs {plain[4]}")
        self.more_env = env or {}
        figures, _ = self.watched_while_ticking(*arguments, preexec_fn=less)
        growth = figures[2] - plain[2]
        allowed = FIXED + PER_BLOCK * figures[0]
        self.expect_that("resident bytes, more than plain", growth, growth <= allowed,
                         f"<= {allowed}")
        self.expect("lines on missing memory", [l for l in self.own if "memory" in l], [])

    def test_all_locked_unprivileged(self):
        self.unprivileged(BLOCKS, 512)

    def test_small_program_locked_unprivileged(self):
        """In one arena: each thread's own would be 64 MB of locked reservation."""
        self.unprivileged(FEW_BLOCKS, SMALL, {"MALLOC_ARENA_MAX": "1"})

    def test_each_further_thread(self):
        few = self.watched(16, 4, 1000)[1]["quality"]["own_bytes"]
        many = self.watched(16, 204, 1000)[1]["quality"]["own_bytes"]
        each = (many - few) / 200
        self.expect_that("own bytes for each further thread", each, each <= PER_THREAD,
                         f"<= {PER_THREAD}")

    def test_threads_that_end_with_the_process(self):
        """What they are moving to the totals just then is in the last figures."""
        for _ in range(100):
            figures, _, counted = self.watched(PATHS, 40, 2000, 0)
            self.expect_exact(counted, figures)

    def many_stacks(self, stacks, options=None):
        figures, report, counted = self.watched(stacks, 1, 3 * stacks, options=options)
        sites = [s for c in report["controllers"] for s in c["sites"]]
        fallback = sum(s["allocated_bytes"] for s in sites if s["fallback"])
        full = sum(not s["fallback"] for s in sites)
        quality = report["quality"]
        print(f"{stacks} stacks: {full} full ones; own memory {quality['own_bytes']}")
        # What the file has no room for is small sites; of the fallback ones, those of the start.
        said = quality["fallback_bytes"]
        unlisted = sum(c["allocated_bytes"] for c in report["controllers"]) - sum(
            s["allocated_bytes"] for s in sites)
        missing = STARTING_BYTES if unlisted else 0
        self.expect_that("bytes of listed sites that have fallen back", fallback,
                         said - missing <= fallback <= said,
                         f"the {said} that are said to have, but for {missing} of the start")
        self.expect("said to be truncated", quality["truncated"] or not unlisted, True)
        total = sum(c["allocated_blocks"] for c in report["controllers"])
        self.expect_that("blocks in all, a few of the runtime's among them", total,
                         figures[0] <= total <= figures[0] + 100, f"{figures[0]} to + 100")
        return figures, report, counted

    def test_twenty_thousand_stacks(self):
        figures, _, counted = self.many_stacks(20000)
        self.expect_exact(counted, figures)

    def test_a_small_file(self):
        """What it has no room for is said, in words too."""
        _, report, _ = self.many_stacks(5000, {"MAX_FILE": "2MB"})
        self.expect("said to be truncated", report["quality"]["truncated"], True)
        text = harness.run([harness.COMMAND, "report", self.only_snapshot()], self.dir).out
        self.assertIn("for which the file has no room", text)

    # The reports of these are hundreds of megabytes.

    def test_a_hundred_thousand_stacks(self):
        if not harness.arguments.full:
            self.skipTest("takes long: --full")
        figures, _, counted = self.many_stacks(100000, {"MAX_FILE": "512MB"})
        self.expect_exact(counted, figures)
        _, report, _ = self.many_stacks(100000, {"MAX_FILE": "32MB"})  # which cannot list all
        self.expect("said to be truncated", report["quality"]["truncated"], True)

    def test_cap(self):
        """More stacks than the tables hold, and twice as many: the same memory."""
        if not harness.arguments.full:
            self.skipTest("takes long: --full")
        own = [self.many_stacks(1 << bits)[1]["quality"]["own_bytes"] for bits in (18, 19)]
        self.expect_that("own memory at 262,144 and 524,288 stacks", own, own[1] <= own[0] + MB,
                         f"at most {MB} more")


if __name__ == "__main__":
    harness.main((["--full"], {"action": "store_true"}))
