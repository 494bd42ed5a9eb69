#!/usr/bin/env python3
"""The formats for other tools: pprof, folded stacks, CSV, Prometheus. Their figures are those of
the JSON report, to the byte."""
import csv
import io
import os
import pty
import re
import shutil
import subprocess
import unittest

import driver
import htl
import pprof_read

UNKNOWN_SITE = "[call site unknown]"
PPROF_KEYS = {"inuse_space": "live_bytes", "inuse_objects": "live_blocks",
              "alloc_space": "allocated_bytes", "alloc_objects": "allocated_blocks"}
UNITS = {"B": 1, "kB": 1024, "MB": 1024**2, "GB": 1024**3}


def partly_listed():
    """Tags whose sites do not cover all: some were left out, one has no frame, one no module."""
    f = htl.File(exe="/opt/plant", pid=77).module(1, "/nonexistent/plant", build_id=b"\xab" * 20,
                                                  flags=htl.MAIN)
    f.module(2, "/nonexistent/libplan.so.1")
    f.tag(1, "plan;ner").tag(2, 'say "hi"\\, you').tag(3, "idle")
    f.stack(1, [(2, 0x100), (1, 0x200)]).stack(2, []).stack(3, [(htl.NO_MODULE, 0x7000)])
    for number, (stack, tag) in enumerate(((1, 1), (2, 1), (3, 2)), 1):
        f.site(number, stack, tag)
    f.snapshot(1, rss=5 * htl.MB, own=4096, tags={1: dict(allocated=(900, 9)), 3: dict()},
               sites={1: dict(allocated=(800, 8)), 2: dict(allocated=(100, 1))})
    f.tick(2, rss=6 * htl.MB, own=8192, left_out=(1, 250),
           tags={1: dict(allocated=(1150, 10), made=4, cycles=40),
                 2: dict(allocated=(5000, 50), freed=(2000, 20))},
           sites={3: dict(allocated=(5000, 50), freed=(2000, 20))})
    return f


