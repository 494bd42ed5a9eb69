#!/usr/bin/env python3
"""Alerts of a running process: thresholds at their edges, rates, leaks and what is none, the log,
JSON lines, metrics, and a process that counts only when asked to."""

import json
import os
import re
import socket
import stat
import subprocess
import time

import harness

TICK_MS = 20
PHASES = harness.program("phases")

# One line of the text format of Prometheus: a comment, or a sample whose labels are escaped.
HELP = re.compile(r"# ((HELP|TYPE) heaptally_[a-z_]+ .+|heaptally [0-9]+ [0-9]+ [0-9]+"
                  r" [0-9a-f-]{36})")
SAMPLE = re.compile(r'(heaptally_[a-z_]+)\{((?:[a-z]+="(?:[^"\\\n]|\\["\\n])*",?)*)\} '
                    r'(-?[0-9]+(?:\.[0-9]+)?)')


def ticks(count):
    """The argument that waits for so many ticks, with time to spare."""
    return f".{count * TICK_MS * 2}"


def edges(alerts, kind):
    return [(a["state"], a["severity"]) for a in alerts if a["kind"] == kind]


class Alerts(harness.TallyTest):
    def lines_of(self, *phases, options=None):
        """Runs phases; the events in the JSON lines, and the result of the run."""
        path = os.path.join(self.dir, "alerts.json")
        settings = {"ALERT_LOG": path, "INTERVAL": f"{TICK_MS}ms"} | (options or {})
        result = self.tally([PHASES, *phases], options=settings)
        self.assertEqual(result.status, 0, result.err)
        if not os.path.exists(path):
            return [], result
        with open(path, encoding="utf-8") as lines:
            return [json.loads(line) for line in lines], result

    def test_edges_of_a_threshold(self):
        """Enter, escalate, clear: once each, however many ticks lie between."""
        events, result = self.lines_of(
            ticks(3), "+1100", ticks(20), "+700", ticks(20), "-", ticks(20),
            options={"THRESHOLD": "ctl=1MB"})
        expected = [("enter", "warning"), ("escalate", "critical"), ("clear", "critical")]
        self.expect("growth of a tag: events in JSON lines", edges(events, "tag_growth"), expected)
        report = self.report(self.only_snapshot())
        self.expect("growth of a tag: events in the file", edges(report["alerts"], "tag_growth"),
                    expected)
        in_log = [line.split()[1:4] for line in result.own if " tag_growth " in line]
        self.expect("growth of a tag: lines in the log", in_log,
                    [["WARNING", "tag_growth", "ctl:"], ["CRITICAL", "tag_growth", "ctl:"],
                     ["CLEAR", "tag_growth", "ctl:"]])
        first = next(e for e in events if e["kind"] == "tag_growth")
        self.expect("growth of a tag: its figures", (first["tag"], round(first["value_mb"], 3),
                                                     first["threshold_mb"]),
                    ("ctl", round(1100 / 1024, 3), 1.0))
        self.expect("other alerts", sorted({e["kind"] for e in events}), ["tag_growth"])

    def test_resident_memory(self):
        """The process's threshold is one for resident memory and one for the heap."""
        events, result = self.lines_of(ticks(3), "+20000", ticks(20), "-", ticks(20),
                                       options={"THRESHOLD": "16MB"})
        for kind in ("rss_growth", "heap_growth"):
            self.expect(f"{kind}: events", edges(events, kind),
                        [("enter", "warning"), ("clear", "warning")])
        line = next(l for l in result.own if " rss_growth " in l)
        self.expect_that("log line", line, re.fullmatch(
            r"heaptally: WARNING rss_growth process: Memory threshold exceeded: [0-9]+\.[0-9] MB "
            r"growth \(threshold: 16\.0 MB\); heaptally report /.*\.htl", line),
            "kind, who, how much, and what to do")

    def test_rate_of_instantiations(self):
        """2048 bytes each are 1.95 MB per 1000; a table of 24 MB is no rate."""
        events, _ = self.lines_of("once24000", "make1000", ticks(10),
                                  options={"LEAK_THRESHOLD": "3"})
        self.expect("24 MB once: alerts", edges(events, "per_1000"), [])
        self.tearDown()
        self.setUp()
        events, _ = self.lines_of("once24000", "make1000", ticks(10),
                                  options={"LEAK_THRESHOLD": "1.9"})
        self.expect("2048 bytes each: alerts", edges(events, "per_1000"), [("enter", "warning")])
        value = round(events[0]["value_mb"], 2)
        self.expect_that("2048 bytes each: MB per 1000", value, 1.94 <= value <= 1.96, "1.95")

    def test_leak(self):
        """A leak is found and named; its owner's sawtooth of the same size is none."""
        options = {"WARMUP": "320ms"}
        events, result = self.lines_of("leak100", "leak100", "leak100", options=options)
        self.expect("leak: first event", edges(events, "leak")[:1],
                    [("enter", events[0]["severity"])] if events else "an event")
        line = next((l for l in result.own if " leak " in l), "")
        self.expect_that("leak: log line", line, re.fullmatch(
            r"heaptally: (WARNING|CRITICAL) leak ctl \+[0-9.]+ [KMG]B/h \[[0-9.]+, [0-9.]+\], "
            r"[0-9.]+ [KMG]?B(ytes)? live(, limit in [^:]+)?: forget_step \(phases\+0x[0-9a-f]+\); "
            r"heaptally report /.*\.htl", line), "rate, interval, live bytes, site, file")

    def test_no_leak(self):
        for phases in (["+5000", "saw30", "saw30", "saw30"], ["+100", ".3000"],
                       [".300", "+3000", ".2500"]):
            with self.subTest(phases):
                self.tearDown()
                self.setUp()
                events, _ = self.lines_of(*phases, options={"WARMUP": "640ms"})
                self.expect(f"{' '.join(phases)}: events", [e["kind"] for e in events], [])

    def test_json_file_is_private(self):
        path = os.path.join(self.dir, "alerts.json")
        victim = os.path.join(self.dir, "victim")
        self.lines_of("+2000", ticks(5), options={"THRESHOLD": "1MB"})
        self.expect("JSON lines: mode", oct(stat.S_IMODE(os.stat(path).st_mode)), "0o600")
        os.unlink(path)
        os.symlink(victim, path)
        result = self.tally([PHASES, "+2000", ticks(5)],
                            options={"THRESHOLD": "1MB", "ALERT_LOG": path})
        self.expect("JSON lines through a symlink: written", os.path.exists(victim), False)
        said = [l for l in result.own if "--alert-log" in l]
        self.expect("JSON lines through a symlink: said", len(said), 1)

    def metrics(self, path):
        """The samples of a file, which must have the format: {name: {labels: value}}."""
        found = {}
        with open(path, encoding="utf-8") as lines:
            for line in lines.read().splitlines():
                if line.startswith("#"):
                    self.assertTrue(HELP.fullmatch(line), line)
                    continue
                sample = SAMPLE.fullmatch(line)
                self.assertTrue(sample, line)
                self.assertNotRegex(line, r"0x[0-9a-f]{4,}")
                labels = dict(re.findall(r'([a-z]+)="((?:[^"\\]|\\.)*)"', sample.group(2)))
                self.assertEqual(labels["pid"].isdigit() and labels["exe"].endswith("phases"), True)
                key = (labels.get("tag"), labels.get("verdict"))
                self.assertNotIn(key, found.setdefault(sample.group(1), {}), line)
                found[sample.group(1)][key] = float(sample.group(3))
        return found

    def await_that(self, condition, what, seconds=20):
        deadline = time.monotonic() + seconds
        while not condition():
            self.assertLess(time.monotonic(), deadline, f"{what}: not within {seconds} s")
            time.sleep(0.02)

    def on_own_dev(self, script):
        """Runs phases that pass a threshold, with alerts to syslog, where /dev is empty but for what
        the script puts there; the pid, and heaptally's lines on its error output."""
        harness.need_root(self)
        harness.need_program(self, "unshare")
        env = self.environment({"ALERT_LOG": "syslog", "INTERVAL": f"{TICK_MS}ms",
                                "THRESHOLD": "ctl=1MB"})
        ours = [f"{k}={v}" for k, v in env.items() if k.startswith(("LD_", "HEAPTALLY_"))]
        process = harness.start(
            ["unshare", "--mount", "sh", "-c", f'mount -t tmpfs none /dev || exit 99; {script} '
             'exec env "$@"', "sh", *ours, PHASES, ticks(3), "+1100", ticks(20), "+700", ticks(20),
             "-", ticks(20)], self.dir)
        result = harness.finish(process, 60)
        if result.status in (1, 99) and not result.own:
            self.skipTest(f"mounting is not allowed here: {result.err.strip()}")
        self.assertEqual(result.status, 0, result.err)
        return process.pid, [line for line in result.own if " tag_growth " in line]

    def test_syslog(self):
        """Datagrams as syslogd takes them, and nothing on the error output; where nobody listens,
        the lines stand there after all."""
        path = os.path.join(self.dir, "log")
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as log:
            log.bind(path)
            log.setblocking(False)
            pid, lines = self.on_own_dev(f"ln -s {path} /dev/log;")
            heard = []
            try:
                while True:
                    heard.append(log.recv(10000).decode())
            except BlockingIOError:
                pass
        heard = [line.split()[:4] for line in heard if " tag_growth " in line]
        name = f"heaptally[{pid}]:"
        self.expect("syslog: priority, process, level, kind, tag", heard,
                    [["<12>" + name, "WARNING", "tag_growth", "ctl:"],
                     ["<10>" + name, "CRITICAL", "tag_growth", "ctl:"],
                     ["<13>" + name, "CLEAR", "tag_growth", "ctl:"]])
        self.expect("syslog: lines on the error output", lines, [])
        lines = [line.split()[1:4] for line in self.on_own_dev("")[1]]
        self.expect("nobody listens: lines on the error output", lines,
                    [[line[1], line[2], line[3]] for line in heard])

    def test_metrics_of_the_killed(self):
        """What is left of killed processes goes; what is not left over, or not ours, stays."""
        directory = os.path.join(self.dir, "metrics")
        os.mkdir(directory)
        options = {"PROMETHEUS_DIR": directory, "INTERVAL": "20ms"}

        def begin():
            process = harness.start([PHASES, ".20000"], self.dir, self.environment(options))
            self.addCleanup(harness.finish, process, 30)
            self.addCleanup(process.kill)
            end = f"-{process.pid}.prom"  # the pid namespace, but for the first, comes before
            own = lambda: [n for n in os.listdir(directory) if n.startswith("heaptally-phases-")
                           and n.endswith(end)]
            self.await_that(own, "a file of metrics")
            return process, os.path.join(directory, own()[0])

        def write(name, text, age=0):
            path = os.path.join(directory, name)
            with open(path, "w", encoding="ascii") as file:
                file.write(text)
            os.utime(path, (time.time() - age,) * 2)
            return path

        killed, left = begin()
        with open(left, encoding="ascii") as file:
            signature = file.readline()
        living = begin()[1]
        killed.kill()
        killed.wait()
        _, start, names, boot = signature.split()[2:]
        me, gone, old = os.getpid(), killed.pid, "# HELP heaptally_live_bytes old\n"
        removed = [
            left,
            write(f"heaptally-a-{me}.prom", f"# heaptally {me} {start} {names} {boot}\n"),
            write(f"heaptally-b-{gone}.prom.tmp", signature),
            write(f"heaptally-c-{me}.prom", f"# heaptally {me} {start} 1 {boot}\n", 7200),
            write(f"heaptally-d-{gone}.prom", old, 7200),
            write(f"heaptally-e-{me}.prom.tmp", "", 7200),
            write(f"heaptally-q-{gone}.prom", signature.replace(boot, boot[::-1]), 7200),
            *(write(f"heaptally-r{n}-{gone}.prom", signature) for n in range(200)),
        ]
        stays = [
            living,
            write(f"heaptally-f-{me}.prom", f"# heaptally {me} {start} 1 {boot}\n"),
            write(f"heaptally-o-{gone}.prom", signature.replace(boot, boot[::-1])),
            write(f"heaptally-p-{gone}.prom", f"# heaptally {gone} {start} {names}\n"),
            write(f"heaptally-g-{gone}.prom", old),
            write(f"heaptally-h-{gone}.prom", "# of somebody else\n", 7200),
            write(f"other-{gone}.prom", signature),
            write("heaptally-i.prom", signature, 7200),
            write(f"heaptally-{gone}.prom", signature, 7200),
            write(f"heaptally-j-{gone}.txt", signature, 7200),
            write("linked.prom", signature, 7200),
        ]
        symbolic = os.path.join(directory, f"heaptally-k-{gone}.prom")
        os.symlink(stays[-1], symbolic)
        hard = [write(f"heaptally-l-{gone}.prom", signature),
                os.path.join(self.dir, "second name")]
        os.link(*hard)
        os.mkfifo(os.path.join(directory, f"heaptally-m-{gone}.prom"))
        stays += [symbolic, hard[0], os.path.join(directory, f"heaptally-m-{gone}.prom")]
        if os.geteuid() == 0:
            stays.append(write(f"heaptally-n-{gone}.prom", signature))
            os.chown(stays[-1], harness.NOBODY, harness.NOBODY)
        stays.append(begin()[1])
        self.await_that(lambda: not os.path.exists(left), "the file of the killed removed")
        time.sleep(0.2)
        self.expect("metrics of the killed that are left", [p for p in removed if
                    os.path.lexists(p)], [])
        self.expect("metrics that were not theirs, and are gone", [p for p in stays if
                    not os.path.lexists(p)], [])

    def test_metrics(self):
        directory = os.path.join(self.dir, "metrics")
        os.mkdir(directory)
        process = harness.start([PHASES, "+1000", "make10", ".4000"], self.dir,
                                self.environment({"PROMETHEUS_DIR": directory}))
        deadline, found = time.monotonic() + 20, {}
        while time.monotonic() < deadline and process.poll() is None:
            names = os.listdir(directory)
            if names and names[0].endswith(".prom"):
                found = self.metrics(os.path.join(directory, names[0]))
                if found["heaptally_live_bytes"].get(("ctl", None)):
                    break
            time.sleep(0.05)
        harness.finish(process, 30)
        self.expect("metrics: live bytes", found["heaptally_live_bytes"][("ctl", None)],
                    1000 * 1024 + 10 * 2048)
        self.expect("metrics: instantiations",
                    found["heaptally_instantiations_total"][("ctl", None)], 10)
        verdicts = {k[1]: v for k, v in found["heaptally_leak_verdict"].items() if k[0] == "ctl"}
        self.expect("metrics: verdicts", sorted(verdicts),
                    ["bounded", "inconclusive", "invalid", "leak"])
        self.expect("metrics: one of them holds", sum(verdicts.values()), 1)
        now = found["heaptally_last_tick_timestamp_seconds"][(None, None)]
        self.expect_that("metrics: time of the last tick", now, abs(now - time.time()) < 60, "now")
        self.expect("metrics: left after the end", os.listdir(directory), [])

    def test_dormant(self):
        """Nothing is counted, nothing is written, and the program runs as ever."""
        result = self.tally([PHASES, "+2000", "make10", ticks(10), "-"], options={"DORMANT": "1"})
        self.expect("dormant: status, snapshots", (result.status, self.snapshots()), (0, []))
        self.expect("dormant: said", [l.split(";")[0] for l in result.own], ["heaptally: dormant"])

    def test_start_and_stop(self):
        """What is allocated while nothing is counted stays unknown; what was counted is counted
        out, also during a pause; and a trend begins anew."""
        process = subprocess.Popen(
            [PHASES, "+1000", "say", "+2000", "say", "-", "say", "+3000", "say", ticks(5)],
            cwd=self.dir, env=self.environment({"DORMANT": "1"}), stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.await_that(lambda: str(process.pid) in harness.run(
            [harness.COMMAND, "list"], self.dir,
            self.environment() | {"LD_PRELOAD": ""}).out, "the monitor")
        for command in ("start", "stop", "start", None):
            self.assertEqual(process.stdout.readline(), "here\n")
            if command:
                told = harness.run([harness.COMMAND, command, process.pid], self.dir,
                                   self.environment() | {"LD_PRELOAD": ""})
                self.assertEqual(told.status, 0, told.own)
            process.stdin.write("go on\n")
            process.stdin.flush()
        process.communicate(timeout=60)
        self.assertEqual(process.returncode, 0)
        report = self.report(self.only_snapshot())
        ctl = harness.controller(report, "ctl")
        self.expect("started, stopped, started: bytes allocated and live",
                    (ctl["allocated_bytes"], ctl["live_bytes"]), (5000 * 1024, 3000 * 1024))
        self.expect("started, stopped, started: what a pause frees is no stranger",
                    report["quality"]["foreign_frees"], 0)
        self.expect("started, stopped, started: leaks",
                    [c["tag"] for c in report["controllers"] if c["verdict"] == "leak"], [])

    def monitor_ns(self, pid):
        """What the monitor thread has had of a core."""
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/comm", encoding="ascii") as comm:
                if comm.read().strip() == "heaptally":
                    with open(f"/proc/{pid}/task/{task}/schedstat", encoding="ascii") as figures:
                        return int(figures.read().split()[0])
        raise AssertionError("there is no monitor thread")

    def test_cost_of_the_monitor(self):
        """100 threads, 1,024 call sites that all change, ticks of a second. Other work on the
        machine empties the caches: then it says nothing."""
        load = os.getloadavg()[0]
        if load > 1:
            self.skipTest(f"the machine is busy (load {load:.1f}): the share would not be ours")
        process = harness.start([harness.program("steady_load"), "14"], self.dir,
                                self.environment({"INTERVAL": "1s"}))
        time.sleep(5)
        before, began = self.monitor_ns(process.pid), time.monotonic()
        time.sleep(6)
        spent, passed = self.monitor_ns(process.pid) - before, time.monotonic() - began
        harness.finish(process, 60)
        share = spent / passed / 1e7
        self.expect_that("monitor: share of a core", f"{share:.3f} %", share <= 0.2, "0.2 % at most")


if __name__ == "__main__":
    harness.main()
