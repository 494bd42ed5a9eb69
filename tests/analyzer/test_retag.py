#!/usr/bin/env python3
"""Tags assigned afresh from the stacks of an old file: modules, lists, scopes, the past. Names of
functions are tested on real programs (tests/e2e/test_retag.py)."""
import driver
import htl
from htl import MB

MAIN, LIBC, PLAN, BOOST = 1, 2, 3, 4
FIGURES = ("live_bytes", "live_blocks", "allocated_bytes", "allocated_blocks", "instantiations")


def plugins(compatible=1):
    """A program, a plugin whose soname is not its file's name, middleware and libc. All was tagged
    by default; the scope "arm" was open for some of what the plugin allocated."""
    f = htl.File(compatible=compatible).module(MAIN, "/nonexistent/robot", flags=htl.MAIN)
    f.module(LIBC, "/nonexistent/libc.so.6", flags=htl.RUNTIME, soname=b"libc.so.6")
    f.module(PLAN, "/nonexistent/plugin-7", soname=b"libplan.so.3")
    f.module(BOOST, "/nonexistent/libboost_x.so.1", flags=htl.SKIPPED, soname=b"libboost_x.so.1")
    f.tag(1, "robot", htl.DEFAULT).tag(2, "libplan", htl.DEFAULT).tag(3, "arm", htl.EXPLICIT)
    f.tag(4, "[runtime]", 4).tag(5, "[anon]", 5)
    f.stack(1, [(LIBC, 16), (MAIN, 32)]).site(1, 1, 1)
    f.stack(2, [(PLAN, 16), (MAIN, 32)]).site(2, 2, 2).site(3, 2, 3, flags=1)
    f.stack(3, [(BOOST, 16), (PLAN, 48)]).site(4, 3, 2)
    f.stack(4, [(LIBC, 16)], flags=htl.CUT).site(5, 4, 4)
    f.stack(5, [(htl.NO_MODULE, 64), (MAIN, 80)]).site(6, 5, 5)
    f.stack(6, []).site(7, 6, 3, flags=1)
    for t in (1, 2, 3):
        figures = {n: dict(allocated=(100 * n * t, n * t), freed=(10 * n, n)) for n in range(1, 8)}
        owners = {1: (1,), 2: (2, 4), 3: (3, 7), 4: (5,), 5: (6,)}
        tags = {tag: {k: tuple(sum(figures[s][k][i] for s in sites) for i in (0, 1))
                      for k in ("allocated", "freed")} for tag, sites in owners.items()}
        (f.snapshot if t == 3 else f.tick)(t, tags=tags, sites=figures)
    return f.end(3)


