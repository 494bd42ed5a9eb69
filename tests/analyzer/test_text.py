#!/usr/bin/env python3
"""The report for people: golden files, widths, colours, what comes first.

`test_text.py --renew` writes the golden files anew; look at the difference before keeping it.
"""
import os
import pty
import re
import sys
import unicodedata

import driver
import htl
from htl import MB

RENEW = "--renew" in sys.argv
if RENEW:
    sys.argv.remove("--renew")


def width_of(line):
    return sum(0 if unicodedata.combining(c) else 1 + (unicodedata.east_asian_width(c) in "WF")
               for c in line)


def killed():
    """Killed within a run: no END, sites that were not listed, a torn record, lost detail."""
    f = htl.File(exe="/opt/robot/bin/arm", host="")
    f.module(1, "/nonexistent/arm").tag(1, "planner").tag(2, "gripper").stack(1, [(1, 64)])
    f.site(1, 1, 1)
    f.snapshot(1, rss=10 * MB, tags={1: dict(allocated=(3 * MB, 3))},
               sites={1: dict(allocated=(3 * MB, 3))})
    f.tick(2, rss=12 * MB, tags={1: dict(allocated=(5 * MB, 5))}, left_out=(1, 2 * MB), dropped=1,
           truncated=2, own=700000)
    f.data += b"\x06\0\0\0\xff\0\0\0"
    return f


def warm_up():
    """One controller filled a table once; another one leaks, and has a table too."""
    f = htl.File().settings(leak_threshold="1.0").module(1, "/nonexistent/plant", flags=htl.MAIN)
    f.tag(1, "sta").tag(2, "classical")
    for i, tag in enumerate((1, 2, 2), 1):
        f.stack(i, [(1, 64 * i)]).site(i, i, tag)
    f.snapshot(1, tags={1: dict(allocated=(24 * MB, 1), made=1000),
                        2: dict(allocated=(10 * MB, 1001), made=1000)},
               sites={1: dict(allocated=(24 * MB, 1)), 2: dict(allocated=(8 * MB, 1)),
                      3: dict(allocated=(2 * MB, 1000))})
    return f.end(2)


def hostile():
    """Names and numbers at their limits."""
    f = htl.File(exe="/very" * 60, host="h" * 200)
    f.settings(leak_threshold="0.001")
    f.module(1, "/nonexistent/" + "longmodule" * 20 + "\x1b[2J.so")
    f.tag(1, "контроллер-" * 5).tag(2, "x" * 127).tag(3, "\x1b]0;evil\x07").tag(4, "控制器" * 12)
    f.stack(1, [(1, 2**63)] * 30).stack(2, [(htl.NO_MODULE, 2**64 - 1)])
    for i in range(1, 9):
        f.site(i, 1 if i % 2 else 2, 1 + i % 4)
    big = 2**60
    f.snapshot(10**9, rss=big, own=big, foreign=(big, big), overruns=big,
               tags={i: dict(allocated=(big, big), made=3) for i in (1, 2, 3, 4)},
               sites={i: dict(allocated=(big, big)) for i in range(1, 9)})
    return f


