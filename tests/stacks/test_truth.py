#!/usr/bin/env python3
"""The truth test: a generated program with thousands of call paths, built by several compilers at
several levels, against its own record of where each block was allocated.

    test_truth.py            four builds
    test_truth.py --full     every compiler, level, with and without link-time optimisation; on a
                             machine that does nothing else, since start-up is judged too
    test_truth.py --seed N   another program
"""

import itertools
import os
import shutil
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "e2e"))

import compare_stacks
import harness
import truth_program

SOURCES = os.path.join(HERE, "truth")

SCRIPTS = 2200
THREADS = 3
ROUNDS = 80  # a phase; about the first of them is start-up
COMPILERS = {"gcc": "g++", "clang": "clang++"}
LEVELS = {"O0": ["-O0"], "O2": ["-O2"], "O3-omit": ["-O3", "-fomit-frame-pointer"],
          "O3-keep": ["-O3", "-fno-omit-frame-pointer"]}
QUICK = [("gcc", "O0", False), ("gcc", "O3-omit", True), ("clang", "O2", False),
         ("clang", "O3-keep", True)]

# Where a stack may be cut: after these, and anywhere beyond a frame that hides rbp.
CUT = {"last": {"frame_without_cfi", "frame_without_cfi_false_rbp", "frame_cfi_by_rbx"},
       "anywhere": {"frame_cfi_rbp_in_register"}}

MOST_FALLBACK_WARM = 0.001
MOST_FALLBACK = 0.01


class Build:
    """One way to build the generated program."""

    def __init__(self, compiler, level, lto):
        self.name = f"{compiler}-{level}{'-lto' if lto else ''}"
        self.drivers = {"c": compiler, "cpp": COMPILERS[compiler]}
        self.flags = [*LEVELS[level], "-D_GNU_SOURCE", "-fPIE", "-I" + SOURCES, "-w"]
        self.lto = ["-flto"] if lto else []
        if lto and compiler == "clang":
            self.lto.append("-fuse-ld=lld")

    def missing(self):
        tools = [*self.drivers.values()]
        if "-fuse-ld=lld" in self.lto:
            tools.append("ld.lld")
        return [t for t in tools if not shutil.which(t)]

    def compile(self, directory, source, out, *more):
        language = "cpp" if source.endswith(".cpp") else "c"
        command = [self.drivers[language], *self.flags, *self.lto, *more, source, "-o", out]
        done = subprocess.run(command, cwd=directory, capture_output=True, text=True)
        if done.returncode:
            raise AssertionError(" ".join(command) + "\n" + done.stderr)

    def make(self, directory, seed):
        """Returns the program and its plugins."""
        objects, plugins = [], []
        for unit, language, is_plugin in truth_program.write(directory, seed, SCRIPTS):
            source = f"{unit}.{language}"
            if is_plugin:
                plugins.append(os.path.join(directory, unit + ".so"))
                self.compile(directory, source, plugins[-1], "-fPIC", "-shared")
            else:
                objects.append(unit + ".o")
                self.compile(directory, source, objects[-1], "-c")
        for source in ("shadow.c", "thunks.S"):
            objects.append(source + ".o")
            self.compile(directory, os.path.join(SOURCES, source), objects[-1], "-c")
        link = [self.drivers["cpp"], *self.flags, *self.lto, "-pie", "-rdynamic", *objects, "-o",
                "truth", "-lpthread", "-ldl"]
        done = subprocess.run(link, cwd=directory, capture_output=True, text=True)
        if done.returncode:
            raise AssertionError(" ".join(link) + "\n" + done.stderr)
        return os.path.join(directory, "truth"), plugins


class TruthTest(harness.TallyTest):
    def check(self, build):
        seed = harness.arguments.seed
        program, plugins = build.make(self.dir, seed)
        record = os.path.join(self.dir, "record")
        report = self.tallied([program, record, seed, THREADS, ROUNDS, *plugins], timeout=300)
        found = compare_stacks.Comparison(compare_stacks.Truth(record, program), report, "warm", CUT)
        warm, whole = found.share_of_fallback(1), found.share_of_fallback(None)
        print(f"{build.name}: {found.figures()}", flush=True)
        if found.problems:
            self.keep_for_study(build.name)
        self.expect_that("  problems", len(found.problems), not found.problems,
                         "0\n" + "\n".join(found.problems))
        self.expect_that("  paths", found.paths, found.paths >= 2000, ">= 2000")
        self.expect_that("  without a full stack once warm", f"{warm:.4%}",
                         warm <= MOST_FALLBACK_WARM, f"<= {MOST_FALLBACK_WARM:.1%}")
        # How much is allocated before the monitor has run depends on who else wants the processor:
        # shown always, judged on a machine that does nothing else.
        if harness.arguments.full:
            self.expect_that("  without a full stack, start included", f"{whole:.3%}",
                             whole < MOST_FALLBACK, f"< {MOST_FALLBACK:.0%}")
        else:
            print(f"  without a full stack, start included: {whole:.3%} (judged with --full)")

    def keep_for_study(self, name):
        """With STACKS_KEEP set to a directory, leaves program, record and snapshot there."""
        if os.environ.get("STACKS_KEEP"):
            shutil.copytree(self.dir, os.path.join(os.environ["STACKS_KEEP"], name),
                            dirs_exist_ok=True)


def add_tests(full):
    for compiler, level, lto in itertools.product(COMPILERS, LEVELS, (False, True)) if full else QUICK:
        build = Build(compiler, level, lto)

        def test(self, build=build):
            if build.missing():
                self.skipTest(f"no {', '.join(build.missing())}")
            self.check(build)

        setattr(TruthTest, "test_" + build.name.replace("-", "_"), test)


if __name__ == "__main__":
    add_tests("--full" in sys.argv)
    harness.main((["--full"], {"action": "store_true"}), (["--seed"], {"type": int, "default": 1}))
