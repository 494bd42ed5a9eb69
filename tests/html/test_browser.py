#!/usr/bin/env python3
"""The HTML report in a headless Chromium: it opens without a complaint or a request, and what is
promised of it works, by mouse and by keyboard.

    --full          (first argument) or HTML_FULL=1: also judges the time that a large page takes
    HTML_SHOTS      directory in which pictures of the pages are left, to be looked at
"""
import os
import sys
import time
import urllib.parse

import browser
import profiles
from profiles import driver, htl

FULL = os.environ.get("HTML_FULL") == "1" or "--full" in sys.argv
SHOTS = os.environ.get("HTML_SHOTS")
SECONDS = 2.0          # to open a large page, judged with --full only
NODES_LIMIT = 6000     # elements of a page as it opens
GRAPH = "document.getElementById('graph')"
FRAMES = "[...document.querySelectorAll('.frame')]"
ROWS = "[...document.querySelectorAll('#sites-table tbody tr:not(.detail)')]"


class Tests(driver.Case):
    @classmethod
    def setUpClass(cls):
        cls.browser = browser.Browser()
        cls.addClassCleanup(cls.browser.close)

    def make(self, file, name="page"):
        """The page of a profile, as a file."""
        source = file if isinstance(file, str) else file.write(self.path(name + ".htl"))
        done = self.heaptally("report", "--format", "html", "-o", name + ".html", source)
        self.assertEqual((done.returncode, done.out, done.err), (0, "", ""))
        return self.path(name + ".html")

    def open(self, path, **how):
        page = browser.Page(self.browser, path, **how)
        self.addCleanup(page.close)
        self.addCleanup(self.check_quiet, page)
        self.assertTrue(page.run("document.documentElement.dataset.ready"), page.complaints())
        return page

    def check_quiet(self, page):
        """After all that a test did: no complaint, no request but for the file, nothing run."""
        self.assertEqual(page.complaints(), [])
        address = "file://" + urllib.parse.quote(page.path)
        self.assertEqual([r.split("#")[0] for r in page.requests()], [address])
        self.assertIsNone(page.run("window.hurt"))

    def frame(self, label):
        return f"{FRAMES}.find((f) => f.textContent === {label!r})"

    def crumbs(self, page):
        return page.run("[...document.querySelectorAll('#crumbs button')].map((b) => b.textContent)")


