#!/usr/bin/env python3
"""Tags assigned afresh by `report` are those that the preload would have assigned: the same program
run with rules, and run without and re-tagged, gives the same figures for each tag."""
import os
import re

import harness

DEMO = os.environ.get("E2E_DEMO", "")
FIGURES = ("live_bytes", "live_blocks", "allocated_bytes", "allocated_blocks", "instantiations",
           "mb_per_1000")
KINDS = ("classical", "sta", "adaptive", "hybrid")


class Retag(harness.TallyTest):
    def figures(self, path, *rules):
        done = harness.run([*harness.REPORT, *rules, path], self.dir)
        self.assertEqual((done.status, done.own), (0, []), done.err)
        return {c["tag"]: tuple(c[f] for f in FIGURES)
                for c in harness.json.loads(done.out)["controllers"]}

    def record(self, argv, **options):
        for path in self.snapshots():
            os.remove(path)
        result = self.tally(argv, options={"INTERVAL": "100ms", **options})
        self.assertEqual(result.status, 0, result.err)
        return self.only_snapshot()

    def both_ways(self, argv, tag=(), construct=(), skip=()):
        """Figures by tag: run with the rules, the same file re-tagged, a run without re-tagged."""
        rules = [word for option, items in (("--tag", tag), ("--construct", construct),
                                            ("--tag-skip", skip))
                 for item in items for word in (option, item)]
        options = {"TAG": ";".join(tag), "CONSTRUCT": ";".join(construct),
                   "TAG_SKIP": ";".join(skip)}
        file = self.record(argv, **{k: v for k, v in options.items() if v})
        inside, again = self.figures(file), self.figures(file, *rules)
        return inside, again, self.figures(self.record(argv), *rules)

    def compare(self, name, inside, again, afterwards):
        self.expect(f"{name}: the same file re-tagged", again, inside)
        for tag in sorted(set(inside) | set(afterwards)):
            self.expect(f"{name}: {tag}, run without rules", afterwards.get(tag), inside.get(tag))

    def test_controllers_of_c(self):
        """Those of the demo, instantiations included."""
        if not os.path.exists(DEMO):
            self.skipTest("the demo is not built")
        found = self.both_ways([DEMO, "--duration", "600ms"],
                               [f"{k}={k}_*" for k in KINDS],
                               [f"{k}={k}_create" for k in KINDS])
        self.compare("demo", *found)
        self.expect("tags", sorted(found[0]), sorted(KINDS))
        self.expect("instantiations", {f[4] for f in found[0].values()}, {1000})

    def test_order_of_rules(self):
        """Rules that overlap, in both orders, and one on the program."""
        if not os.path.exists(DEMO):
            self.skipTest("the demo is not built")
        for rules in (["a=classical_history*", "b=classical_*", "rest=exe:demo*"],
                      ["b=classical_*", "a=classical_history*", "rest=exe:demo*"]):
            found = self.both_ways([DEMO, "--duration", "600ms"], rules)
            self.compare(" ".join(rules), *found)

    def test_functions_of_cxx(self):
        """Mangled, demangled with parameters and without; many threads, scopes of heaptally.h."""
        program = harness.program("retag_cxx")
        found = self.both_ways([program], ["templates=shapes::Pool<*>::take", "sum=shapes::add(int*",
                                           "mangled=_ZN6shapes5plain*"],
                               ["templates=shapes::Pool<*>::take"])
        self.compare("C++", *found)
        self.expect("tags by rule and by scope",
                    sorted(t for t in found[0] if t in ("templates", "sum", "mangled", "scope")),
                    ["mangled", "scope", "sum", "templates"])

    def test_proposals(self):
        """What `tags` says of each rule is what `report` finds with it; the command it prints runs
        as it stands."""
        if not os.path.exists(DEMO):
            self.skipTest("the demo is not built")
        file = self.record([DEMO, "--duration", "600ms"])
        done = harness.run([harness.COMMAND, "tags", file], self.dir)
        self.expect("status", (done.status, done.own), (0, []))
        rules = re.findall(r"^--tag '(\w+)=(.*?)' +([\d,]+) bytes live +([\d.]+) %$", done.out, re.M)
        made = re.findall(r"^--construct '(\w+)=(.*?)' +([\d,]+) made$", done.out, re.M)
        self.expect("rules", [r[:2] for r in rules], [("classical", "classical_*")])
        self.expect("constructions", made, [("classical", "classical_create", "1,000")])
        command = done.out[done.out.index("heaptally report"):]
        env = dict(harness.clean_environment(), PATH=os.path.dirname(harness.COMMAND) + ":/usr/bin")
        pasted = harness.run(["/bin/sh", "-c", command.rstrip() + " --format json"], self.dir, env)
        self.expect("the pasted command", (pasted.status, pasted.own), (0, []))
        found = harness.controller(harness.json.loads(pasted.out), "classical")
        self.expect("live bytes", found["live_bytes"], int(rules[0][2].replace(",", "")))
        self.expect("instantiations", found["instantiations"], 1000)


if __name__ == "__main__":
    harness.main()
