#!/usr/bin/env python3
"""Damaged, foreign and hostile files: what is whole is read, the rest is refused or left out."""
import os
import resource
import struct
import subprocess

import driver
import htl


def rich():
    """A file with every kind of record, at least 4 KiB long."""
    f = htl.File()
    f.settings(leak_threshold="2.0", static_allocator="1")
    f.module(1, "/nonexistent/a", b"\x01\x02\x03")
    f.tag(1, "pid")
    f.stack(1, [(1, 16), (htl.NO_MODULE, 99)])
    f.site(1, 1, 1)
    f.history(1, [(0.1, 5, 9, 100, 10, 1), (0.2, 6, 9, 200, 20, 2)])
    f.history(htl.NO_MODULE, [(0.1, 1 << 20, 1 << 20, 0, 0, 0)])
    f.history(1, [(0.1, 1, 2, 3, 4, 5)], flags=1)
    for t in range(1, 12):
        f.tick(t, rss=1 << 24, tags={1: dict(allocated=(100 * t, t), made=t)},
               sites={1: dict(allocated=(100 * t, t))})
    f.alert(11, tag=1, message="tag pid grows")
    f.record(200, b"from the future")
    f.snapshot(12, tags={1: dict(allocated=(1200, 12), made=12)},
               sites={1: dict(allocated=(1200, 12))})
    f.end(12)
    return f


