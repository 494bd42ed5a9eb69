#!/usr/bin/env python3
"""Wrong options, names and files: exactly one line on stderr, which names the thing and, after a
semicolon, how to mend it, and the exit status that was promised."""

import os
import shutil
import subprocess

import harness

TRUE = shutil.which("true") or "/bin/true"

# What is asked of `heaptally run`, exit status, what the line must name.
RUN = (
    (["--bogus", TRUE], 125, "--bogus"),
    (["--interval=banana", TRUE], 125, "banana"),
    (["--interval", "1ms", TRUE], 125, "1ms"),
    (["--interval"], 125, "--interval"),
    (["--max-file", "10KB", TRUE], 125, "10KB"),
    (["--max-file", "99999999999999TB", TRUE], 125, "99999999999999TB"),
    (["--tag", "foo", TRUE], 125, "foo"),
    (["--tag", "n" * 128 + "=pid_*", TRUE], 125, "--tag"),
    (["--tag-skip", "libfoo", TRUE], 125, "libfoo"),
    (["--tag-file", "/nonexistent/rules", TRUE], 125, "/nonexistent/rules"),
    (["--stacks", "deep", TRUE], 125, "deep"),
    (["--leak-threshold", "-5MB", TRUE], 125, "-5MB"),
    (["--construct", "=pid_new", TRUE], 125, "=pid_new"),
    (["--keep", "many", TRUE], 125, "many"),
    (["--sync", "1fortnight", TRUE], 125, "1fortnight"),
    (["--no-children=yes", TRUE], 125, "--no-children"),
    ([], 125, "program"),
    (["/nonexistent/program"], 127, "/nonexistent/program"),
    (["no-such-program-anywhere"], 127, "no-such-program-anywhere"),
    (["/etc/passwd"], 126, "/etc/passwd"),
    (["/etc"], 126, "/etc"),
)

# The same for the other commands. {good}, {foreign}, {empty}, {directory} are made by the test.
COMMANDS = (
    (["frobnicate"], 2, "frobnicate"),
    (["report", "--bogus", "{foreign}"], 2, "--bogus"),
    (["report", "--format", "papyrus", "{foreign}"], 2, "papyrus"),
    (["report", "/nonexistent.htl"], 2, "/nonexistent.htl"),
    (["report", "{foreign}"], 2, "{foreign}"),
    (["report", "{empty}"], 2, "{empty}"),
    (["report", "{directory}"], 2, "{directory}"),
    (["report", "/dev/null"], 2, "/dev/null"),
    (["report", "/dev/zero"], 2, "/dev/zero"),
    (["report", "-o", "/nonexistent/out", "{good}"], 2, "/nonexistent/out"),
    (["report", "-o", "{directory}", "{good}"], 2, "{directory}"),
)

# Malformed in the environment: a warning, and the program runs.
ENVIRONMENT = (
    ("INTERVAL", "banana"),
    ("MAX_FILE", "1KB"),
    ("MAX_FILE", "64XB"),
    ("STACKS", "deep"),
    ("TAG", "nothing"),
    ("TAG_FILE", "/nonexistent/rules"),
    ("SYNC", "soon"),
    ("KEEP", "few"),
    ("LEAK_THRESHOLD", "12QB"),
    ("NO_CHILDREN", "perhaps"),
)


