"""Unwind rules of real binaries: none may differ from what elfutils reads from the same table.

    test_sweep.py UNWIND_SWEEP

For every return address (or a sample of 2,000 of a large binary). Where we have no rule the stack is
cut, which is allowed; but at no more than one in a thousand of the addresses that elfutils has a rule
of our forms for, lest a comparison of nothing succeed. The same holds for the rules that are told beside
the one that was asked for; and three in four of the addresses must be told of, asked for any other of
their function: the others lie in functions that are too large to be gone through.
"""

import re
import subprocess
import sys

import binaries


def sweep(tool, path):
    addresses = binaries.return_addresses(path)
    result = subprocess.run(
        [tool, path],
        input="".join(f"{address:x}\n" for address in addresses),
        stdout=subprocess.PIPE,
        text=True,
    )
    print(result.stdout, end="", flush=True)
    if result.returncode:
        return False
    total, missed = (int(re.search(p, result.stdout)[1]) for p in (r"(\d+) pcs", r"missed (\d+)"))
    if missed * 1000 > total:
        print(f"FAILED: {path}: no rule at {missed} of {total} addresses that have one")
        return False
    foretold, asked = map(int, re.search(r"(\d+) of (\d+) foretold", result.stdout).groups())
    if foretold * 4 < asked * 3:
        print(f"FAILED: {path}: {foretold} of {asked} addresses were told of beforehand")
        return False
    return True


def main():
    missing = binaries.missing_tools("objdump", "readelf")
    if missing:
        print("SKIP: not installed:", *missing)
        return 77
    results = [sweep(sys.argv[1], path) for path in binaries.binaries()]
    if not results:
        print("SKIP: none of the binaries is installed")
        return 77
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
