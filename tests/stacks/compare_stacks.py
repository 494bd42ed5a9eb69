"""Compares the stacks of a report with the true paths that a program has written down.

Frames are compared by (module, offset of the return address). What is not the program's own (libc,
the C++ runtime) cannot note its frames: a run of such frames is one GAP on both sides.

    truth:   (innermost) MALLOC's caller  its caller  GAP  caller of qsort  ...  GAP (outermost)
    report:  the same, or the beginning of it where the stack is marked cut

Every stack of the report must be a path of the truth, with no more counted than there; what is
missing must be in the fallback site of the same immediate return address, to the byte.
"""

import collections

GAP = "*"
FIGURES = 4  # allocated blocks, allocated bytes, freed blocks, freed bytes


class Truth:
    """The record that the program wrote: paths[(phase, frames)] = [four figures]."""

    def __init__(self, path, exe):
        self.modules, self.places = [], {}
        self.paths = collections.defaultdict(lambda: [0] * FIGURES)
        self.own = {exe}
        lines = open(path).read().splitlines()
        for line in lines:
            words = line.split(" ")
            if words[0] == "module":
                name = exe if words[4] == "-" else words[4]
                self.modules.append((int(words[2], 16), int(words[3], 16), int(words[1], 16), name))
        self.own |= {m[3] for m in self.modules if "/plugin_" in m[3]}
        for line in lines:
            words = line.split(" ")
            if words[0] == "path":
                frames = collapse(self.place(int(w, 16)) for w in words[6:])
                figures = self.paths[int(words[1]), frames]
                for i in range(FIGURES):
                    figures[i] += int(words[2 + i])
        self.addresses = {f for _, frames in self.paths for f in frames if f != GAP}
        self.ways = collections.defaultdict(set)  # by return address: all ways from there outwards
        for frames in {f for _, f in self.paths}:
            for i, frame in enumerate(frames):
                self.ways[frame].add(frames[i:])

    def place(self, address):
        if address not in self.places:
            self.places[address] = GAP
            for start, end, bias, name in self.modules:
                if start < address <= end and name in self.own:
                    self.places[address] = name, address - bias
        return self.places[address]

    def is_way(self, frames, cut):
        """Whether `frames` lead from their first to the outermost or, if cut, on a way there."""
        ways = self.ways[frames[0]]
        return frames in ways or (cut and any(w[:len(frames)] == frames for w in ways))


def collapse(frames):
    out = []
    for frame in frames:
        if frame != GAP or not out or out[-1] != GAP:
            out.append(frame)
    return tuple(out)


class Site:
    def __init__(self, tag, site, own):
        self.tag, self.cut, self.fallback = tag, site["cut"], site["fallback"]
        # Inlined functions share the frame of the function that holds them.
        self.raw = [f for f in site["stack"] if not f["inlined"]]
        places = [(f["module"], f["offset"]) for f in self.raw]
        self.frames = collapse(p if p[0] in own else GAP for p in places)
        self.outermost = self.raw[-1]["function"] if self.raw else None
        if not self.cut and not self.fallback and self.outermost == "_start":
            self.frames = self.frames[:-1]  # main's caller is libc, whose caller is _start
        freed_blocks = site["allocated_blocks"] - site["live_blocks"]
        self.figures = [site["allocated_blocks"], site["allocated_bytes"], freed_blocks,
                        site["allocated_bytes"] - site["live_bytes"]]

    def show(self):
        return "\n".join(f"      {f['function']} {f['module']}+{f['offset']:#x}" for f in self.raw)