class BadInput(harness.TallyTest):
    def one_line(self, name, result, status, thing):
        """Checks the exit status and that the only line names `thing` and a mend."""
        lines = result.own
        good = (len(lines) == 1 and result.err == "" and thing in lines[0] and ";" in lines[0])
        self.expect_that(f"{name}: status and line", (result.status, *lines, result.err),
                         result.status == status and good,
                         f"{status}, one line that names {thing!r} and after ';' the mend")

    def command(self, argv, **keywords):
        return harness.run([harness.COMMAND, *argv], self.dir, **keywords)

    def test_run(self):
        for argv, status, thing in RUN:
            with self.subTest(argv=argv):
                self.one_line(f"run {' '.join(argv)[:60]}", self.command(["run", *argv]), status,
                              thing)
        self.expect("files that appeared", self.snapshots(), [])

    def test_commands(self):
        self.tallied([harness.program("just_allocate")])
        names = {"good": self.only_snapshot(), "foreign": os.path.join(self.dir, "foreign.htl"),
                 "empty": os.path.join(self.dir, "empty.htl"),
                 "directory": os.path.join(self.dir, "directory")}
        os.mkdir(names["directory"])
        with open(names["foreign"], "wb") as file:
            file.write(b"This is a letter, not a snapshot.\n" * 100)
        with open(names["empty"], "wb"):
            pass
        for argv, status, thing in COMMANDS:
            argv = [a.format(**names) for a in argv]
            with self.subTest(argv=argv):
                self.one_line(" ".join(argv).replace(self.dir, "..."), self.command(argv), status,
                              thing.format(**names))

    def test_without_arguments(self):
        result = self.command([])
        self.expect_that("no command: status, lines on stderr",
                         (result.status, len(result.own), result.err), result.status == 2, "2")

    def test_unreadable_file(self):
        harness.need_root(self)
        self.tallied([harness.program("just_allocate")])
        path = self.only_snapshot()
        copy = shutil.copy(harness.COMMAND, self.dir)
        os.chmod(copy, 0o755)
        result = harness.run([copy, "report", path], self.dir, **harness.as_nobody())
        self.one_line("another user's file", result, 2, path)

    def test_output_that_cannot_be(self):
        """The program runs all the same, or is refused; the line says where it could not write."""
        directory = os.path.join(self.dir, "directory")
        os.mkdir(directory)
        for output in (directory, "/nonexistent/directory/x.htl", "/proc/x.htl"):
            with self.subTest(output):
                result = self.command(["run", "--output", output, harness.program("just_allocate")])
                if result.status == 125:
                    self.one_line(f"output {output}", result, 125, output)
                    continue
                self.expect(f"output {output}: exit status and output", (result.status, result.out),
                            (0, "done\n"))
                about = [l for l in result.own if output in l]
                self.expect_that(f"output {output}: lines that name it", about,
                                 len(about) == 1 and ";" in about[0], "one, with the mend")

    def test_environment(self):
        for name, value in ENVIRONMENT:
            with self.subTest(f"{name}={value}"):
                result = self.tally([harness.program("just_allocate")], {name: value})
                self.expect(f"{name}={value}: exit status and output", (result.status, result.out),
                            (0, "done\n"))
                about = [l for l in result.own if f"HEAPTALLY_{name}" in l]
                self.expect_that(f"{name}={value}: lines about it", about,
                                 len(about) == 1 and value in about[0] and ";" in about[0],
                                 "one, with the value and the mend")
            for path in self.snapshots():
                os.unlink(path)

    def test_static_program(self):
        """Preloading cannot work there: refused before it is started, with the reason."""
        source = os.path.join(self.dir, "static.c")
        with open(source, "w", encoding="ascii") as file:
            file.write("int main(void) { return 0; }\n")
        tool = os.path.join(self.dir, "static")
        built = subprocess.run(["cc", "-static", "-o", tool, source], capture_output=True,
                               check=False)
        if built.returncode != 0:
            self.skipTest("no static C library")
        self.one_line("static program", self.command(["run", tool]), 125, tool)

    def test_set_uid_program(self):
        harness.need_root(self)
        tool = shutil.copy(harness.program("just_allocate"), self.dir)
        os.chmod(tool, 0o4755)
        copy = shutil.copy(harness.COMMAND, self.dir)
        os.chmod(copy, 0o755)
        result = harness.run([copy, "run", tool], self.dir, **harness.as_nobody())
        self.one_line("set-uid program", result, 125, tool)


if __name__ == "__main__":
    harness.main()
