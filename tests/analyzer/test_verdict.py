#!/usr/bin/env python3
"""Verdicts from recorded pasts: what is said of files whose truth is known, because we wrote them."""
import driver
import htl
from htl import MB

FINAL = 1  # HTL_TICK_FINAL


def base(**settings):
    """A file with one tag, two call sites, and the settings that a process records."""
    settings = {"interval": "1s", "threshold": "500MB", **settings}
    f = htl.File().settings(**settings).module(1, "/nonexistent/a", flags=htl.MAIN).tag(1, "pid")
    return f.stack(1, [(1, 64)]).stack(2, [(1, 128)]).site(1, 1, 1).site(2, 2, 1)


def live(value, blocks=1, **more):
    return dict(allocated=(value, blocks), **more)


class Verdict(driver.Case):
    def judge(self, f):
        """The entry of the tag, and the whole report."""
        report = self.json(f.write(self.path("file.htl")))
        return next(c for c in report["controllers"] if c["tag"] == "pid"), report

    def ramp(self, ticks=300, step=1, per_tick=10000, **settings):
        f = base(**settings)
        for i in range(1, ticks + 1):
            f.tick(i * step, tags={1: live(i * per_tick, i)})
        return f

    # ---- a tag ----

    def test_growth(self):
        entry, report = self.judge(self.ramp().end(301))
        self.assertEqual(entry["verdict"], "leak")
        self.assertAlmostEqual(entry["growth_rate_mb_per_hour"], 36e6 / MB, 3)
        self.assertLessEqual(entry["ci_low"], 36e6 / MB)
        self.assertGreaterEqual(entry["ci_high"], 36e6 / MB - 1e-6)
        # 500 MB above nothing, of which 3 MB are taken.
        self.assertAlmostEqual(entry["seconds_to_limit"], (500 * MB - 3e6) / 10000, 0)
        self.assertIn("never fell", entry["reason"])
        self.assertEqual(report["trend"]["verdict"], "invalid")  # resident memory is not known

    def test_ticks_without_change_count(self):
        """A tick lists a tag only when it changed: what stays the same is bounded, not unknown."""
        f = base().tag(2, "other")
        for i in range(1, 301):
            f.tick(i, tags={1: live(MB)} if i == 1 else {2: live(i)})
        entry, _ = self.judge(f.end(301))
        self.assertEqual((entry["verdict"], entry["growth_rate_mb_per_hour"]), ("bounded", 0))

    def test_rare_growth(self):
        """One block every 20 ticks, and nothing written in between."""
        f = base()
        for i in range(1, 601):
            f.tick(i, tags={1: live(i // 20 * 100, i)} if i % 20 == 0 else {})
        self.assertEqual(self.judge(f.end(601))[0]["verdict"], "leak")

    def test_too_short(self):
        for ticks, words in ((20, "73 more ticks"), (91, "2 more ticks"), (1, "92 more ticks")):
            entry, _ = self.judge(self.ramp(ticks))
            self.assertEqual(entry["verdict"], "inconclusive")
            self.assertIn(words, entry["reason"])
            self.assertEqual(entry["growth_rate_mb_per_hour"], None)
        self.assertEqual(self.judge(self.ramp(93))[0]["verdict"], "leak")

    def test_constructions_that_are_needed(self):
        f = base()
        for i in range(1, 32):
            f.tick(i, tags={1: live(i, i, made=10 * (i - 1))})
        self.assertIn("about 620 more constructions", self.judge(f)[0]["reason"])

    def test_ticks_are_counted_not_time(self):
        """Twenty ticks a minute apart are twenty ticks, whatever the interval was to be."""
        self.assertEqual(self.judge(self.ramp(20, step=60))[0]["verdict"], "inconclusive")
        self.assertEqual(self.judge(self.ramp(300, step=0.02, interval="20ms"))[0]["verdict"],
                         "leak")

    def test_warm_up(self):
        """With --warmup the answer comes after 2.75 times of it, and growth before is set aside."""
        self.assertIn("more second", self.judge(self.ramp(200, warmup="100s"))[0]["reason"])
        self.assertEqual(self.judge(self.ramp(300, warmup="100s"))[0]["verdict"], "leak")
        f = base(warmup="100s")
        for i in range(1, 401):
            f.tick(i, tags={1: live(min(i, 90) * MB, i)})
        self.assertEqual(self.judge(f)[0]["verdict"], "bounded")

    def test_sawtooth(self):
        f = base()
        for i in range(1, 601):
            held = (1 + i % 10) * MB
            f.tick(i, tags={1: dict(allocated=(10 * i * MB, i), freed=(10 * i * MB - held, 0))})
        self.assertEqual(self.judge(f)[0]["verdict"], "bounded")

    def test_the_lowest_of_a_tick_counts(self):
        """Looks at the ticks rise, but within each tick all was freed."""
        f = base()
        for i in range(1, 301):
            f.tick(i, tags={1: live(i * 10000, i, low=5000)})
        self.assertEqual(self.judge(f)[0]["verdict"], "bounded")

    # ---- the end of a process ----

    def given_back(self, *rest):
        """Grows for 300 ticks; `rest` are the shares that are left in the ticks of the end."""
        f = self.ramp()
        top = 300 * 10000
        for i, share in enumerate(rest):
            last = i == len(rest) - 1
            f.tick(301 + i, kind=htl.SNAPSHOT if last else htl.TICK, flags=FINAL if last else 0,
                   tags={1: dict(allocated=(top, 300), freed=(int(top * (1 - share)), 0))})
        return self.judge(f.end(310))[0]

    def test_given_back_at_the_end(self):
        for shares in ((0,), (0.5, 0), (0.9, 0.6, 0.6, 0.1, 0)):
            entry = self.given_back(*shares)
            self.assertEqual((entry["verdict"], entry["live_bytes"]), ("leak", 0))
            self.assertIn("given back as the process ended", entry["reason"])
        self.assertNotIn("given back", self.given_back(1)["reason"])
        # Long before the end: that is what it does while it runs.
        self.assertNotEqual(self.given_back(*[0.01] * 40)["verdict"], "leak")

    # ---- data that are missing or wrong ----

    def test_invalid(self):
        f = self.ramp(150)
        for i in range(151, 301):
            f.tick(i, tags={1: live((301 - i) * 1000, 1)})  # allocated since start must not fall
        entry, _ = self.judge(f)
        self.assertEqual(entry["verdict"], "invalid")
        self.assertIn("backwards", entry["reason"])

    def test_past_before_the_first_tick(self):
        """A file that was written anew: the past is in HISTORY, a point for eight ticks."""
        f = base()
        f.history(1, [(8 * i, i * 80000 - 70000, i * 80000, i * 80000, i, 0)
                      for i in range(1, 101)])
        f.history(2**32 - 1, [(8 * i, 9 * MB, 9 * MB, i * 80000, i, 0) for i in range(1, 101)])
        for i in range(801, 1001):
            f.tick(i, rss=9 * MB, tags={1: live(i * 10000, i)})
        entry, report = self.judge(f)
        self.assertEqual((entry["verdict"], report["trend"]["verdict"]), ("leak", "bounded"))
        self.assertAlmostEqual(entry["growth_rate_mb_per_hour"], 36e6 / MB, 0)

    # ---- limits ----

    def test_limits(self):
        """The nearest one counts; unknown ones do not."""
        for settings, room in (({}, 500 * MB), ({"threshold": "500MB;pid=20MB"}, 20 * MB),
                               ({"threshold": "500MB;other=20MB"}, 500 * MB),
                               ({"threshold": "500MB;pid=900MB"}, 500 * MB)):
            entry, _ = self.judge(self.ramp(**settings))
            self.assertAlmostEqual(entry["seconds_to_limit"], (room - 3e6) / 10000, 0)

    def test_system_limits(self):
        """Bytes of resident memory: of the group, of the address space; of the machine, from the
        start of counting."""
        for key, room in (("limit_cgroup", 300), ("limit_address_space", 300),
                          ("memory_available", 390)):
            f = base(**{key: 400 * MB})
            for i in range(1, 301):
                f.tick(i, rss=(90 if i == 1 else 100) * MB, tags={1: live(i * 10000, i)})
            entry, _ = self.judge(f)
            self.assertAlmostEqual(entry["seconds_to_limit"], room * MB / 10000, 0)

    # ---- call sites ----

    def sites(self, f):
        entry, _ = self.judge(f)
        return {s["stack"][0]["offset"]: s for s in entry["sites"]}

    def test_sites_by_their_own_past(self):
        f = base()
        for i in range(1, 301):
            f.tick(i, tags={1: live(MB + i * 10000, i)},
                   sites={1: live(i * 10000, i), 2: live(MB)})
        found = self.sites(f)
        self.assertEqual((found[64]["verdict"], found[128]["verdict"]), ("leak", "bounded"))
        self.assertAlmostEqual(found[64]["growth_rate_mb_per_hour"], 36e6 / MB, 3)

    def test_sites_without_a_past(self):
        """All others together hold too little to have carried the growth; or they do not."""
        for rest, verdict in ((10000, "leak"), (2000000, "inconclusive")):
            f = self.ramp()
            f.snapshot(301, tags={1: live(3000000, 300)},
                       sites={1: live(3000000 - rest, 200), 2: live(rest, 100)}).end(302)
            found = self.sites(f)
            self.assertEqual((found[64]["verdict"], found[128]["verdict"]),
                             (verdict, "inconclusive"))

    def test_site_that_looks_like_a_ramp(self):
        """A regular rise and fall, looked at a little later each time, in a tag that is steady."""
        f = base()
        for i in range(1, 301):
            held = 10 * i
            f.tick(i, tags={1: dict(allocated=(i * 100000 + MB, i), freed=(i * 100000, 0))},
                   sites={1: dict(allocated=(i * 100000 + held, i), freed=(i * 100000, 0))})
        self.assertEqual(self.sites(f)[64]["verdict"], "inconclusive")


if __name__ == "__main__":
    driver.main()
