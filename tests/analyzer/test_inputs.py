#!/usr/bin/env python3
"""Which files a report is on, and the report on several processes of a run."""
import os
import subprocess
import sys

import driver
import htl
from htl import MB, SECOND

START = 1700000000 * SECOND


def process(pid, parent=1, after=0, tag="ctl", live=MB, made=10, host="rig", lasts=10):
    """A process that begins `after` seconds after the first and holds `live` bytes, half of them
    from the start on."""
    f = htl.File(exe=f"/usr/bin/p{pid}", pid=pid, parent=parent, host=host,
                 start_real=START + after * SECOND, start=(1000 + after) * SECOND)
    f.settings(leak_threshold="1.0").module(7, "/nonexistent/ctl", flags=htl.MAIN)
    f.tag(3, tag, htl.RULE).tag(4, f"only-{pid}", htl.RULE)
    f.stack(1, [(7, 64)]).stack(2, [(7, 64 + pid)]).site(1, 1, 3).site(2, 2, 4)
    for t in range(1, lasts + 1):
        size = live // 2 if t <= lasts // 2 else live
        tags = {3: dict(allocated=(size, 2), made=made), 4: dict(allocated=(100, 1))}
        sites = {1: dict(allocated=(size, 2)), 2: dict(allocated=(100, 1))}
        f.tick(t, rss=10 * MB + t * MB, tags=tags, sites=sites, own=1000)
    f.alert(lasts, tag=3, message="grew")
    return f.snapshot(lasts, rss=(10 + lasts) * MB, tags=tags, sites=sites, own=1000).end(lasts)


