#!/usr/bin/env python3
"""A running process is asked and told: every command, who may, and what happens to a process whose
socket is fed with nonsense, or with more connections than it has room for.
"""

import json
import os
import random
import re
import shutil
import signal
import socket
import struct
import subprocess
import time

import harness

OTHER_USER = 54321
NO_PID = 999999999  # beyond the largest there can be


class Controlled(harness.TallyTest):
    """Tests with a program that runs until it is told to end."""

    def setUp(self):
        super().setUp()
        self.running = []
        self.rundir = os.path.join(self.dir, "run")

    def tearDown(self):
        for process in self.running:
            if process.poll() is None:
                process.kill()
                process.communicate()
        super().tearDown()

    def begin(self, *arguments, options=None, env=None, **keywords):
        environment = self.environment(options)
        environment.update(env or {})
        process = harness.start([harness.program("controlled"), *arguments], self.dir,
                                environment, **keywords)
        self.running.append(process)
        self.assertEqual(process.stdout.readline(), b"ready\n")
        self.await_that(lambda: os.path.exists(self.socket_of(process)), "a socket")
        return process

    def socket_of(self, process):
        return os.path.join(self.rundir, f"{process.pid}.sock")

    def await_that(self, condition, what, seconds=20):
        """Waits until the condition holds; returns what it gave."""
        until = time.monotonic() + seconds
        while True:
            value = condition()
            if value:
                return value
            self.assertLess(time.monotonic(), until, f"{what}: not within {seconds} s")
            time.sleep(0.02)

    def end(self, process, name):
        """Ends the program, which must not have been harmed."""
        process.send_signal(signal.SIGTERM)
        result = harness.finish(process, 30)
        self.expect_that(f"{name}: exit status and output", (result.status, result.out),
                         result.status == 0 and re.fullmatch(r"done \d+\n", result.out),
                         "0 and how much was done")
        self.assertEqual(result.err, "", "error output beside heaptally's")
        return result

    def command(self, *arguments, rundir=True, **keywords):
        env = harness.clean_environment()
        if rundir:
            env["HEAPTALLY_RUNDIR"] = self.rundir
        return harness.run([harness.COMMAND, *arguments], self.dir, env, **keywords)

    def answer(self, *arguments, status=0):
        result = self.command(*arguments)
        self.assertEqual(result.status, status, f"{arguments}: {result.own} {result.err}")
        return result.out

    def status(self, process):
        return json.loads(self.answer("status", "--json", process.pid))

    def controller(self, process, tag):
        return self.await_that(lambda: [c for c in self.status(process)["controllers"]
                                        if c["tag"] == tag], f"controller {tag}")[0]

    def connect(self, process):
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(self.socket_of(process)) # waits where many queue
        connection.settimeout(20)
        return connection

    def ask(self, connection, request):
        """The head of the answer; its body is read and thrown away."""
        connection.sendall(request)
        file = connection.makefile("rb")
        head = file.readline().decode()
        if head.startswith("heaptally/1 ok "):
            file.read(int(head.split()[2]))
        return head


