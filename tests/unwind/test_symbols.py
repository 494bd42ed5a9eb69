"""Names of functions: symbol_scan against nm's listing of the same symbol table, and eu-addr2line.

    test_symbols.py SYMBOL_NAMES [BINARY...]

The rule of symbol_scan.h is applied to nm's listing here once more, by other means. Binaries given
on the command line (not stripped: they have local symbols) come on top of the usual ones.
"""

import bisect
import collections
import random
import re
import shutil
import subprocess
import sys

import binaries

ADDRESSES = 3000  # per binary, at most

Symbol = collections.namedtuple("Symbol", "start size binding kind section name")
RANK = {"GLOBAL": 2, "UNIQUE": 2, "WEAK": 1, "LOCAL": 0}


def symbols(path):
    """What readelf lists of .symtab, else of .dynsym, of the kinds that can name code."""
    tables, table = {}, None
    for line in binaries.run("readelf", "-sW", path).splitlines():
        match = re.match(r"Symbol table '(\S+)' contains (\d+)", line)
        if match:
            table = tables.setdefault(match[1], []) if int(match[2]) > 1 else []
            continue
        field = line.split()
        if len(field) < 8 or not field[0].rstrip(":").isdigit():
            continue
        _, start, size, kind, binding, _, section, name = field[:8]
        if kind not in ("FUNC", "IFUNC", "NOTYPE") or not section.isdigit():
            continue
        size = int(size, 16) if size.startswith("0x") else int(size)
        name = name[:1] + name[1:].split("@")[0]
        table.append(Symbol(int(start, 16), size, RANK[binding], kind, int(section), name))
    return tables.get(".symtab") or tables.get(".dynsym") or []


def code_sections(path):
    """{index: (start, end)} of the sections that hold code."""
    found = {}
    for line in binaries.run("readelf", "-SW", path).splitlines():
        match = re.match(r"\s*\[\s*(\d+)\] \S+\s+\S+\s+(\w+) \w+ (\w+) \w+\s+(\w*)", line)
        if match and "X" in match[4]:
            start = int(match[2], 16)
            found[int(match[1])] = (start, start + int(match[3], 16))
    return found


class Names:
    """The names that an address may get, by the rule."""

    def __init__(self, path):
        listed = symbols(path)
        self.sections = code_sections(path)
        self.sized = sorted((s for s in listed if s.size), key=lambda s: s.start)
        self.labels = sorted((s for s in listed if not s.size), key=lambda s: s.start)
        self.sized_starts = [s.start for s in self.sized]
        self.label_starts = [s.start for s in self.labels]
        # The farthest end of the symbols up to each one: how far back it is worth looking.
        self.farthest, end = [], 0
        for symbol in self.sized:
            end = max(end, symbol.start + symbol.size)
            self.farthest.append(end)

    def best(self, candidates):
        rank = max(s.binding for s in candidates)
        return candidates[0].start, {s.name for s in candidates if s.binding == rank}

    def starting_last(self, count):
        """Of the first `count` sized symbols those that start last."""
        first = bisect.bisect_left(self.sized_starts, self.sized_starts[count - 1]) if count else 0
        return self.sized[first:count]

    def of(self, address):
        at = last = bisect.bisect_right(self.sized_starts, address)
        while at and self.farthest[at - 1] > address:
            at -= 1
            symbol = self.sized[at]
            if symbol.start + symbol.size > address:
                same = [s for s in self.starting_last(at + 1) if s.start + s.size > address]
                return self.best(same)
        label = bisect.bisect_right(self.label_starts, address)
        if label:
            start = self.label_starts[label - 1]
            same = [s for s in self.labels[max(0, label - 50) : label] if s.start == start]
            end = max(
                (s.start + s.size for s in self.starting_last(last)),
                default=0,
            )
            if end <= start:
                start, names = self.best(same)
                best = max(s.binding for s in same)
                for symbol in same:
                    low, high = self.sections.get(symbol.section, (0, 0))
                    if symbol.binding == best and low <= start and low <= address < high:
                        return start, names
        return None, set()


def ask(tool, path, addresses):
    output = binaries.run(tool, path, input="".join(f"{a:x}\n" for a in addresses))
    for line in output.splitlines():
        address, start, name = line.split(" ", 2)
        if name == "-":
            yield int(address, 16), None, None
        else:
            yield int(address, 16), int(start, 16), name


def ask_elfutils(path, addresses):
    """{address: start} as eu-addr2line -S sees it, where it names a function."""
    output = binaries.run("eu-addr2line", "-S", "-e", path, *(f"{a:#x}" for a in addresses))
    found = {}
    for address, line in zip(addresses, output.splitlines()[0::2]):
        match = re.match(r".*?(\+0x([0-9a-f]+))?$", line)
        found[address] = address - int(match[2] or "0", 16) if line != "??" else None
    return found


def compare(tool, path):
    chance = random.Random(2)
    start, size = binaries.text_section(path)
    addresses = [start + chance.randrange(size) for _ in range(ADDRESSES)]
    # Borders: the first and the last byte of functions, and the byte after.
    names = Names(path)
    for symbol in chance.sample(names.sized, min(300, len(names.sized))):
        addresses += [symbol.start, symbol.start + symbol.size - 1, symbol.start + symbol.size]
    addresses = [a for a in addresses if start <= a < start + size]
    wrong = named = 0
    got = {}
    for address, where, name in ask(tool, path, addresses):
        right_start, right_names = names.of(address)
        got[address] = where
        named += name is not None
        if (name or None) not in (right_names or {None}) or where != right_start:
            wrong += 1
            if wrong < 10:
                print(f"WRONG {address:x}: {name} at {where}, readelf: {right_names} {right_start}")
    other = 0
    if shutil.which("eu-addr2line"):
        some = [a for a in addresses if names.of(a)[0] is not None][:500]
        for address, where in ask_elfutils(path, some).items():
            if where != got[address]:
                other += 1
                print(f"eu-addr2line {address:x}: starts at {where}, not {got[address]}")
    print(f"{path}: {len(addresses)} addresses, {named} named, {wrong} wrong, "
          f"{other} other than eu-addr2line's")
    return not wrong and not other


def main():
    missing = binaries.missing_tools("readelf")
    if missing:
        print("SKIP: not installed:", *missing)
        return 77
    paths = sys.argv[2:] + [p for p in binaries.binaries()]
    return 0 if all([compare(sys.argv[1], path) for path in paths]) else 1


if __name__ == "__main__":
    sys.exit(main())
