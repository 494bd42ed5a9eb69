#!/usr/bin/env python3
"""Stacks are whole where the names of modules lead astray: see odd_names.c. Also where the program is
started by naming the loader, which is then what the kernel takes for the program."""

import os
import shutil
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "e2e"))

import harness

LOADER = "/lib64/ld-linux-x86-64.so.2"


class NamesTest(harness.TallyTest):
    def copies(self, name, count=1):
        """Copies of a file of the build, where the test may do with them what it likes."""
        paths = [os.path.join(self.dir, f"{i}-{name}") for i in range(count)]
        for path in paths:
            shutil.copy(harness.program(name), path)
        return paths

    def check(self, case, modules, before=(), directory=""):
        """Most blocks are under whole stacks, through these modules, each of which is a
        controller. The program is named in the directory."""
        program, = self.copies("odd_names")
        plugins = self.copies("twin_plugin_a.so", len(modules))
        label = " ".join([*map(os.path.basename, before), case])
        name = directory + os.path.basename(program) if directory else program
        result = self.tally([*before, name, case, *plugins])
        self.assertEqual(result.status, 0, f"{label}: {result.err} {result.own}")
        function, made = result.out.split()
        report = self.report(self.only_snapshot())
        whole, tags, names, broken = 0, set(), set(), []
        for controller in report["controllers"]:
            for site in controller["sites"]:
                frames = site["stack"]
                inner = [f for f in frames if f["function"] == function]
                if not inner or site["fallback"]:
                    continue
                tags.add(controller["tag"])
                names |= {os.path.basename(f["module"]) for f in inner}
                if site["cut"] or frames[-1]["function"] != "_start":
                    broken.append([f["function"] for f in frames])
                else:
                    whole += site["allocated_blocks"]
        self.expect(f"{label}: stacks that are not whole", broken[:3], [])
        self.expect_that(f"{label}: blocks under whole stacks", whole,
                         0.6 * int(made) <= whole <= int(made), f"60% to 100% of {made}")
        self.expect(f"{label}: controllers", sorted(tags),
                    [m.removesuffix(".so") for m in modules])
        self.expect(f"{label}: modules", sorted(names), modules)

    def by_loader(self):
        if not os.path.exists(LOADER):
            self.skipTest(f"{LOADER} is not there")
        return [LOADER]

    def test_long_names(self):
        self.check("long", [f"{i}-twin_plugin_a.so" for i in range(8)])

    def test_long_absolute_names(self):
        self.check("absolute", [f"{i}-twin_plugin_a.so" for i in range(8)])

    def test_directory_left(self):
        self.check("left", ["0-twin_plugin_a.so"])

    def test_title(self):
        self.check("titled", ["0-odd_names"])

    def test_title_by_loader(self):
        self.check("titled", ["0-odd_names"], self.by_loader())

    def test_long_name_by_loader(self):
        self.check("titled", ["0-odd_names"], self.by_loader(), "./" * 900)

    def test_file_replaced(self):
        self.check("replaced", ["0-odd_names"])


if __name__ == "__main__":
    harness.main()