class Commands(Controlled):
    def test_list_and_status(self):
        process = self.begin()
        self.await_that(lambda: self.controller(process, "classical")["instantiations"] > 20,
                        "20 controllers")
        listing = self.answer("list").splitlines()
        own = [line for line in listing if line.split()[0] == str(process.pid)]
        self.expect_that("list", own, listing[0].split()[0] == "PID" and len(own) == 1
                         and own[0].endswith("/controlled"), "one line, the program last")
        known = self.status(process)
        self.expect("status: schema, pid, state",
                    (known["schema"], known["process"]["pid"], known["process"]["state"]),
                    ("heaptally-status/1", process.pid, "counting"))
        classical = self.controller(process, "classical")
        self.expect("bytes of each controller kept",
                    classical["live_bytes"] / classical["live_blocks"], 1000)
        self.expect("one that gives back all", self.controller(process, "sta")["live_bytes"], 0)
        text = self.answer("status", process.pid)
        self.expect_that("status as text", text.splitlines()[0],
                         "classical" in text and "inconclusive" in text
                         and f"pid {process.pid}" in text, "process, controllers, verdicts")
        unnamed = self.command("status", process.pid, rundir=False)
        self.expect_that("found by the variable that the process was started with", unnamed.own,
                         unnamed.status == 0 and f"pid {process.pid}" in unnamed.out, "answered")
        self.end(process, "list and status")

    def test_reference_surface(self):
        process = self.begin(options={"INTERVAL": "10ms"})
        self.await_that(lambda: json.loads(self.answer("status", "--trend", process.pid))[
            "samples"] >= 10, "ten samples")
        report = self.answer("status", "--memory-report", process.pid).splitlines()
        self.expect("memory report: first and tenth line", (report[0], report[9]),
                    ("=== Memory Monitor Report ===", "=" * 30))
        self.expect_that("memory report: then one line for each controller", report[10:],
                         {line.split(":")[0] for line in report[10:]} >= {"classical", "sta"},
                         "classical, sta")
        ask = lambda: json.loads(self.answer("status", "--trend=classical", process.pid))
        self.await_that(lambda: ask()["samples"] >= 10, "ten samples of the controller")
        trend = ask()
        self.expect_that("trend of a controller", (trend["insufficient_data"], trend["growth_mb"]),
                         trend["insufficient_data"] is False and trend["growth_mb"] > 0, "growing")
        missing = self.command("status", "--trend=nobody", process.pid)
        self.expect_that("trend of nobody", missing.own,
                         missing.status == 2 and "no such controller" in missing.own[0],
                         "refused")
        tracker = json.loads(self.answer("status", "--tracker", process.pid))
        each = {name: entry["memory_per_1000_instantiations_mb"]
                for name, entry in tracker["by_controller"].items()}
        classical = tracker["by_controller"]["classical"]
        expected = classical["live_bytes"] / classical["count"] * 1000 / harness.MB
        self.expect_that("tracker: MB per 1000", each,
                         abs(each["classical"] - expected) < 0.001 and each["sta"] == 0,
                         f"{expected:.4f} and 0")
        none = json.loads(self.answer("status", "--leaks", process.pid))
        self.expect("leaks above the limit of 1.0", (none["has_leaks"], none["leaks"]), (False, {}))
        some = json.loads(self.answer("status", "--leaks=0.5", process.pid, status=1))
        self.expect("leaks above 0.5, and exit status 1", list(some["leaks"]), ["classical"])
        self.expect("check below the threshold", self.answer("status", "--check", process.pid), "")
        self.end(process, "reference's surface")

    def test_set_and_reset(self):
        process = self.begin()
        self.await_that(lambda: self.status(process)["memory"]["growth_mb"] > 0.3, "growth")
        self.expect("set", self.answer("set", process.pid, "threshold=100KB", "interval=30ms"),
                    f"{process.pid}: threshold=100KB\n{process.pid}: interval=30ms\n")
        line = self.answer("status", "--check", process.pid, status=1)
        self.expect_that("check above the threshold", line, re.fullmatch(
            r"critical: Memory threshold exceeded: \d+\.\d MB growth \(threshold: 0\.1 MB\)\n",
            line), "the reference's words")
        alerts = self.await_that(lambda: self.status(process)["alerts"], "an alert")
        self.expect_that("alerts are listed", alerts[0]["kind"], alerts[0]["kind"].endswith(
            "_growth"), "growth")
        answer = self.answer("reset-baseline", process.pid)
        self.expect_that("reset-baseline", answer, re.fullmatch(
            rf"{process.pid}: Memory baseline reset to \d+\.\d MB\n", answer), "the new baseline")
        for wrong, reason in (("no-children=1", "is an option of 'heaptally run' and cannot be set"),
                              ("colour=red", "is no option and cannot be set"),
                              ("warmup=479ms", "is too short; the least is 16 times the interval"),
                              ("warmup=400d", "is too long"), ("trend-window=9", "out of range"),
                              ("sync=" + "0" * 70 + "1s", "is too long"),
                              ("interval=soon", "is not a duration"),
                              ("interval=2h", "is too long"), ("threshold", "[TAG=]SIZE")):
            result = self.command("set", process.pid, wrong)
            self.expect_that(f"set {wrong}", result.own, result.status == 2
                             and len(result.own) == 1 and reason in result.own[0], reason)
        self.end(process, "set")

    def test_set_trends(self):
        """The window of the plain trend, and a warm-up that begins when it is set: in the process,
        and in the judgement of its file."""
        trend = lambda: json.loads(self.answer("status", "--trend", process.pid))
        process = self.begin(options={"INTERVAL": "10ms"})
        self.await_that(lambda: trend()["samples"] > 30, "more than 30 samples")
        self.answer("set", process.pid, "trend-window=20")
        self.await_that(lambda: trend()["samples"] == 20, "the newest 20 samples")
        self.answer("set", process.pid, "trend_window=60")
        self.expect_that("samples after the window was widened", trend()["samples"],
                         trend()["samples"] >= 20, "20 that were kept, and more")
        self.await_that(lambda: trend()["samples"] == 60, "60 samples")
        self.expect("verdict after the standard warm-up's beginning",
                    self.controller(process, "classical")["verdict"], "inconclusive")
        self.answer("set", process.pid, "warmup=160ms", "threshold=classical=7MB", "threshold=90MB")
        self.await_that(lambda: self.controller(process, "classical")["verdict"] == "leak",
                        "a verdict after the short warm-up")
        self.answer("set", process.pid, "warmup=1h")
        self.expect("verdict within the new warm-up",
                    self.controller(process, "classical")["verdict"], "inconclusive")
        time.sleep(0.1)
        self.end(process, "trends set")
        path = self.only_snapshot()
        self.expect("verdict in the report of the file", harness.controller(
            self.report(path), "classical")["verdict"], "inconclusive")
        records = re.findall(rb"\nthreshold=([^\n]*)\n", open(path, "rb").read())
        self.expect("thresholds in the file, at first and at last", (records[0], records[-1]),
                    (b"524288000B", b"94371840B;classical=7340032B"))

    def test_snapshot(self):
        process = self.begin(options={"INTERVAL": "60s"})
        path = self.answer("snapshot", process.pid).split(": ")[1].rstrip("\n")
        self.expect("snapshot names the file", path, self.only_snapshot())
        process.send_signal(signal.SIGSTOP)
        kept = harness.controller(self.report(path), "classical")
        self.expect_that("figures long before the first tick",
                         (kept["live_blocks"], kept["live_bytes"]),
                         kept["live_blocks"] > 0 and kept["live_bytes"] == 1000 * kept["live_blocks"],
                         "1000 bytes a block")
        process.send_signal(signal.SIGCONT)
        self.end(process, "snapshot")

    def test_stop_and_start(self):
        process = self.begin()
        self.await_that(lambda: self.controller(process, "classical")["live_blocks"] > 10, "blocks")
        self.expect("stop", self.answer("stop", process.pid), f"{process.pid}: stopped\n")
        self.expect("stopped, in status and list", (self.status(process)["process"]["state"],
                    "(stopped)" in self.answer("list")), ("stopped", True))
        counts = lambda: [self.controller(process, "classical")[key]
                          for key in ("live_blocks", "instantiations")]
        before, made = counts()
        time.sleep(0.2)
        self.expect("blocks and instantiations while stopped", counts(), [before, made])
        self.expect("start", self.answer("start", process.pid), f"{process.pid}: counting\n")
        self.await_that(lambda: self.controller(process, "classical")["live_blocks"] > before,
                        "blocks after the start")
        self.end(process, "stopped and started")

    def test_program_stops_itself(self):
        report = self.tallied([harness.program("switch_counting")])
        blocks = [harness.controller(report, tag)["live_blocks"]
                  for tag in ("before", "between", "after")]
        self.expect("blocks before, between, after", blocks,
                    [10, "tag is missing", 10])

    def test_dormant(self):
        process = self.begin(options={"DORMANT": "1"})
        self.expect("dormant: state", self.status(process)["process"]["state"], "stopped")
        refused = self.command("snapshot", process.pid)
        self.expect_that("dormant: snapshot", refused.own, refused.status == 2
                         and "cannot be written" in refused.own[0], "refused: there is no file")
        self.answer("start", process.pid)
        self.await_that(lambda: [c for c in self.status(process)["controllers"]
                                 if c["tag"] == "classical" and c["live_blocks"] > 10],
                        "blocks after the start")
        self.end(process, "dormant")

    def test_errors(self):
        gone = subprocess.Popen(["true"])
        gone.wait()
        for arguments, reason in ((["status", gone.pid], "no such process"),
                                  (["status", os.getpid()], "not under heaptally"),
                                  (["top", "x7"], "is not the number of a process"),
                                  (["snapshot"], "no process is given"),
                                  (["set", os.getpid()], "nothing to set"),
                                  (["list", "7"], "takes no arguments"),
                                  (["top", os.getpid()], "needs a terminal"),
                                  (["status", "--what", "1"], "no such option")):
            result = self.command(*arguments)
            self.expect_that(" ".join(map(str, arguments)), result.own, result.status == 2
                             and len(result.own) == 1 and reason in result.own[0], reason)