class Rich(Tests):
    def setUp(self):
        super().setUp()
        self.file = self.make(profiles.rich())

    def test_summary(self):
        """Who, where, how fast, when, what next: on the first screen."""
        page = self.open(self.file)
        hero = page.run("document.querySelector('.hero').innerText")
        for words in ("planner", "Who", "Where", "How fast", "When does it hurt", "What next",
                      "libplanner.so.2+0x"):
            self.assertIn(words.lower(), hero.lower())
        self.assertLess(page.run("document.querySelector('.figures').getBoundingClientRect().bottom"),
                        900)
        self.assertEqual(page.run("document.title"), "plant-controller – heaptally")

    def test_timeline(self):
        page = self.open(self.file)
        self.assertEqual(page.run("document.querySelectorAll('#chart .alert').length"), 3)
        self.assertEqual(page.run("document.querySelectorAll('#alerts li').length"), 3)
        self.assertGreaterEqual(page.run("document.querySelectorAll('#chart .series').length"), 5)
        value = "document.querySelector('#legend .key output').textContent"
        at_the_end = page.run(value)
        page.run("document.getElementById('chart').focus()")
        page.key("Home")
        at_the_start = page.run(value)
        self.assertNotEqual(at_the_start, at_the_end)
        page.key("ArrowRight")
        self.assertIn("after 1 min", page.run("document.getElementById('legend-time').innerText"))
        page.key("Escape")
        self.assertEqual(page.run(value), at_the_end)
        before = page.run("document.querySelectorAll('#chart .line.rss').length")
        page.click("document.querySelector('#legend .key.rss')")
        self.assertEqual((before, page.run("document.querySelectorAll('#chart .line.rss').length")),
                         (1, 0))
        page.click("document.querySelector('#timeline-mode button:last-child')")
        self.assertGreaterEqual(page.run("document.querySelectorAll('#chart .series .line').length"),
                                5)

    def test_flame_graph_zooms_by_mouse(self):
        page = self.open(self.file)
        width = f"{self.frame('planner')}.getBoundingClientRect().width / {GRAPH}.clientWidth"
        self.assertLess(page.run(width), 0.95)
        self.assertEqual(self.crumbs(page), ["all"])
        page.click(self.frame("planner"))
        self.assertGreater(page.run(width), 0.99)
        self.assertEqual(self.crumbs(page), ["all", "planner"])
        self.assertFalse(page.run(f"Boolean({self.frame('vision')})"))
        page.click("document.querySelector('#crumbs button')")
        self.assertEqual(self.crumbs(page), ["all"])
        self.assertTrue(page.run(f"Boolean({self.frame('vision')})"))

    def test_flame_graph_by_keyboard(self):
        page = self.open(self.file)
        page.run(f"{FRAMES}[0].focus()")
        label = "document.activeElement.textContent"
        page.key("ArrowDown")
        first = page.run(label)
        page.key("ArrowRight")
        second = page.run(label)
        self.assertNotEqual(first, second)
        page.key("Enter")
        self.assertEqual(self.crumbs(page), ["all", second])
        page.key("ArrowDown")
        page.key("Enter")
        self.assertEqual(len(self.crumbs(page)), 3)
        page.key("Escape")
        self.assertEqual(self.crumbs(page), ["all", second])
        page.key("Home")
        self.assertEqual(self.crumbs(page), ["all"])
        self.assertEqual(page.run("document.activeElement.className.includes('frame')"), True)

    def test_views(self):
        """Each measure has sums of its own; growth leaves out who does not grow."""
        page = self.open(self.file)
        seen = {}
        for view in ("live", "blocks", "allocated", "peak", "growth"):
            page.click(f"document.querySelector('#views [data-id={view}]')")
            seen[view] = page.run("document.getElementById('readout').innerText")
            self.assertIn("100.0 %", seen[view])
            self.assertEqual(page.run("document.querySelector('#views [aria-pressed=true]').dataset.id"),
                             view)
        self.assertIn("block", seen["blocks"])
        self.assertEqual(len(set(seen.values())), len(seen), seen)
        self.assertFalse(page.run(f"Boolean({self.frame('safety')})"))

    def test_runtime_frames(self):
        page = self.open(self.file)
        runtime = f"{FRAMES}.filter((f) => f.textContent.startsWith('libc.so.6')).length"
        self.assertEqual(page.run(runtime), 0)
        page.click("document.getElementById('plumbing')")
        self.assertGreater(page.run(runtime), 0)

    def test_sites_sort(self):
        page = self.open(self.file)
        cell = lambda n: page.run(f"{ROWS}.map((r) => r.children[{n}].innerText)")
        rows = len(cell(0))
        self.assertEqual(rows, 12)
        for column, place in (("controller", 1), ("place", 0)):
            page.click(f"document.querySelector('[data-sort={column}]')")
            self.assertEqual(cell(place), sorted(cell(place)))
            page.click(f"document.querySelector('[data-sort={column}]')")
            self.assertEqual(cell(place), sorted(cell(place), reverse=True))
        page.click("document.querySelector('[data-sort=blocks]')")
        blocks = [int(text.replace(",", "")) for text in cell(3)]
        self.assertEqual(blocks, sorted(blocks, reverse=True))
        page.run("document.querySelector('[data-sort=blocks]').focus()")
        page.key("Enter")
        blocks = [int(text.replace(",", "")) for text in cell(3)]
        self.assertEqual(blocks, sorted(blocks))
        self.assertEqual(page.run("document.activeElement.dataset.sort"), "blocks")

    def test_sites_search(self):
        page = self.open(self.file)
        page.run("document.getElementById('search').focus()")
        page.type("libvision")
        page.wait(f"{ROWS}.length === 4")
        self.assertEqual(page.run(f"{ROWS}.every((r) => r.innerText.includes('vision'))"), True)
        self.assertGreater(page.run("document.querySelectorAll('.frame.match').length"), 0)
        page.type(" nowhere")
        page.wait(f"{ROWS}.length === 0")
        page.run("(() => { const s = document.getElementById('search'); s.value = ''; "
                 "s.dispatchEvent(new Event('input')); })()")
        page.wait(f"{ROWS}.length === 12")

    def test_a_site_shows_its_stack(self):
        page = self.open(self.file)
        page.run(f"{ROWS}[0].querySelector('button').focus()")
        page.key("Enter")
        self.assertEqual(page.run("document.querySelectorAll('.stack li').length"), 6)
        self.assertEqual(page.run("document.activeElement.getAttribute('aria-expanded')"), "true")
        page.key("Enter")
        self.assertEqual(page.run("document.querySelectorAll('.stack li').length"), 0)

    def test_one_controller_only(self):
        page = self.open(self.file)
        button = ("[...document.querySelectorAll('#controllers-table button')]"
                  ".find((b) => b.textContent === 'vision')")
        page.click(button)
        self.assertEqual(page.run(f"{ROWS}.length"), 4)
        self.assertEqual(page.run("document.querySelectorAll('#chart .series.faded').length"), 4)
        self.assertFalse(page.run(f"Boolean({self.frame('planner')})"))
        page.click(button)
        self.assertEqual(page.run(f"{ROWS}.length"), 12)

    def test_themes(self):
        page = self.open(self.file)
        paper = lambda: page.run("getComputedStyle(document.body).backgroundColor")
        light = paper()
        page.scheme(True)
        dark = paper()
        self.assertNotEqual(light, dark)
        for expected in (light, dark):  # the switch: light, dark, whatever the system has
            page.click("document.getElementById('theme')")
            self.assertEqual(paper(), expected)
        page.click("document.getElementById('theme')")
        page.scheme(False)
        self.assertEqual(paper(), light)

    def test_reached_by_tab(self):
        """Every control, and the graph and the chart, in the order of the page."""
        page = self.open(self.file)
        seen = []
        while len(seen) < 200:
            page.key("Tab")
            if page.run("document.activeElement === document.body"):
                break  # round the page
            seen.append(page.run("(() => { const e = document.activeElement; const s = "
                                 "e.closest('section'); return e.id || (e.className || '')"
                                 ".split(' ')[0] || (s && s.id) || e.tagName; })()"))
        for stop in ("theme", "chart", "frame", "plumbing", "search", "sort", "key"):
            self.assertIn(stop, seen)
        self.assertEqual(seen.count("frame"), 1)  # arrow keys move inside it

    def test_widths(self):
        """Nothing is wider than the window, however narrow; what was drawn follows."""
        page = self.open(self.file)
        for width in (320, 400, 720, 1000, 1280, 2000):
            page.resize(width)
            page.wait("document.querySelector('#chart svg').getBoundingClientRect().width === "
                      "document.getElementById('chart').clientWidth")
            self.assertEqual(page.run("document.documentElement.scrollWidth"), width)
        page.resize(400)
        page.wait("document.querySelector('#chart svg').getBoundingClientRect().width < 400")
        page.click(self.frame("planner"))
        self.assertEqual(self.crumbs(page), ["all", "planner"])
        page.click("document.querySelector('[data-sort=blocks]')")
        page.click(f"{ROWS}[0].querySelector('button')")
        self.assertEqual(page.run("document.querySelectorAll('.stack li').length"), 6)
        self.assertEqual(page.run("document.documentElement.scrollWidth"), 400)

    def test_pictures(self):
        """At both widths and in both themes the page has contents; with HTML_SHOTS they are left
        to be looked at."""
        for width in (1280, 400):
            for dark in (False, True):
                page = self.open(self.file, width=width, dark=dark)
                path = os.path.join(SHOTS or self.dir, f"rich-{width}-{'dark' if dark else 'light'}.png")
                page.screenshot(path)
                self.assertGreater(os.path.getsize(path), 50000)


