"""What every driver in this directory shares: running a program under heaptally, reading the
report, and saying what was measured beside what was expected.

The build tells where things are, in the environment:

    E2E_LIBRARY    libheaptally.so
    E2E_COMMAND    the heaptally command
    E2E_DEMO       the demo's program that knows nothing of heaptally
    E2E_PROGRAMS   the directory of the programs built from tests/programs

A driver ends with harness.main(): exit status 0 if all went well, 1 if anything failed, 77 if
nothing could be run here. Each test that cannot be run prints a line that begins with SKIP.
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import unittest

LIBRARY = os.environ.get("E2E_LIBRARY", "")
COMMAND = os.environ.get("E2E_COMMAND", "")
DEMO = os.environ.get("E2E_DEMO", "")
PROGRAMS = os.environ.get("E2E_PROGRAMS", "")

# What is tested here is figures: without debug files a report takes a tenth of the time.
REPORT = [COMMAND, "report", "--format", "json", "--debug-path", "/nonexistent"]

NOBODY = 65534
MB = 1024 * 1024

arguments = argparse.Namespace()


class Result:
    """How a process ended: `status` as subprocess has it (negative: a signal), its output, and its
    error output without and with only the lines of heaptally."""

    def __init__(self, status, out, err):
        self.status, self.out = status, out
        lines = err.splitlines(keepends=True)
        self.own = [l.rstrip("\n") for l in lines if l.startswith("heaptally: ")]
        self.err = "".join(l for l in lines if not l.startswith("heaptally: "))


def program(name):
    return os.path.join(PROGRAMS, name)


def clean_environment():
    """The environment without anything that would steer heaptally, the loader or the symbolizer."""
    drop = ("HEAPTALLY_", "LD_PRELOAD", "LD_LIBRARY_PATH", "DEBUGINFOD_URLS", "MALLOC_")
    return {k: v for k, v in os.environ.items() if not k.startswith(drop)}


def start(argv, directory, env=None, **keywords):
    keywords.setdefault("stdin", subprocess.DEVNULL)
    return subprocess.Popen([str(a) for a in argv], cwd=directory, env=env or clean_environment(),
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, **keywords)


def finish(process, timeout):
    """Waits; a process that hangs is killed, shown where it hung, and fails the test."""
    try:
        out, err = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        where = describe_hang(process.pid)
        process.kill()
        process.communicate()
        raise AssertionError(f"{process.args} hangs (limit {timeout} s)\n{where}") from None
    return Result(process.returncode, out.decode(errors="replace"), err.decode(errors="replace"))


def describe_hang(pid):
    lines = []
    try:
        for task in sorted(os.listdir(f"/proc/{pid}/task")):
            name = open(f"/proc/{pid}/task/{task}/comm").read().strip()
            wchan = open(f"/proc/{pid}/task/{task}/wchan").read().strip()
            lines.append(f"  thread {task} {name}: waits in {wchan}")
    except OSError:
        pass
    return "\n".join(lines)


def run(argv, directory, env=None, timeout=60, **keywords):
    return finish(start(argv, directory, env, **keywords), timeout)


class TallyTest(unittest.TestCase):
    """A test with a directory of its own, `self.dir`, where snapshot files go."""

    maxDiff = None
    expectations = 0  # made in this run, by all tests

    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix="tally-")
        os.chmod(self.dir, 0o755)

    def tearDown(self):
        shutil.rmtree(self.dir, ignore_errors=True)

    # ---- running ----

    def environment(self, options=None, beneath=None, library=None):
        """The environment that loads heaptally; `options` without their HEAPTALLY_ prefix."""
        env = clean_environment()
        env["LD_PRELOAD"] = (library or LIBRARY) + (" " + beneath if beneath else "")
        env["HEAPTALLY_OUTPUT"] = os.path.join(self.dir, "%e-%p.htl")
        env["HEAPTALLY_RUNDIR"] = os.path.join(self.dir, "run")
        env["HEAPTALLY_INTERVAL"] = "20ms"
        for name, value in (options or {}).items():
            if value is None:
                env.pop("HEAPTALLY_" + name, None)
            else:
                env["HEAPTALLY_" + name] = str(value)
        return env

    def tally(self, argv, options=None, beneath=None, directory=None, timeout=60, **keywords):
        """Runs a program with heaptally preloaded."""
        return run(argv, directory or self.dir, self.environment(options, beneath), timeout,
                   **keywords)

    def snapshots(self, pattern=""):
        """The snapshot files in the directory, oldest first."""
        paths = [os.path.join(self.dir, n) for n in os.listdir(self.dir)
                 if n.endswith(".htl") and pattern in n]
        return sorted(paths, key=lambda p: (os.stat(p).st_mtime_ns, p))

    def only_snapshot(self, pattern=""):
        found = self.snapshots(pattern)
        self.assertEqual(len(found), 1, f"snapshot files: {found}")
        return found[0]

    def report(self, path):
        """The JSON report of a snapshot file; the report itself must succeed."""
        result = run([*REPORT, path], self.dir)
        self.assertEqual(result.status, 0, f"report {path}: {result.own} {result.err}")
        return json.loads(result.out)

    def tallied(self, argv, **keywords):
        """Runs a program that must end with status 0, and returns the report of its one file."""
        result = self.tally(argv, **keywords)
        self.assertEqual(result.status, 0, f"{argv}: {result.err} {result.own}")
        return self.report(self.only_snapshot())

    # ---- saying what was seen ----

    def expect(self, name, measured, expected):
        TallyTest.expectations += 1
        print(f"{name}: {measured} vs {expected}", flush=True)
        self.assertEqual(measured, expected, name)

    def expect_that(self, name, measured, condition, expected):
        """`expected` says in words what `condition` is."""
        TallyTest.expectations += 1
        print(f"{name}: {measured} vs {expected}", flush=True)
        self.assertTrue(condition, f"{name}: {measured}, expected {expected}")


def controller(report, tag):
    """The entry of a tag, or one that says nothing."""
    for entry in report["controllers"]:
        if entry["tag"] == tag:
            return entry
    return dict.fromkeys(("live_bytes", "live_blocks", "allocated_bytes", "allocated_blocks",
                          "instantiations", "cycles", "mb_per_1000", "peak_bytes", "verdict"),
                         "tag is missing") | {"sites": []}


def need_program(test, name):
    path = shutil.which(name)
    if not path:
        test.skipTest(f"{name} is not installed")
    return path


def need_root(test):
    if os.geteuid() != 0:
        test.skipTest("needs root")


def find_library(name):
    """The full path of an installed shared library, or None."""
    listing = subprocess.run(["/sbin/ldconfig", "-p"], capture_output=True, text=True, check=False)
    for line in listing.stdout.splitlines():
        words = line.split()
        if words and words[0] == name and "x86-64" in line:
            return words[-1]
    return None


def as_nobody():
    """Keywords for start(): an unprivileged user, without capabilities."""
    return {"user": NOBODY, "group": NOBODY, "extra_groups": []}


class VisibleResult(unittest.TextTestResult):
    """Skips go to stdout as lines of their own."""

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        print(f"SKIP {test}: {reason}", flush=True)


def main(*more_arguments):
    """Runs all tests of the calling module. `more_arguments` are (args, kwargs) of add_argument."""
    parser = argparse.ArgumentParser()
    parser.add_argument("tests", nargs="*", help="names of tests, all by default")
    for args, keywords in more_arguments:
        parser.add_argument(*args, **keywords)
    parser.parse_args(namespace=arguments)
    for what, path in (("libheaptally.so", LIBRARY), ("the heaptally command", COMMAND)):
        if not os.path.exists(path):
            print(f"SKIP all: {what} is not built")
            sys.exit(77)
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    module = sys.modules["__main__"]
    loader = unittest.defaultTestLoader
    suite = (loader.loadTestsFromNames(arguments.tests, module) if arguments.tests
             else loader.loadTestsFromModule(module))
    result = unittest.TextTestRunner(verbosity=2, resultclass=VisibleResult).run(suite)
    if not result.wasSuccessful():
        sys.exit(1)
    sys.exit(0 if TallyTest.expectations else 77)
