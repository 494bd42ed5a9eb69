#!/usr/bin/env python3
"""heaptally check: its exit status for every kind of run, limit and suppression."""
import re
import subprocess

import driver
import htl
from htl import MB

FINE, LEAK, FAILURE, INCONCLUSIVE, INVALID = range(5)
STEP = 10  # seconds between ticks


def over_time(sites, ticks=900, made=None, regions=()):
    """A run of some hours: `sites` are (tag, offset, bytes live at the n-th tick as a function)."""
    f = htl.File().settings(interval=f"{STEP}s", leak_threshold="1.0", warmup="60s")
    f.module(1, "/nonexistent/plant", flags=htl.MAIN).module(2, "/nonexistent/libdrive.so.2")
    tags = sorted({s[0] for s in sites})
    for number, tag in enumerate(tags, 1):
        f.tag(number, tag)
    for i, (tag, offset, _) in enumerate(sites, 1):
        f.stack(i, [(2 if offset < 0 else 1, abs(offset)), (1, 0x900)])
        f.site(i, i, tags.index(tag) + 1)
    for n in range(1, ticks + 1):
        live = {i: s[2](n) for i, s in enumerate(sites, 1)}
        totals = {t: sum(live[i] for i, s in enumerate(sites, 1) if s[0] == tag)
                  for t, tag in enumerate(tags, 1)}
        more = {"made": made} if made else {}
        f.tick(n * STEP, kind=htl.SNAPSHOT if n == ticks else htl.TICK, rss=50 * MB,
               sites={i: dict(allocated=(size, n)) for i, size in live.items()},
               tags={t: dict(allocated=(size, n), **more) for t, size in totals.items()})
    return f.end(ticks * STEP)


def grows(per_tick, start=0):
    return lambda n: start + per_tick * n


def stays(size):
    return lambda n: size


