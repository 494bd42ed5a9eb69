#!/usr/bin/env python3
"""The arithmetic of the model, through the JSON report."""
import math

import driver
import htl
from htl import MB


def by_tag(report):
    return {c["tag"]: c for c in report["controllers"]}


def one_site(**header):
    f = htl.File(**header).module(1, "/nonexistent/a").tag(1, "pid")
    return f.stack(1, [(1, 16)]).site(1, 1, 1)


class Profile(driver.Case):
    def live(self, f):
        return [s["live_bytes"] for s in by_tag(self.load(f))["pid"]["sites"]]

    # ---- which figures hold ----

    def test_later_figures_replace_earlier_ones(self):
        f = one_site()
        f.tick(1, tags={1: dict(allocated=(10, 1))}, sites={1: dict(allocated=(10, 1))})
        f.snapshot(2, tags={1: dict(allocated=(20, 2))}, sites={1: dict(allocated=(20, 2))})
        f.tick(3, tags={1: dict(allocated=(50, 5), freed=(5, 1))},
               sites={1: dict(allocated=(50, 5), freed=(5, 1))})
        c = by_tag(self.load(f))["pid"]
        self.assertEqual((c["live_bytes"], c["live_blocks"], c["allocated_bytes"],
                          c["allocated_blocks"]), (45, 4, 50, 5))
        self.assertEqual(self.live(f), [45])

    def test_snapshot_takes_back_what_it_does_not_list(self):
        """A site that became another one is listed no more: it must not count twice."""
        f = one_site().site(2, 1, 1).stack(2, [(1, 32)]).site(3, 2, 1)
        f.tick(1, sites={1: dict(allocated=(10, 1)), 3: dict(allocated=(7, 1))})
        f.snapshot(2, tags={1: dict(allocated=(17, 2))},
                   sites={2: dict(allocated=(10, 1)), 3: dict(allocated=(7, 1))})
        self.assertEqual(self.live(f), [10, 7])

    def test_unchanged_tags_keep_their_figures(self):
        f = one_site().tag(2, "sta")
        f.tick(1, tags={1: dict(allocated=(10, 1)), 2: dict(allocated=(5, 1))})
        f.tick(2, tags={2: dict(allocated=(6, 2))}, total=htl.figures((16, 3)))
        report = self.load(f)
        self.assertEqual({t: c["live_bytes"] for t, c in by_tag(report).items()},
                         {"pid": 10, "sta": 6})
        self.assertEqual((report["memory"]["live_bytes"], report["memory"]["live_blocks"]), (16, 3))

    def test_every_tag_and_site_is_there_at_zero(self):
        f = one_site().tag(2, "never used").stack(2, [(1, 32)]).site(2, 2, 1)
        f.snapshot(1, tags={1: dict(allocated=(10, 1), freed=(10, 1))},
                   sites={1: dict(allocated=(10, 1), freed=(10, 1))})
        tags = by_tag(self.load(f))
        self.assertEqual([(c["live_bytes"], c["allocated_bytes"], len(c["sites"]))
                          for c in (tags["pid"], tags["never used"])], [(0, 10, 2), (0, 0, 0)])

    # ---- merging ----

    def test_same_frames_and_tag_are_one_site(self):
        f = one_site().stack(2, [(1, 16)]).site(2, 2, 1).site(3, 1, 1).tag(2, "sta").site(4, 1, 2)
        f.snapshot(1, sites={i: dict(allocated=(10 * i, i), freed=(i, 0)) for i in (1, 2, 3, 4)})
        tags = by_tag(self.load(f))
        self.assertEqual([[s[k] for k in ("live_bytes", "live_blocks", "allocated_bytes",
                                          "allocated_blocks")]
                          for t in ("pid", "sta") for s in tags[t]["sites"]],
                         [[54, 6, 60, 6], [36, 4, 40, 4]])

    def test_a_module_that_was_loaded_twice_is_one(self):
        f = htl.File().tag(1, "pid")
        f.module(1, "/nonexistent/p.so", b"\x01" * 20, bias=0x1000000)
        f.module(1, "/nonexistent/p.so", b"\x01" * 20, bias=0x1000000, flags=htl.CLOSED)
        f.module(2, "/nonexistent/p.so", b"\x01" * 20, bias=0x7000000, generation=1)
        f.module(3, "/nonexistent/p.so", b"\x02" * 20, bias=0x8000000, generation=2)
        for i in (1, 2, 3):
            f.stack(i, [(i, 16)]).site(i, i, 1)
        f.snapshot(1, sites={i: dict(allocated=(i, 1)) for i in (1, 2, 3)})
        self.assertEqual(self.live(f), [3, 3])

    def test_cut_and_whole_stacks_stay_apart(self):
        f = one_site().stack(2, [(1, 16)], flags=htl.CUT).site(2, 2, 1)
        f.snapshot(1, sites={1: dict(allocated=(1, 1)), 2: dict(allocated=(2, 1))})
        sites = by_tag(self.load(f))["pid"]["sites"]
        self.assertEqual([(s["live_bytes"], s["cut"]) for s in sites], [(2, True), (1, False)])

    def test_a_site_that_moves(self):
        """A SITE record that comes again moves the site to another stack and tag."""
        f = one_site().tick(1, sites={1: dict(allocated=(9, 1))})
        f.tag(2, "sta").stack(2, [(1, 32)]).site(1, 2, 2)
        tags = by_tag(self.load(f))
        self.assertEqual(([], 9, 32), (tags["pid"]["sites"], tags["sta"]["sites"][0]["live_bytes"],
                                       tags["sta"]["sites"][0]["stack"][0]["offset"]))

    def test_a_tag_that_is_renamed(self):
        f = one_site().tag(1, "better known")
        self.assertEqual(list(by_tag(self.load(f))), ["better known"])

    def test_deep_stack(self):
        f = one_site().stack(1, [(1, i) for i in range(5000)])
        f.snapshot(1, sites={1: dict(allocated=(9, 1))})
        site = by_tag(self.load(f))["pid"]["sites"][0]
        self.assertEqual((len(site["stack"]), site["cut"]), (4096, True))

    # ---- regions without allocations ----

    def test_regions(self):
        """The file's sums hold, the sites are by allocations; an owner keeps all of its figures."""
        f = one_site().tag(2, "sta").stack(2, [(1, 32)])
        f.region(7, "step", 2, 20).region(9, "quiet", 1, 5)
        f.site(2, 1, 1, region=7).site(3, 2, 2, region=7).site(4, 2, 2, region=9)
        f.region(7, "step", 12, 130)
        f.snapshot(1, tags={1: dict(allocated=(130, 12)), 2: dict(allocated=(100, 8))},
                   sites={1: dict(allocated=(100, 10)), 2: dict(allocated=(30, 2)),
                          3: dict(allocated=(95, 7)), 4: dict(allocated=(5, 1))})
        report = self.load(f)
        self.assertEqual(
            [(r["region"], r["allocations"], r["bytes"],
              [(s["tag"], s["allocations"], s["bytes"]) for s in r["sites"]])
             for r in report["no_alloc"]],
            [("step", 12, 130, [("sta", 7, 95), ("pid", 2, 30)]),
             ("quiet", 1, 5, [("sta", 1, 5)])])
        self.assertEqual(sorted(s["live_bytes"] for s in by_tag(report)["pid"]["sites"]), [30, 100])

    def test_a_region_that_is_never_described(self):
        f = one_site().site(2, 1, 1, region=7).snapshot(1, sites={2: dict(allocated=(30, 2))})
        region, = self.load(f)["no_alloc"]
        self.assertEqual((region["region"], region["allocations"], region["bytes"]),
                         ("[region 7]", 2, 30))

    def test_no_region(self):
        self.assertEqual(self.load(one_site())["no_alloc"], [])

    # ---- rates ----

    def test_mb_per_1000(self):
        for made, live, expected in ((1000, 20480000, 19.53125), (1, MB, 1000.0),
                                     (99, 99 * MB, 1000.0), (199, 199 * MB, 1000.0),
                                     (2000, 0, 0.0), (0, MB, None),
                                     (htl.UNKNOWN, MB, None)):
            with self.subTest(made=made):
                f = one_site().tick(1, tags={1: dict(allocated=(live, 1), made=made)})
                c = by_tag(self.load(f))["pid"]
                self.assertEqual((c["mb_per_1000"], c["instantiations"]),
                                 (expected, None if made == htl.UNKNOWN else made))
                self.assertEqual(c["mb_per_1000_recurring"], expected)

    def recurring(self, made, sites, stacks=(), left_out=(0, 0), tag=None):
        """(all, recurring) of a tag whose sites are [(allocated, freed)], with the stacks given or
        else a caller each."""
        f = htl.File().module(1, "/nonexistent/a").module(2, "/nonexistent/r", flags=htl.RUNTIME)
        f.tag(1, "pid")
        for i, (_, _) in enumerate(sites, 1):
            f.stack(i, stacks[i - 1] if stacks else [(1, 16 * i)]).site(i, i, 1)
        figures = {i: dict(allocated=a, freed=b) for i, (a, b) in enumerate(sites, 1)}
        whole = tag or dict(allocated=tuple(map(sum, zip(*(a for a, _ in sites)))),
                            freed=tuple(map(sum, zip(*(b for _, b in sites)))))
        f.tick(1, tags={1: dict(whole, made=made)}, sites=figures, left_out=left_out)
        c = by_tag(self.load(f))["pid"]
        return c["mb_per_1000"], c["mb_per_1000_recurring"]

    def test_what_was_allocated_once_does_not_recur(self):
        none = (0, 0)
        once = ((24 * MB, 1), none)
        self.assertEqual(self.recurring(1000, [once]), (24, 0))
        self.assertEqual(self.recurring(1000, [once, once]), (48, 0))
        self.assertEqual(self.recurring(1000, [once, ((MB, 1000), none)]), (25, 1))
        self.assertEqual(self.recurring(100, [once]), (240, 0))
        self.assertEqual(self.recurring(htl.UNKNOWN, [once]), (None, None))

    def test_a_leak_recurs_at_any_count(self):
        for made in (1, 2, 50, 99, 100, 199, 1000):
            with self.subTest(made=made):
                self.assertEqual(self.recurring(made, [((made * MB, made), (0, 0))]), (1000, 1000))

    def test_doubt_speaks_against_one_off(self):
        none, once = (0, 0), ((24 * MB, 1), (0, 0))
        # Too few instantiations to tell.
        whole, recurring = self.recurring(99, [once])
        self.assertEqual(recurring, whole)
        # Few and large: a leak once in 500 instantiations.
        self.assertEqual(self.recurring(1000, [((24 * MB, 2), none)]), (24, 24))
        # One live block, but not the first: an array that grows.
        self.assertEqual(self.recurring(1000, [((47 * MB, 12), (23 * MB, 11))]), (24, 24))
        # The same caller on many ways, one block on each.
        ways = [[(1, 64), (1, 1000 + i)] for i in range(200)]
        self.assertEqual(self.recurring(200, [((MB, 1), none)] * 200, ways), (1000, 1000))
        # A runtime's frame is no caller: whoever called it is, and nobody is not known to be one.
        ways = [[(2, 8), (1, 64)], [(1, 64)]]
        self.assertEqual(self.recurring(1000, [once, once], ways), (48, 48))
        ways = [[(2, 8), (1, 64)], [(2, 8), (1, 128)]]
        self.assertEqual(self.recurring(1000, [once, once], ways), (48, 0))
        for nobody in ([], [(2, 8)], [(htl.NO_MODULE, 8)]):
            self.assertEqual(self.recurring(1000, [once], [nobody]), (24, 24))
        # It may have been freed by what the file leaves out.
        self.assertEqual(self.recurring(1000, [once], left_out=(1, 24 * MB)), (24, 24))
        self.assertEqual(self.recurring(1000, [once], left_out=(1, 24 * MB - 1)), (24, 0))

    def test_recurring_is_never_negative(self):
        freed = dict(allocated=(24 * MB, 1), freed=(14 * MB, 0))
        self.assertEqual(self.recurring(1000, [((24 * MB, 1), (0, 0))], tag=freed), (10, 0))

    def test_bytes_per_cycle(self):
        for cycles, expected in ((10, 100.0), (0, None), (htl.UNKNOWN, None)):
            f = one_site().tick(1, tags={1: dict(allocated=(1000, 1), cycles=cycles)})
            self.assertEqual(by_tag(self.load(f))["pid"]["bytes_per_cycle"], expected)

    def test_peak(self):
        f = one_site().tick(1, tags={1: dict(allocated=(1000, 2), freed=(900, 1), peak=700)})
        self.assertEqual(by_tag(self.load(f))["pid"]["peak_bytes"], 700)
        f.tick(2, tags={1: dict(allocated=(2000, 3), freed=(900, 1), peak=700)})
        self.assertEqual(by_tag(self.load(f))["pid"]["peak_bytes"], 1100)

    def test_order(self):
        f = htl.File()
        for i, (name, size) in enumerate((("b", 5), ("zero", 0), ("most", 9), ("a", 5))):
            f.tag(i, name)
        f.tick(1, tags={i: dict(allocated=(size, 1)) for i, size in enumerate((5, 0, 9, 5))})
        self.assertEqual([c["tag"] for c in self.load(f)["controllers"]],
                         ["most", "a", "b", "zero"])

    # ---- the process ----

    def test_memory(self):
        f = one_site()
        for t, rss in ((1, 10 * MB), (2, htl.UNKNOWN), (3, 14 * MB), (4, htl.UNKNOWN)):
            f.tick(t, rss=rss, own=MB, tags={1: dict(allocated=(2 * MB, 1))})
        memory = self.load(f)["memory"]
        self.assertEqual(memory, dict(rss_mb=14, baseline_mb=10, growth_mb=4, live_bytes=2 * MB,
                                      live_blocks=1, unaccounted_mb=11,
                                      diagnosis="not heap: resident memory grew by 4.0 MB, the "
                                      "live heap by 0 bytes; the rest is no heap: mappings, "
                                      "stacks, files"))

    def diagnosis(self, rss, live, peak=0, blocks=1):
        """Of two ticks with (resident, live) MB each."""
        f = one_site()
        for t in (0, 1):
            f.tick(t + 1, rss=rss[t] * MB, tags={1: dict(allocated=(live[t] * MB, blocks),
                                                         peak=peak * MB)})
        return self.load(f)["memory"]["diagnosis"].split(":")[0]

    def test_diagnosis(self):
        self.assertEqual(self.diagnosis((100, 101), (50, 50)), "steady")
        self.assertEqual(self.diagnosis((100, 90), (50, 60)), "steady")
        self.assertEqual(self.diagnosis((10, 30), (5, 22)), "live heap")
        self.assertEqual(self.diagnosis((10, 30), (5, 5), peak=20), "retained")
        self.assertEqual(self.diagnosis((10, 30), (5, 5), peak=6), "not heap")
        self.assertEqual(self.diagnosis((10, 30), (5, 9), blocks=10**6), "retained")
        f = one_site()
        for t in range(200):
            f.tick(t + 1, rss=(10 + t) * MB, tags={1: dict(allocated=((t + 1) * MB, t + 1))})
        self.assertTrue(self.load(f)["memory"]["diagnosis"].startswith("leak: "))

    def test_unknown_is_null(self):
        report = self.load(htl.File())
        self.assertEqual(set(report["memory"].values()), {None})
        self.assertEqual([v for k, v in report["quality"].items()
                          if k not in ("truncated", "modules_without_symbols",
                                       "counting_was_stopped")], [None] * 9)
        self.assertEqual((report["process"]["duration_s"], report["process"]["complete"]),
                         (0, False))
        self.assertEqual((report["controllers"], report["alerts"]), ([], []))
        f = one_site().tick(1)
        self.assertEqual(self.load(f)["memory"]["rss_mb"], None)

    def test_no_tick_is_invalid(self):
        c = by_tag(self.load(one_site().end(1)))["pid"]
        self.assertEqual((c["verdict"], "first tick" in c["reason"]), ("invalid", True))

    def test_duration_and_start(self):
        f = one_site(start_real=1700000000123000000).tick(2.5).alert(3.25)
        self.assertEqual(self.load(f)["process"],
                         dict(exe="/usr/bin/plant", pid=4242, host="rig",
                              start="2023-11-14T22:13:20.123Z", duration_s=3.25, complete=False))
        self.assertEqual(self.load(f.end(7))["process"]["duration_s"], 7)

    def test_freed_more_than_allocated(self):
        f = one_site().snapshot(1, tags={1: dict(allocated=(5, 1), freed=(9, 2))},
                                total=htl.figures((5, 1), (9, 2)))
        report = self.load(f)
        self.assertEqual((by_tag(report)["pid"]["live_bytes"], report["memory"]["live_bytes"]),
                         (0, 0))
        self.assertIn("4 contradictions", self.text(self.path("file.htl")))

    def test_settings(self):
        f = one_site().tick(1, tags={1: dict(allocated=(MB, 1), made=1)})
        self.assertIn("limit 1.00 MB", self.text(f.write(self.path("standard.htl"))))
        f = one_site().settings(leak_threshold="512KB", static_allocator="1")
        f.tick(1, tags={1: dict(allocated=(MB, 1), made=1000)}).settings(leak_threshold="256KB")
        self.assertIn("above the limit ×4.00", self.text(f.write(self.path("later.htl"))))
        for value, expected in (("1", True), ("0", False), ("yes", True), ("perhaps", None)):
            f = one_site().settings(static_allocator=value)
            self.assertEqual(self.load(f)["quality"]["static_allocator"], expected)

    def test_quality(self):
        f = one_site().tick(1, foreign=(3, 33), overruns=2, own=77, dropped=4, truncated=5,
                            fallback=htl.figures((100, 3), (40, 1)))
        self.assertEqual(self.load(f)["quality"],
                         dict(fallback_bytes=100, fallback_live_bytes=60, foreign_frees=3,
                              foreign_bytes=33, counting_was_stopped=False,
                              suspected_overruns=2, static_allocator=None, truncated=True, torn=None, dropped_ticks=4, own_bytes=77,
                              modules_without_symbols=[
                                  dict(module="/nonexistent/a", problem="file not found")]))

    def test_frees_of_what_was_allocated_while_stopped(self):
        f = one_site()
        f.tick(1, tags={1: dict(allocated=(9, 1))})
        f.tick(60, tags={1: dict(allocated=(9, 1))}, foreign=(5, 500), flags=2)  # resumed
        self.assertIs(self.load(f)["quality"]["counting_was_stopped"], True)
        said = "5 frees of blocks never seen, 500 bytes; of those allocated while counting was"
        self.assertIn(said, " ".join(self.text(f.write(self.path("stopped.htl"))).split()))

    # ---- resident memory over time ----

    def trend(self, values, step=60):
        f = one_site()
        for i, rss in enumerate(values):
            f.tick(step * (i + 1), rss=rss)
        return self.load(f)["trend"]

    def test_trend(self):
        t = self.trend([(100 + 2 * i) * MB for i in range(20)])
        self.assertAlmostEqual(t["growth_rate_mb_per_hour"], 120, 6)
        self.assertAlmostEqual(t["ci_low"], 120, 6)
        self.assertEqual((t["samples"], t["monotonic_growth"], t["verdict"]),
                         (20, True, "inconclusive"))
        self.assertAlmostEqual(t["time_span_hours"], 19 / 60, 9)

    def test_trend_of_noise(self):
        """Alternating ups and downs: the interval holds 0, and there is no monotonic growth."""
        t = self.trend([(100 + i % 2) * MB for i in range(40)])
        self.assertLess(t["ci_low"], 0)
        self.assertGreater(t["ci_high"], 0)
        self.assertEqual(t["monotonic_growth"], False)

    def test_trend_against_a_table(self):
        """Least squares and its interval against figures computed by hand: slope 6 MB in 10
        minutes, residuals +1 -1, standard error from 8 degrees of freedom with t = 2.306."""
        y = [100 + 0.6 * i + (1 if i % 2 else -1) for i in range(10)]
        t = self.trend([int(v * MB) for v in y])
        xs = [i / 60 for i in range(10)]
        mx, my = sum(xs) / 10, sum(y) / 10
        sxx = sum((x - mx)**2 for x in xs)
        slope = sum((x - mx) * (v - my) for x, v in zip(xs, y)) / sxx
        sse = sum((v - my - slope * (x - mx))**2 for x, v in zip(xs, y))
        half = 2.306 * (sse / 8 / sxx)**0.5
        self.assertAlmostEqual(t["growth_rate_mb_per_hour"], slope, 3)
        self.assertAlmostEqual((t["ci_high"] - t["ci_low"]) / 2 / half, 1, 2)

    def test_trend_of_a_slow_wave(self):
        """Neighbouring samples that are alike count for less: the interval is much wider than that
        of independent samples."""
        y = [100 + math.sin(i / 5) for i in range(70)]
        t = self.trend([int(v * MB) for v in y])
        xs = [i / 60 for i in range(70)]
        mx, my = sum(xs) / 70, sum(y) / 70
        sxx = sum((x - mx)**2 for x in xs)
        slope = sum((x - mx) * (v - my) for x, v in zip(xs, y)) / sxx
        residuals = [v - my - slope * (x - mx) for x, v in zip(xs, y)]
        sse = sum(e * e for e in residuals)
        alike = min(0.95, sum(e * f for e, f in zip(residuals, residuals[1:])) / sse)
        self.assertGreater(alike, 0.9)
        # 70 samples are worth fewer than 6: the quantile is that of 4 degrees of freedom.
        half = 2.776 * (sse / 68 / sxx * (1 + alike) / (1 - alike))**0.5
        self.assertAlmostEqual((t["ci_high"] - t["ci_low"]) / 2 / half, 1, 2)
        self.assertLess(t["ci_low"], 0)
        self.assertGreater(t["ci_high"], 0)

    def test_trend_of_a_leak(self):
        """Resident memory that leaks, and holds a large table late: a straight line through it
        might as well be flat, so beside the verdict stand its own rate and interval."""
        t = self.trend([50 * MB + i * MB // 20 + (i >= 190) * 200 * MB for i in range(200)])
        self.assertEqual(t["verdict"], "leak")
        self.assertGreater(t["ci_low"], 0)
        self.assertLessEqual(t["ci_low"], t["growth_rate_mb_per_hour"])
        self.assertGreaterEqual(t["ci_high"], t["growth_rate_mb_per_hour"])

    def test_flat_is_not_growth(self):
        t = self.trend([50 * MB] * 12)
        self.assertEqual((t["growth_rate_mb_per_hour"], t["monotonic_growth"]), (0, False))

    def test_trend_needs_samples(self):
        for count in (0, 1, 9):
            t = self.trend([(50 + i) * MB for i in range(count)])
            self.assertEqual((t["samples"], t["growth_rate_mb_per_hour"], t["ci_low"], t["ci_high"],
                              t["monotonic_growth"]), (count, None, None, None, None))
        self.assertEqual(self.trend([50 * MB] * 12, step=0)["growth_rate_mb_per_hour"], None)

    def test_history_comes_before_the_ticks(self):
        """A thinned past gives the samples before the first tick; what overlaps is not taken
        twice."""
        f = one_site()
        f.history(htl.NO_MODULE, [(t, t * MB, t * MB, 0, 0, 0) for t in range(1, 16)])
        for t in range(10, 21):
            f.tick(t, rss=t * MB)
        report = self.load(f)
        self.assertEqual((report["trend"]["samples"], report["memory"]["baseline_mb"],
                          report["memory"]["growth_mb"]), (20, 1, 19))
        self.assertAlmostEqual(report["trend"]["growth_rate_mb_per_hour"], 3600, 6)

    # ---- alerts ----

    def test_alerts(self):
        f = one_site().alert(1, tag=1, kind=3, state=1, severity=2,
                             values=(1.5, 1.0, 20.0, float("nan")), message="pid grew")
        f.alert(2, kind=1, message="").alert(3, tag=99, kind=200, state=9, severity=9)
        alerts = self.load(f)["alerts"]
        self.assertEqual(alerts[0], dict(time="2023-11-14T22:13:21.000Z", kind="tag_growth",
                                         state="escalate", severity="critical", tag="pid",
                                         value_mb=1.5,
                                         threshold_mb=1, rss_mb=20, growth_mb=None,
                                         message="pid grew"))
        self.assertEqual([(a["kind"], a["state"], a["severity"], a["tag"], a["message"])
                          for a in alerts[1:]],
                         [("rss_growth", "enter", "warning", None, None), (None,) * 5])


if __name__ == "__main__":
    driver.main()
