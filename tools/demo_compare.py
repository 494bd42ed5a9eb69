#!/usr/bin/env python3
"""Holds heaptally's reports of the demo against the books that the demo kept itself, and the two
builds against each other: every controller, to the byte and the block.

    demo_compare.py BOOKS REPORT [BOOKS REPORT]...

Exit status: 0 if all figures are the same, else 1.
"""

import json
import sys

FIGURES = ("live_bytes", "live_blocks", "allocated_bytes", "allocated_blocks", "instantiations")


def controllers(path):
    """{tag: {figure: value}} of a file of either kind."""
    with open(path, encoding="utf-8") as file:
        return {entry["tag"]: {figure: entry[figure] for figure in FIGURES}
                for entry in json.load(file)["controllers"]}


def differences(first, second, names):
    """Lines for the figures of `first`'s controllers that `second` does not share."""
    for tag, figures in first.items():
        for figure, value in figures.items():
            other = second.get(tag, {}).get(figure, "nothing")
            if other != value:
                yield f"{tag}: {figure}: {names[0]} says {value}, {names[1]} says {other}"


def main():
    if len(sys.argv) < 3 or len(sys.argv) % 2 == 0:
        sys.exit(__doc__)
    paths = sys.argv[1:]
    reference = controllers(paths[0])
    wrong = []
    for path in paths[1:]:
        wrong += differences(reference, controllers(path), (paths[0], path))
    if wrong or not reference:
        print("\n".join(wrong) or f"{paths[0]}: no controllers")
        sys.exit("demo: the figures differ")
    print("Both builds and the programs' own books agree to the byte:")
    for tag, figures in reference.items():
        print(f"    {tag:10} {figures['live_bytes']:>9,} bytes live in {figures['live_blocks']:,} "
              f"blocks, {figures['allocated_bytes']:,} ever in {figures['allocated_blocks']:,}, "
              f"{figures['instantiations']:,} constructed")


if __name__ == "__main__":
    main()