class Comparison:
    """What was found; `problems` is empty where all is well."""

    def __init__(self, truth, report, warm_tag, cut_functions):
        self.truth, self.problems = truth, []
        self.cut_functions = cut_functions
        self.sites = [Site(c["tag"], s, truth.own) for c in report["controllers"]
                      for s in c["sites"]]
        self.phase_of = lambda tag: 1 if tag == warm_tag else 0
        self.full = collections.defaultdict(lambda: [0] * FIGURES)  # (phase, frames, cut)
        self.fallback = collections.defaultdict(lambda: [0] * FIGURES)  # (phase, return address)
        self.tag_only = collections.defaultdict(lambda: [0] * FIGURES)  # phase
        self.others = 0
        self.take_sites()
        self.match()

    def problem(self, text):
        if len(self.problems) < 40:
            self.problems.append(text)

    # ---- the report's side ----

    def take_sites(self):
        self.examples = {}
        for site in self.sites:
            if not any(site.figures):
                continue
            if not site.frames:
                self.add(self.tag_only, self.phase_of(site.tag), site.figures)
            elif site.fallback:
                self.add(self.fallback, (self.phase_of(site.tag), site.frames[0]), site.figures)
            elif self.is_own(site):
                key = (self.phase_of(site.tag), site.frames, site.cut)
                self.add(self.full, key, site.figures)
                self.examples[key] = site
            else:
                self.take_other(site)

    @staticmethod
    def add(table, key, figures):
        for i in range(FIGURES):
            table[key][i] += figures[i]

    def is_own(self, site):
        """Whether one of the noted allocations can have made the site: it begins at a noted return
        address, or in libc right beneath one (strdup)."""
        first = site.frames[1] if site.frames[0] == GAP and len(site.frames) > 1 else site.frames[0]
        return first in self.truth.addresses

    def take_other(self, site):
        """An allocation of a runtime (an exception, a new thread): from the first noted return
        address outwards it must be a path as well."""
        frames = list(site.frames)
        while frames and frames[0] not in self.truth.addresses:
            frames.pop(0)
        self.others += 1
        if frames and not self.truth.is_way(tuple(frames), site.cut):
            self.problem(f"a runtime's allocation has a stack that never was:\n{site.show()}")

    # ---- both sides ----

    def may_be_cut(self, site, longest):
        names = [f["function"] for f in site.raw]
        return (any(n in self.cut_functions["anywhere"] for n in names)
                or names[-1] in self.cut_functions["last"] or len(site.raw) == longest)

    def match(self):
        """Every reported stack stands for the truth's paths that are equal to it or, if it is cut,
        begin with it; no path for more than one stack."""
        paths = {k: v for k, v in self.truth.paths.items() if any(v)}
        longest = max((len(s.raw) for s in self.sites if s.cut), default=0)
        longest = longest if longest >= 100 else 0
        lengths = collections.defaultdict(set)
        for (phase, frames, cut) in self.full:
            if cut:
                lengths[phase, frames[0]].add(len(frames))
                if not self.may_be_cut(self.examples[phase, frames, cut], longest):
                    self.problem("cut where nothing calls for it:\n"
                                 + self.examples[phase, frames, cut].show())
        expected = collections.defaultdict(lambda: [0] * FIGURES)
        missing = collections.defaultdict(lambda: [0] * FIGURES)
        unmatched = set(self.full)
        for (phase, frames), figures in paths.items():
            keys = [(phase, frames, False)] + [(phase, frames[:n], True)
                                               for n in lengths[phase, frames[0]]]
            keys = {k for k in keys if k in self.full}
            if len(keys) > 1:
                self.problem(f"{len(keys)} stacks of the report for one path")
            for key in keys:
                self.add(expected, key, figures)
                unmatched.discard(key)
            if not keys:
                self.add(missing, (phase, frames[0]), figures)
        for key in unmatched:
            self.problem(f"WRONG STACK ({self.full[key]} counted):\n{self.examples[key].show()}")
        for key, figures in expected.items():
            found = self.full[key]
            if any(found[i] > figures[i] for i in range(FIGURES)):
                self.problem(f"WRONG COUNT {found}, the path has {figures}:\n"
                             + self.examples[key].show())
            self.add(missing, (key[0], key[1][0]),
                     [figures[i] - found[i] for i in range(FIGURES)])
        self.match_fallback(missing)

    def match_fallback(self, missing):
        """What full stacks lack is in the fallback site of the same return address or, while the
        tables were full, under the tag alone. Runtimes' return addresses are all one GAP, and they
        allocate for themselves as well: theirs may hold more."""
        lost = collections.defaultdict(lambda: [0] * FIGURES)
        for key in set(missing) | set(self.fallback):
            lacks, has = missing.get(key, [0] * FIGURES), self.fallback.get(key, [0] * FIGURES)
            if lacks == has:
                continue
            if key[1] != GAP and any(a < b for a, b in zip(lacks, has)):
                self.problem(f"phase {key[0]}, immediate caller {key[1]}: full stacks lack {lacks},"
                             f" fallback has {has}")
            self.add(lost, key[0], [max(a - b, 0) for a, b in zip(lacks, has)])
        for phase, figures in lost.items():
            if any(a > b for a, b in zip(figures, self.tag_only[phase])):
                self.problem(f"phase {phase}: stacks and fallback lack {figures}, under the tag"
                             f" alone are {self.tag_only[phase]}")

    # ---- figures ----

    def share_of_fallback(self, phase):
        """Bytes of fallback per bytes allocated, of the noted allocations; None for all phases."""
        total = sum(v[1] for (p, _), v in self.truth.paths.items() if phase in (None, p))
        fallback = sum(v[1] for (p, _), v in self.fallback.items() if phase in (None, p))
        fallback += sum(v[1] for p, v in self.tag_only.items() if phase in (None, p))
        return fallback / total

    @property
    def paths(self):
        """How many different paths allocated."""
        return len({frames for (_, frames), v in self.truth.paths.items() if v[0]})

    def figures(self):
        blocks = sum(v[0] for v in self.truth.paths.values())
        return (f"{self.paths} paths, {blocks} blocks; the report has"
                f" {len(self.full)} stacks ({sum(k[2] for k in self.full)} cut),"
                f" {len(self.fallback)} immediate callers and {self.others} sites of runtimes")
