"""Checks stacks of a program in which every path allocates blocks of a size of its own: a block under
another path's stack is seen by its size.

The program prints a line a path: the name of a function that lies on that path alone, size, count.
"""

LEAVES = ("leaf", "common", "plugin_inner_a", "plugin_inner_b")  # the immediate callers


def check(test, label, out, report, least_full, with_nameless=False):
    """No wrong stack; at least the share `least_full` of each path's blocks under its full stack;
    and what is missing there counted at the immediate caller, to the byte. `with_nameless`: or not
    even there, in which case nothing else in the program may be without a stack."""
    paths = [line.split() for line in out.splitlines()]
    sizes = {name: int(size) for name, size, _ in paths}
    counts = {name: int(count) for name, _, count in paths}
    full, immediate, wrong = dict.fromkeys(sizes, 0), [0, 0], []
    for site in (s for c in report["controllers"] for s in c["sites"]):
        names = [f["function"] for f in site["stack"]]
        blocks, size = site["allocated_blocks"], site["allocated_bytes"]
        if not set(LEAVES) & set(names) and not (with_nameless and not names):
            continue
        if site["fallback"]:
            immediate[0] += blocks
            immediate[1] += size
            continue
        on = [name for name in sizes if name in names]
        if len(on) != 1 or size != blocks * sizes[on[0]]:
            wrong.append(f"{blocks} blocks of {size} bytes: {names}")
        else:
            full[on[0]] += blocks
    test.expect(f"{label}: wrong stacks", wrong, [])
    for name in sizes:
        test.expect_that(f"{label}: under full stacks of {name}", full[name],
                         least_full * counts[name] <= full[name] <= counts[name],
                         f"{least_full:.1%} to 100% of {counts[name]}")
    test.expect(f"{label}: blocks, with those of the immediate caller only",
                sum(full.values()) + immediate[0], sum(counts.values()))
    test.expect(f"{label}: their bytes",
                sum(full[n] * sizes[n] for n in sizes) + immediate[1],
                sum(counts[n] * sizes[n] for n in sizes))