class Text(driver.Case):
    def golden(self, name, f, **more):
        path = os.path.join(driver.SOURCE, "golden", name)
        text = self.text(f.write(self.path("file.htl")), **more)
        if RENEW:
            with open(path, "w", encoding="utf-8") as out:
                out.write(text)
        with open(path, encoding="utf-8") as file:
            self.assertEqual(text, file.read(), f"differs from golden/{name}")
        return text

    def test_golden(self):
        self.golden("controllers-100.txt", htl.controllers())
        self.golden("controllers-60.txt", htl.controllers(), COLUMNS="60")
        self.golden("killed.txt", killed())
        self.golden("empty.txt", htl.File())
        self.golden("warm-up.txt", warm_up())
        self.golden("no-instantiations.txt", htl.File().tag(1, "pid").tick(
            1, tags={1: dict(allocated=(3 * MB, 3))}).end(2))

    def test_first_lines(self):
        """The first lines name the worst, exact bytes and blocks, the rate, how far above the
        limit."""
        first = "\n".join(self.text(htl.controllers().write(self.path("f.htl"))).split("\n")[:6])
        for thing in ("classical", "20,480,000 bytes", "1,000 blocks",
                      "20,480 bytes per instantiation",
                      "19.53 MB per 1000", "above the limit ×19.5", "plant+0x1234"):
            self.assertIn(thing, first)

    def test_the_worst_is_by_rate_not_by_size(self):
        f = htl.File().tag(1, "big and innocent").tag(2, "leaky")
        f.tick(1, tags={1: dict(allocated=(500 * MB, 1)),
                        2: dict(allocated=(20480 * 99, 99), made=99)}).end(1)
        text = self.text(f.write(self.path("f.htl")))
        self.assertTrue(text.startswith("leaky: 19.53 MB per 1000"))

    def test_a_warm_up_is_not_above_the_limit(self):
        """Said below the rate, not counted in it; the leak is named though it is smaller."""
        once = htl.File().module(1, "/nonexistent/plant").tag(1, "sta").stack(1, [(1, 64)])
        once.site(1, 1, 1).tick(1, tags={1: dict(allocated=(24 * MB, 1), made=1000)},
                                sites={1: dict(allocated=(24 * MB, 1))})
        lines = self.text(once.write(self.path("f.htl"))).split("\n")
        self.assertTrue(lines[0].startswith("no leak found so far: 1 of 1 controller"), lines[0])
        rate = next(i for i, line in enumerate(lines) if line.startswith("  rate "))
        self.assertEqual(lines[rate:rate + 2], [
            "  rate       0.00 MB per 1000 instantiations, limit 1.00 MB",
            "  one-off    24.00 MB in 1 block, allocated once: not counted against the limit"])
        text = self.text(warm_up().write(self.path("f.htl")))
        self.assertTrue(text.startswith("classical: 2.00 MB per 1000 instantiations, above"), text)
        self.assertRegex(text, r"top site +plant\+0xc0\n")

    def test_runtime_frames_are_not_blamed(self):
        """The top site is named by the innermost frame outside of runtime modules."""
        text = self.text(htl.controllers().write(self.path("f.htl")))
        self.assertRegex(text, r"top site +plant\+0x1234")

    def test_never_wider_than_the_terminal(self):
        for make in (htl.controllers, killed, hostile, warm_up, htl.File):
            path = make().write(self.path("f.htl"))
            for width in (60, 61, 72, 80, 100, 133, 200):
                text = self.text(path, COLUMNS=str(width))
                for line in text.splitlines():
                    self.assertLessEqual(width_of(line), width, repr(line))
            self.assertEqual(self.text(path, COLUMNS="20"), self.text(path, COLUMNS="60"))

    def test_no_character_of_the_file_reaches_the_terminal_as_a_command(self):
        text = self.text(hostile().write(self.path("f.htl")), COLUMNS="200")
        self.assertEqual([c for c in text if unicodedata.category(c) == "Cc" and c != "\n"], [])
        self.assertIn("…", text)

    def test_columns_stand_below_each_other(self):
        text = self.text(hostile().write(self.path("f.htl")), COLUMNS="100")
        table = text[text.index("CONTROLLER"):].split("\n\n")[0].splitlines()
        end = width_of(table[0][:table[0].index("LIVE BYTES") + len("LIVE BYTES")])
        for row in table[1:]:
            columns, cut = 0, ""
            for c in row:
                columns += width_of(c)
                cut += c
                if columns == end:
                    break
            self.assertRegex(cut, r"[0-9]$", row)

    def on_terminal(self, path, **more):
        pid, master = pty.fork()
        if pid == 0:
            os.execve(driver.COMMAND, [driver.COMMAND, "report", path],
                      driver.environment(TERM="xterm", **more))
        out = b""
        while True:
            try:
                data = os.read(master, 65536)
            except OSError:
                break
            if not data:
                break
            out += data
        os.close(master)
        self.assertEqual(os.waitpid(pid, 0)[1], 0)
        return out.decode()

    def test_colours(self):
        """Only on a terminal, and not where NO_COLOR is set to anything."""
        path = htl.controllers().write(self.path("f.htl"))
        self.assertIn("\x1b[31;1mclassical", self.on_terminal(path))
        self.assertNotIn("\x1b", self.on_terminal(path, NO_COLOR="1"))
        self.assertNotIn("\x1b", self.text(path))
        self.assertEqual(re.sub(r"\x1b\[[0-9;]*m", "", self.on_terminal(path, COLUMNS="100")),
                         self.text(path).replace("\n", "\r\n"))

    def test_newest_file_of_the_directory(self):
        self.one_line(self.heaptally("report"), 2, ".htl")
        htl.File(pid=1).write(self.path("old.htl"))
        htl.File(pid=2).write(self.path("new.htl"))
        htl.File(pid=3).write(self.path("newest.other"))
        os.utime(self.path("old.htl"), (1000, 1000))
        os.utime(self.path("new.htl"), (2000, 2000))
        self.assertIn("pid 2 ", self.heaptally("report").out)
        os.utime(self.path("old.htl"), (3000, 3000))
        self.assertIn("pid 1 ", self.heaptally("report").out)


