#!/usr/bin/env python3
"""heaptally run: what the program gets, what is refused before it starts, exit statuses.

The library is one that does nothing, named in HEAPTALLY_LIBRARY: here the command is tested alone.
"""
import os
import shutil
import stat
import struct
import subprocess
import unittest

import driver

TRUE = shutil.which("true")
NOBODY = 65534


def compile_c(path, source, *flags):
    if not shutil.which("cc"):
        raise unittest.SkipTest("no C compiler")
    return subprocess.run(["cc", "-x", "c", "-", "-o", path, *flags], input=source.encode(),
                          capture_output=True, check=False).returncode == 0


class Run(driver.Case):
    def setUp(self):
        super().setUp()
        self.preloaded = self.path("library.so")
        if not compile_c(self.preloaded, "int heaptally_test_library;", "-shared", "-fPIC"):
            self.skipTest("no shared libraries")

    def run_it(self, *argv, **more):
        more.setdefault("HEAPTALLY_LIBRARY", self.preloaded)
        return self.heaptally("run", *argv, **more)

    def seen(self, *argv, **more):
        """The environment that a program gets, started with these options."""
        done = self.run_it(*argv, "/usr/bin/env", "-0", **more)
        self.assertEqual((done.returncode, done.err), (0, ""))
        return dict(item.split("=", 1) for item in done.out.split("\0") if "=" in item)

    def tool(self, name, mode=0o755, content=None):
        path = self.path(name)
        if content is None:
            shutil.copy(TRUE, path)
        else:
            with open(path, "w", encoding="utf-8") as out:
                out.write(content)
        os.chmod(path, mode)
        return path

    # ---- what the program gets ----

    def test_environment(self):
        env = self.seen("--interval", "2s", "--construct=pid=pid_new", "--construct", "a=b", "--tag",
                        "a=b*", "--tag=c=lib:d*", "--no-children", "--stacks=site")
        self.assertEqual({k: v for k, v in env.items() if k.startswith("HEAPTALLY_")},
                         {"HEAPTALLY_INTERVAL": "2s", "HEAPTALLY_CONSTRUCT": "pid=pid_new\na=b",
                          "HEAPTALLY_TAG": "a=b*\nc=lib:d*", "HEAPTALLY_NO_CHILDREN": "1",
                          "HEAPTALLY_STACKS": "site", "HEAPTALLY_LIBRARY": self.preloaded,
                          "HEAPTALLY_ROOT": env["HEAPTALLY_ROOT"]})
        self.assertEqual(env["LD_PRELOAD"], self.preloaded)

    def test_command_line_wins_over_the_environment(self):
        env = self.seen("--interval=3s", "--tag=a=b", HEAPTALLY_INTERVAL="5s", HEAPTALLY_SYNC="9s",
                        HEAPTALLY_TAG="x=y")
        self.assertEqual((env["HEAPTALLY_INTERVAL"], env["HEAPTALLY_SYNC"], env["HEAPTALLY_TAG"]),
                         ("3s", "9s", "a=b"))

    def test_what_was_preloaded_stays(self):
        other = self.path("other.so")
        compile_c(other, "int another_test_library;", "-shared", "-fPIC")
        self.assertEqual(self.seen(LD_PRELOAD=other)["LD_PRELOAD"], f"{self.preloaded}:{other}")

    def test_root_is_the_process(self):
        """The number in HEAPTALLY_ROOT is the program's own: run becomes it."""
        done = self.run_it("/bin/sh", "-c", 'test "$HEAPTALLY_ROOT" = $$ && echo same')
        self.assertEqual((done.returncode, done.out), (0, "same\n"))

    def test_arguments(self):
        """All that follows the program is the program's; '--' ends our options."""
        for argv in (["printf", "%s,", "--help", "--interval=x", "-q"],
                     ["--", "printf", "%s,", "--help", "--interval=x", "-q"]):
            self.assertEqual(self.run_it(*argv).out, "--help,--interval=x,-q,")

    def test_exit_status_and_signal(self):
        self.assertEqual(self.run_it("sh", "-c", "exit 42").returncode, 42)
        done = subprocess.run([driver.COMMAND, "run", "sh", "-c", "kill -TERM $$"], check=False,
                              env=driver.environment(HEAPTALLY_LIBRARY=self.preloaded))
        self.assertEqual(done.returncode, -15)

    def test_library_beside_the_command(self):
        """build/analyzer/heaptally finds build/preload/libheaptally.so."""
        for directory in ("analyzer", "preload"):
            os.mkdir(self.path(directory))
        command = self.path("analyzer/heaptally")
        shutil.copy(driver.COMMAND, command)
        shutil.copy(self.preloaded, self.path("preload/libheaptally.so"))
        done = subprocess.run([command, "run", "sh", "-c", "echo $LD_PRELOAD"], capture_output=True,
                              text=True, check=False, env=driver.environment())
        self.assertEqual(done.stdout, self.path("preload/libheaptally.so") + "\n", done.stderr)

    def test_script_without_interpreter(self):
        self.assertEqual(self.run_it(self.tool("script", content="echo shell\n")).out, "shell\n")

    def test_relative_path(self):
        self.tool("here")
        self.assertEqual(self.run_it("./here").returncode, 0)
        self.one_line(self.run_it("here"), 127, "here", "PATH")
        self.assertEqual(self.run_it("here", PATH=f"{self.dir}:/bin").returncode, 0)
        self.assertEqual(self.run_it("here", PATH=":/bin").returncode, 0)

    # ---- programs that cannot be executed ----

    def test_not_found(self):
        self.one_line(self.run_it("/nonexistent/program"), 127, "/nonexistent/program")
        self.one_line(self.run_it("no-such-program"), 127, "no-such-program")
        self.one_line(self.run_it(""), 127)
        self.one_line(self.run_it(TRUE + "/x"), 127, "/x")

    def test_not_executable(self):
        self.one_line(self.run_it(self.tool("plain", 0o644)), 126, "plain", "chmod")
        self.one_line(self.run_it(self.dir), 126, "directory")
        self.one_line(self.run_it("plain", PATH=f"/bin:{self.dir}"), 126, "plain")

    def test_a_later_directory_of_path_is_tried(self):
        os.mkdir(self.path("a"))
        self.tool("a/tool", 0o644)
        self.tool("tool")
        self.assertEqual(self.run_it("tool", PATH=f"{self.path('a')}:{self.dir}").returncode, 0)

    # ---- refused with a reason ----

    def test_static(self):
        for flags in (["-static"], ["-static-pie", "-fPIE"]):
            path = self.path("static")
            if not compile_c(path, "int main(void) { return 0; }", *flags):
                self.skipTest("no static C library")
            self.one_line(self.run_it(path), 125, path, "static")

    def test_set_uid(self):
        for mode, thing in ((0o4755, "set-uid"), (0o2755, "set-gid"), (0o6755, "set-uid")):
            path = self.tool("privileged", mode)
            self.assertEqual(stat.S_IMODE(os.stat(path).st_mode), mode)
            self.one_line(self.run_it(path), 125, path, thing)

    def test_file_capabilities(self):
        if os.geteuid() != 0 or not shutil.which("setcap"):
            self.skipTest("needs root and setcap")
        path = self.tool("capable")
        if subprocess.run(["setcap", "cap_net_raw+ep", path], check=False,
                          capture_output=True).returncode != 0:
            self.skipTest("file capabilities cannot be set here")
        self.one_line(self.run_it(path), 125, path, "capabilities")

    def foreign(self, name, offset, value):
        """A copy of a program whose ELF header says it is for another machine."""
        path = self.tool(name)
        with open(path, "r+b") as file:
            file.seek(offset)
            file.write(value)
        return path

    def test_foreign_architecture(self):
        self.one_line(self.run_it(self.foreign("machine", 18, struct.pack("<H", 40))), 125,
                      "machine", "architecture")

    def test_foreign_class(self):
        path = self.path("class")
        with open(path, "wb") as out:
            out.write(b"\x7fELF\1\1\1" + bytes(9))
            out.write(struct.pack("<HHIIIIIHHHHHH", 2, 3, 1, 0, 52, 0, 0, 52, 32, 0, 40, 0, 0))
        os.chmod(path, 0o755)
        self.one_line(self.run_it(path), 125, "class", "architecture")

    def test_script_is_judged_by_its_interpreter(self):
        interpreter = self.tool("interpreter", 0o4755)
        for content in (f"#!{interpreter}\n", f"#! {interpreter} -x\n",
                        f"#!/usr/bin/env {interpreter}\n",
                        "#!/usr/bin/env -S A=b interpreter -x\n", f"#!{interpreter}"):
            path = self.tool("script", content=content)
            with self.subTest(content):
                self.one_line(self.run_it(path, PATH=f"{self.dir}:/bin:/usr/bin"), 125, path,
                              interpreter, "set-uid")
        outer = self.tool("outer", content=f"#!{path}\n")
        self.one_line(self.run_it(outer), 125, outer, interpreter)

    def test_script_that_works(self):
        for content in ("#!/bin/sh\necho hello\n", "#!/usr/bin/env sh\necho hello\n"):
            self.assertEqual(self.run_it(self.tool("script", content=content)).out, "hello\n")

    def test_script_loop_ends(self):
        path = self.path("loop")
        self.tool("loop", content=f"#!{path}\n")
        done = self.run_it(path)
        self.one_line(done, 126, path)

    def test_unreadable_program_is_run(self):
        """What cannot be looked at is left to the kernel."""
        if os.geteuid() != 0:
            self.skipTest("needs root")
        path = self.tool("unreadable", 0o711)
        command = shutil.copy(driver.COMMAND, self.path("command"))
        os.chmod(self.dir, 0o755)
        done = subprocess.run([command, "run", path], capture_output=True, check=False, text=True,
                              user=NOBODY, group=NOBODY, extra_groups=[],
                              env=driver.environment(HEAPTALLY_LIBRARY=self.preloaded))
        self.assertEqual((done.returncode, done.stderr), (0, ""))

    def test_linked_in_allocator_is_warned_of(self):
        path = self.path("own")
        source = """#include <stddef.h>
            static char heap[1 << 20]; static size_t used;
            void *malloc(size_t n) { void *p = heap + used; used += (n + 15) / 16 * 16; return p; }
            void free(void *p) { (void)p; }
            int main(void) { return malloc(1) == NULL; }"""
        for flags in (["-fno-builtin"], ["-fno-builtin", "-rdynamic"],
                      ["-fno-builtin", "-rdynamic", "-s"]):
            self.assertTrue(compile_c(path, source, *flags))
            self.one_line(self.run_it(path), 0, path, "warning", "allocator")

    def test_another_libc(self):
        path = self.path("musl")
        self.assertTrue(compile_c(path, "int main(void) { return 0; }",
                                  "-Wl,--dynamic-linker=/lib/ld-musl-x86_64.so.1"))
        self.one_line(self.run_it(path), 125, path, "musl")

    def test_sanitizers(self):
        """They end a program in which somebody else is in front of malloc."""
        runtime = self.path("libtsan.so.2")
        self.assertTrue(compile_c(runtime, "int x;", "-shared", "-fPIC",
                                  "-Wl,-soname,libtsan.so.2"))
        linked = ["-Wl,--no-as-needed", f"-L{self.dir}", "-l:libtsan.so.2"]
        for name, source, flags in (
                ("shared", "int main(void) { return 0; }", linked),
                ("linked_in", "void __tsan_init(void) {} int main(void) { return 0; }", [])):
            path = self.path(name)
            self.assertTrue(compile_c(path, source, *flags))
            self.one_line(self.run_it(path), 125, path, "sanitizer", "-fsanitize")

    def test_sanitizer_that_leaves_malloc_alone(self):
        runtime = self.path("libubsan.so.1")
        self.assertTrue(compile_c(runtime, "int x;", "-shared", "-fPIC",
                                  "-Wl,-soname,libubsan.so.1"))
        path = self.path("ubsan")
        self.assertTrue(compile_c(path, "int main(void) { return 0; }", "-Wl,--no-as-needed",
                                  f"-L{self.dir}", "-l:libubsan.so.1", f"-Wl,-rpath,{self.dir}"))
        done = self.run_it(path)
        self.assertEqual((done.returncode, done.err), (0, ""))

    # ---- our own mistakes ----

    def test_usage(self):
        for argv, things in (([], ["program"]), (["--intervall=1s", TRUE], ["'--interval'"]),
                             (["--zzz", TRUE], ["--zzz"]), (["-x", TRUE], ["-x"]),
                             (["--interval"], ["--interval", "value"]),
                             (["--interval=banana", TRUE], ["--interval", "banana", "500ms"]),
                             (["--interval", "1ms", TRUE], ["1ms", "10ms"]),
                             (["--max-file=10KB", TRUE], ["10KB", "1MB"]),
                             (["--keep", "many", TRUE], ["many"]),
                             (["--stacks=deep", TRUE], ["deep"]),
                             (["--tag", "name", TRUE], ["name", "NAME=PATTERN"]),
                             (["--tag-skip", "libx", TRUE], ["lib:GLOB"]),
                             (["--threshold=x=", TRUE], ["x=", "[TAG=]SIZE"]),
                             (["--warmup", "0", TRUE], ["--warmup"]),
                             (["--fail-on-leak=256", TRUE], ["256", "255"]),
                             (["--treshold=1MB", TRUE], ["--threshold"]),
                             (["--output=", TRUE], ["--output"]),
                             (["--no-children=1", TRUE], ["--no-children"]),
                             (["--tag-file", "/nonexistent/f", TRUE], ["/nonexistent/f"]),
                             (["--t", TRUE], ["--t", "several"])):
            with self.subTest(argv=argv):
                self.one_line(self.run_it(*argv), 125, *things)

    def test_malformed_environment(self):
        self.one_line(self.run_it(TRUE, HEAPTALLY_INTERVAL="banana"), 125, "HEAPTALLY_INTERVAL",
                      "banana")
        self.assertEqual(self.run_it(TRUE, HEAPTALLY_INTERVAL="").returncode, 0)

    def test_every_option_has_its_variable(self):
        """The help lists what the command takes, and each reaches the variable of its name."""
        values = {"interval": "2s", "leak-threshold": "2.0", "tag": "a=b", "tag-file": "/dev/null",
                  "tag-skip": "lib:x*",
                  "construct": "a=b", "stacks": "off", "max-file": "2MB", "keep": "3", "sync": "5s",
                  "output": "x.htl"}
        words = [w[2:] for w in self.heaptally("help", "run").out.split()
                 if w.startswith("--") and len(w) > 2 and w.strip("-,.").replace("-", "").isalnum()]
        for name, value in values.items():
            self.assertIn(name, words)
            for argv in ([f"--{name}={value}"], [f"--{name}", value]):
                variable = "HEAPTALLY_" + name.upper().replace("-", "_")
                self.assertEqual(self.seen(*argv)[variable], value)

    def test_output(self):
        os.mkdir(self.path("directory"))
        self.tool("file", content="x")
        for output in ("/nonexistent/x.htl", self.path("directory"), self.path("directory/"),
                       self.path("file/x.htl")):
            with self.subTest(output):
                self.one_line(self.run_it("--output", output, TRUE), 125, output)
                self.one_line(self.run_it(TRUE, HEAPTALLY_OUTPUT=output), 125, output)
        for output in ("x.htl", "directory/%e.htl", self.path("directory/%p/x.htl"), "/x.htl"):
            self.assertEqual(self.run_it("--output", output, TRUE).returncode, 0)
        self.assertEqual(os.listdir(self.path("directory")), [])

    def test_output_directory_that_is_not_ours(self):
        if os.geteuid() != 0:
            self.skipTest("needs root")
        os.mkdir(self.path("closed"), 0o555)
        os.chmod(self.dir, 0o755)
        command = shutil.copy(driver.COMMAND, self.path("command"))
        done = subprocess.run([command, "run", "--output", self.path("closed/x.htl"), TRUE],
                              capture_output=True, check=False, text=True, user=NOBODY,
                              group=NOBODY,
                              extra_groups=[],
                              env=driver.environment(HEAPTALLY_LIBRARY=self.preloaded))
        self.assertEqual((done.returncode, len(done.stderr.splitlines())), (125, 1), done.stderr)
        self.assertIn(self.path("closed"), done.stderr)

    def test_library(self):
        self.one_line(self.run_it(TRUE, HEAPTALLY_LIBRARY="/nonexistent/lib.so"), 125,
                      "/nonexistent/lib.so")
        for name in ("with blank", "with:colon"):
            os.mkdir(self.path(name))
            path = shutil.copy(self.preloaded, self.path(name))
            self.one_line(self.run_it(TRUE, HEAPTALLY_LIBRARY=path), 125, path, "LD_PRELOAD")


if __name__ == "__main__":
    driver.main()