class Merged(driver.Case):
    def setUp(self):
        super().setUp()
        self.a = process(10).write(self.path("a.htl"))
        self.b = process(20, parent=10, after=3, live=4 * MB, made=5).write(self.path("b.htl"))

    def both(self, *argv):
        done = self.heaptally("report", "--format", "json", *argv, self.b, self.a)
        self.assertEqual((done.returncode, done.err), (0, ""))
        return driver.json.loads(done.out)

    def test_figures(self):
        """By controller: added up. Of the same stack: one call site."""
        report = self.both()
        tags = {c["tag"]: c for c in report["controllers"]}
        self.assertEqual(sorted(tags), ["ctl", "only-10", "only-20"])
        ctl = tags["ctl"]
        self.assertEqual([ctl[k] for k in ("live_bytes", "live_blocks", "instantiations",
                                           "allocated_bytes")], [5 * MB, 4, 15, 5 * MB])
        self.assertEqual([s["live_bytes"] for s in ctl["sites"]], [5 * MB])
        self.assertEqual(report["memory"]["live_bytes"], 5 * MB + 200)
        self.assertEqual(report["memory"]["rss_mb"], 40)
        self.assertEqual(report["quality"]["own_bytes"], 2000)
        self.assertEqual(len(report["alerts"]), 2)
        self.assertEqual([a["tag"] for a in report["alerts"]], ["ctl", "ctl"])

    def test_regions(self):
        """Regions of one name are one, and an alert names its region, whatever the numbers."""
        paths = []
        for pid, number in ((30, 2), (31, 5)):
            f = htl.File(pid=pid).tag(2, "no region")
            f.region(number, "step", 3, 24).region(number + 1, "other", 1, 8)
            f.alert(1, tag=number, kind=6, message="broken").snapshot(1).end(2)
            paths.append(f.write(self.path(f"{pid}.htl")))
        report = driver.json.loads(self.heaptally("report", "--format", "json", *paths).out)
        self.assertEqual([(r["region"], r["allocations"], r["bytes"]) for r in report["no_alloc"]],
                         [("step", 6, 48), ("other", 2, 16)])
        self.assertEqual([a["tag"] for a in report["alerts"] if a["kind"] == "no_alloc"],
                         ["step", "step"])

    def test_the_run_as_a_whole(self):
        """It begins with the first process and ends with the last."""
        report = self.both()
        self.assertEqual((report["process"]["pid"], report["process"]["duration_s"],
                          report["process"]["complete"]), (10, 13, True))

    def test_by_process(self):
        parts = self.both()["processes"]
        self.assertEqual([p["process"]["pid"] for p in parts], [20, 10])
        for part, path in zip(parts, (self.b, self.a)):
            alone = self.json(path)
            self.assertEqual(part["process"], alone["process"])
            self.assertEqual(part["memory"], alone["memory"])
            for c in alone["controllers"]:
                c.pop("sites")
            self.assertEqual(part["controllers"], alone["controllers"])

    def test_a_past_is_added_up_by_the_clock(self):
        """Half of one from 1 s on, all from 6 s on; the other 3 s later: never more than now."""
        csv = self.heaptally("report", "--format", "csv", self.a, self.b)
        self.assertEqual(csv.returncode, 0, csv.err)
        self.assertEqual({c["tag"]: c["peak_bytes"] for c in self.both()["controllers"]}["ctl"],
                         5 * MB)

    def test_verdicts_name_the_process(self):
        reasons = {c["tag"]: c["reason"] for c in self.both()["controllers"]}
        self.assertRegex(reasons["only-20"], "^pid 20: ")
        self.assertRegex(reasons["ctl"], "^pid (10|20): ")

    def test_the_order_of_files_does_not_matter(self):
        other = self.heaptally("report", "--format", "json", self.a, self.b).out
        one, two = self.both(), driver.json.loads(other)
        one["processes"].reverse()
        for report in (one, two):
            for c in report["controllers"]:
                c.pop("reason")
        self.assertEqual(one, two)

    def test_views(self):
        view = self.both("--since", "4s")
        self.assertEqual({c["tag"]: c["view_bytes"] for c in view["controllers"]},
                         {"ctl": 5 * MB // 2, "only-10": 0, "only-20": 0})
        self.assertEqual({c["tag"]: c["view_bytes"]
                          for c in self.both("--view", "peak")["controllers"]},
                         {"ctl": 5 * MB, "only-10": 100, "only-20": 100})

    def test_retagged(self):
        report = self.both("--tag", "all=lib:ctl")
        self.assertEqual([(c["tag"], c["live_bytes"]) for c in report["controllers"]],
                         [("all", 5 * MB + 200), ("ctl", 0)])  # whose instantiations remain

    def test_text(self):
        done = self.heaptally("report", self.a, self.b)
        self.assertEqual((done.returncode, done.err), (0, ""))
        table = done.out[done.out.index("\nPROCESS "):].split("\n\n")[0].splitlines()[2:]
        self.assertEqual([row.split()[:3] for row in table],
                         [["p10", "10", "1,048,676"], ["p20", "20", "4,194,404"]])
        for width in (60, 80):
            text = self.heaptally("report", self.a, self.b, COLUMNS=str(width)).out
            self.assertLessEqual(max(map(len, text.splitlines())), width)

    def test_one_that_cannot_be_read(self):
        """Is said, and the others are reported all the same."""
        done = self.heaptally("report", "--format", "json", self.a, "missing.htl", self.b)
        self.assertEqual((done.returncode, len(done.err.splitlines())), (2, 1))
        self.assertIn("missing.htl", done.err)
        self.assertEqual(len(driver.json.loads(done.out)["processes"]), 2)

    def test_a_file_that_is_named_twice(self):
        os.link(self.a, self.path("again.htl"))
        report = self.json(self.a, self.path("again.htl"), self.dir + "/./a.htl")
        self.assertNotIn("processes", report)
        self.assertEqual(report["memory"]["live_bytes"], MB + 100)


class Which(driver.Case):
    def pids(self, *argv, cwd=None):
        done = self.heaptally("report", "--format", "json", *argv, cwd=cwd)
        self.assertEqual((done.returncode, done.err), (0, ""))
        report = driver.json.loads(done.out)
        parts = report.get("processes", [report])
        return [p["process"]["pid"] for p in parts]

    def write(self, name, written, *argv, **more):
        path = process(*argv, **more).write(self.path(name))
        os.utime(path, (written, written))
        return path

    def test_an_empty_name(self):
        done = self.heaptally("report", "")
        self.assertEqual((done.returncode, done.out), (2, ""))
        self.assertIn("heaptally: report: an empty name is given;", done.err)

    def test_the_newest_run(self):
        """The newest file, its forebears and all that descends from them; no other run, no other
        host, and no earlier process that had the number of the parent."""
        self.write("old.htl", 500, 10, after=-900)
        self.write("other.htl", 999, 50)
        self.write("root.htl", 700, 10)
        self.write("child.htl", 900, 20, parent=10, after=5)
        self.write("grandchild.htl", 1000, 30, parent=20, after=7)
        self.write("sibling.htl", 600, 40, parent=10, after=8)
        self.write("far.htl", 650, 60, parent=10, after=9, host="elsewhere")
        with open(self.path("broken.htl"), "wb") as out:
            out.write(b"no snapshot")
        self.assertEqual(self.pids(), [10, 20, 30, 40])
        self.assertEqual(self.pids(self.dir, cwd="/"), [10, 20, 30, 40])
        os.utime(self.path("other.htl"), (2000, 2000))
        self.assertEqual(self.pids(), [50])

    def test_a_pid(self):
        """The file that it has open, wherever that is; else the newest here that it wrote."""
        path = process(77).write(self.path("elsewhere.htl"))
        holder = subprocess.Popen([sys.executable, "-c",
                                   "import sys; f = open(sys.argv[1]); print(flush=True);"
                                   "sys.stdin.read()", path],
                                  stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        try:
            holder.stdout.readline()
            self.assertEqual(self.pids(str(holder.pid), cwd="/"), [77])
        finally:
            holder.communicate(b"")
        self.one_line(self.heaptally("report", str(holder.pid), cwd="/"), 2, str(holder.pid))
        self.write("one.htl", 1000, 999999999 % 4194304)
        self.assertEqual(self.pids(str(999999999 % 4194304)), [999999999 % 4194304])

    def test_a_file_that_is_called_like_a_pid(self):
        process(5).write(self.path("123"))
        self.assertEqual(self.pids("123"), [5])

    def test_nothing_there(self):
        self.one_line(self.heaptally("report"), 2, ".htl", "heaptally run")
        os.mkdir(self.path("empty"))
        self.one_line(self.heaptally("report", self.path("empty")), 2, "empty", ".htl")
        self.one_line(self.heaptally("report", self.path("missing")), 2, "missing")


if __name__ == "__main__":
    driver.main()
