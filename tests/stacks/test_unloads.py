#!/usr/bin/env python3
"""Stacks become known and stay known however libraries are unloaded: see odd_unloads.c."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "e2e"))

import harness
import path_sizes


class UnloadsTest(harness.TallyTest):
    def check(self, case, least_full, before=()):
        plugins = [harness.program(n + ".so") for n in ("twin_plugin_a", "parting_plugin")]
        result = self.tally([*before, harness.program("odd_unloads"), case, *plugins],
                            timeout=40)
        self.assertEqual(result.status, 0, f"{case}: {result.err} {result.own}")
        report = self.report(self.only_snapshot(f"-{result.err.split()[-1]}.htl"))
        self.expect(f"{case}: complete", report["process"]["complete"], True)
        path_sizes.check(self, case, result.out, report, least_full, with_nameless=True)

    def test_namespaces(self):
        self.check("namespaces", 0.5)

    def test_child_of_fork(self):
        self.check("fork", 0.5)

    def test_jump_out(self):
        self.check("jump", 0.5)

    def test_thread_ends_inside(self):
        self.check("thread-ends", 0.5)

    def test_first_libraries_not_in_doubt(self):
        self.check("meanwhile", 0.5)

    def test_first_libraries_not_in_doubt_by_loader(self):
        """The kernel does not say then where the loader lies, which is the last of the first."""
        loader = "/lib64/ld-linux-x86-64.so.2"
        if not os.path.exists(loader):
            self.skipTest(f"{loader} is not there")
        self.check("meanwhile", 0.5, [loader])

    def test_large_library(self):
        self.check("large", 0.5)

    def test_loaders_lock_is_held(self):
        self.check("iteration", 0.3)

    def test_copy_in_between(self):
        self.check("copied", 0.5)


if __name__ == "__main__":
    harness.main()
