#!/usr/bin/env python3
"""A snapshot file that was cut or damaged anywhere is read as far as it is whole.

A program that makes new tags and sites at every tick is killed; its file is then cut at every byte
of its last 4 KiB and at places all over, and damaged by single bytes. The report never crashes: of
a cut file it shows what was written before, says that it is not complete, and its figures never
exceed those of the whole file; what it cannot read at all it refuses with one line and status 2.
"""

import concurrent.futures
import json
import os
import random
import subprocess
import time

import harness

TAIL = 4096
WORKERS = 3


def read_report(path):
    """Exit status, report (None if there is none) and error lines for a file."""
    done = subprocess.run([*harness.REPORT, path], stdin=subprocess.DEVNULL, capture_output=True,
                          timeout=60, check=False, env=harness.clean_environment())
    try:
        report = json.loads(done.stdout) if done.returncode == 0 else None
    except ValueError:
        report = None
    return done.returncode, report, done.stderr.decode(errors="replace").splitlines()


class Torn(harness.TallyTest):
    @classmethod
    def setUpClass(cls):
        cls.made = None

    def whole(self):
        """The file of a killed program, made once, and its report."""
        if Torn.made is None:
            process = harness.start([harness.program("busy_sites")], self.dir, self.environment())
            time.sleep(2.5)
            process.kill()
            harness.finish(process, 20)
            with open(self.only_snapshot(), "rb") as file:
                data = file.read()
            status, report, errors = read_report(self.only_snapshot())
            self.assertEqual(status, 0, errors)
            self.expect("whole file: complete", report["process"]["complete"], False)
            live = report["memory"]["live_blocks"]
            self.expect_that("whole file: live blocks", live, live > 500, "more than 500")
            Torn.made = data, report
        return Torn.made

    def judge_cut(self, offset, status, report, errors):
        """What is wrong with the answer to a file cut at `offset`, or None."""
        if status < 0:
            return f"cut at {offset}: died of signal {-status}"
        if status == 2:
            one_line = len(errors) == 1 and errors[0].startswith("heaptally: ")
            if offset >= 4096 or not one_line:
                return f"cut at {offset}: status 2, {errors}"
            return None
        if status != 0 or report is None:
            return f"cut at {offset}: status {status}, no report, {errors}"
        if report["process"]["complete"] is not False:
            return f"cut at {offset}: says it is complete"
        most = Torn.made[1]["memory"]["live_blocks"]
        if (report["memory"]["live_blocks"] or 0) > most:
            return f"cut at {offset}: more live blocks than the whole file"
        return None

    def cut_all(self, offsets):
        """Cuts one copy per worker shorter and shorter; returns what went wrong."""
        data, _ = self.whole()
        offsets = sorted(offsets, reverse=True)

        def work(number):
            path = os.path.join(self.dir, f"cut-{number}.htl")
            with open(path, "wb") as file:
                file.write(data)
            wrong = []
            for offset in offsets[number::WORKERS]:
                os.truncate(path, offset)
                wrong.append(self.judge_cut(offset, *read_report(path)))
            return [w for w in wrong if w]

        with concurrent.futures.ThreadPoolExecutor(WORKERS) as pool:
            return [w for found in pool.map(work, range(WORKERS)) for w in found]

    def test_cut_in_the_last_4_kib(self):
        data, _ = self.whole()
        step = harness.arguments.step
        offsets = range(max(0, len(data) - TAIL), len(data) + 1, step)
        wrong = self.cut_all(offsets)
        for line in wrong[:20]:
            print("  " + line)
        self.expect(f"cut at {len(offsets)} places of the last {TAIL} bytes: wrong answers",
                    len(wrong), 0)

    def test_cut_all_over(self):
        data, _ = self.whole()
        choose = random.Random(7)
        offsets = {*range(0, 129, 4), *(choose.randrange(len(data)) for _ in range(300))}
        wrong = self.cut_all(offsets)
        for line in wrong[:20]:
            print("  " + line)
        self.expect(f"cut at {len(offsets)} places all over: wrong answers", len(wrong), 0)

    def judge_damage(self, offset, status, report, errors):
        if status == 0 and report is not None:
            return None
        if status == 2 and len(errors) == 1 and errors[0].startswith("heaptally: "):
            return None
        return f"damaged at {offset}: status {status}, {errors[:3]}"

    def test_damaged(self):
        data, _ = self.whole()
        choose = random.Random(11)
        offsets = [*range(0, 128, 2), *(choose.randrange(len(data)) for _ in range(236))]

        def work(number):
            path = os.path.join(self.dir, f"damaged-{number}.htl")
            offset = offsets[number]
            damaged = bytearray(data)
            damaged[offset] ^= 1 << number % 8
            with open(path, "wb") as file:
                file.write(damaged)
            answer = self.judge_damage(offset, *read_report(path))
            os.unlink(path)
            return answer

        with concurrent.futures.ThreadPoolExecutor(WORKERS) as pool:
            wrong = [w for w in pool.map(work, range(len(offsets))) if w]
        for line in wrong[:20]:
            print("  " + line)
        self.expect(f"damaged at {len(offsets)} places: wrong answers", len(wrong), 0)


if __name__ == "__main__":
    harness.main((("--step",), {"type": int, "default": int(os.environ.get("E2E_CUT_STEP", "1"))}))
