#!/usr/bin/env python3
"""What a monitor of resident memory gets wrong, and what heaptally says of the same program.

The reference is a monitor that reads the process's resident memory and divides its growth by the
number of instances. Its figures below were measured by running it on the same scenarios.
"""

import os

import harness
from harness import MB, controller


class ReferenceFlaws(harness.TallyTest):
    def beside(self, name, measured, expected, reference):
        self.expect(f"{name} (reference: {reference})", measured, expected)

    def test_blame_is_per_controller(self):
        """One of four interleaved controllers leaks; exact bytes, and none for the innocent."""
        report = self.tallied([harness.program("flaw_interleaved")])
        a = controller(report, "A")
        self.beside("A live bytes", a["live_bytes"], 20480000, "12.984 MB/1000 for each of four")
        self.beside("A live blocks", a["live_blocks"], 1000, "not known")
        self.beside("A MB per 1000", round(a["mb_per_1000"], 2), 19.53, "12.98")
        for name in "BCD":
            entry = controller(report, name)
            self.beside(f"{name} live bytes", entry["live_bytes"], 0, "12.984 MB/1000")
            self.beside(f"{name} allocated bytes", entry["allocated_bytes"], 20480000, "not known")
        for name in "ABCD":
            self.expect(f"{name} instantiations", controller(report, name)["instantiations"], 1000)

    def few(self, count, reference):
        report = self.tallied([harness.program("flaw_few_instances"), count])
        leaky = controller(report, "leaky")
        self.beside(f"{count} x 1 MiB, live bytes", leaky["live_bytes"], count * MB, reference)
        self.beside(f"{count} x 1 MiB, instantiations", leaky["instantiations"], count, count)
        per_1000 = leaky["mb_per_1000"]
        self.expect_that(f"{count} x 1 MiB, MB per 1000 (reference: {reference})", per_1000,
                         990 <= per_1000 <= 1010, "1000 within 1 %")
        self.expect(f"{count} x 1 MiB, of which recurs", leaky["mb_per_1000_recurring"], per_1000)

    def test_fewer_than_a_hundred(self):
        for count in (1, 99):
            self.few(count, "0.0, has_leaks False")
            first = harness.run([harness.COMMAND, "report", self.only_snapshot()],
                                self.dir).out.split("\n", maxsplit=1)[0]
            self.expect_that(f"{count} x 1 MiB, first line of the report", first,
                             first.startswith("leaky: ") and "above the limit" in first,
                             "leaky is above the limit")
            self.remove_snapshots()

    def test_between_hundreds(self):
        self.few(199, "488.3, -51 %")

    def remove_snapshots(self):
        for path in self.snapshots():
            os.unlink(path)

    def test_unrelated_buffer(self):
        report = self.tallied([harness.program("flaw_unrelated")])
        clean = controller(report, "clean")
        self.beside("clean controller live bytes", clean["live_bytes"], 0, "500.04 MB/1000, leak")
        self.beside("clean controller MB per 1000", clean["mb_per_1000"], 0, "500.04")
        self.expect("clean controller allocated bytes", clean["allocated_bytes"], 100 * 4096)
        program = controller(report, "flaw_unrelated")
        self.beside("the program's own live bytes", program["live_bytes"], 50 * MB, "not known")
        charged = [c["tag"] for c in report["controllers"]
                   if c["live_bytes"] >= 50 * MB and c["tag"] != "flaw_unrelated"]
        self.expect("others that are charged with the buffer", charged, [])

    def test_warm_up(self):
        """24 MiB once is one block at one site, apart from the site that runs per instance."""
        report = self.tallied([harness.program("flaw_warmup")])
        sta = controller(report, "sta")
        sites = {(s["live_bytes"], s["live_blocks"], s["allocated_blocks"]) for s in sta["sites"]
                 if s["allocated_blocks"]}
        reference = "24.0 MB/1000, leak"
        self.beside("sites (live bytes, live blocks, blocks ever)", sorted(sites),
                    [(0, 0, 1000), (24 * MB, 1, 1)], reference)
        self.beside("instantiations", sta["instantiations"], 1000, 1000)
        self.beside("MB per 1000 that recur", f"{sta['mb_per_1000_recurring']:.2f}", "0.00",
                    reference)
        self.expect("MB per 1000 with the warm-up counted in", f"{sta['mb_per_1000']:.1f}", "24.0")
        text = harness.run([harness.COMMAND, "report", self.only_snapshot()], self.dir).out
        first = text.split("\n", maxsplit=1)[0]
        self.expect_that("first line of the report", first,
                         first.startswith("no leak found"),
                         "nobody is blamed")
        one_off = [line for line in text.split("\n") if line.startswith("  one-off ")]
        self.expect("the report on the warm-up", one_off, [
            "  one-off    24.00 MB in 1 block, allocated once: not counted against the limit"])
        self.expect_that(f"verdict (reference: {reference})", sta["verdict"],
                         sta["verdict"] != "leak", "anything but leak")

    def test_less_than_a_page(self):
        tiny = controller(self.tallied([harness.program("flaw_small_blocks")]), "tiny")
        self.beside("50 x 40 bytes, live bytes", tiny["live_bytes"], 2000, "0")
        self.beside("50 x 40 bytes, live blocks", tiny["live_blocks"], 50, "not known")

    def test_mostly_freed(self):
        batch = controller(self.tallied([harness.program("flaw_mostly_freed")]), "batch")
        self.beside("live bytes after freeing 98 %", batch["live_bytes"], 1200000,
                    "95.91 MB resident, growth 52 MB")
        self.beside("live blocks", batch["live_blocks"], 1200, "not known")
        self.beside("peak bytes", batch["peak_bytes"], 60000000, "not known")


if __name__ == "__main__":
    harness.main()
