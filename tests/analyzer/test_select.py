#!/usr/bin/env python3
"""Views and filters: what a report is measured by, and what it leaves out."""
import driver
import htl
from htl import KB, MB


def up_and_down():
    """Two controllers: one has its peak in the middle, the other grows. 100 s, a tick a second."""
    f = htl.File().module(1, "/nonexistent/plant", flags=htl.MAIN).module(2, "/nonexistent/libp.so")
    f.tag(1, "wave").tag(2, "slope")
    for number, (module, tag) in enumerate(((1, 1), (1, 2), (2, 2)), 1):
        f.stack(number, [(module, 0x100 * number), (1, 0x9000)]).site(number, number, tag)
    wave = slope = 0
    for t in range(1, 101):
        wave = 10 * MB if 40 <= t < 60 else 1 * MB
        slope = t * KB
        tags = {1: dict(allocated=(20 * MB, 20), freed=(20 * MB - wave, 20 - wave // MB)),
                2: dict(allocated=(2 * slope, 2 * t))}
        sites = {1: tags[1], 2: dict(allocated=(slope, t)), 3: dict(allocated=(slope, t))}
        f.tick(t, tags=tags, sites=sites if t % 10 else {},
               left_out=(0, 0) if t % 10 else (3, 2 * KB))
    return f.snapshot(100, tags=tags, sites=sites).end(100)


def amounts(report):
    return {c["tag"]: (c["view_bytes"], [s["view_bytes"] for s in c["sites"]])
            for c in report["controllers"]}


class Views(driver.Case):
    def setUp(self):
        super().setUp()
        self.file = up_and_down().write(self.path("f.htl"))

    def test_live_is_what_there_always_was(self):
        report = self.json(self.file, "--view", "live")
        self.assertEqual(report, self.json(self.file))
        self.assertNotIn("view", report)
        self.assertNotIn("view_bytes", report["controllers"][0])

    def test_peak(self):
        """As of the first tick with most live bytes, and the last listing before it."""
        report = self.json(self.file, "--view", "peak")
        view = report["view"]
        self.assertEqual((view["name"], view["then_s"], view["then_live_bytes"]),
                         ("peak", 59, 10 * MB + 2 * 59 * KB))
        self.assertEqual(amounts(report), {"wave": (10 * MB, [10 * MB]),
                                           "slope": (118 * KB, [59 * KB, 59 * KB])})
        self.assertEqual(view["then_unlisted_bytes"], 5 * 2 * KB)

    def test_cumulative(self):
        self.assertEqual(amounts(self.json(self.file, "--view", "cumulative")),
                         {"wave": (20 * MB, [20 * MB]), "slope": (200 * KB, [100 * KB] * 2)})

    def test_growth(self):
        """Since a fifth of the run, or since the moment that was named; at a tick whose sites were
        not listed the figures of the tick before stand, and that is said."""
        report = self.json(self.file, "--view", "growth")
        self.assertEqual(report["view"]["then_s"], 20)
        self.assertEqual(amounts(report), {"wave": (0, [0]), "slope": (160 * KB, [81 * KB] * 2)})
        self.assertEqual(report["view"]["then_unlisted_bytes"], 2 * 2 * KB)
        report = self.json(self.file, "--since", "45.5s")
        self.assertEqual((report["view"]["name"], report["view"]["then_s"]), ("growth", 45))
        self.assertEqual(amounts(report), {"wave": (-9 * MB, [-9 * MB]),
                                           "slope": (110 * KB, [55 * KB] * 2)})

    def test_before_the_first_tick(self):
        view = self.json(self.file, "--since", "0")["view"]
        self.assertEqual((view["then_s"], view["then_is_first_tick"]), (1, True))
        view = self.json(self.file, "--since", "1s")["view"]
        self.assertEqual((view["then_s"], view["then_is_first_tick"]), (1, False))

    def test_a_snapshot_makes_older_figures_void(self):
        f = htl.File().tag(1, "a").stack(1, []).stack(2, [(htl.NO_MODULE, 7)])
        f.site(1, 1, 1).site(2, 2, 1)
        f.tick(1, tags={1: dict(allocated=(9, 9))}, sites={1: dict(allocated=(9, 9))})
        f.snapshot(2, tags={1: dict(allocated=(9, 9))}, sites={2: dict(allocated=(9, 9))})
        f.end(10)
        report = self.json(f.write(self.path("g.htl")), "--since", "5s")
        self.assertEqual(amounts(report), {"a": (0, [0, 0])})

    def test_mistakes(self):
        for argv, things in ((["--view", "paek"], ["--view paek", "'peak'"]),
                             (["--since", "soon"], ["--since soon", "10m"]),
                             (["--min", "large"], ["--min large", "10MB"]),
                             (["--top", "0"], ["--top 0"]), (["--top", "-1"], ["--top -1"])):
            self.one_line(self.heaptally("report", *argv, self.file), 2, *things)


class Filters(driver.Case):
    def setUp(self):
        super().setUp()
        self.file = up_and_down().write(self.path("f.htl"))

    def shown(self, *argv):
        return {c["tag"]: len(c["sites"]) for c in self.json(self.file, *argv)["controllers"]}

    def test_tags(self):
        self.assertEqual(self.shown(), {"wave": 1, "slope": 2})
        self.assertEqual(self.shown("--only-tag", "w*"), {"wave": 1})
        self.assertEqual(self.shown("--only-tag", "w*", "--only-tag", "slope"),
                         {"wave": 1, "slope": 2})
        self.assertEqual(self.shown("--only-tag", "nobody"), {})

    def test_sites(self):
        self.assertEqual(self.shown("--module", "libp.so"), {"slope": 1})
        self.assertEqual(self.shown("--module", "*/plant"), {"wave": 1, "slope": 2})
        self.assertEqual(self.shown("--min", "500KB"), {"wave": 1})
        self.assertEqual(self.shown("--top", "1"), {"wave": 1, "slope": 1})
        self.assertEqual(self.shown("--function", "nowhere*"), {})

    def test_least_bytes_are_of_the_view(self):
        self.assertEqual(self.shown("--since", "45s", "--min", "1MB"), {"wave": 1})
        self.assertEqual(self.shown("--since", "30s", "--min", "60KB"), {"slope": 2})

    def test_no_figure_changes(self):
        whole = {c["tag"]: c for c in self.json(self.file)["controllers"]}
        for c in self.json(self.file, "--module", "libp.so", "--top", "1")["controllers"]:
            c.pop("sites")
            self.assertEqual(c, {k: whole[c["tag"]][k] for k in c})


if __name__ == "__main__":
    driver.main()
