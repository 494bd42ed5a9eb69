#!/usr/bin/env python3
"""The live view, by what is on the screen of a terminal (tmux)."""

import os
import re
import signal
import subprocess
import time

import harness

WIDTH, HEIGHT = 130, 24


class Screen:
    """A terminal in which a shell runs a command and says with what status it ended."""

    def __init__(self, directory, command, env):
        self.tmux = ["tmux", "-S", os.path.join(directory, "tmux"), "-f", "/dev/null"]
        script = f"{command}; echo status $?; stty -a | tr ' ' '\\n' | grep -x echo; sleep 60"
        subprocess.run([*self.tmux, "-u", "new-session", "-d", "-x", str(WIDTH), "-y", str(HEIGHT),
                        script], env=env, check=True)

    def keys(self, *keys):
        subprocess.run([*self.tmux, "send-keys", *keys], check=True)

    def resize(self, width, height):
        subprocess.run([*self.tmux, "resize-window", "-x", str(width), "-y", str(height)],
                       check=True)

    def lines(self):
        done = subprocess.run([*self.tmux, "capture-pane", "-p"], capture_output=True, check=False)
        return done.stdout.decode().splitlines()

    def close(self):
        subprocess.run([*self.tmux, "kill-server"], check=False, stderr=subprocess.DEVNULL)


class Top(harness.TallyTest):
    def setUp(self):
        super().setUp()
        harness.need_program(self, "tmux")
        self.program = self.screen = None

    def tearDown(self):
        if self.screen:
            self.screen.close()
        if self.program and self.program.poll() is None:
            self.program.kill()
            self.program.communicate()
        super().tearDown()

    def open(self):
        self.program = harness.start([harness.program("controlled")], self.dir, self.environment())
        self.assertEqual(self.program.stdout.readline(), b"ready\n")
        env = harness.clean_environment()
        env.update(HEAPTALLY_RUNDIR=os.path.join(self.dir, "run"), TERM="screen-256color")
        env.pop("TMUX", None)
        until = time.monotonic() + 20
        while not os.path.exists(os.path.join(self.dir, "run", f"{self.program.pid}.sock")):
            self.assertLess(time.monotonic(), until, "no socket")
            time.sleep(0.02)
        self.screen = Screen(self.dir, f"{harness.COMMAND} top --interval 200ms {self.program.pid}",
                             env)

    def see(self, what, condition, seconds=20):
        """Waits until the condition holds for the lines on the screen, and returns them."""
        until = time.monotonic() + seconds
        lines = self.screen.lines()
        while not condition(lines):
            self.assertLess(time.monotonic(), until, f"{what}: not on the screen\n"
                            + "\n".join(lines))
            time.sleep(0.05)
            lines = self.screen.lines()
        harness.TallyTest.expectations += 1
        print(f"{what}: on the screen", flush=True)
        return lines

    def row(self, lines, name):
        return next((n for n, line in enumerate(lines) if line.startswith(name)), None)

    def test_view(self):
        self.open()
        lines = self.see("process and columns", lambda l: l and "heaptally top" in l[0]
                         and f"pid {self.program.pid}" in l[0] and "counting" in l[0]
                         and "CONTROLLER" in l[4] and "VERDICT" in l[4])
        lines = self.see("a controller with its figures", lambda l: any(re.match(
            r"classical +[\d,]+,000 +[\d,]+ +[\d,]+ +0\.95 +\S+ +inconclusive ", x) for x in l))
        self.see("live bytes over time as bars", lambda l: self.row(l, "classical") and re.search(
            "▁.*█$", l[self.row(l, "classical")].rstrip()))
        self.expect_that("the one that holds more comes first",
                         (self.row(lines, "classical"), self.row(lines, "sta")),
                         self.row(lines, "classical") < self.row(lines, "sta"), "above")
        first = lines[self.row(lines, "classical")].split()[1]
        self.see("figures that move", lambda l: self.row(l, "classical")
                 and l[self.row(l, "classical")].split()[1] != first)
        self.screen.keys("n")
        self.see("sorted by name", lambda l: "sorted by name" in l[-1])
        self.screen.keys("l")
        self.see("sorted by live bytes", lambda l: "sorted by live bytes" in l[-1])
        self.screen.keys("Enter")
        lines = self.see("call sites by name", lambda l: len(l) > 5
                         and l[3].startswith("sites of classical") and "CALL SITE" in l[4]
                         and re.search(r"keep \(controlled\.c:\d+\)", l[5]))
        self.screen.keys("Escape")
        self.see("controllers again", lambda l: len(l) > 4 and "CONTROLLER" in l[4])
        self.screen.resize(70, 12)
        lines = self.see("a smaller terminal", lambda l: len(l) == 12 and "sorted by" in l[11]
                         and max(map(len, l)) <= 70 and any(x.startswith("classical") for x in l))
        self.screen.resize(WIDTH, HEIGHT)
        self.see("a larger one", lambda l: len(l) == HEIGHT and "sorted by" in l[HEIGHT - 1])
        self.screen.keys("q")
        self.see("the end, with the terminal as before",
                 lambda l: "status 0" in l and "echo" in l)

    def test_process_ends(self):
        self.open()
        self.see("a controller", lambda l: any(x.startswith("classical") for x in l))
        self.program.send_signal(signal.SIGTERM)
        self.assertEqual(self.program.wait(30), 0)
        self.see("that it has ended", lambda l: any("the process has ended" in x for x in l)
                 and any(x.startswith("classical") for x in l))
        self.screen.keys("q")
        self.see("the end", lambda l: "status 0" in l)

    def test_interrupted(self):
        self.open()
        self.see("a controller", lambda l: any(x.startswith("classical") for x in l))
        self.screen.keys("C-c")
        self.see("the end, with the terminal as before", lambda l: "echo" in l)


if __name__ == "__main__":
    harness.main()
