#!/usr/bin/env python3
"""Verdicts on real programs whose truth is known, at ticks of 20 ms: what leaks is found, and
nothing else is called a leak.

What is bounded here reaches its bound within the first fifth of the run, which is set aside.
`--long` runs everything ten times as long.
"""

import os
import random
import socket
import subprocess
import time

import harness
from harness import controller

DEMO = os.environ.get("E2E_DEMO_TAGGED", "")
KINDS = ("classical", "sta", "adaptive", "hybrid")
PYTHON = "/usr/bin/python3"

# Appends for a given time, and leaves the interpreter as it is: to a list, or to a deque that
# holds no more than a thousand.
APPEND = """
import collections, sys, time
kept = [] if sys.argv[1] == 'list' else collections.deque(maxlen=1000)
end = time.monotonic() + float(sys.argv[2])
while time.monotonic() < end:
    for _ in range(100):
        kept.append(bytes(200))
    time.sleep(0.005)
"""


def seconds():
    return 50 if harness.arguments.long else 5


class Run:
    """A program under heaptally, in a directory of its own."""

    def __init__(self, test, name, argv, environment=None, **keywords):
        self.test, self.name = test, name
        self.dir = os.path.join(test.dir, name)
        os.mkdir(self.dir)
        env = test.environment({"OUTPUT": os.path.join(self.dir, "%e-%p.htl")})
        env.update(environment or {})
        self.process = harness.start(argv, self.dir, env, **keywords)
        test.addCleanup(self.end)

    def end(self):
        """Of a test that failed before the program had ended."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.communicate()

    def send(self, text):
        self.process.stdin.write(text.encode())
        self.process.stdin.flush()

    def report(self, main=""):
        """Waits for the end, which must be a good one."""
        result = harness.finish(self.process, 120 + seconds())
        self.test.assertEqual(result.status, 0, f"{self.name}: {result.err} {result.own}")
        files = [n for n in os.listdir(self.dir) if n.endswith(".htl") and main in n]
        self.test.assertEqual(len(files), 1, f"{self.name}: {files}")
        return self.test.report(os.path.join(self.dir, files[0]))


class Verdicts(harness.TallyTest):
    def judge(self, name, report, leaks):
        """All tags that are in `leaks` leak, and no other one does."""
        for entry in report["controllers"]:
            print(f"{name}: {entry['tag']}: {entry['verdict']}, {entry['live_bytes']} bytes live: "
                  f"{entry['reason']}")
        found = [c["tag"] for c in report["controllers"] if c["verdict"] == "leak"]
        self.expect(f"{name}: leaks", sorted(found), sorted(leaks))

    def expect_bounded(self, name, report, tags):
        verdicts = {tag: controller(report, tag)["verdict"] for tag in tags}
        self.expect(f"{name}: the others", verdicts, dict.fromkeys(tags, "bounded"))

    # ---- the demo ----

    def demo(self, name, *options):
        if not os.path.exists(DEMO):
            self.skipTest("the demo is not built")
        return Run(self, name, [DEMO, "--duration", f"{seconds()}s", "--constructions",
                                60 * seconds(), "--steps", 50, *options])

    def test_leak_modes(self):
        """Each way to forget, by another kind of controller; that one leaks, at its true rate."""
        modes = {"forget-history": "classical", "no-cleanup": "sta", "noop-cleanup": "adaptive",
                 "no-destructor": "hybrid", "growing": "classical"}
        runs = {mode: self.demo(mode, "--leak", f"{kind}={mode}") for mode, kind in modes.items()}
        for mode, kind in modes.items():
            report = runs[mode].report()
            self.judge(f"{kind}, {mode}", report, [kind])
            # What stays in service has taken 10,000 steps, a row of six doubles each, before.
            self.judge_rate(f"{kind}, {mode}", report, kind, 480000 if mode == "growing" else 0)
            self.expect_bounded(f"{kind}, {mode}", report, [k for k in KINDS if k != kind])

    def judge_rate(self, name, report, kind, before):
        """All that is live but `before` leaked steadily, so the rate is known from the end."""
        entry, hours = controller(report, kind), report["process"]["duration_s"] / 3600
        true = (entry["live_bytes"] - before) / harness.MB / hours
        rate = entry["growth_rate_mb_per_hour"]
        self.expect_that(f"{name}: MB/hour", round(rate), 0.8 * true < rate < 1.25 * true,
                         f"about {true:.0f}")
        self.assertLessEqual(entry["ci_low"], rate)
        self.assertGreaterEqual(entry["ci_high"], rate)
        top = entry["sites"][0]
        self.expect(f"{name}: its largest site", top["verdict"], "leak")

    def test_negative_controls(self):
        """A ring of 100, a history trimmed from 1000 to 500, and 24 MiB once: no leak."""
        controls = {"ring": ["--history", "ring"], "trim": ["--history", "trim"],
                    "one-off": ["--warm-up", "24MiB"]}
        runs = {name: self.demo(name, "--leak", "none", *options)
                for name, options in controls.items()}
        for name, run in runs.items():
            report = run.report()
            self.judge(name, report, [])
            self.expect_bounded(name, report, KINDS)
        one_off = controller(report, "sta")
        self.expect_that("one-off: bytes that sta had at most", one_off["peak_bytes"],
                         one_off["peak_bytes"] >= 24 * harness.MB, "at least 24 MiB")

    # ---- redis ----

    def free_port(self):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            return probe.getsockname()[1]

    def redis(self, name, *options):
        server, port = harness.need_program(self, "redis-server"), self.free_port()
        run = Run(self, name, [server, "--port", port, "--bind", "127.0.0.1", "--save", "",
                               "--appendonly", "no", "--logfile", "log", "--hz", 100, *options])
        deadline = time.monotonic() + 30
        while True:
            try:
                return run, socket.create_connection(("127.0.0.1", port), 30)
            except OSError:
                self.assertLess(time.monotonic(), deadline, "redis-server does not answer")
                time.sleep(0.05)

    def set_keys(self, connection, first, count):
        """New keys of 300 bytes each; waits for the answers. All names are of one length: where longer
        ones take the place of shorter ones, what is kept does grow, a byte each."""
        value = "v" * 300
        lines = "".join(f"*3\r\n$3\r\nSET\r\n$9\r\nk{key:08}\r\n$300\r\n{value}\r\n"
                        for key in range(first, first + count))
        connection.sendall(lines.encode())
        answers = 0
        while answers < count:
            part = connection.recv(65536)
            self.assertTrue(part, "redis-server hung up")
            answers += part.count(b"+OK\r\n")

    def test_redis(self):
        """Filling to maxmemory and evicting from then on is bounded; keys that only grow leak."""
        bounded, one = self.redis("evicts", "--maxmemory", "6mb", "--maxmemory-policy",
                                  "allkeys-lru")
        grows, two = self.redis("grows")
        key = 0
        for _ in range(60):  # to the bound, at once
            self.set_keys(one, key, 500)
            key += 500
        end = time.monotonic() + seconds()
        while time.monotonic() < end:
            self.set_keys(one, key, 50)
            self.set_keys(two, key, 50)
            key += 50
            time.sleep(0.005)
        for connection in (one, two):
            connection.sendall(b"*2\r\n$8\r\nSHUTDOWN\r\n$6\r\nNOSAVE\r\n")
        report = bounded.report("redis")
        self.judge("redis with maxmemory and eviction", report, [])
        report = grows.report("redis")
        largest = max(report["controllers"], key=lambda c: c["live_bytes"])["tag"]
        self.judge("redis with keys that only grow", report, [largest])

    # ---- sqlite and python ----

    def test_sqlite(self):
        """A table that grows in a file, through a page cache of 100 pages."""
        run = Run(self, "sqlite", [harness.need_program(self, "sqlite3"), "grows.db"],
                  stdin=subprocess.PIPE)
        run.send("pragma cache_size=100; pragma synchronous=off; pragma journal_mode=off;\n"
                 "create table t(id integer primary key, text);\n")
        chance, row, end = random.Random(1), 0, time.monotonic() + seconds()
        while time.monotonic() < end:
            run.send("begin;\n")
            for _ in range(20):
                row += 1
                run.send(f"insert into t values({row}, '{'x' * 500}');\n"
                         f"update t set text='y' || text where id={chance.randint(1, row)};\n")
            run.send("commit;\n")
            time.sleep(0.01)
        report = run.report()
        library = [c["tag"] for c in report["controllers"] if "sqlite" in c["tag"]]
        self.expect_that("sqlite3: tags", library, library, "one at least with its name")
        self.judge("sqlite3", report, [])

    def test_python(self):
        """A list that is appended to leaks, a deque with a maximal length does not."""
        if not os.path.exists(PYTHON):
            self.skipTest(f"{PYTHON} is not installed")
        env = {"PYTHONMALLOC": "malloc"}
        runs = {kind: Run(self, kind, [PYTHON, "-c", APPEND, kind, seconds()], env)
                for kind in ("list", "deque")}
        report = runs["list"].report()
        largest = max(report["controllers"], key=lambda c: c["peak_bytes"])["tag"]
        self.judge("python, list", report, [largest])
        report = runs["deque"].report()
        self.judge("python, deque", report, [])
        self.expect_bounded("python, deque", report, [largest])


if __name__ == "__main__":
    harness.main((("--long",), {"action": "store_true", "help": "ten times as long"}))