class Difference(Tests):
    def open(self, path, **how):
        page = browser.Page(self.browser, path, **how)  # no script says when it is ready
        self.addCleanup(page.close)
        self.addCleanup(self.check_quiet, page)
        return page

    def test_narrow_and_wide(self):
        """Names and numbers stay in one line; the table alone may be moved sideways."""
        for name, grown in (("old", 0), ("new", 3287992)):
            f = htl.File().module(1, "/opt/robot/plant").tag(1, "trajectory").stack(1, [(1, 16)])
            held = dict(allocated=(40 + grown, 2000))
            f.site(1, 1, 1).snapshot(9, sites={1: held}, tags={1: held})
            f.write(self.path(name + ".htl"))
        done = self.heaptally("diff", "--format", "html", "-o", "diff.html", "old.htl", "new.htl")
        self.assertEqual((done.returncode, done.out, done.err), (0, "", ""))
        for width in (1280, 400):
            for dark in (False, True):
                page = self.open(self.path("diff.html"), width=width, dark=dark)
                self.assertIn("3,287,992", page.run("document.querySelector('h1').innerText"))
                self.assertEqual(page.run("document.documentElement.scrollWidth"), width)
                self.assertEqual(page.run("Math.max(...[...document.querySelectorAll('th, td')]"
                                          ".map((c) => c.getClientRects()[0].height)) < 40"), True)
                if SHOTS:
                    page.screenshot(os.path.join(SHOTS, f"diff-{width}-{dark}.png"))