class Check(driver.Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.leaky = over_time([("pid", 0x100, grows(5000, MB)), ("arm", 0x200, stays(MB))])
        cls.steady = over_time([("pid", 0x100, stays(MB)), ("arm", 0x200, stays(2 * MB))])

    def check_files(self, files, *argv, rules=None):
        """(status, the first line, the others as (label, rest))"""
        paths = [f if isinstance(f, str) else f.write(self.path(f"{i}.htl"))
                 for i, f in enumerate(files)]
        if rules is not None:
            with open(self.path("rules"), "w", encoding="utf-8") as out:
                out.write(rules)
            argv = ("--suppressions", "rules", *argv)
        done = self.heaptally("check", *argv, *paths)
        lines = done.out.splitlines()
        self.err = done.err
        return done.returncode, lines[0] if lines else "", [l.strip() for l in lines[1:]]

    def status(self, f, *argv, **more):
        return self.check_files([f], *argv, **more)[0]

    # ---- verdicts ----

    def test_leak(self):
        status, first, lines = self.check_files([self.leaky])
        self.assertEqual((status, first), (LEAK, "failed: 1 finding among 2 controllers in 1 file"))
        self.assertRegex(lines[0], r"^FAILED +.*0\.htl: pid leaks 1\.7\d MB/hour \[.*\], .*: "
                                   r"plant\+0x100$")

    def test_fine(self):
        status, first, lines = self.check_files([self.steady])
        self.assertEqual((status, first, lines),
                         (FINE, "fine: no leak among 2 controllers in 1 file", []))

    def test_inconclusive(self):
        short = over_time([("pid", 0x100, grows(5000))], ticks=5)
        status, first, lines = self.check_files([short])
        self.assertEqual(status, INCONCLUSIVE)
        self.assertTrue(first.startswith("inconclusive: no leak was found among 1 controller"))
        self.assertIn("pid is inconclusive: ", lines[0])
        status, first, _ = self.check_files([short], "--allow-inconclusive")
        self.assertEqual((status, first),
                         (FINE, "fine: no leak among 1 controller in 1 file, as far as it can be "
                                "judged"))

    def test_invalid(self):
        for argv in ((), ("--allow-inconclusive",)):
            status, _, lines = self.check_files([htl.File().tag(1, "pid")], *argv)
            self.assertEqual((status, len(lines)), (INVALID, 1))
            self.assertIn("ends before its first tick", lines[0])

    def test_several_files(self):
        """A leak before all, then what cannot be read, then what is missing, then doubt."""
        short, empty = over_time([("pid", 0x100, grows(5000))], ticks=5), htl.File()
        for files, status in (([self.steady, self.leaky, "missing.htl", empty], LEAK),
                              ([self.steady, "missing.htl", empty, short], FAILURE),
                              ([self.steady, empty, short], INVALID),
                              ([self.steady, short], INCONCLUSIVE), ([self.steady] * 2, FINE)):
            self.assertEqual(self.check_files(files)[0], status)
        self.assertEqual(self.check_files([self.steady, "missing.htl"])[1],
                         "unreadable: 1 file could not be looked at; nothing was found among 2 "
                         "controllers in 1 file")
        self.assertIn("missing.htl", self.err)

    # ---- limits ----

    def test_size(self):
        for limit, status in (("pid=1MB", FINE), ("pid=1", FINE), ("pid=1048575B", LEAK),
                              ("arm=1.5MB", LEAK), ("*=2MB", FINE), ("*=1.9MB", LEAK),
                              ("p?d=1023KB", LEAK), ("pid=0", LEAK)):
            self.assertEqual(self.status(self.steady, "--limit", limit), status, limit)
        _, _, lines = self.check_files([self.steady], "--limit", "arm=1.5MB")
        self.assertRegex(lines[0], r"arm: 2\.00 MB live, limit 1\.50 MB: plant\+0x200$")

    def test_per_1000(self):
        built = over_time([("pid", 0x100, stays(MB)), ("arm", 0x200, stays(0))], made=500)
        for limits, status in (((), LEAK), (("pid=2/1000",), FINE), (("pid=2048KB/1000",), FINE),
                               (("pid=1.9/1000",), LEAK), (("p*=3/1000",), FINE),
                               (("arm=3/1000",), LEAK), (("pid=3/1000", "*=1/1000"), LEAK)):
            argv = [word for limit in limits for word in ("--limit", limit)]
            self.assertEqual(self.status(built, *argv), status, limits)
        _, _, lines = self.check_files([built])
        self.assertRegex(lines[0], r"pid: 2\.00 MB per 1000 instantiations, limit 1\.00 MB: plant")

    def test_rate(self):
        """The leak is 1.72 MB/hour; what is bounded is below every rate."""
        for limit in ("pid=1MB/h", "pid=10KB/min", "pid=24MB/d", "pid=100B/s"):
            _, _, lines = self.check_files([self.leaky], "--limit", limit)
            self.assertTrue(any("pid: grows 1.7" in line and "FAILED" in line for line in lines),
                            (limit, lines))
        for limit in ("pid=2MB/h", "pid=1/min", "pid=60MB/d", "arm=0.001MB/h"):
            _, _, lines = self.check_files([self.leaky], "--limit", limit)
            self.assertEqual(len(lines), 1, (limit, lines))
        self.assertEqual(self.status(self.steady, "--limit", "*=0MB/h"), FINE)

    def test_unknown_figures(self):
        """A limit on what is not known is no pass."""
        for limit, words in (("pid=1/1000", "instantiations were not counted"),
                             ("nobody=1MB", "no controller of that name")):
            status, _, lines = self.check_files([self.steady], "--limit", limit)
            self.assertEqual(status, INCONCLUSIVE)
            self.assertIn(words, lines[0])
            self.assertEqual(self.status(self.steady, "--limit", limit, "--allow-inconclusive"),
                             FINE)

    def test_regions(self):
        f = htl.controllers()
        path = self.with_region()
        for limit, status in (("loop=0allocs", LEAK), ("loop=6allocs", LEAK),
                              ("loop=7allocs", FINE), ("l*=1alloc", LEAK), ("other=0allocs", FINE)):
            got, _, lines = self.check_files([path], "--limit", limit, "--allow-inconclusive")
            self.assertEqual(got, status, (limit, lines))
        _, _, lines = self.check_files([path], "--limit", "loop=6allocs")
        self.assertIn("loop: 7 allocations where none was promised, limit 6: plant+0x100", lines[0])
        _, _, lines = self.check_files([path], "--allow-inconclusive")
        self.assertTrue(any(l.startswith("note") and "--limit 'loop=0allocs'" in l for l in lines))
        status, _, lines = self.check_files([path], "--limit", "loop=0allocs",
                                            "--allow-inconclusive", rules="tag:pid\n")
        self.assertEqual(status, FINE, lines)
        self.assertEqual(self.status(f, "--limit", "loop=0allocs", "--limit", "classical=50/1000",
                                     "--allow-inconclusive"), FINE)

    def with_region(self):
        f = htl.File().module(1, "/nonexistent/plant").tag(1, "pid")
        f.stack(1, [(1, 0x100)]).site(1, 1, 1, region=7).region(7, "loop", 7, 70)
        f.snapshot(1, sites={1: dict(allocated=(70, 7), freed=(70, 7))},
                   tags={1: dict(allocated=(70, 7), freed=(70, 7))})
        return f.end(1).write(self.path("region.htl"))

    def test_limits_that_are_none(self):
        for limit in ("pid", "=1MB", "pid=", "pid=much", "pid=1/100", "pid=1MB/year", "pid=-1MB",
                      "pid=1.5allocs", "pid=allocs", "pid=1MB/"):
            self.one_line(self.heaptally("check", "--limit", limit, "x.htl"), FAILURE, limit,
                          "TAG=10MB")

    # ---- suppressions ----

    def two_leaks(self, ours=5000, theirs=5000):
        return over_time([("pid", 0x100, grows(ours, MB)), ("pid", -0x200, grows(theirs, MB)),
                          ("arm", 0x300, stays(MB))])

    def test_suppressed_wholly(self):
        status, _, lines = self.check_files([self.leaky], rules="# known\n\n  tag:p*  \n")
        self.assertEqual((status, lines), (FINE, ["suppressed tag:p*: 5,548,576 bytes in 1 call "
                                                  "site"]))

    def test_verdict_that_is_explained(self):
        """Only suppressed call sites leak."""
        f = self.two_leaks(ours=0)
        self.assertEqual(self.status(f), LEAK)
        status, _, lines = self.check_files([f], rules="module:libdrive.so*\n")
        self.assertEqual(status, FINE, lines)
        self.assertIn("pid leaks by suppressed call sites only", lines[0])

    def test_verdict_that_stands(self):
        status, _, lines = self.check_files([self.two_leaks()], rules="module:libdrive*\n")
        self.assertEqual(status, LEAK)
        self.assertTrue(lines[0].endswith(": plant+0x100"), lines)

    def test_bytes_that_are_left_out(self):
        f = over_time([("pid", 0x100, stays(3 * MB)), ("pid", -0x200, stays(5 * MB))], made=1000)
        more = ("--limit", "pid=4MB", "--limit", "pid=4/1000")
        status, _, lines = self.check_files([f], *more)
        self.assertEqual((status, sum("FAILED" in l for l in lines)), (LEAK, 2))
        status, _, lines = self.check_files([f], *more, rules="module:libdrive.so.2\n")
        self.assertEqual((status, lines), (FINE, ["suppressed module:libdrive.so.2: 5,242,880 "
                                                  "bytes in 1 call site"]))

    def test_rules_are_reported(self):
        """The first rule that matches is told the bytes; one that matches nothing is named."""
        rules = "module:libd*\nmodule:*drive*\nfunction:nothing_*\ntag:nobody\n"
        _, _, lines = self.check_files([self.two_leaks()], rules=rules)
        self.assertEqual(lines[-4:], [
            "suppressed module:libd*: 5,548,576 bytes in 1 call site",
            "suppressed module:*drive*: 0 bytes in 0 call sites",
            "unused     function:nothing_* (line 3): matches nothing",
            "unused     tag:nobody (line 4): matches nothing"])

    def test_functions(self):
        """By name, of the command itself."""
        f = htl.File().module(1, driver.COMMAND, flags=htl.MAIN).tag(1, "t")
        f.stack(1, [(1, self.address_of("main") + 8)]).site(1, 1, 1)
        f.snapshot(1, sites={1: dict(allocated=(9, 1))}, tags={1: dict(allocated=(9, 1))})
        _, _, lines = self.check_files([f], rules="function:mai?\n")
        self.assertIn("suppressed function:mai?: 9 bytes in 1 call site", lines)

    def address_of(self, name):
        symbols = subprocess.run(["nm", driver.COMMAND], capture_output=True, text=True, check=True)
        return int(re.search(rf"(\w+) [Tt] {name}$", symbols.stdout, re.M)[1], 16)

    def test_rules_that_are_none(self):
        path = self.steady.write(self.path("f.htl"))
        for rule in ("nonsense", "function:", "tag: ", "Tag:x"):
            with open(self.path("rules"), "w", encoding="utf-8") as out:
                out.write("# fine\ntag:x\n" + rule + "\n")
            self.one_line(self.heaptally("check", "--suppressions", "rules", path), FAILURE,
                          "rules:3:", "function:GLOB")
        self.one_line(self.heaptally("check", "--suppressions", "missing", path), FAILURE,
                      "missing")
        self.one_line(self.heaptally("check", "--suppressions", ".", path), FAILURE, ".:")

    # ---- mistakes ----

    def test_mistakes(self):
        self.one_line(self.heaptally("check"), FAILURE, "heaptally check FILE")
        self.one_line(self.heaptally("check", "--limits", "x"), FAILURE, "--limit")
        with open("/dev/full", "wb") as full:
            done = subprocess.run([driver.COMMAND, "check", self.steady.write(self.path("f.htl"))],
                                  stdout=full, stderr=subprocess.PIPE, timeout=60, check=False)
        self.assertEqual(done.returncode, FAILURE)
        self.assertIn(b"standard output", done.stderr)


if __name__ == "__main__":
    driver.main()