class Sockets(Controlled):
    def test_removed_at_the_end(self):
        process = self.begin()
        self.end(process, "ends")
        self.expect("sockets afterwards", os.listdir(self.rundir), [])

    def test_left_over(self):
        for _ in range(3):  # root also removes what others on this machine leave at that moment
            self.command("list")
            process = self.begin()
            process.kill()
            process.communicate()
            result = self.command("list")
            self.expect("a socket of a killed process", (os.listdir(self.rundir), result.status),
                        ([], 0))
            if "removed 1 socket " in result.err:
                return
        self.fail(f"not one socket was removed, in three tries: {result.err}")

    def test_children(self):
        process = self.begin("fork", options={"INTERVAL": "300ms"})
        seen = set()
        until = time.monotonic() + 1
        while time.monotonic() < until:
            seen |= set(os.listdir(self.rundir))
            time.sleep(0.001)
        self.expect("sockets while children come and go", seen, {f"{process.pid}.sock"})
        self.end(process, "short-lived children")
        process = self.begin("child")
        names = self.await_that(lambda: len(os.listdir(self.rundir)) == 2
                                and os.listdir(self.rundir), "a child's own socket")
        for name in names:
            pid = int(name.split(".")[0])
            self.expect(f"process {pid} answers for itself", json.loads(
                self.answer("status", "--json", pid))["process"]["pid"], pid)
        self.end(process, "a child that lives")

    def test_descriptors_closed(self):
        victim = os.path.join(self.dir, "victim")
        with open(victim, "w", encoding="ascii") as file:
            file.write("intact")
        process = self.begin(env={"VICTIM": victim})
        client = self.connect(process)
        self.ask(client, b"check\n")
        process.send_signal(signal.SIGUSR1)
        self.await_that(lambda: sum(os.path.realpath(f"/proc/{process.pid}/fd/{fd}") == victim
                                    for fd in os.listdir(f"/proc/{process.pid}/fd")) > 800,
                        "reused descriptors")
        client.close()
        self.expect("answers again", self.status(process)["process"]["pid"], process.pid)
        self.expect("whose descriptors they are now", open(victim, encoding="ascii").read(),
                    "intact")
        self.end(process, "descriptors closed")

    def test_unsafe_directories(self):
        real = os.path.join(self.dir, "real")
        os.mkdir(real)
        os.symlink(real, os.path.join(self.dir, "link"))
        os.mkdir(os.path.join(self.dir, "open"))
        os.chmod(os.path.join(self.dir, "open"), 0o777)
        for name in ("link", "open"):
            directory = os.path.join(self.dir, name)
            result = self.tally([harness.program("just_allocate")], {"RUNDIR": directory})
            refused = [line for line in result.own if "HEAPTALLY_RUNDIR" in line]
            self.expect(f"{name}: exit status, lines of ours, what is in it",
                        (result.status, len(refused), os.listdir(directory)), (0, 1, []))

    def test_garbage(self):
        process = self.begin()
        noise = random.Random(7)
        for _ in range(50):
            client = self.connect(process)
            try:
                client.sendall(noise.randbytes(noise.randrange(1, 3000)))
            except OSError:
                pass
            client.close()
        cases = ((b"x" * 600, "too long"), (b"status\0x\n", "NUL"), (b"\n", "no such request"),
                 (b"STATUS\n", "no such request"), (b"set \n", "cannot be set"))
        for request, reason in cases:
            client = self.connect(process)
            head = self.ask(client, request)
            self.expect_that(f"request {request[:12]!r}", head,
                             head.startswith("heaptally/1 error ") and reason in head, reason)
            client.close()
        client = self.connect(process)
        client.sendall(b"che")
        time.sleep(0.1)
        self.expect("a request in two halves", self.ask(client, b"ck\n"), "heaptally/1 ok 0\n")
        client.sendall(b"check\ncheck\n")
        self.expect("two requests at once", client.makefile("rb").read(34),
                    b"heaptally/1 ok 0\n" * 2)
        client.sendall(b"chec")
        self.expect("half a request and silence: the end", client.recv(100), b"")
        client.close()
        impatient = self.connect(process)
        impatient.sendall(b"status\n")
        impatient.close()
        self.expect("still answers", self.status(process)["process"]["pid"], process.pid)
        self.end(process, "garbage")

    def test_thousand_connections(self):
        process = self.begin(options={"INTERVAL": "20ms", "TREND_WINDOW": "10000"})
        samples = lambda: json.loads(self.answer("status", "--trend", process.pid))["samples"]
        before, built = samples(), self.controller(process, "classical")["instantiations"]
        connections, most = [], 0
        for i in range(1000):
            connection = self.connect(process)
            connection.setblocking(False)
            if i % 3 == 0:
                connection.send(b"stat")
            connections.append(connection)
            if i % 50 == 0:
                sockets = [fd for fd in os.listdir(f"/proc/{process.pid}/fd") if int(fd) >= 700]
                most = max(most, len(sockets))
        self.expect("answered while 1,000 are connected", self.status(process)["process"]["pid"],
                    process.pid)
        self.expect_that("descriptors of ours at most", most, most <= 16, "bounded")
        after = self.await_that(lambda: samples() > before and samples(), "ticks")
        self.expect_that("ticks before and after", (before, after), after > before, "go on")
        more = self.controller(process, "classical")["instantiations"]
        self.expect_that("controllers before and after", (built, more), more > built, "go on")
        for connection in connections:
            connection.close()
        self.end(process, "1,000 connections")