class Retag(driver.Case):
    def tags(self, f, *argv):
        report = self.json(f.write(self.path("f.htl")), *argv)
        return {c["tag"]: c for c in report["controllers"]}

    def live(self, f, *argv):
        return {name: c["live_bytes"] for name, c in self.tags(f, *argv).items()}

    def test_by_default_nothing_changes(self):
        """Rules that match nothing: the same tags, with the same figures, pasts included."""
        self.assertEqual(self.tags(plugins(), "--tag", "x=lib:nowhere*"), self.tags(plugins()))

    def test_modules(self):
        n = 290  # live bytes of site 1; of site n n times that
        was = {"robot": n, "libplan": 6 * n, "arm": 10 * n, "[runtime]": 5 * n, "[anon]": 6 * n}
        self.assertEqual(self.live(plugins()), was)
        self.assertEqual(self.live(plugins(), "--tag", "p=lib:libplan.so*"),
                         {k: v for k, v in was.items() if k != "libplan"} | {"p": 6 * n})
        self.assertEqual(self.live(plugins(), "--tag", "p=lib:plugin-7"),
                         {k: v for k, v in was.items() if k != "libplan"} | {"p": 6 * n})
        self.assertEqual(self.live(plugins(), "--tag", "c=lib:libc.so*"),
                         {"libplan": 6 * n, "arm": 10 * n, "[anon]": 6 * n, "c": 6 * n})
        self.assertEqual(self.live(plugins(), "--tag", "all=exe:robot"),
                         {"arm": 10 * n, "all": 18 * n})

    def test_order(self):
        """Innermost first; within a frame the first rule in order."""
        n = 290
        for rules, expected in ((("b=lib:libboost*", "p=lib:libplan*"), {"b": 4 * n, "p": 2 * n}),
                                (("p=lib:libplan*", "b=lib:libboost*"), {"b": 4 * n, "p": 2 * n}),
                                (("x=lib:libplan*", "p=lib:*plan*"), {"x": 6 * n}),
                                (("p=lib:*plan*", "x=lib:libplan*"), {"p": 6 * n})):
            live = self.live(plugins(), *(a for rule in rules for a in ("--tag", rule)))
            self.assertEqual({k: v for k, v in live.items() if len(k) == 1}, expected)

    def test_skipped(self):
        """Outer modules are blamed instead; the innermost skipped one where there is none."""
        live = self.live(plugins(), "--tag-skip", "lib:libplan*")
        self.assertEqual((live["robot"], live["libboost_x"]), (290 * 3, 290 * 4))
        self.assertNotIn("libplan", live)

    def test_scopes_stay(self):
        """Whatever the rules; also where the file is from before scopes were marked as such."""
        for compatible in (0, 1):
            tags = self.tags(plugins(compatible), "--tag", "mine=exe:*")
            self.assertEqual((tags["arm"]["live_bytes"], len(tags["arm"]["sites"])), (2900, 2))

    def test_a_scope_with_the_name_of_a_rule(self):
        """Site 1 is a scope's, site 2 was found by a rule; they share tag and stack."""
        f = htl.File(compatible=1).module(1, "/nonexistent/p", flags=htl.MAIN)
        f.tag(1, "pid", htl.RULE).stack(1, [(1, 16)]).site(1, 1, 1, flags=1).site(2, 1, 1)
        f.snapshot(1, tags={1: dict(allocated=(700, 7))},
                   sites={1: dict(allocated=(400, 4)), 2: dict(allocated=(300, 3))}).end(1)
        tags = self.tags(f)
        self.assertEqual([s["live_bytes"] for s in tags["pid"]["sites"]], [700])
        tags = self.tags(f, "--tag", "other=lib:p")
        self.assertEqual({k: (v["live_bytes"], len(v["sites"])) for k, v in tags.items()},
                         {"pid": (400, 1), "other": (300, 1)})

    def test_instantiations(self):
        """What rules counted is counted by the rules that are given now; what the program counted
        itself stays."""
        f = htl.File(compatible=1).settings(construct="a=lib:one;b=lib:two")
        f.module(1, "/nonexistent/one").module(2, "/nonexistent/two")
        f.tag(1, "a").tag(2, "b").stack(1, [(1, 16)]).stack(2, [(2, 16), (1, 16)])
        f.site(1, 1, 1).site(2, 2, 2)
        f.snapshot(1, tags={1: dict(allocated=(100, 10), made=15), 2: dict(allocated=(90, 9), made=9)},
                   sites={1: dict(allocated=(100, 10)), 2: dict(allocated=(90, 9))}).end(1)
        made = {k: v["instantiations"] for k, v in self.tags(
            f, "--construct", "c=lib:two", "--tag", "b=lib:two", "--tag", "a=lib:one").items()}
        self.assertEqual(made, {"a": 5, "b": None, "c": 9})
        made = {k: v["instantiations"] for k, v in self.tags(
            f, "--construct", "a=lib:one", "--tag", "b=lib:two", "--tag", "a=lib:one").items()}
        self.assertEqual(made, {"a": 15, "b": None})

    def test_views(self):
        """Earlier figures move with the call sites."""
        report = self.json(plugins().write(self.path("f.htl")), "--tag", "p=lib:libplan*", "--tag",
                           "b=lib:libboost*", "--since", "2s")
        growth = {c["tag"]: c["view_bytes"] for c in report["controllers"]}
        self.assertEqual(growth, {"robot": 100, "p": 200, "b": 400, "arm": 1000,
                                  "[runtime]": 500, "[anon]": 600})

    def test_what_was_not_listed_is_said(self):
        f = htl.File().module(1, "/nonexistent/p").tag(1, "p", htl.DEFAULT)
        f.stack(1, [(1, 16)]).site(1, 1, 1)
        f.snapshot(1, tags={1: dict(allocated=(MB, 1))}, sites={1: dict(allocated=(MB, 1))})
        f.tick(2, tags={1: dict(allocated=(3 * MB, 3))}, left_out=(1, 2 * MB))
        done = self.heaptally("report", "--tag", "q=lib:p", f.write(self.path("f.htl")))
        self.assertEqual((done.returncode, len(done.err.splitlines())), (0, 1))
        self.assertIn("2,097,152 bytes", done.err)

    def test_names_that_cannot_be_asked_are_said(self):
        done = self.heaptally("report", "--tag", "q=main", plugins().write(self.path("f.htl")))
        self.assertEqual((done.returncode, len(done.err.splitlines())), (0, 1), done.err)
        self.assertIn("--debug-path", done.err)

    def test_mistakes(self):
        path = plugins().write(self.path("f.htl"))
        with open(self.path("rules"), "w", encoding="utf-8") as out:
            out.write("# rules\n a=b* \nnonsense\n")
        for argv, things in ((("--tag", "pid"), ("--tag pid", "NAME=PATTERN")),
                             (("--tag", ""), ("--tag", "NAME=PATTERN")),
                             (("--construct", "=x"), ("--construct =x", "NAME=PATTERN")),
                             (("--tag", "a=" + "b" * 600), ("--tag a=bbb",)),
                             (("--tag-skip", "libx"), ("--tag-skip libx", "lib:GLOB")),
                             (("--tag-file", "missing"), ("--tag-file missing",)),
                             (("--tag-file", "rules"), ("nonsense",))):
            self.one_line(self.heaptally("report", *argv, path), 2, *things)

    def test_rule_file(self):
        with open(self.path("rules"), "w", encoding="utf-8") as out:
            out.write("# rules\n\n  p=lib:libplan* \t\r\nb=lib:libboost*")
        live = self.live(plugins(), "--tag-file", self.path("rules"))
        self.assertEqual((live["p"], live["b"]), (580, 1160))


if __name__ == "__main__":
    driver.main()