class Strange(Tests):
    def test_hostile_names_stay_text(self):
        path = self.make(profiles.hostile(self.dir), "hostile")
        for width in (1280, 400):
            page = self.open(path, width=width)
            text = page.run("document.body.innerText")
            for name in ("script", "image", "end", "quotes", "entity", "template"):
                self.assertIn(profiles.HOSTILE[name], text)
            self.assertEqual(page.run("document.querySelectorAll('main img, main b, main i, main script').length"), 0)
            self.assertEqual(page.run("document.scripts.length"), 3)
            self.assertEqual(page.run("document.documentElement.scrollWidth"), width)
            # Through every way by which a name is drawn anew.
            for view in ("blocks", "growth", "live"):
                page.click(f"document.querySelector('#views [data-id={view}]')")
            page.click("document.getElementById('plumbing')")
            page.click(f"{FRAMES}[1]")
            page.click(f"{ROWS}[0].querySelector('button')")
            page.click("document.querySelector('#settings summary')")
            page.click("document.querySelector('#controllers-table button')")
            page.run("document.getElementById('search').focus()")
            page.type("<script>\"'&")
            page.wait("document.getElementById('sites-count').textContent.includes('<script>')")
            self.assertEqual(page.run("document.documentElement.scrollWidth"), width)
            if SHOTS:
                page.screenshot(os.path.join(SHOTS, f"hostile-{width}.png"))

    def test_files_with_little_in_them(self):
        for number, file in enumerate((htl.File(), htl.File().tag(1, "t").end(1),
                                       htl.File().tick(1), htl.controllers())):
            page = self.open(self.make(file, f"little{number}"))
            self.assertTrue(page.run("document.querySelector('h1').innerText"))
            if SHOTS:
                page.screenshot(os.path.join(SHOTS, f"little{number}.png"))

    def test_what_is_not_heap_may_hide(self):
        """Where heaptally's own memory is not all resident, the rest is unknown, and not 0."""
        f = htl.File().tag(1, "t").tick(1, rss=5 << 20, own=7 << 20).end(2)
        page = self.open(self.make(f, "hidden"))
        shown = page.run("document.querySelector('.figures').innerText")
        self.assertIn("too little to be told", shown)
        self.assertNotIn("0 B\ncode", shown)

    def test_promises_and_processes(self):
        """Sections that most reports do not have."""
        f = htl.File(pid=1).module(1, "/nonexistent/plant").tag(1, "pid").stack(1, [(1, 16)])
        f.region(7, "<i>step</i>", 4, 400).site(1, 1, 1, region=7)
        f.snapshot(13, sites={1: dict(allocated=(400, 4))}, tags={1: dict(allocated=(400, 4))})
        page = self.open(self.make(f, "promise"))
        self.assertTrue(page.run("document.getElementById('processes').hidden"))
        self.assertIn("<i>step</i>", page.run("document.getElementById('promises').innerText"))
        page.click("document.querySelector('#promises button')")
        self.assertEqual(page.run("document.querySelectorAll('.stack').length"), 1)
        htl.controllers(pid=2).write(self.path("2.htl"))
        self.heaptally("report", "--format", "html", "-o", "both.html", "promise.htl", "2.htl")
        page = self.open(self.path("both.html"), width=400)
        self.assertEqual(page.run("document.querySelectorAll('#processes tbody tr').length"), 2)
        self.assertEqual(page.run("document.documentElement.scrollWidth"), 400)

    def test_large(self):
        source = profiles.big(self.dir)
        if not source:
            self.skipTest("make_large or readelf is not there")
        path = self.make(source, "large")
        times = []
        for _ in range(3 if FULL else 1):
            begin = time.monotonic()
            page = self.open(path)
            times.append(page.run("Number(document.documentElement.dataset.ready)") / 1000)
            print(f"{os.path.getsize(path)} bytes: ready after {times[-1]:.2f} s, "
                  f"{time.monotonic() - begin:.2f} s with loading and asking")
        nodes = page.run("document.querySelectorAll('*').length")
        print(f"{nodes} elements")
        self.assertLess(nodes, NODES_LIMIT)
        page.click(f"{FRAMES}[1]")
        self.assertLess(page.run("document.querySelectorAll('*').length"), NODES_LIMIT)
        page.run("document.getElementById('search').focus()")
        page.type("part0")
        page.wait("document.getElementById('sites-count').textContent.startsWith('625 ')")
        if SHOTS:
            page.screenshot(os.path.join(SHOTS, "large.png"))
        if FULL:
            self.assertLess(min(times), SECONDS)


if __name__ == "__main__":
    if "--full" in sys.argv:
        sys.argv.remove("--full")
    if not browser.chromium():
        print("SKIP all: no Chromium here; apt-get install chromium brings one")
        sys.exit(77)
    sys.exit(driver.main())