def deep():
    """A leak through wrappers on both sides, for which names come from the file names alone."""
    f = htl.File().settings(leak_threshold="1.0").module(1, "/nonexistent/plant", flags=htl.MAIN)
    f.module(2, "/nonexistent/libc.so.6", flags=htl.RUNTIME)
    f.tag(1, "pid", htl.DEFAULT)
    f.stack(1, [(2, 1), (2, 2), (1, 3), (1, 4), (2, 5), (2, 6), (2, 7)]).site(1, 1, 1)
    f.stack(2, [(2, 1), (2, 2)]).site(2, 2, 1)
    for t in range(1, 9):
        f.tick(t, tags={1: dict(allocated=(t * MB, t), made=t)},
               sites={1: dict(allocated=(t * MB // 2, t)), 2: dict(allocated=(t * MB // 2, t))})
    for t in range(1, 8):
        f.alert(t, tag=1, kind=4, state=t % 3, message=f"number {t}")
    return f.end(8)


class Parts(driver.Case):
    def test_frames_of_runtimes_are_folded(self):
        """Into one line that says how many; a stack of nothing else stands as it is."""
        path = deep().write(self.path("f.htl"))
        sites = self.text(path).split("were allocated\n")[1].split("\n\n")[0]
        lines = [line.strip() for line in sites.splitlines() if line.startswith("      ")]
        self.assertEqual(lines, ["… 2 runtime frames", "plant+0x3", "plant+0x4",
                                 "… 3 runtime frames", "libc.so.6+0x1", "libc.so.6+0x2"])
        self.assertEqual(self.text(path, "--all-frames").count("libc.so.6+0x"), 7)

    def test_why_a_stack_is_cut(self):
        """For want of unwind information, or since no more frames than these are ever kept."""
        f = htl.File().module(1, "/nonexistent/arm").tag(1, "arm")
        for number, frames, flags in ((1, 128, 0), (2, 128, htl.CUT), (3, 3, htl.CUT)):
            f.stack(number, [(1, 64 * number + i) for i in range(frames)], flags=flags)
            f.site(number, number, 1)
        f.snapshot(1, sites={i: dict(allocated=(100 - i, 1)) for i in (1, 2, 3)})
        text = self.text(f.write(self.path("f.htl")), "--all-frames", "--top", "3")
        said = [re.search(r"^ *(cut: .*)$", site, re.M)
                for site in re.split(r"bytes in 1 block\b", text)[1:]]
        self.assertEqual([line and line.group(1) for line in said],
                         [None, "cut: the outer frames of deep stacks are not kept",
                          "cut: no unwind information further out"])

    def test_ascii(self):
        """Where the locale is not UTF-8, what we write ourselves is ASCII; names stay."""
        path = deep().write(self.path("f.htl"))
        self.assertTrue(self.text(path, LC_ALL="C").isascii())
        self.assertTrue(self.text(path, LC_ALL="", LC_CTYPE="", LANG="").isascii())
        self.assertTrue(self.text(path, "--only-tag", "x", LC_ALL="C").isascii())
        self.assertFalse(self.text(path, LC_ALL="", LC_CTYPE="de_DE.utf8", LANG="C").isascii())
        path = hostile().write(self.path("g.htl"))
        self.assertIn("контроллер", self.text(path, LC_ALL="C"))
        self.assertNotIn("…", self.text(path, LC_ALL="C"))

    def test_trend(self):
        """Each place of the line is the highest of its part of the time."""
        trend = re.search(r"trend +(\S+) in 8.0 s, highest 8.00 MB", self.text(
            deep().write(self.path("f.htl")))).group(1)
        self.assertEqual((len(trend), trend[0], trend[-1]), (48, "▁", "█"))
        self.assertEqual(sorted(trend), list(trend))
        trend = re.search(r"trend +(\S+) in", self.text(self.path("f.htl"), LC_ALL="C",
                                                        COLUMNS="80")).group(1)
        self.assertEqual((len(trend), trend[0], trend[-1]), (32, "_", "#"))

    def test_what_to_do_next(self):
        text = self.text(deep().write(self.path("f.htl")), COLUMNS="200")
        self.assertIn("next       find what should free the blocks of plant+0x3: 50.0 % of", text)
        self.assertIn("symbols of plant (file not found); see --debug-path", text)
        self.assertRegex(text, r"'heaptally tags .*/f.htl' proposes rules that tell apart what is "
                               r"in pid")

    def test_alerts(self):
        """The last four, when, of what kind, and whether it was worse or over."""
        text = self.text(deep().write(self.path("f.htl")))
        alerts = text.split("\nAlerts\n")[1].split("\n\n")[0].splitlines()
        self.assertEqual([a.split() for a in alerts],
                         ["… 3 alerts before these".split(),
                          "4.0 s per_1000, worse: number 4".split(),
                          "5.0 s per_1000, over: number 5".split(),
                          "6.0 s per_1000: number 6".split(),
                          "7.0 s per_1000, worse: number 7".split()])

    def test_views(self):
        path = deep().write(self.path("f.htl"))
        grown = self.text(path, "--since", "3s")
        self.assertIn("view       growth since 3.0 s after the start, 3.00 MB live\n", grown)
        self.assertIn("GROWN BYTES", grown)
        self.assertRegex(grown, r"\npid +5,242,880 +5 ")
        self.assertIn("2,621,440 bytes in 5 blocks (50.0 %)", grown)
        self.assertIn("ALL BYTES", self.text(path, "--view", "cumulative"))
        self.assertIn("live at the peak, 8.0 s after the start, 8.00 MB live",
                      self.text(path, "--view", "peak"))

    def test_filters(self):
        path = htl.controllers().write(self.path("f.htl"))
        text = self.text(path, "--only-tag", "sta", "--only-tag", "h*")
        self.assertIn("2 controllers left out by the filters", text)
        self.assertNotIn("classical", text)
        self.assertTrue(self.text(path, "--only-tag", "x").startswith(
            "no controller passes the filters\n"))


class CommandLine(driver.Case):
    def test_mistakes(self):
        path = htl.File().write(self.path("f.htl"))
        for argv, things in (([], ["--help"]), (["repotr", path], ["repotr", "'report'"]),
                             (["xyzzy"], ["xyzzy", "--help"]), (["--versoin"], ["'--version'"]),
                             (["help", "reprot"], ["'report'"]),
                             (["report", "--fromat=json", path], ["--fromat=json", "'--format'"]),
                             (["report", "--format"], ["--format", "value"]),
                             (["report", "--format", "htlm", path], ["htlm", "text or json or html"]),
                             (["report", "--help=x", path], ["--help", "no value"]),
                             (["report", "-q", path], ["-q"]), (["report", "-o"], ["-o", "value"])):
            with self.subTest(argv=argv):
                self.one_line(self.heaptally(*argv), 2, *things)

    def test_help(self):
        for argv in (["--help"], ["help"], ["-h"], ["help", "run"], ["run", "--help"],
                     ["help", "report"], ["report", "--help"], ["report", "x.htl", "-h"]):
            done = self.heaptally(*argv)
            self.assertEqual((done.returncode, done.err), (0, ""), argv)
            self.assertIn("heaptally ", done.out)
        self.assertIn("--format json", self.heaptally("help", "report").out)
        self.assertRegex(self.heaptally("--version").out, r"^heaptally \d+\.\d+\.\d+\n$")


if __name__ == "__main__":
    driver.main()