class Containers(Controlled):
    """Processes in pid namespaces of their own, where each is number 1."""

    def setUp(self):
        super().setUp()
        harness.need_root(self)
        harness.need_program(self, "unshare")
        harness.need_program(self, "nsenter")
        probe = harness.run(["unshare", "--pid", "--fork", "--mount-proc", "true"], self.dir)
        if probe.status != 0:
            self.skipTest(f"pid namespaces are not permitted here: {probe.err.strip()}")

    def variables(self, options):
        """What heaptally is told by, as words for env."""
        env = self.environment(options)
        return [f"{k}={v}" for k, v in env.items() if k.startswith(("LD_", "HEAPTALLY_"))]

    def contain(self, name, script="true", rundir=None, output="{}.htl"):
        """Starts a program in a container, after a script there; its number on the host."""
        ours = self.variables({"OUTPUT": os.path.join(self.dir, output.format(name)),
                               "RUNDIR": rundir or self.rundir, "PROMETHEUS_DIR": self.dir})
        argv = ["unshare", "--uts", "--pid", "--fork", "--mount-proc", "--kill-child", "sh", "-c",
                f'{script} && exec env "$@"', "sh", *ours, harness.program("controlled")]
        outer = harness.start(argv, self.dir)
        self.running.append(outer)
        self.assertEqual(outer.stdout.readline(), b"ready\n")
        with open(f"/proc/{outer.pid}/task/{outer.pid}/children", encoding="ascii") as children:
            return int(children.read())

    def asked(self, *arguments, within=None):
        """The name of the snapshot of who answers, or the error."""
        env = harness.clean_environment() | {"HEAPTALLY_RUNDIR": self.rundir}
        enter = ["nsenter", "--pid", "--mount", "-t", within] if within else []
        result = harness.run([*enter, harness.COMMAND, "status", "--json", *arguments], self.dir,
                             env)
        if result.status != 0:
            return result.own
        return os.path.basename(json.loads(result.out)["process"]["snapshot"])

    def test_shared_directory(self):
        one = self.contain("one")
        self.await_that(lambda: os.path.exists(os.path.join(self.rundir, "1.sock")), "a socket")
        two = self.contain("two")
        self.await_that(lambda: len(os.listdir(self.rundir)) == 2, "a second socket")
        self.expect("sockets of two that are number 1", sorted(os.listdir(self.rundir)),
                    ["1-2.sock", "1.sock"])
        metrics = lambda: [n for n in os.listdir(self.dir) if n.endswith("-1.prom")]
        self.await_that(lambda: len(metrics()) == 2, "a file of metrics of each")
        self.expect("who answers, asked on the host", [self.asked(one), self.asked(two)],
                    ["one.htl", "two.htl"])
        self.expect("who answers, asked as number 1 of each container",
                    [self.asked(1, within=one), self.asked(1, within=two)],
                    ["one.htl", "two.htl"])
        listed = {int(line.split()[0]) for line in self.answer("list").splitlines()[1:]}
        self.expect_that("list on the host", listed, {one, two} <= listed, f"{one} and {two} too")
        os.kill(one, signal.SIGKILL)
        self.await_that(lambda: not os.path.exists(f"/proc/{one}"), "the end of the first")
        three = self.contain("three")
        self.await_that(lambda: self.asked(three) == "three.htl", "the third in the first's place")
        self.expect("sockets then", sorted(os.listdir(self.rundir)), ["1-2.sock", "1.sock"])

    def test_keep(self):
        """A file that is written in a container is not finished, though its pid is none here."""
        brief = [harness.program("controlled"), "brief"]
        options = {"OUTPUT": os.path.join(self.dir, "%e-%p.htl"), "KEEP": "0"}
        self.assertEqual(self.tally(brief, options).status, 0)
        finished = self.only_snapshot()
        self.contain("other", "hostname other", output="%e-%p.htl")
        theirs = self.await_that(lambda: [p for p in self.snapshots() if p != finished], "a file")[0]
        self.change_pid(theirs, 1, NO_PID)  # 1 would be one here
        self.assertEqual(self.tally(brief, options).status, 0)
        self.expect("the container's file after --keep", os.path.exists(theirs), True)
        self.expect("a finished file after it", os.path.exists(finished), False)

    def change_pid(self, path, old, new):
        """Changes who wrote a file, by its header."""
        with open(path, "r+b") as file:
            file.seek(24)
            self.assertEqual(file.read(4), struct.pack("<I", old))
            file.seek(24)
            file.write(struct.pack("<I", new))

    def test_keep_of_the_silent(self):
        """In a container a pid does not say for sure whose it is, and long silence is what tells a
        finished file: but not where that pid is alive."""
        inside = self.contain("quiet", output="%e-%p.htl")
        quiet = self.await_that(self.snapshots, "a file")[0]
        os.kill(inside, signal.SIGSTOP)
        options = {"OUTPUT": os.path.join(self.dir, "%e-%p.htl"), "KEEP": "0"}
        argv = ["nsenter", "--pid", "--mount", "-t", inside, "env", *self.variables(options),
                harness.program("controlled"), "brief"]

        def prune():
            two_hours_ago = time.time() - 7200
            os.utime(quiet, (two_hours_ago, two_hours_ago))
            result = harness.run(argv, self.dir)
            self.assertEqual(result.status, 0, result.err)

        prune()
        self.expect("a silent file whose pid is alive", os.path.exists(quiet), True)
        self.change_pid(quiet, 1, NO_PID)
        prune()
        self.expect("a silent file whose pid is gone", os.path.exists(quiet), False)

    def test_file_where_a_socket_would_be(self):
        os.makedirs(self.rundir, mode=0o700, exist_ok=True)
        path = os.path.join(self.rundir, "1.sock")
        with open(path, "w", encoding="ascii") as file:
            file.write("a user's own\n")
        self.contain("one")
        self.await_that(lambda: os.path.exists(os.path.join(self.rundir, "1-2.sock")), "a socket")
        with open(path, encoding="ascii") as file:
            self.expect("a user's file of the socket's name", file.read(), "a user's own\n")

    def test_directory_of_its_own(self):
        """A socket in a directory that only the container has."""
        own = os.path.join(self.dir, "own")
        os.mkdir(own)
        inside = self.contain("inside", f"mount -t tmpfs none {own}", rundir=own)
        self.await_that(lambda: self.asked(inside) == "inside.htl", "an answer on the host")
        self.expect("what the host has in that directory", os.listdir(own), [])


