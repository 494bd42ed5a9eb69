"""What the drivers of the analyzer's tests share. The build says where things are:

    ANALYZER_COMMAND   the heaptally command
    ANALYZER_TORTURE   read_torture
    ANALYZER_SOURCE    this directory
"""
import json
import os
import subprocess
import sys
import tempfile
import unittest

COMMAND = os.environ.get("ANALYZER_COMMAND", "")
TORTURE = os.environ.get("ANALYZER_TORTURE", "")
SOURCE = os.environ.get("ANALYZER_SOURCE", os.path.dirname(os.path.abspath(__file__)))


def environment(**more):
    """Ours without what would steer the command or the loader; None removes a variable."""
    env = {k: v for k, v in os.environ.items()
           if not k.startswith(("HEAPTALLY_", "LD_", "DEBUGINFOD", "COLUMNS", "NO_COLOR"))}
    env["LC_ALL"] = "C.UTF-8"
    env.update({k: v for k, v in more.items() if v is not None})
    return env


class Case(unittest.TestCase):
    """A test with a directory of its own."""

    maxDiff = None

    def setUp(self):
        holder = tempfile.TemporaryDirectory(prefix="analyzer-")
        self.addCleanup(holder.cleanup)
        self.dir = holder.name

    def path(self, name):
        return os.path.join(self.dir, name)

    def heaptally(self, *argv, cwd=None, preexec_fn=None, **more):
        """Runs the command; a crash fails the test."""
        done = subprocess.run([COMMAND, *map(str, argv)], stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=cwd or self.dir,
                              env=environment(**more), timeout=120, check=False,
                              preexec_fn=preexec_fn)
        done.out, done.err = done.stdout.decode(), done.stderr.decode()
        self.assertGreaterEqual(done.returncode, 0, f"died of a signal: {argv} {done.err}")
        self.assertNotIn("Sanitizer", done.err)
        self.assertNotIn("runtime error", done.err)
        return done

    def text(self, path, *argv, **more):
        done = self.heaptally("report", *argv, path, **more)
        self.assertEqual((done.returncode, done.err), (0, ""))
        return done.out

    def json(self, path, *argv, **more):
        done = self.heaptally("report", "--format", "json", *argv, path, **more)
        self.assertEqual((done.returncode, done.err), (0, ""))
        return json.loads(done.out)

    def load(self, file):
        """The JSON report of an htl.File."""
        return self.json(file.write(self.path("file.htl")))

    def one_line(self, done, status, *things):
        """A failure: its exit status, one line on stderr that names all things and has a mend."""
        lines = done.err.splitlines()
        self.assertEqual((done.returncode, len(lines), done.out), (status, 1, ""), done.err)
        self.assertTrue(lines[0].startswith("heaptally: "), lines[0])
        for thing in (";", *things):
            self.assertIn(thing, lines[0])


class _Result(unittest.TextTestResult):
    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        print(f"SKIP {test}: {reason}", flush=True)


def main():
    """Exit status 0 if all went well, 1 if anything failed, 77 if nothing could be run."""
    if not os.path.exists(COMMAND):
        print("SKIP all: ANALYZER_COMMAND does not name the heaptally command")
        sys.exit(77)
    names = sys.argv[1:]
    module = sys.modules["__main__"]
    loader = unittest.defaultTestLoader
    suite = (loader.loadTestsFromNames(names, module) if names
             else loader.loadTestsFromModule(module))
    result = unittest.TextTestRunner(verbosity=2, resultclass=_Result).run(suite)
    if not result.wasSuccessful():
        sys.exit(1)
    sys.exit(77 if result.testsRun == len(result.skipped) else 0)
