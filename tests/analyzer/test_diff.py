#!/usr/bin/env python3
"""heaptally diff: what is the same in two files that say it differently, and what is not."""
import html.parser
import json
import subprocess

import driver
import htl
from htl import CUT, FALLBACK

PLANT, PLAN, LIBC = 1, 2, 3
SITE_KEYS = "growth_bytes growth_blocks old_bytes new_bytes stack"
CONTROLLER_KEYS = ("tag growth_bytes growth_blocks old_bytes new_bytes moved_bytes "
                   "old_instantiations new_instantiations sites")

CALLER = r"""
#include <stdlib.h>
%s
__attribute__((noinline)) void *history_push(int n) { return malloc(n); }
__attribute__((noinline)) void *step(int n) { char *p = history_push(n); return p + 1; }
int main(int argc, char **argv) { (void)argv; return step(argc) == NULL; }
"""


def run_of(sites, pid=1, modules=None, kinds=None, made=htl.UNKNOWN, **header):
    """A finished run: `sites` are (tag, frames, flags, bytes, blocks); modules {id: path}."""
    f = htl.File(pid=pid, **header)
    for number, path in (modules or {PLANT: "/a/plant", PLAN: "/a/libplan.so.1",
                                     LIBC: "/lib/libc.so.6"}).items():
        f.module(number, path, flags=htl.MAIN if number == PLANT else 0)
    tags = sorted({s[0] for s in sites})
    for number, tag in enumerate(tags, 1):
        f.tag(number, tag, kind=(kinds or {}).get(tag, htl.DEFAULT))
    figures, totals = {}, {n: [0, 0] for n in range(1, len(tags) + 1)}
    for i, (tag, frames, flags, size, blocks) in enumerate(sites, 1):
        f.stack(i, frames, flags=flags).site(i, i, tags.index(tag) + 1)
        figures[i] = dict(allocated=(size, blocks))
        totals[tags.index(tag) + 1][0] += size
        totals[tags.index(tag) + 1][1] += blocks
    f.snapshot(10, sites=figures, total=htl.figures(
        [min(sum(t[i] for t in totals.values()), htl.UNKNOWN) for i in (0, 1)]),
               tags={n: dict(allocated=tuple(t), made=made) for n, t in totals.items()})
    return f.end(10)