class Reader(driver.Case):
    def torture(self, *argv, limit=None):
        def bounded():
            resource.setrlimit(resource.RLIMIT_AS, (limit, limit))

        done = subprocess.run([driver.TORTURE, *map(str, argv)], capture_output=True, text=True,
                              timeout=280, check=False, env=driver.environment(),
                              preexec_fn=bounded if limit else None)
        print(done.stdout, end="")
        self.assertEqual((done.returncode, done.stderr), (0, ""), done.stdout)
        return done.stdout

    def test_cut_everywhere(self):
        path = htl.controllers().write(self.path("f.htl"))
        self.assertGreater(os.path.getsize(path), 4096)
        self.torture("cut", path)

    def test_cut_every_kind(self):
        f = rich()
        # The torture counts every record, so the one that readers leave out is taken out.
        with open(self.path("f.htl"), "wb") as out:
            out.write(f.data[:f.ends[-4]] + f.data[f.ends[-3]:])
        self.torture("cut", self.path("f.htl"))

    def test_every_bit(self):
        f = htl.File()
        f.settings(leak_threshold="1").module(1, "/nonexistent/a", b"\x01" * 20).tag(1, "pid")
        f.stack(1, [(1, 16)]).site(1, 1, 1)
        f.tick(1, tags={1: dict(allocated=(1, 1))}, sites={1: dict(allocated=(1, 1))}).end(1)
        self.torture("flip", f.write(self.path("f.htl")))

    def test_changed_fields(self):
        rounds = os.environ.get("ANALYZER_ROUNDS", "1500")
        for number, f in enumerate((rich(), htl.controllers())):
            self.torture("mutate", f.write(self.path("f.htl")), 1000 * number, rounds)

    # ---- the file header ----

    def refused(self, f, *things):
        path = f if isinstance(f, str) else f.write(self.path("file.htl"))
        self.one_line(self.heaptally("report", path), 2, path, *things)

    def test_foreign_files(self):
        for name, content, thing in (("empty", b"", "empty"),
                                     ("text", b"This is a letter.\n" * 20, "not a heaptally"),
                                     ("short", b"\x89HTL", "ends within its header"),
                                     ("shortest", b"x", "not a heaptally"),
                                     ("elf", open("/bin/true", "rb").read(), "not a heaptally")):
            with self.subTest(name):
                with open(self.path(name), "wb") as out:
                    out.write(content)
                self.refused(self.path(name), thing)

    def test_text_mode_copy(self):
        self.refused(htl.File(magic=b"\x89HTL\n\x1a\n\n"), "text mode")

    def test_future(self):
        self.refused(htl.File(version=2), "version 2")
        self.refused(htl.File(incompatible=4), "0x4")
        self.refused(htl.File(version=0), "version 0")

    def test_compatible_bits(self):
        self.assertEqual(self.load(htl.File(compatible=0xFFFFFFFF).end(1))["process"]["complete"],
                         True)

    def test_header_size(self):
        f = htl.File()
        for size in (0, 56, 72, 81, 1 << 31, 0xFFFFFFF8):
            with self.subTest(size):
                head = bytearray(f.data)
                struct.pack_into("<I", head, 12, size)
                struct.pack_into("<I", head, 60, 0)
                struct.pack_into("<I", head, 60, htl.crc32c(bytes(head)))
                with open(self.path("f.htl"), "wb") as out:
                    out.write(head + bytes(64))
                self.refused(self.path("f.htl"), "header")

    def test_not_files(self):
        os.mkfifo(self.path("fifo"))
        self.refused(self.path("fifo"), "regular file")
        self.refused(self.dir, "directory")
        self.refused("/dev/zero", "regular file")
        self.refused(self.path("missing"), "No such file")

    # ---- records ----

    def test_unknown_record_is_skipped(self):
        f = htl.File().record(77, b"x" * 13).tag(1, "pid").end(1)
        self.assertEqual([c["tag"] for c in self.load(f)["controllers"]], ["pid"])
        self.assertIn("1 record of a newer format", self.text(self.path("file.htl")))

    def test_required_record_stops(self):
        f = htl.File().tag(1, "pid").record(77, b"x", flags=htl.REQUIRED).tag(2, "sta").end(1)
        report = self.load(f)
        self.assertEqual([c["tag"] for c in report["controllers"]], ["pid"])
        self.assertEqual((report["process"]["complete"], report["quality"]["truncated"]),
                         (False, True))
        self.assertIn("newer heaptally", report["quality"]["torn"])

    def test_nothing_follows_the_end(self):
        f = htl.File().tag(1, "pid").end(1)
        f.data += b"\xff" * 100
        report = self.load(f)
        self.assertEqual((report["process"]["complete"], report["quality"]["torn"]), (True, None))

    def test_payloads_that_have_grown(self):
        """Longer strides and longer payloads than ours are read by what we know of them."""
        f = htl.File().module(1, "/nonexistent/a").tag(1, "pid").tag(2, "sta")
        f.stack(1, [(1, 16), (1, 32)], extra=8).site(1, 1, 1)
        f.record(htl.SITE, struct.pack("<IIII", 2, 1, 2, 0) + b"more")
        f.snapshot(1, extra=24, tags={1: dict(allocated=(10, 1)), 2: dict(allocated=(20, 2))},
                   sites={1: dict(allocated=(10, 1)), 2: dict(allocated=(20, 2))}).end(1)
        report = self.load(f)
        self.assertEqual([(c["tag"], c["live_bytes"], [s["live_bytes"] for s in c["sites"]],
                           [x["offset"] for x in c["sites"][0]["stack"]])
                          for c in report["controllers"]],
                         [("sta", 20, [20], [16, 32]), ("pid", 10, [10], [16, 32])])

    def test_contradictions_are_left_out(self):
        """Whole records whose content cannot be: the rest of the file is read."""
        def tick(tags, tag_size, sites, site_size):
            return bytes(152) + struct.pack("<4I2Q", tags, tag_size, sites, site_size, 0, 0)

        bad = [(htl.TAG, struct.pack("<IHH", 1, 1, 5) + b"pid"),
               (htl.TAG, struct.pack("<IHH", 1, 1, 0)),
               (htl.TAG, struct.pack("<IHH", 1, 1, 128) + b"x" * 128),
               (htl.STACK, struct.pack("<IIII", 1, 0, 2**32 - 1, 16)),
               (htl.STACK, struct.pack("<IIII", 1, 0, 1, 8) + bytes(8)),
               (htl.STACK, struct.pack("<IIII", 1, 0, 1, 0) + bytes(16)),
               (htl.MODULE, struct.pack("<IIIHHQQQ", 1, 0, 0, 20, 60000, 0, 0, 0) + bytes(20)),
               (htl.MODULE, struct.pack("<IIIHHQQQ", 1, 0, 0, 0, 3, 0, 0, 0) + b"a\0b"),
               (htl.SITE, bytes(15)), (htl.TICK, bytes(183)),
               (htl.TICK, tick(2**32 - 1, 72, 0, 40)), (htl.TICK, tick(1, 72, 0, 40)),
               (htl.SNAPSHOT, tick(0, 72, 2**31, 2**32 - 1)),
               (htl.HISTORY, struct.pack("<IIII", 1, 0, 2**30, 64)),
               (htl.ALERT, bytes(56) + struct.pack("<II", 1000, 0)), (htl.END, bytes(23)),
               (htl.REGION, bytes(23)), (htl.REGION, struct.pack("<HHIQQ", 1, 9, 0, 1, 1) + b"x"),
               (htl.REGION, struct.pack("<HHIQQ", 0, 1, 0, 1, 1) + b"x")]
        f = htl.File()
        for kind, payload in bad:
            f.record(kind, payload)
        f.tag(7, "pid").end(1)
        report = self.load(f)
        self.assertEqual([c["tag"] for c in report["controllers"]], ["pid"])
        self.assertEqual(report["process"]["complete"], True)
        self.assertIn(f"{len(bad)} contradictions", self.text(self.path("file.htl")))

    def test_names_that_nobody_described(self):
        f = htl.File().stack(1, [(9, 16)]).site(1, 1, 9).site(2, 9, 9)
        f.snapshot(1, tags={9: dict(allocated=(30, 3)), 8: dict(allocated=(1, 1))},
                   sites={1: dict(allocated=(10, 1)), 2: dict(allocated=(20, 2)),
                          3: dict(allocated=(1, 1))}).end(1)
        tags = {c["tag"]: c for c in self.load(f)["controllers"]}
        self.assertEqual({t: c["live_bytes"] for t, c in tags.items()},
                         {"[tag 9]": 30, "[tag 8]": 1})
        self.assertEqual([(s["live_bytes"], s["fallback"], len(s["stack"]))
                          for s in tags["[tag 9]"]["sites"]], [(20, True, 0), (10, False, 1)])

    def test_length_beyond_the_file(self):
        f = htl.File().tag(1, "pid")
        f.data += struct.pack("<HHIII", htl.TICK, 0, (64 << 20) - 1, 0, 0)
        self.assertIn("cut short", self.load(f)["quality"]["torn"])
        f.data[-12:-8] = struct.pack("<I", 2**32 - 1)
        self.assertIn("length", self.load(f)["quality"]["torn"])

    # ---- memory ----

    def test_memory_follows_the_size_of_the_file(self):
        """Enormous identifiers and many tiny records: a small multiple of the file's size."""
        many = htl.File()
        for i in range(4000):
            many.tag(i * 1048573 % 2**32, "t").site(2**32 - 1 - i, i, i * 1048573 % 2**32)
            many.stack(i, [(htl.NO_MODULE, i)])
        many.tick(1, tags={i * 1048573 % 2**32: {} for i in range(4000)})
        many.write(self.path("many.htl"))
        size = os.path.getsize(self.path("many.htl"))
        if "asan" not in os.path.basename(driver.TORTURE):
            used = int(self.torture("memory", self.path("many.htl")))
            print(f"{size} bytes of file, {used} bytes of memory")
            self.assertLess(used, 12 * size)
            huge = htl.File().tag(2**32 - 1, "pid").stack(2**32 - 2, []).site(2**32 - 3, 1, 1)
            self.torture("memory", huge.write(self.path("huge.htl")), limit=256 << 20)

    def test_many_tiny_snapshots(self):
        """Each SNAPSHOT replaces the figures of all sites, whether it lists them or not."""
        f = htl.File()
        f.tag(1, "pid")
        for i in range(3000):
            f.site(i, 1, 1)
        for t in range(3000):
            f.snapshot(t)
        f.snapshot(3000, sites={1: dict(allocated=(5, 1))})
        self.assertEqual(self.load(f)["controllers"][0]["sites"][0]["live_bytes"], 5)


if __name__ == "__main__":
    driver.main()
