#!/usr/bin/env python3
"""The JSON report: every key that is promised and no other, in every block of every file."""
import json

import driver
import htl

KEYS = {
    "": "schema process memory trend controllers no_alloc alerts quality",
    "process": "exe pid host start duration_s complete",
    "memory": "rss_mb baseline_mb growth_mb live_bytes live_blocks unaccounted_mb diagnosis",
    "trend": "growth_rate_mb_per_hour ci_low ci_high samples time_span_hours monotonic_growth "
             "verdict",
    "controllers": "tag verdict reason live_bytes live_blocks peak_bytes allocated_bytes "
                   "allocated_blocks instantiations mb_per_1000 mb_per_1000_recurring cycles "
                   "bytes_per_cycle "
                   "growth_rate_mb_per_hour ci_low ci_high seconds_to_limit sites",
    "sites": "live_bytes live_blocks allocated_bytes allocated_blocks verdict "
             "growth_rate_mb_per_hour cut fallback stack",
    "stack": "function file line module offset inlined",
    "no_alloc": "region allocations bytes sites",
    "no_alloc/sites": "tag allocations bytes live_bytes cut fallback stack",
    "alerts": "time kind state severity tag value_mb threshold_mb rss_mb growth_mb message",
    "quality": "fallback_bytes fallback_live_bytes foreign_frees foreign_bytes "
               "counting_was_stopped suspected_overruns static_allocator truncated torn "
               "dropped_ticks own_bytes modules_without_symbols",
    "modules_without_symbols": "module problem",
}


class Json(driver.Case):
    def check_keys(self, name, value):
        if isinstance(value, list):
            for item in value:
                self.check_keys(name, item)
        elif isinstance(value, dict):
            self.assertEqual(list(value), KEYS[name].split(), name)
            for key, item in value.items():
                inside = f"{name}/{key}"
                self.check_keys(inside if inside in KEYS else key, item)

    def test_keys(self):
        for f in (htl.File(), htl.File().tag(1, "t").end(1), htl.controllers().alert(1),
                  htl.controllers(), htl.controllers().region(9, "step", 1, 8).site(1, 1, 1, region=9)):
            report = self.load(f)
            self.check_keys("", report)
            self.assertEqual(report["schema"], "heaptally-report/1")

    def test_strings_that_are_no_text(self):
        """Bytes that are no UTF-8, control characters: still JSON, nothing lost around them."""
        f = htl.File(exe="/tmp/\x1b[31mred\n").module(1, b"/tmp/\xff\xfe.so").tag(1, b"p\xc3id\x07")
        f.tag(2, "контроллер").stack(1, [(1, 16)]).site(1, 1, 1)
        f.snapshot(1, sites={1: dict(allocated=(1, 1))}).alert(1, message="line\nbreak")
        report = self.load(f)
        sites = {c["tag"]: c["sites"] for c in report["controllers"]}
        self.assertEqual(set(sites), {"p\ufffdid\ufffd", "контроллер"})
        module = sites["p\ufffdid\ufffd"][0]["stack"][0]["module"]
        self.assertEqual((report["process"]["exe"], module, report["alerts"][0]["message"]),
                         ("/tmp/\ufffd[31mred\ufffd", "/tmp/\ufffd\ufffd.so", "line\ufffdbreak"))

    def test_numbers(self):
        """Counts are whole numbers up to 2^63 - 1, and null where no JSON reader could hold
        them."""
        f = htl.File().tag(1, "big").tag(2, "bigger")
        f.tick(1, tags={1: dict(allocated=(2**63 - 1, 2**53 + 1)), 2: dict(allocated=(2**63, 1))})
        big = {c["tag"]: c for c in self.load(f)["controllers"]}
        self.assertEqual((big["big"]["live_bytes"], big["big"]["live_blocks"],
                          big["bigger"]["live_bytes"]), (2**63 - 1, 2**53 + 1, None))

    def test_output_file(self):
        path = htl.controllers().write(self.path("f.htl"))
        for option in (["-o", "out.json"], ["--output=out2.json"]):
            done = self.heaptally("report", "--format", "json", *option, path)
            self.assertEqual((done.returncode, done.out, done.err), (0, "", ""))
            with open(self.path(option[-1].split("=")[-1]), encoding="utf-8") as out:
                self.check_keys("", json.load(out))

    def test_output_survives_an_unreadable_input(self):
        with open(self.path("precious"), "w", encoding="ascii") as out:
            out.write("old report")
        self.one_line(self.heaptally("report", "-o", "precious", "missing.htl"), 2, "missing.htl")
        with open(self.path("precious"), encoding="ascii") as out:
            self.assertEqual(out.read(), "old report")

    def test_full_disk(self):
        path = htl.controllers().write(self.path("f.htl"))
        self.one_line(self.heaptally("report", "-o", "/dev/full", path), 2, "/dev/full")


if __name__ == "__main__":
    driver.main()
