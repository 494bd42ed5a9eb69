"""What the tests that look at whole binaries share: which binaries, and addresses in them.

A binary of other people's making is wanted in all variety: C, C++, hand-written assembly, an
interpreter, a compiler. Those that are not installed are left out.
"""

import os
import random
import re
import shutil
import subprocess

LIBRARIES = "/lib/x86_64-linux-gnu /usr/lib/x86_64-linux-gnu /lib64 /usr/lib64 /usr/lib".split()
WHOLE = 8 << 20  # bytes of file up to which a binary is disassembled as a whole
WINDOWS = 48  # parts of WINDOW bytes that are disassembled of a larger one
WINDOW = 12288
SAMPLE = 2000  # addresses that are taken of a larger one


def run(*command, **options):
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, **options).stdout


def library(name):
    for directory in LIBRARIES:
        path = os.path.join(directory, name)
        if os.path.exists(path):
            return os.path.realpath(path)
    return None


def binaries():
    """Paths of the binaries that are there, without repetition."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    found = [
        library("libc.so.6"),
        library("libstdc++.so.6"),
        library("libm.so.6"),
        library("libgcc_s.so.1"),
        library("ld-linux-x86-64.so.2"),
        library("libcrypto.so.3"),
        shutil.which("python3", path="/usr/bin"),
        shutil.which("git"),
        shutil.which("redis-server"),
        run(compiler, "-print-prog-name=cc1").strip() if compiler else None,
    ]
    seen = {}
    for path in found:
        if path and os.path.isfile(path):
            seen[os.path.realpath(path)] = True
    return list(seen)


def text_section(path):
    """(address, size) of .text."""
    for line in run("readelf", "-SW", path).splitlines():
        match = re.search(r"\] \.text\s+PROGBITS\s+(\w+) \w+ (\w+)", line)
        if match:
            return int(match[1], 16), int(match[2], 16)
    raise SystemExit(f"{path}: no .text")


def calls_in(path, *window):
    """Addresses of the instructions after a call."""
    listing = run("objdump", "-d", "--no-show-raw-insn", *window, path)
    after_call = False
    for line in listing.splitlines():
        match = re.match(r"\s*([0-9a-f]+):\t(.*)", line)
        if not match:
            continue
        if after_call:
            yield int(match[1], 16)
        after_call = re.match(r"(bnd |notrack )*call", match[2]) is not None


def return_addresses(path):
    """All return addresses of a binary, or a sample (always the same one) if it is large."""
    if os.path.getsize(path) <= WHOLE:
        return sorted(set(calls_in(path)))
    chance = random.Random(1)
    start, size = text_section(path)
    found = set()
    for _ in range(WINDOWS):
        at = start + chance.randrange(size - WINDOW)
        found.update(calls_in(path, f"--start-address={at}", f"--stop-address={at + WINDOW}"))
    return sorted(chance.sample(sorted(found), min(SAMPLE, len(found))))


def missing_tools(*names):
    return [name for name in names if not shutil.which(name)]
