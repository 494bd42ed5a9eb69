#!/usr/bin/env python3
"""Exactness: heaptally's figures per tag against the program's own book, to the byte and block.

The program `ledger` makes random use of the heap from many threads and from signal handlers and
prints, at its end, what each explicit tag holds. Every figure of every tag must be the same in the
report: live and cumulative bytes and blocks, instantiations, cycles. Settings of heaptally vary
with the seed, and the allocator beneath with the test. Where blocks are adopted by another tag,
what counts as allocated by either is another test's matter (test_blocks.py).
"""

import json
import os

import harness

LIVE = ("live_bytes", "live_blocks", "instantiations", "cycles")
ALL = (*LIVE, "allocated_bytes", "allocated_blocks")


class Ledger(harness.TallyTest):
    def options(self, seed):
        child = seed % 7 == 1  # of a watched process: without a monitor for its first tick
        return {
            "ROOT": "1" if child else None,
            "INTERVAL": "30ms" if child else ("10ms", "50ms", "1s")[seed % 3],
            "STACKS": ("full", "full", "site", "off")[seed % 4],
            "TAG": "rule=work*" if seed % 5 == 0 else None,
        }

    def run_plain(self, arguments, beneath):
        env = harness.clean_environment()
        if beneath:
            env["LD_PRELOAD"] = beneath
        result = harness.run([harness.program("ledger"), *arguments], self.dir, env)
        self.assertEqual(result.status, 0, f"without heaptally: ledger {arguments}: {result.err}")
        return json.loads(result.out)

    def check_surprises(self, book, plain):
        """What the allocator does wrong by itself it may do with heaptally, and nothing else."""
        for what in ("wrong_errno", "misaligned"):
            if plain[what] == 0:
                self.assertEqual(book[what], 0, f"{what}, none without heaptally")

    def differences(self, book, report, figures):
        found = []
        for truth in book["tags"]:
            seen = harness.controller(report, truth["tag"])
            for figure in figures:
                expected = truth[figure]
                if figure in ("instantiations", "cycles") and expected == 0:
                    expected = None  # never counted is unknown
                if seen[figure] != expected:
                    found.append(f"{truth['tag'][:20]}.{figure}: {seen[figure]} vs {expected}")
        for figure in ("foreign_frees", "suspected_overruns"):
            if report["quality"][figure] != 0:
                found.append(f"quality.{figure}: {report['quality'][figure]} vs 0")
        if report["process"]["complete"] is not True:
            found.append("process.complete: false vs true")
        return found

    def run_seed(self, seed, arguments, beneath, plain, figures):
        for path in self.snapshots():
            os.unlink(path)
        options = self.options(seed)
        arguments = ["--seed", seed, "--workers", 4 + seed % 5, *arguments]
        result = self.tally([harness.program("ledger"), *arguments], options, beneath)
        how = f"{options}: ledger {' '.join(map(str, arguments))}"
        if result.status != 0:
            return [f"{how}: status {result.status} {result.err} {result.own}"]
        book = json.loads(result.out)
        self.check_surprises(book, plain)
        self.assertGreater(book["signals_handled"], 0)
        report = self.report(self.only_snapshot())
        return [f"{how}: {d}" for d in self.differences(book, report, figures)]

    def run_seeds(self, name, seeds, arguments=(), beneath=None, figures=ALL):
        plain = self.run_plain(["--seed", 1, *arguments], beneath)
        failed, differences = 0, []
        for seed in range(1, seeds + 1):
            found = self.run_seed(seed, arguments, beneath, plain, figures)
            failed += bool(found)
            differences += found[:4]
        for line in differences[:12]:
            print("  " + line)
        tags = len(plain["tags"])
        self.expect(f"{name}: seeds of {seeds} that differ in any of {tags} tags x "
                    f"{len(figures)} figures", failed, 0)

    def run_beneath(self, library, *more):
        path = harness.find_library(library)
        if not path:
            self.skipTest(f"{library} is not installed")
        with open(path, "rb") as file:
            has_pvalloc = b"pvalloc\0" in file.read()
        self.run_seeds(f"ledger over {library}", max(3, harness.arguments.seeds // 6),
                       [*(() if has_pvalloc else ("--no-pvalloc",)), *more], path)

    def test_glibc(self):
        self.run_seeds("ledger over glibc", harness.arguments.seeds)

    def test_adopted(self):
        """Blocks change their tags while they live: whose they are now is exact."""
        self.run_seeds("ledger with adoption", max(3, harness.arguments.seeds // 5), ["--adopt"],
                       figures=LIVE)

    def test_interrupted_anywhere(self):
        """Signals strike inside heaptally's own code too: the allocator beneath can stand it."""
        self.run_seeds("ledger interrupted anywhere", max(3, harness.arguments.seeds // 3),
                       ["--signal-safe"], harness.program("signal_safe_allocator.so"))

    def test_interrupted_questions(self):
        """What a handler allocates is the program's, also where it strikes when a question has just
        been answered."""
        result = self.tally([harness.program("questions")],
                            beneath=harness.program("signal_safe_allocator.so"))
        self.expect("interrupted questions: exit status", result.status, 0)
        handler = harness.controller(self.report(self.only_snapshot()), "handler")
        self.expect("interrupted questions: blocks and bytes of the handler",
                    (handler["live_blocks"], handler["live_bytes"]),
                    (int(result.out), 100 * int(result.out)))

    def test_jemalloc(self):
        self.run_beneath("libjemalloc.so.2")

    def test_tcmalloc(self):
        self.run_beneath("libtcmalloc_minimal.so.4")

    def test_mimalloc(self):
        # Version 2.0.9 crashes now and then, by itself, when asked for far too much.
        self.run_beneath("libmimalloc.so.2", "--no-huge")


if __name__ == "__main__":
    harness.main((("--seeds",), {"type": int, "default": int(os.environ.get("E2E_SEEDS", "50"))}))
