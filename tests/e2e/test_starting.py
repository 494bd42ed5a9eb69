#!/usr/bin/env python3
"""What it costs a program to start with heaptally, in system calls: their number does not depend on
how busy the machine is, but for those of the monitor, which gets its turn sooner or later.

Shell scripts start thousands of programs; those are not watched before they have lived for a tick."""

import harness

# More than the program alone makes. When this was written there were 78 of a child, and 190 to 340
# of a first process, depending on how far the monitor gets before the program has ended.
CHILD, FIRST = 100, 400
RUNS = 5


class Starting(harness.TallyTest):
    def count(self, library, options):
        env = self.environment({"INTERVAL": "1s", **options})
        del env["LD_PRELOAD"]
        result = harness.run([harness.program("count_syscalls"), library, "true"], self.dir, env)
        if result.status == 77:
            self.skipTest("programs may not be traced here")
        self.assertEqual(result.status, 0, result.err)
        return int(result.out)

    def compare(self, what, options, most):
        plain = self.count("", options)
        more = [self.count(harness.LIBRARY, options) - plain for _ in range(RUNS)]
        self.expect_that(f"{what}: system calls beside the {plain} of the program", more,
                         0 < min(more) and max(more) <= most, f"1 to {most}")

    def test_first_process(self):
        self.compare("the first process", {}, FIRST)

    def test_child(self):
        self.compare("a child", {"ROOT": "1"}, CHILD)
        self.assertEqual(self.snapshots(), [])


if __name__ == "__main__":
    harness.main()
