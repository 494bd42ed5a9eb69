#!/usr/bin/env python3
"""Over allocators other than glibc's, set up in the ways that change where their blocks lie: the
figures are those of the program, and no block is a stranger."""

import harness
from harness import controller

FIGURES = ("allocated_bytes", "allocated_blocks", "live_bytes", "live_blocks")
JEMALLOC = (
    "",
    "zero:true",
    "junk:true",
    "tcache:false",
    "san_guard_small:2,san_guard_large:2",  # unreadable pages beside every other one
    "retain:false,dirty_decay_ms:0,muzzy_decay_ms:0",  # what is freed is unmapped
    "background_thread:true,narenas:1",
    "percpu_arena:percpu",
    "prof:true,lg_prof_sample:0",  # blocks that are sampled lie elsewhere: all of them
)


class OtherAllocators(harness.TallyTest):
    def setUp(self):
        super().setUp()
        self.settings = {}

    def environment(self, *arguments, **keywords):
        return super().environment(*arguments, **keywords) | self.settings

    def works_alone(self, beneath):
        """Whether the allocator knows these settings: it ends the program where it does not."""
        env = harness.clean_environment() | self.settings | {"LD_PRELOAD": beneath}
        done = harness.run([harness.program("resized_classes")], self.dir, env)
        return done.status == 0

    def compare(self, name, beneath):
        result = self.tally([harness.program("resized_classes")], {"INTERVAL": "100ms"}, beneath)
        self.assertEqual(result.status, 0, f"{name}: {result.err} {result.own}")
        report = self.report(self.snapshots("resized_classes")[-1])
        classes = controller(report, "classes")
        self.expect(f"{name}: bytes and blocks, ever and live",
                    [classes[figure] for figure in FIGURES], list(map(int, result.out.split())))
        for figure in ("foreign_frees", "suspected_overruns"):
            self.expect(f"{name}: {figure}", report["quality"][figure], 0)

    def need(self, library):
        path = harness.find_library(library)
        if not path:
            self.skipTest(f"{library} is not installed")
        return path

    def test_jemalloc(self):
        path = self.need("libjemalloc.so.2")
        for conf in JEMALLOC:
            self.settings = {"MALLOC_CONF": f"abort_conf:true,{conf}".rstrip(",")}
            name = f"jemalloc {conf}".rstrip()
            with self.subTest(name):
                if self.works_alone(path):
                    self.compare(name, path)
                else:
                    print(f"{name}: not known to this jemalloc")
                    self.assertIn(":", conf, "it works as it is")

    def test_tcmalloc(self):
        self.compare("tcmalloc", self.need("libtcmalloc_minimal.so.4"))

    def test_mimalloc(self):
        self.compare("mimalloc", self.need("libmimalloc.so.2"))

    def test_glibc(self):
        self.compare("glibc", None)


if __name__ == "__main__":
    harness.main()