class Users(Controlled):
    """Two unprivileged users. The directory is open to both, so that it is the process that must
    refuse."""

    def setUp(self):
        super().setUp()
        harness.need_root(self)
        os.mkdir(self.rundir)
        os.chmod(self.rundir, 0o1777)
        os.chmod(self.dir, 0o777)
        self.preloaded = self.public(harness.LIBRARY)
        self.program = self.public(harness.program("controlled"))
        self.tool = self.public(harness.COMMAND)

    def public(self, path):
        copy = os.path.join(self.dir, os.path.basename(path))
        shutil.copy(path, copy)
        os.chmod(copy, 0o755)
        return copy

    def as_user(self, user, *arguments):
        env = harness.clean_environment()
        env["HEAPTALLY_RUNDIR"] = self.rundir
        return harness.run([self.tool, *arguments], self.dir, env, user=user, group=user,
                           extra_groups=[])

    def raw_as_user(self, user, path):
        """What a connection of that user is told, without heaptally's command in between."""
        script = ("import socket,sys\ns=socket.socket(socket.AF_UNIX);s.settimeout(20)\n"
                  "s.connect(sys.argv[1])\n"
                  "try: s.sendall(b'status\\n')\n"
                  "except BrokenPipeError: pass # was told before it asked\n"
                  "print(s.recv(200).decode())")
        return harness.run(["/usr/bin/python3", "-c", script, path], "/", None, user=user,
                           group=user, extra_groups=[])

    def test_two_users(self):
        env = self.environment(library=self.preloaded)
        process = harness.start([self.program], self.dir, env, **harness.as_nobody())
        self.running.append(process)
        self.assertEqual(process.stdout.readline(), b"ready\n")
        path = self.socket_of(process)
        self.await_that(lambda: os.path.exists(path), "a socket")
        self.expect("mode of the socket", oct(os.stat(path).st_mode & 0o777), oct(0o600))
        for user, name in ((harness.NOBODY, "its own user"), (0, "root")):
            result = self.as_user(user, "status", process.pid)
            self.expect_that(f"asked by {name}", result.own, result.status == 0
                             and f"pid {process.pid}" in result.out, "answered")
        other = self.as_user(OTHER_USER, "status", process.pid)
        self.expect_that("asked by another user", other.own, other.status == 2
                         and "belongs to another user" in other.own[0], "refused")
        os.chmod(path, 0o666)
        self.await_that(lambda: os.stat(path).st_mode & 0o777 == 0o666, "an open socket")
        raw = self.raw_as_user(OTHER_USER, path)
        self.expect_that("connected by another user", raw.out, raw.out.startswith(
            "heaptally/1 error the process belongs to another user"), "refused by the process")
        own = self.raw_as_user(harness.NOBODY, path)
        self.expect_that("connected by its own user", own.out[:20], own.out.startswith(
            "heaptally/1 ok "), "answered")
        self.end(process, "two users")

    def test_places(self):
        """Without HEAPTALLY_RUNDIR, for a user who cannot use /run: found all the same."""
        session = os.path.join(self.dir, "session")
        os.mkdir(session, 0o700)
        os.chown(session, harness.NOBODY, harness.NOBODY)
        own = f"/tmp/heaptally-{harness.NOBODY}"
        for more, directory in (({"XDG_RUNTIME_DIR": session}, session + "/heaptally"), ({}, own)):
            env = self.environment({"RUNDIR": None}, library=self.preloaded)
            env.pop("XDG_RUNTIME_DIR", None)
            env.update(more)
            process = harness.start([self.program], self.dir, env, **harness.as_nobody())
            self.running.append(process)
            self.assertEqual(process.stdout.readline(), b"ready\n")
            path = os.path.join(directory, f"{process.pid}.sock")
            self.await_that(lambda path=path: os.path.exists(path), f"a socket in {directory}")
            self.expect(f"mode of {directory}", oct(os.stat(directory).st_mode & 0o7777),
                        oct(0o700))
            for user in (harness.NOBODY, 0):
                result = self.as_user(user, "status", process.pid)
                self.expect_that(f"found by user {user}", result.own, result.status == 0,
                                 "answered")
            self.end(process, directory)
            self.expect(f"{directory} afterwards", os.path.exists(path), False)


if __name__ == "__main__":
    harness.main()
