#!/usr/bin/env python3
"""Do no harm to blocks: answers at the edge are the allocator's, usable bytes are usable, and
blocks that cross to code that bypasses heaptally are still freed."""

import os

import harness
from harness import controller


class Blocks(harness.TallyTest):
    def test_usable_size(self):
        whole = controller(self.tallied([harness.program("usable_size")]), "whole")
        self.expect("written to the full usable size: live blocks", whole["live_blocks"], 90)
        self.expect("written to the full usable size: live bytes", whole["live_bytes"],
                    sum(size + 100 for size in range(0, 9000, 100)))

    def test_usable_size_overruns_none(self):
        report = self.tallied([harness.program("usable_size")])
        self.expect("suspected overruns by lawful writes", report["quality"]["suspected_overruns"],
                    0)

    def test_adopted(self):
        """An adopted block is its new owner's, and no figure that only rises ever falls."""
        report = self.tallied([harness.program("adopt")])
        first, second = (controller(report, tag) for tag in ("first", "second"))
        self.expect("adopted: live blocks of the first and second owner",
                    (first["live_blocks"], second["live_blocks"]), (0, 100))
        self.expect("adopted: live bytes of the first and second owner",
                    (first["live_bytes"], second["live_bytes"]), (0, 10000))
        self.expect("adopted: instantiations of the second", second["instantiations"], 100)
        self.expect("adopted: blocks ever allocated by the first", first["allocated_blocks"], 100)

    def refused(self, name, beneath, **more):
        env = self.environment({}, beneath) | more
        result = harness.run([harness.program("refused"), 1500], self.dir, env)
        self.expect(f"refused by {name}: exit status", result.status, 0)
        refused = controller(self.report(self.only_snapshot()), "asked")
        there = int(result.out)
        self.expect(f"refused by {name}: blocks and bytes ever, of {there} that were there",
                    (refused["allocated_blocks"], refused["allocated_bytes"]),
                    (there, 100 * there))
        self.expect(f"refused by {name}: live, and whether the peak is one block at most",
                    (refused["live_blocks"], refused["live_bytes"], refused["peak_bytes"] <= 100),
                    (0, 0, True))
        self.expect_that(f"refused by {name}: verdict", refused["verdict"],
                         refused["verdict"] != "invalid", "any but invalid")

    def test_refused(self):
        """Blocks that the allocator does not have are none: they never seem to be there, nor to
        have been."""
        self.refused("glibc", None)

    def test_refused_slowly(self):
        """Nor while the counters are looked at before the allocator has answered."""
        self.refused("a slow allocator", harness.program("signal_safe_allocator.so"),
                     REFUSE_AFTER_MS="5")

    def test_overrun(self):
        result = self.tally([harness.program("overrun")])
        self.expect("overrun by one byte: exit status and output", (result.status, result.out),
                    (0, "done\n"))
        report = self.report(self.only_snapshot())
        self.expect("overrun by one byte: suspected overruns",
                    report["quality"]["suspected_overruns"], 200)
        self.expect("overrun by one byte: other figures", controller(report, "kept")["live_bytes"],
                    100000)

    def test_deep_binding(self):
        result = self.tally([harness.program("deepbind"), harness.program("deepbind_plugin.so")])
        self.expect("deep-bound plugin: exit status and output", (result.status, result.out),
                    (0, "done\n"))
        self.assertEqual(result.err, "")
        report = self.report(self.only_snapshot())
        self.expect("deep-bound plugin: other figures", controller(report, "kept")["live_bytes"],
                    100000)
        # 100 that are freed, 50 that are resized and then freed: these may count once or twice.
        foreign = report["quality"]["foreign_frees"]
        self.expect_that("deep-bound plugin: foreign frees", foreign, 150 <= foreign <= 200,
                         "150 to 200 for the 150 blocks that came over")

    def test_own_operators(self):
        plain = harness.run([harness.program("own_new")], self.dir)
        result = self.tally([harness.program("own_new")])
        self.expect("own operator new: exit status and output", (result.status, result.out),
                    (plain.status, plain.out))
        report = self.report(self.only_snapshot())
        # The program's operator adds 16 bytes before it asks malloc.
        self.expect("own operator new: live bytes", controller(report, "kept")["live_bytes"],
                    10 * (100 * 8 + 16))

    def test_taken_addresses(self):
        """Where a program that cannot be moved takes the address of malloc or of an operator, that
        is not a definition of its own. An allocator with operators of its own beneath shows whether
        ours count."""
        beneath = {"glibc": None, "jemalloc": harness.find_library("libjemalloc.so.2")}
        for name, path in beneath.items():
            if name != "glibc" and not path:
                print(f"SKIP taken addresses over {name}: it is not installed")
                continue
            with self.subTest(beneath=name):
                result = self.tally([harness.program("taken_addresses")], beneath=path,
                                    options={"OUTPUT": os.path.join(self.dir, name + ".htl")})
                self.expect(f"taken addresses over {name}: exit status and output",
                            (result.status, result.out), (0, "done\n"))
                report = self.report(self.only_snapshot(name))
                self.expect(f"taken addresses over {name}: an allocator linked in",
                            report["quality"]["static_allocator"], False)
                kept = controller(report, "kept")
                self.expect(f"taken addresses over {name}: live blocks and bytes",
                            (kept["live_blocks"], kept["live_bytes"]), (40, 10 * 11110))

    def test_small_stacks(self):
        thread = controller(self.tallied([harness.program("small_stacks")]), "thread")
        self.expect("smallest stacks: live blocks", thread["live_blocks"], 100)
        self.expect("smallest stacks: blocks ever", thread["allocated_blocks"], 200)

    def edge_cases(self, name, beneath):
        env = harness.clean_environment()
        if beneath:
            env["LD_PRELOAD"] = beneath
        plain = harness.run([harness.program("edge_cases")], self.dir, env)
        self.assertEqual(plain.status, 0, plain.err)
        result = self.tally([harness.program("edge_cases")], beneath=beneath)
        alone, seen = plain.out.splitlines(), result.out.splitlines()
        different = [f"{b}  <- alone: {a}" for a, b in zip(alone, seen) if a != b]
        for line in different:
            print("  " + line)
        self.expect(f"edge cases over {name}: answers", len(seen), len(alone))
        self.expect(f"edge cases over {name}: answers that differ from the allocator's own",
                    len(different), 0)
        self.expect(f"edge cases over {name}: exit status", result.status, 0)

    def test_edge_cases(self):
        self.edge_cases("glibc", None)

    def test_edge_cases_of_others(self):
        # An allocator that lacks pvalloc cannot free libc's: jemalloc is left out.
        for library in ("libtcmalloc_minimal.so.4", "libmimalloc.so.2"):
            with self.subTest(library):
                path = harness.find_library(library)
                if not path:
                    self.skipTest(f"{library} is not installed")
                self.edge_cases(library, path)


if __name__ == "__main__":
    harness.main()