class Diff(driver.Case):
    def files(self, *files):
        return [f.write(self.path(f"{i}.htl")) for i, f in enumerate(files)]

    def diff(self, old, new):
        done = self.heaptally("diff", "--format", "json", *self.files(old, new))
        self.assertEqual((done.returncode, done.err), (0, ""))
        report = json.loads(done.out)
        self.assertEqual(list(report), ["schema", "old", "new", "controllers"])
        self.assertEqual(report["schema"], "heaptally-diff/1")
        for c in report["controllers"]:
            self.assertEqual(list(c), CONTROLLER_KEYS.split())
            self.assertEqual(c["new_bytes"] - c["old_bytes"],
                             c["growth_bytes"] + c["moved_bytes"])
            self.assertEqual(c["growth_bytes"], sum(s["growth_bytes"] for s in c["sites"]))
            for site in c["sites"]:
                self.assertEqual(list(site), SITE_KEYS.split())
        return report

    def growth(self, old, new):
        """{tag: [(growth in bytes, in blocks, offset of the innermost frame), ...]}"""
        return {c["tag"]: [(s["growth_bytes"], s["growth_blocks"],
                            s["stack"][0]["offset"] if s["stack"] else None)
                           for s in c["sites"]] for c in self.diff(old, new)["controllers"]}

    # ---- nothing ----

    def test_same_file(self):
        for f in (htl.File(), htl.controllers(), htl.controllers().alert(1)):
            self.assertEqual(self.growth(f, f), {})
        done = self.heaptally("diff", *self.files(htl.controllers(), htl.controllers()))
        self.assertIn("no difference: 4 controllers and 4 call sites hold the same in both",
                      done.out)

    def test_order_and_numbers_do_not_matter(self):
        sites = [("a", [(PLAN, 16), (PLANT, 32)], 0, 100, 1), ("a", [(PLAN, 48)], 0, 200, 2),
                 ("b", [(LIBC, 16), (PLANT, 64)], CUT, 300, 3)]
        other = [(t, f, flags, s, b) for t, f, flags, s, b in reversed(sites)]
        self.assertEqual(self.growth(run_of(sites), run_of(other, pid=2)), {})

    def test_names_of_modules(self):
        """Another directory, another version, another name of the program; no module at all."""
        frames = [(PLAN, 16), (htl.NO_MODULE, 0x7f1234), (PLANT, 32)]
        moved = [(PLAN, 16), (htl.NO_MODULE, 0x7e5678), (PLANT, 32)]
        modules = {PLANT: "/b/plant-new", PLAN: "/b/libplan.so.2.1", LIBC: "/lib64/libc.so.6"}
        self.assertEqual(self.growth(run_of([("t", frames, 0, 8, 1)]),
                                     run_of([("t", moved, 0, 8, 1)], modules=modules)), {})
        modules[PLAN] = "/b/libplanner.so.2.1"
        self.assertEqual(self.growth(run_of([("t", frames, 0, 8, 1)]),
                                     run_of([("t", moved, 0, 8, 1)], modules=modules)),
                         {"t": [(8, 1, 16), (-8, -1, 16)]})

    # ---- one difference ----

    def test_one_difference(self):
        same = [("a", [(PLAN, 16), (PLANT, 32)], 0, 100, 1), ("b", [(PLAN, 48)], 0, 200, 2)]
        more = [("b", [(PLAN, 16), (PLANT, 80)], 0, 5000, 5)]
        self.assertEqual(self.growth(run_of(same), run_of(same + more)), {"b": [(5000, 5, 16)]})
        self.assertEqual(self.growth(run_of(same + more), run_of(same)), {"b": [(-5000, -5, 16)]})

    def test_order(self):
        old = [("a", [(PLAN, 16)], 0, 100, 1), ("b", [(PLAN, 16)], 0, 100, 1),
               ("c", [(PLAN, 16)], 0, 100, 1), ("c", [(PLAN, 32)], 0, 100, 1)]
        new = [("a", [(PLAN, 16)], 0, 50, 1), ("b", [(PLAN, 16)], 0, 120, 2),
               ("c", [(PLAN, 16)], 0, 110, 2), ("c", [(PLAN, 32)], 0, 180, 1)]
        self.assertEqual(list(self.growth(run_of(old), run_of(new)).items()),
                         [("c", [(80, 0, 32), (10, 1, 16)]), ("b", [(20, 1, 16)]),
                          ("a", [(-50, 0, 16)])])

    def test_made_and_totals(self):
        report = self.diff(run_of([("t", [(PLAN, 16)], 0, 100, 1)], made=5),
                           run_of([("t", [(PLAN, 16)], 0, 300, 3)], made=9))
        c = report["controllers"][0]
        self.assertEqual((c["old_bytes"], c["new_bytes"], c["old_instantiations"],
                          c["new_instantiations"]), (100, 300, 5, 9))

    def test_sites_not_listed(self):
        """What the figures of a tag hold beyond its sites is a difference without a stack."""
        old = htl.File().module(1, "/a/plant", flags=htl.MAIN).tag(1, "t")
        old.snapshot(1, tags={1: dict(allocated=(100, 1))})
        new = htl.File().module(1, "/a/plant", flags=htl.MAIN).tag(1, "t")
        new.tick(1, tags={1: dict(allocated=(700, 4))}, left_out=(1, 600))
        self.assertEqual(self.growth(old, new), {"t": [(600, 3, None)]})

    def killed(self, total, listed, blocks=9):
        """A process that was killed: a tag's figures, and those of the sites that were listed."""
        f = htl.File().module(PLAN, "/a/libplan.so").tag(1, "t")
        for i, (offset, _) in enumerate(listed, 1):
            f.stack(i, [(PLAN, offset)]).site(i, i, 1)
        return f.tick(1, tags={1: dict(allocated=(total, blocks))}, left_out=(1, 150),
                      sites={i: dict(allocated=(size, 1)) for i, (_, size) in enumerate(listed, 1)})

    def test_sites_that_one_file_lists(self):
        """Each file lists other sites: what they hold in all says whether anything grew."""
        old = self.killed(1000, [(16, 400), (32, 300), (48, 50)])
        new = self.killed(1000, [(16, 400), (32, 250), (64, 200)])
        self.assertEqual(self.growth(old, new), {})
        planted = self.killed(6000, [(16, 400), (32, 250), (64, 200), (80, 5000)], blocks=10)
        self.assertEqual(self.growth(old, planted), {"t": [(5000, 1, 80)]})

    # ---- fallback ----

    def test_fallback_that_moved(self):
        """The same bytes, known better in one run than in the other."""
        full = [(PLAN, 16), (PLANT, 32)]
        for kinds in ({"t": htl.DEFAULT}, {"t": htl.EXPLICIT}):
            old = run_of([("t", full, 0, 900, 9), ("t", full[:1], FALLBACK | CUT, 100, 1)],
                         kinds=kinds)
            new = run_of([("t", full, 0, 700, 7), ("t", full[:1], FALLBACK | CUT, 300, 3)],
                         kinds=kinds)
            self.assertEqual(self.growth(old, new), {})
            self.assertIn("moved      200 bytes", self.heaptally("diff", *self.files(old, new)).out)

    def test_fallback_hides_no_growth(self):
        """Of two call sites of one caller the one that grew most keeps its growth."""
        a, b = [(PLAN, 16), (PLANT, 32)], [(PLAN, 16), (PLANT, 64)]
        vague = [(PLAN, 16)]
        old = run_of([("t", a, 0, 900, 9), ("t", b, 0, 1000, 10), ("t", vague, FALLBACK, 100, 1)])
        new = run_of([("t", a, 0, 1000, 10), ("t", b, 0, 6000, 60)])
        self.assertEqual(self.growth(old, new), {"t": [(5000, 50, 16)]})

    def test_fallback_of_another_tag(self):
        """A tag by default may be another one where the callers are not known; one of a scope is
        certain."""
        full, vague = [(LIBC, 16), (PLAN, 32)], [(LIBC, 16)]
        old = [("plan", full, 0, 500, 5), ("[runtime]", vague, FALLBACK, 100, 1)]
        new = [("plan", full, 0, 600, 6), ("[runtime]", vague, FALLBACK, 0, 0)]
        self.assertEqual(self.growth(run_of(old), run_of(new)), {})
        certain = {"plan": htl.EXPLICIT}
        self.assertEqual(self.growth(run_of(old, kinds=certain), run_of(new, kinds=certain)),
                         {"plan": [(100, 1, 16)], "[runtime]": [(-100, -1, 16)]})

    def test_fallback_by_tag_only(self):
        full = [(PLAN, 16), (PLANT, 32)]
        old = [("t", full, 0, 500, 5), ("t", [], FALLBACK, 100, 1)]
        new = [("t", full, 0, 550, 5), ("t", [], FALLBACK, 50, 1)]
        self.assertEqual(self.growth(run_of(old), run_of(new)), {})

    # ---- a program that was built anew ----

    def build(self, name, more):
        source, program = self.path(name + ".c"), self.path(name)
        with open(source, "w", encoding="ascii") as out:
            out.write(CALLER % more)
        subprocess.run(["gcc", "-g", "-O1", "-o", program, source], check=True, timeout=120)
        symbols = subprocess.run(["nm", program], check=True, capture_output=True,
                                 text=True).stdout
        start = {l.split()[2]: int(l.split()[0], 16) for l in symbols.splitlines()
                 if len(l.split()) == 3}
        return program, [(PLANT, start[n] + 6) for n in ("history_push", "step", "main")]

    def test_rebuilt_program(self):
        """Lines and offsets differ, functions do not; a function that is new is a difference."""
        old_path, old = self.build("old", "")
        new_path, new = self.build("new", "\n\nvoid *other(int n);\nvoid *other(int n)\n"
                                          "{ return calloc(n, n + n * n); }")
        self.assertNotEqual(old, new)
        first = run_of([("t", old, 0, 100, 1)], modules={PLANT: old_path})
        second = run_of([("t", new, 0, 100, 1)], modules={PLANT: new_path})
        self.assertEqual(self.growth(first, second), {})
        third = run_of([("t", new, 0, 100, 1), ("t", new[1:], 0, 70, 1)],
                       modules={PLANT: new_path})
        controllers = self.diff(first, third)["controllers"]
        self.assertEqual([f["function"] for f in controllers[0]["sites"][0]["stack"]],
                         ["step", "main"])
        self.assertIn("t grew by 70 bytes: step (new.c:",
                      self.heaptally("diff", *self.files(first, third)).out.replace("\n", " "))

    # ---- text and page ----

    def test_text(self):
        files = self.files(run_of([("t" * 40, [(PLAN, 16)], 0, 100, 1)], made=1),
                           run_of([("t" * 40, [(PLAN, 16)], 0, 1300, 2)], made=4, pid=2))
        for width in (60, 72, 100, 200):
            out = self.heaptally("diff", *files, COLUMNS=str(width)).out
            self.assertLessEqual(max(map(len, out.splitlines())), width)
            self.assertTrue(out.startswith("ttt"), out)
        self.assertIn("grew by 1,200 bytes: libplan.so.1+0x10", out)
        self.assertIn("100      1,300  +1,200      +1    +3", out)

    def test_same_process_later(self):
        def at(seconds, size):
            f = htl.File().module(PLAN, "/a/libplan.so").tag(1, "t").stack(1, [(PLAN, 16)])
            return f.site(1, 1, 1).snapshot(seconds, sites={1: dict(allocated=(size, 1))},
                                            tags={1: dict(allocated=(size, 1))})
        out = self.heaptally("diff", *self.files(at(60, htl.MB), at(3660, 3 * htl.MB))).out
        self.assertIn("the same process 1 h 0 min later, that is +2.00 MB/hour",
                      " ".join(out.split()))

    def test_no_tick(self):
        done = self.heaptally("diff", *self.files(htl.File(), htl.controllers()))
        self.assertTrue(done.out.startswith("no figures to compare: the old file ends before"))
        self.assertRegex(done.out, r"\n  growth +unknown\n")
        self.assertIn("unknown bytes live", " ".join(done.out.split()))

    def test_page(self):
        """Complete, and every hostile name stays text."""
        evil = "<script>alert('&\"')</script>"
        f = run_of([(evil, [(PLAN, 16)], 0, 500, 5)], modules={PLAN: "/a/" + evil, PLANT: "/a/p"},
                   exe="/x/" + evil, host=evil)
        page = self.path("page.html")
        done = self.heaptally("diff", "--format", "html", "-o", page,
                              *self.files(run_of([]), f))
        self.assertEqual((done.returncode, done.out, done.err), (0, "", ""))
        seen = Page()
        with open(page, encoding="utf-8") as file:
            text = file.read()
        seen.feed(text)
        self.assertEqual(seen.unclosed, [])
        self.assertFalse({"script", "img", "link", "iframe"} & set(seen.elements))
        self.assertTrue(set(seen.attributes) <= {"lang", "charset", "http-equiv", "content", "name",
                                                 "class", "id", "href", "open"}, seen.attributes)
        self.assertIn(evil + " grew by 500 bytes: script>+0x10", seen.text)
        self.assertNotIn("http", text.replace("http-equiv", ""))

    # ---- mistakes ----

    def test_mistakes(self):
        good, = self.files(htl.controllers())
        for argv, things in (((), ("two files, not 0",)), ((good,), ("two files, not 1",)),
                             ((good, good, good), ("two files, not 3",)),
                             (("--format", "pdf", good, good), ("pdf", "text or json or html")),
                             (("--formt", good, good), ("--format",)),
                             ((good, "missing.htl"), ("missing.htl",)),
                             (("-o", "/nonexistent/x", good, good), ("/nonexistent/x",)),
                             (("-o", "/dev/full", good, good), ("/dev/full",))):
            self.one_line(self.heaptally("diff", *argv), 2, *things)

    def test_numbers_at_their_limits(self):
        big = 2**64 - 2
        sites = [(f"t{i % 3}{i}{flags}", [(PLAN, 16 * (i % 2))], flags, big, big)
                 for i in range(1, 9) for flags in (0, FALLBACK)]
        for pair in ((run_of([]), run_of(sites)), (run_of(sites), run_of([])),
                     (run_of(sites[::2]), run_of(sites[1::2]))):
            for form in ("text", "json", "html"):
                done = self.heaptally("diff", "--format", form, *self.files(*pair))
                self.assertEqual((done.returncode, done.err), (0, ""))


class Page(html.parser.HTMLParser):
    """What a browser would see."""

    def __init__(self):
        super().__init__()
        self.elements, self.attributes, self.text, self.unclosed = [], [], "", []

    def handle_starttag(self, tag, attrs):
        self.elements.append(tag)
        self.attributes += [name for name, _ in attrs]
        if tag in ("div", "table", "details", "summary", "ol", "dl", "h1", "h2", "a", "b", "span"):
            self.unclosed.append(tag)

    def handle_endtag(self, tag):
        if self.unclosed and self.unclosed[-1] == tag:
            self.unclosed.pop()

    def handle_data(self, data):
        self.text += data


if __name__ == "__main__":
    driver.main()
