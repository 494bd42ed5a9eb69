#!/usr/bin/env python3
"""Adds up meson's records of tests (testlog.json), and says what was skipped, and within what.

    test_totals.py [--more PASSED FAILED SKIPPED] TESTLOG...

The last line is `N passed, N failed, N skipped`. Exit status: 0 if some passed and none failed.
"""

import argparse
import json
import sys

PASSED, SKIPPED = ("OK", "EXPECTEDFAIL"), ("SKIP", "IGNORED")


def records(path):
    """The record of each test; none, and a complaint, if they cannot be read."""
    try:
        with open(path, encoding="utf-8") as file:
            return [json.loads(line) for line in file if line.strip()]
    except (OSError, ValueError) as error:
        print(f"FAIL  {path}: {error}")
        return []


def skips(record):
    """What a test said that it skipped."""
    lines = record.get("stdout", "").splitlines()
    return [line for line in lines if line.startswith("SKIP")]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--more", nargs=3, type=int, default=[0, 0, 0])
    parser.add_argument("logs", nargs="*")
    options = parser.parse_args()
    passed, failed, skipped = options.more
    for path in options.logs:
        tests = records(path)
        failed += not tests
        for test in tests:
            name, result = test["name"], test["result"]
            passed += result in PASSED
            skipped += result in SKIPPED
            if result not in PASSED + SKIPPED:
                failed += 1
                print(f"FAIL  {path.split('/meson-logs')[0]}: {name}: {result}")
            for line in skips(test):
                print(f"{name}: {line}")
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    sys.exit(0 if passed and not failed else 1)


if __name__ == "__main__":
    main()