class Exports(driver.Case):
    def export(self, name, f, *argv):
        path = f if isinstance(f, str) else f.write(self.path("file.htl"))
        written = self.path("export")
        done = self.heaptally("report", "--format", name, "-o", written, *argv, path)
        self.assertEqual((done.returncode, done.out, done.err), (0, "", ""))
        with open(written, "rb") as file:
            return file.read()

    def profile(self, f, *argv):
        return pprof_read.Profile(self.export("pprof", f, *argv))

    # ---- pprof ----

    def test_pprof_totals(self):
        for f in (htl.File().tag(1, "empty").end(1), htl.controllers(), partly_listed()):
            profile, report = self.profile(f), self.load(f)
            self.assertEqual(profile.types, [("inuse_space", "bytes"), ("inuse_objects", "count"),
                                             ("alloc_space", "bytes"), ("alloc_objects", "count")])
            self.assertEqual((profile.strings[0], profile.default), ("", "inuse_space"))
            for c in report["controllers"]:
                self.assertEqual(profile.totals(c["tag"]),
                                 {t: c[key] for t, key in PPROF_KEYS.items()}, c["tag"])
        self.assertEqual(profile.totals()["inuse_space"], report["memory"]["live_bytes"])

    def test_pprof_places(self):
        profile = self.profile(partly_listed())
        self.assertEqual([m["filename"] for m in profile.mappings.values()],
                         ["/nonexistent/plant", "/nonexistent/libplan.so.1"])
        self.assertEqual(profile.mappings[1]["build_id"], "ab" * 20)
        by_first = {frames[0][2][0][0]: frames for frames, _, _ in profile.samples}
        self.assertEqual(set(by_first), {"libplan.so.1+0x100", UNKNOWN_SITE, "0x7000"})
        inner, outer = by_first["libplan.so.1+0x100"]
        self.assertEqual((inner[0], inner[1]["filename"]), (0xff, "/nonexistent/libplan.so.1"))
        self.assertEqual((outer[0], outer[2]), (0x1ff, [("plant+0x200", "", 0)]))
        self.assertIsNone(by_first["0x7000"][0][1])
        self.assertIn("/opt/plant, pid 77", profile.comments[0])
        self.assertEqual((profile.time_nanos, profile.duration_nanos),
                         (1700000000 * htl.SECOND, 2 * htl.SECOND))

    def test_pprof_hides_nothing_but_what_filters_do(self):
        path = partly_listed().write(self.path("f.htl"))
        profile = self.profile(path, "--module", "libplan*")
        self.assertEqual([(labels["tag"], values["inuse_space"])
                          for _, values, labels in profile.samples], [("plan;ner", 800)])

    def test_pprof_names_inlined_functions(self):
        """Places of the command itself, whose names addr2line knows too."""
        symbols = subprocess.run(["nm", "-C", driver.COMMAND], capture_output=True, text=True,
                                 check=True).stdout
        start = int(re.search(r"(\w+) [Tt] main$", symbols, re.M)[1], 16)
        f = htl.File().module(1, driver.COMMAND, flags=htl.MAIN).tag(1, "t")
        offsets = range(start + 1, start + 200, 3)
        for i, offset in enumerate(offsets, 1):
            f.stack(i, [(1, offset)]).site(i, i, 1)
        f.snapshot(1, sites={i: dict(allocated=(i, 1)) for i, _ in enumerate(offsets, 1)})
        profile, report = self.profile(f), self.load(f)
        expected = {s["live_bytes"]: [(x["function"], x["file"], x["line"]) for x in s["stack"]]
                    for s in report["controllers"][0]["sites"]}
        seen = {values["inuse_space"]: frames[0][2] for frames, values, _ in profile.samples}
        self.assertEqual(seen, expected)
        self.assertIn("main", [lines[-1][0] for lines in seen.values()])

    def test_pprof_is_not_for_a_terminal(self):
        path = htl.controllers().write(self.path("f.htl"))
        master, slave = pty.openpty()
        try:
            done = subprocess.run([driver.COMMAND, "report", "--format", "pprof", path],
                                  stdin=subprocess.DEVNULL, stdout=slave, stderr=subprocess.PIPE,
                                  env=driver.environment(), timeout=60, check=False)
        finally:
            os.close(slave)
            os.close(master)
        self.assertEqual((done.returncode, done.stderr.decode()), (
            2, "heaptally: report --format pprof: is not for a terminal; name a file with "
               "-o FILE\n"))

    def test_full_disk(self):
        path = htl.controllers().write(self.path("f.htl"))
        for name in ("pprof", "folded", "csv", "prometheus", "json"):
            self.one_line(self.heaptally("report", "--format", name, "-o", "/dev/full", path), 2,
                          "/dev/full")

    # ---- several processes ----

    def test_several_processes(self):
        """pprof and folded stacks add them up; metrics keep them apart."""
        paths = [htl.controllers(pid=pid).write(self.path(f"{pid}.htl")) for pid in (1, 2)]
        profile = self.profile(paths[0], paths[1])
        self.assertEqual(profile.totals()["inuse_space"], 2 * 20480000)
        self.assertEqual(sorted(c.rpartition(", ")[2] for c in profile.comments),
                         ["pid 1 on rig", "pid 2 on rig"])
        self.assertEqual(list(self.folded(paths[0], paths[1]).values()), [2 * 20480000])
        out = self.export("prometheus", paths[0], "--only-tag", "cl*", paths[1]).decode()
        self.assertEqual(sorted(re.findall(r'live_bytes\{.*pid="(\d)",tag="(\w+)"\} (\d+)', out)),
                         [("1", "classical", "20480000"), ("2", "classical", "20480000")])
        self.assertEqual(out.count("# TYPE heaptally_live_bytes "), 1)
        self.assertEqual(out.count("\nheaptally_resident_bytes{"), 2)

    # ---- the tool that pprof's profiles are for ----

    def go(self, profile, *argv):
        tool = shutil.which("go")
        if not tool:
            raise unittest.SkipTest("go is not installed")
        done = subprocess.run([tool, "tool", "pprof", *argv, profile], capture_output=True,
                              text=True, timeout=120, check=False, cwd=self.dir,
                              env=driver.environment(HOME=self.dir))
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout

    def test_go_tool_pprof(self):
        """-top, -tree, -peek and -tags show the totals of the JSON report."""
        f = partly_listed()
        report = self.load(f)
        profile = self.path("profile.pb.gz")
        with open(profile, "wb") as out:
            out.write(self.export("pprof", f))
        for kind, key in PPROF_KEYS.items():
            total = sum(c[key] for c in report["controllers"])
            unit = ["-unit=B"] if key.endswith("bytes") else []
            for view in (["-top"], ["-tree"], ["-peek=."]):
                out = self.go(profile, "-sample_index=" + kind, *unit, *view)
                self.assertRegex(out, rf"100% of {total}B? total", (kind, view))
            out = self.go(profile, "-sample_index=" + kind, *unit, "-tags")
            self.assertRegex(out, rf"tag: Total {total}\.?0?B?\n", kind)
            for c in report["controllers"]:
                if c[key]:
                    self.assertRegex(out, rf" {c[key]}\.?0?B? .*: {re.escape(c['tag'])}\n", kind)
        top = self.go(profile, "-top", "-unit=B")
        self.assertRegex(top, r" 800B .* libplan\.so\.1\+0x100\n")
        self.assertIn("File: plant\nBuild ID: " + "ab" * 20, top)

    # ---- folded ----

    def folded(self, f, *argv):
        """{line without its figure: figure}"""
        lines = [line.rpartition(" ") for line in self.export("folded", f, *argv).decode()
                 .splitlines()]
        self.assertEqual(len({l[0] for l in lines}), len(lines))
        return {l[0]: int(l[2]) for l in lines}

    def test_folded(self):
        self.assertEqual(self.folded(htl.controllers()),
                         {"classical;plant+0x2000;plant+0x1234;libc.so.6+0x9000": 20480000})
        path = partly_listed().write(self.path("f.htl"))
        self.assertEqual(self.export("folded", path).decode().splitlines(), [
            'say "hi"\\, you;0x7000 3000', "plan:ner;plant+0x200;libplan.so.1+0x100 800",
            f"plan:ner;{UNKNOWN_SITE} 100", f"plan:ner;{UNKNOWN_SITE} 250"])
        self.assertEqual(self.folded(path, "--view", "cumulative", "--only-tag", "say*"),
                         {'say "hi"\\, you;0x7000': 5000})

    # ---- csv ----

    def test_csv(self):
        rows = list(csv.DictReader(io.StringIO(self.export("csv", partly_listed()).decode())))
        columns = ("seconds", "tag", "low_bytes", "high_bytes", "live_blocks", "allocated_bytes",
                   "allocated_blocks", "instantiations", "cycles", "resident_bytes")
        self.assertEqual([tuple(row[c] for c in columns) for row in rows], [
            ("1.000000000", "", "", "", "9", "900", "9", "", "", str(5 * htl.MB)),
            ("2.000000000", "", "", "", "40", "6150", "60", "", "", str(6 * htl.MB)),
            ("2.000000000", 'say "hi"\\, you', "3000", "3000", "30", "5000", "50", "", "", ""),
            ("1.000000000", "plan;ner", "900", "900", "9", "900", "9", "", "", ""),
            ("2.000000000", "plan;ner", "1150", "1150", "10", "1150", "10", "4", "40", ""),
            ("1.000000000", "idle", "0", "0", "0", "0", "0", "", "", ""),
        ])
        self.assertEqual(rows[0]["unix_time"], "1700000001.000000000")

    # ---- prometheus ----

    def metrics(self, f):
        """{(metric, labels without the process's): value}; each metric has its type, once."""
        found, typed = {}, set()
        for line in self.export("prometheus", f).decode().splitlines():
            if line.startswith("#"):
                if line.startswith("# TYPE "):
                    self.assertNotIn(line.split()[2], typed)
                    typed.add(line.split()[2])
                continue
            name, labels, value = re.fullmatch(r'(\w+)\{(.*)\} (\S+)', line).groups()
            self.assertIn(name, typed)
            process = re.match(r'exe="[^"]*",host="[^"]*",pid="\d+"', labels)[0]
            rest = labels[len(process):].lstrip(",")
            found[name.replace("heaptally_", ""), rest] = float(value)
        return found

    def test_prometheus(self):
        found = self.metrics(partly_listed())
        quoted = r'tag="say \"hi\"\\, you"'
        self.assertEqual(found["live_bytes", quoted], 3000)
        self.assertEqual(found["live_blocks", quoted], 30)
        self.assertEqual(found["allocated_bytes_total", quoted], 5000)
        self.assertEqual(found["instantiations_total", 'tag="plan;ner"'], 4)
        self.assertNotIn(("instantiations_total", quoted), found)
        self.assertEqual((found["resident_bytes", ""], found["own_bytes", ""],
                          found["last_tick_timestamp_seconds", ""]),
                         (6 * htl.MB, 8192, 1700000002))
        verdicts = [value for (name, labels), value in found.items()
                    if name == "leak_verdict" and labels.startswith(quoted)]
        self.assertEqual(sorted(verdicts), [0, 0, 0, 1])

    def test_prometheus_without_a_tick(self):
        """What is not known is absent."""
        found = self.metrics(htl.File().tag(1, "t"))
        self.assertEqual({name for name, _ in found},
                         {"live_bytes", "live_blocks", "allocated_bytes_total", "leak_verdict"})


if __name__ == "__main__":
    driver.main()
