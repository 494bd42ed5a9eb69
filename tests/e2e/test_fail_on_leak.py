#!/usr/bin/env python3
"""run --fail-on-leak: the program is supervised and its end passed on; a leak fails the run, and
only a leak of a program that succeeded."""

import os
import signal
import time

import harness

# Appends to a list, or only holds on to one of fixed length, for five seconds; then
# exits with a given code.
WORK = """
import sys, time
kept = []
end = time.monotonic() + 5
while time.monotonic() < end:
    for _ in range(20):
        block = bytes(300)
        if sys.argv[1] == 'leak':
            kept.append(block)
    time.sleep(0.005)
sys.exit(int(sys.argv[2]))
"""

# Writes a line at each signal it is sent, and ends at SIGTERM with status 9.
LISTEN = """
import os, signal, sys, time
def heard(number, frame):
    print(signal.Signals(number).name, flush=True)
    if number == signal.SIGTERM:
        os._exit(9)
for number in (signal.SIGUSR1, signal.SIGHUP, signal.SIGTERM):
    signal.signal(number, heard)
print('ready', os.getpid(), flush=True)
while True:
    time.sleep(10)
"""

PYTHON = "/usr/bin/python3"


class FailOnLeak(harness.TallyTest):
    def setUp(self):
        super().setUp()
        if not os.path.exists(PYTHON):
            self.skipTest(f"{PYTHON} is not installed")
        self.env = harness.clean_environment()
        self.env.update(HEAPTALLY_LIBRARY=harness.LIBRARY, PYTHONMALLOC="malloc")

    def begin(self, option, *argv, options=()):
        where = os.path.join(self.dir, f"{len(os.listdir(self.dir))}")
        os.mkdir(where)
        process = harness.start([harness.COMMAND, "run", option, "--interval", "20ms", *options,
                                 "--", *argv], where, self.env)
        self.addCleanup(self.end, process)
        return process

    def end(self, process):
        """Of a test that failed before the program had ended: the signal is sent on to it."""
        if process.poll() is None:
            process.send_signal(signal.SIGCONT)
            process.terminate()
            harness.finish(process, 20)

    def test_leaks(self):
        """(what it does, its own status): the status of the run, and what is said."""
        cases = {("leak", 0, "--fail-on-leak"): (1, "leaks"),
                 ("leak", 0, "--fail-on-leak=42"): (42, "leaks"),
                 ("leak", 3, "--fail-on-leak"): (3, None),
                 ("hold", 0, "--fail-on-leak"): (0, None)}
        started = {case: self.begin(case[2], PYTHON, "-c", WORK, case[0], case[1])
                   for case in cases}
        for case, (status, words) in cases.items():
            result = harness.finish(started[case], 120)
            print(f"{case}: {result.own}")
            self.expect(f"{case}: exit status", result.status, status)
            said = [line for line in result.own if "counting; " not in line]
            if words:
                self.expect(f"{case}: lines that say who leaks",
                            [words in line and "python3" in line for line in said], [True])
            else:
                self.expect(f"{case}: lines that say that something leaks",
                            [line for line in said if " leaks " in line], [])

    def test_short_run_is_no_leak(self):
        result = harness.finish(self.begin("--fail-on-leak", PYTHON, "-c", "print(5)"), 60)
        self.expect("exit status of a short run, and its output", (result.status, result.out),
                    (0, "5\n"))
        self.expect_that("what is said of it", result.own, "inconclusive" in result.own[-1],
                         "that it is inconclusive")

    def test_named_file(self):
        """The file is found where --output put it, also when the name was taken."""
        name = os.path.join(self.dir, "a [name]")
        os.mkdir(name)
        output = os.path.join(name, "x%h.htl")
        work = ("import time\nkept = []\nfor _ in range(400):\n"
                "    kept.append(bytes(300)); time.sleep(0.01)\n")
        for attempt in (1, 2):
            result = harness.finish(self.begin("--fail-on-leak", PYTHON, "-c", work,
                                               options=["--output", output]), 60)
            self.expect(f"exit status with --output, run {attempt}", result.status, 1)

    def test_no_file_is_not_success(self):
        result = harness.finish(self.begin("--fail-on-leak", "/bin/true",
                                           options=["--only", "something-else"]), 60)
        self.expect("exit status where nothing was recorded", result.status, 125)
        self.expect_that("what is said", result.own, "no snapshot" in result.own[-1], "why")

    def test_endings(self):
        for how, status in (("exit 7", 7), ("kill -KILL $$", -signal.SIGKILL),
                            ("kill -TERM $$", -signal.SIGTERM), ("kill -ABRT $$", -signal.SIGABRT),
                            ("exit 0", 0)):
            result = harness.finish(self.begin("--fail-on-leak", "/bin/sh", "-c", how), 60)
            self.expect(f"sh -c '{how}'", result.status, status)
        for program, status in (("/nonexistent", 127), ("/etc/passwd", 126)):
            result = harness.finish(self.begin("--fail-on-leak", program), 60)
            self.expect(program, result.status, status)

    def test_signals_are_sent_on(self):
        process = self.begin("--fail-on-leak", PYTHON, "-u", "-c", LISTEN)
        word, child = process.stdout.readline().decode().split()
        self.expect("the program is a child", (word, int(child) != process.pid), ("ready", True))
        for number in (signal.SIGUSR1, signal.SIGHUP):
            process.send_signal(number)
            self.expect(f"on {number.name}, the program hears",
                        process.stdout.readline().decode().strip(), number.name)
        process.send_signal(signal.SIGTERM)
        result = harness.finish(process, 30)
        self.expect("on SIGTERM, the program says and ends with", (result.out, result.status),
                    ("SIGTERM\n", 9))

    def test_stop_and_continue(self):
        process = self.begin("--fail-on-leak", PYTHON, "-u", "-c", LISTEN)
        child = int(process.stdout.readline().decode().split()[1])
        os.kill(child, signal.SIGSTOP)
        self.wait_for(process.pid, "T")
        os.kill(process.pid, signal.SIGCONT)
        self.wait_for(child, "S")
        process.send_signal(signal.SIGTERM)
        self.expect("after stopping and going on, SIGTERM ends it with",
                    harness.finish(process, 30).status, 9)

    def wait_for(self, pid, state):
        deadline, seen = time.monotonic() + 20, ""
        while seen != state and time.monotonic() < deadline:
            with open(f"/proc/{pid}/stat", encoding="ascii") as file:
                seen = file.read().rpartition(")")[2].split()[0]
            time.sleep(0.02)
        self.expect(f"state of process {pid}", seen, state)


if __name__ == "__main__":
    harness.main()
