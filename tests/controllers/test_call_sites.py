#!/usr/bin/env python3
"""Who allocates in the demo: only the laws, each in functions of its own, and never by a jump.

    test_call_sites.py PROGRAM...

Reads the disassembly: every reference to the allocator must be a call, from a function whose name
begins with a law's name, and NAME_create has exactly one. So rules such as 'classical_*' see every
block by its immediate caller. SKIP without objdump, and for programs built with a sanitizer, which
brings functions of its own.
"""

import collections
import re
import shutil
import subprocess
import sys

LAWS = ("classical", "sta", "adaptive", "hybrid")
FUNCTION = re.compile(r"^[0-9a-f]+ <([^>]+)>:$")
ALLOCATOR = re.compile(r"<(?:__interceptor_)?(malloc|calloc|realloc)(?:@plt|@GLIBC[^>]*)?>")
CALLS = {"call", "callq", "bl", "blx", "jal", "jalr", "bal"}
SANITIZERS = (b"__asan_init", b"__tsan_init", b"__msan_init", b"__lsan_init")
SKIP = 77


def sanitized(program):
    """Whether a sanitizer is linked into the program."""
    with open(program, "rb") as file:
        content = file.read()
    return any(symbol in content for symbol in SANITIZERS)


def allocations(program):
    """Pairs of (function, instruction) for each reference to the allocator in the program."""
    text = subprocess.run(["objdump", "-d", "--no-show-raw-insn", program],
                          stdout=subprocess.PIPE, text=True, check=True).stdout
    function, found = None, []
    for line in text.splitlines():
        start = FUNCTION.match(line)
        if start:
            function = start.group(1)
        elif "@plt" not in (function or "") and ALLOCATOR.search(line):
            found.append((function, line.split("\t")[1].split()[0]))
    return found


def check(program):
    """What is wrong with that program, one line each."""
    errors, by_function = [], collections.Counter()
    for function, instruction in allocations(program):
        base = function.split(".")[0]
        by_function[base] += 1
        if instruction == "bnd":
            instruction = "call"
        if instruction not in CALLS:
            errors.append(f"{function}: leaves for the allocator by {instruction}")
        if not base.startswith(tuple(law + "_" for law in LAWS)):
            errors.append(f"{function}: allocates, but belongs to no law")
    for law in LAWS:
        for part, sites in (("create", 1), ("history_start", 1), ("history_push", 1)):
            if by_function[f"{law}_{part}"] != sites:
                errors.append(f"{law}_{part}: {by_function[f'{law}_{part}']} allocations, "
                              f"wanted {sites}")
    return errors


def main():
    if not shutil.which("objdump"):
        print("SKIP: objdump is not installed")
        return SKIP
    if any(sanitized(program) for program in sys.argv[1:]):
        print("SKIP: built with a sanitizer")
        return SKIP
    errors = [f"{program}: {error}" for program in sys.argv[1:] for error in check(program)]
    print("\n".join(errors) or f"{len(sys.argv) - 1} programs: every allocation is a law's own")
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
