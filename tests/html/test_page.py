#!/usr/bin/env python3
"""The HTML report as a file: one file, nothing to fetch, nothing that runs but its own scripts,
and nothing of a profile that is not data. No browser is needed for this."""
import base64
import hashlib
import html.parser
import json
import os
import re
import sys

import profiles
from profiles import driver, htl

BIG_LIMIT = 5 << 20


class Parts(html.parser.HTMLParser):
    """What a browser finds: elements with their attributes, and the text of scripts and styles."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.elements, self.texts, self.inside = [], [], False
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        self.inside = tag in ("script", "style")
        if self.inside:
            self.texts.append([tag, dict(attrs), ""])

    def handle_endtag(self, tag):
        self.inside = False

    def handle_data(self, data):
        if self.inside:
            self.texts[-1][2] += data


def hash_of(text):
    return "'sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() + "'"


class Page(driver.Case):
    def page(self, file, *argv):
        path = file.write(self.path("file.htl"))
        done = self.heaptally("report", "--format", "html", *argv, path)
        self.assertEqual((done.returncode, done.err), (0, ""))
        return done.out

    def data_of(self, page):
        found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.S)
        return json.loads(found[1])

    def test_nothing_is_fetched(self):
        parts = Parts(self.page(htl.controllers()))
        for tag, attributes in parts.elements:
            for name in ("src", "href", "srcset", "data", "action", "poster"):
                address = attributes.get(name)
                self.assertTrue(address is None or address.startswith(("#", "data:,")),
                                (tag, attributes))
            self.assertFalse([n for n in attributes if n.startswith("on") or n == "style"])
        styles = [text for tag, _, text in parts.texts if tag == "style"]
        self.assertEqual(len(styles), 1)
        self.assertNotRegex(styles[0], r"url\(|@import")

    def test_policy_names_all_that_may_run(self):
        """By hash; so a script that a name smuggled in would not run even if it came that far."""
        parts = Parts(self.page(htl.controllers()))
        policy = [a["content"] for t, a in parts.elements
                  if t == "meta" and a.get("http-equiv") == "Content-Security-Policy"]
        rules = dict(rule.strip().split(" ", 1) for rule in policy[0].split(";"))
        run = [text for tag, attributes, text in parts.texts
               if tag == "script" and attributes.get("type") != "application/json"]
        style = [text for tag, _, text in parts.texts if tag == "style"]
        self.assertEqual(rules, {"default-src": "'none'", "base-uri": "'none'", "img-src": "data:",
                                 "form-action": "'none'", "style-src": hash_of(style[0]),
                                 "script-src": " ".join(map(hash_of, run))})
        self.assertEqual(len(run), 2)

    def test_hostile_names_are_data(self):
        page = self.page(profiles.hostile(self.dir))
        plain = Parts(self.page(htl.controllers()))
        self.assertEqual(Parts(page).elements, plain.elements)
        data = page[page.index('id="data">') + len('id="data">'):]
        data = data[:data.index("</script>")]
        for character in "<>&\u2028\u2029":
            self.assertNotIn(character, data)
        read = json.loads(data)
        self.assertEqual({c["name"] for c in read["controllers"]}, profiles.SHOWN)
        self.assertIn(profiles.HOSTILE["script"], read["strings"])

    def test_the_page_is_the_json_report(self):
        """The same figures, site by site, stack by stack."""
        file = profiles.rich()
        report = self.json(file.write(self.path("file.htl")))
        data = self.data_of(self.page(file))
        ours, sites = {}, data["sites"]
        text = [None] + data["strings"]
        name = lambda index: text[0 if index is None else index + 1]
        for i in range(len(sites["live"])):
            stack, node = [], sites["node"][i]
            while node >= 0:
                f = data["nodes"]["function"][node]
                stack.append((name(data["functions"]["module"][f]), data["functions"]["offset"][f],
                              name(data["functions"]["name"][f])))
                node = data["nodes"]["parent"][node]
            tag = data["controllers"][sites["controller"][i]]["name"]
            figures = [sites[key][i] for key in ("live", "blocks", "allocated", "allocatedBlocks")]
            ours.setdefault((tag, tuple(stack)), []).append(figures)
        theirs = {}
        for controller in report["controllers"]:
            for site in controller["sites"]:
                stack = tuple((f["module"], f["offset"], f["function"]) for f in site["stack"])
                theirs.setdefault((controller["tag"], stack), []).append(
                    [site[key] for key in ("live_bytes", "live_blocks", "allocated_bytes",
                                           "allocated_blocks")])
        self.assertEqual({k: sorted(v) for k, v in ours.items()},
                         {k: sorted(v) for k, v in theirs.items()})
        self.assertEqual([c["live"] for c in data["controllers"]],
                         [c["live_bytes"] for c in report["controllers"]])
        self.assertEqual(len(data["alerts"]), len(report["alerts"]))

    def test_views_look_back(self):
        """Sites at the peak and at the baseline, as in the reports of those views."""
        path = profiles.rich().write(self.path("file.htl"))
        data = self.data_of(self.heaptally("report", "--format", "html", path).out)
        for view, figure in (("peak", lambda s, i: s["peak"][i]),
                             ("growth", lambda s, i: s["live"][i] - s["baseline"][i])):
            report = self.json(path, "--view", view)
            theirs = sorted((c["tag"], s["view_bytes"]) for c in report["controllers"]
                            for s in c["sites"])
            ours = sorted((data["controllers"][data["sites"]["controller"][i]]["name"],
                           figure(data["sites"], i)) for i in range(len(data["sites"]["live"])))
            self.assertEqual(ours, theirs, view)
            self.assertTrue(any(value for _, value in ours), view)

    def test_series(self):
        """Thinned to what a screen shows; the last value is the report's figure, and no peak is
        lost."""
        f = htl.File().tag(1, "saw")
        highest = 0
        for t in range(1, 2001):
            live = 1000 + t % 37 * 100 + (50000 if t == 777 else 0)
            highest = max(highest, live)
            f.tick(t, rss=htl.MB * 10 + t, tags={1: dict(allocated=(live + t * 5000, t + 1),
                                                         freed=(t * 5000, t), low=900)})
        data = self.data_of(self.page(f))
        past = data["controllers"][0]["past"]
        self.assertLessEqual(len(data["times"]), 480)
        self.assertEqual(len(past["value"]), len(data["times"]))
        self.assertEqual((past["value"][-1], max(past["high"]), min(past["low"])),
                         (data["controllers"][0]["live"], highest, 0))
        self.assertEqual(data["times"][-1], 2000)
        self.assertEqual(data["rss"]["value"][-1], htl.MB * 10 + 2000)

    def test_sites_beyond_the_limit_are_added_up(self):
        """Nothing is lost in the sums: what is not listed is one line of its controller."""
        f = htl.File().module(1, "/nonexistent/plant").tag(1, "many").tag(2, "few")
        sites = {}
        for i in range(1, 10501):
            f.stack(i, [(1, 16 * i)]).site(i, i, 1 if i < 10500 else 2)
            sites[i] = dict(allocated=(i * 10, 1))
        total = sum(i * 10 for i in range(1, 10500))
        f.snapshot(1, sites=sites, tags={1: dict(allocated=(total, 10499)),
                                         2: dict(allocated=(105000, 1))})
        data = self.data_of(self.page(f))
        many = [i for i, c in enumerate(data["sites"]["controller"])
                if data["controllers"][c]["name"] == "many"]
        self.assertEqual(sum(data["sites"]["live"][i] for i in many), total)
        self.assertEqual(sum(data["sites"]["sites"][i] for i in many), 10499)
        self.assertEqual(len(data["sites"]["live"]), 10001)
        self.assertEqual([data["sites"]["live"][i] for i in many if data["sites"]["node"][i] < 0],
                         [sum(i * 10 for i in range(1, 501))])

    def test_sites_are_judged_as_in_the_json_report(self):
        file = profiles.rich()
        report = self.json(file.write(self.path("file.htl")))
        data = self.data_of(self.page(file))
        verdicts = ("leak", "inconclusive", "invalid", "bounded")
        ours = sorted((c, live, verdicts[verdict]) for c, live, verdict in zip(
            (data["controllers"][i]["name"] for i in data["sites"]["controller"]),
            data["sites"]["live"], data["sites"]["verdict"]))
        self.assertEqual(ours, sorted((c["tag"], s["live_bytes"], s["verdict"])
                                      for c in report["controllers"] for s in c["sites"]))
        self.assertEqual([(c["name"], c["verdict"]["kind"], c["verdict"]["reason"])
                          for c in data["controllers"]],
                         [(c["tag"], c["verdict"], c["reason"]) for c in report["controllers"]])

    def test_regions(self):
        f = htl.File().module(1, "/nonexistent/plant").tag(1, "pid").region(7, "step", 12, 130)
        f.stack(1, [(1, 16)]).stack(2, [(1, 32)]).site(1, 1, 1).site(2, 2, 1, region=7)
        f.snapshot(1, tags={1: dict(allocated=(130, 12))},
                   sites={1: dict(allocated=(100, 10)), 2: dict(allocated=(30, 2))})
        data = self.data_of(self.page(f))
        self.assertEqual(data["regions"], [{"name": "step", "allocations": 12, "bytes": 130}])
        self.assertEqual(dict(zip(data["sites"]["live"], data["sites"]["region"])),
                         {100: None, 30: 0})

    def test_several_processes(self):
        """One page of them all: sums, and what each one holds."""
        for pid in (1, 2):
            f = htl.controllers(pid=pid)
            f.write(self.path(f"{pid}.htl"))
        done = self.heaptally("report", "--format", "html", "1.htl", "2.htl")
        self.assertEqual((done.returncode, done.err, done.out.count("<!doctype html>")), (0, "", 1))
        data = self.data_of(done.out)
        self.assertEqual([(p["pid"], p["live"]) for p in data["processes"]],
                         [(1, 20480000), (2, 20480000)])
        self.assertEqual(sum(data["sites"]["live"]), 40960000)

    def test_empty_files(self):
        for file in (htl.File(), htl.File().tag(1, "t").end(1), htl.File().tick(1)):
            data = self.data_of(self.page(file))
            self.assertEqual(len(data["sites"]["live"]), 0)

    def test_size(self):
        path = profiles.big(self.dir)
        if not path:
            self.skipTest("make_large or readelf is not there")
        done = self.heaptally("report", "--format", "html", "-o", "big.html", path)
        self.assertEqual((done.returncode, done.err), (0, ""))
        size = os.path.getsize(self.path("big.html"))
        print(f"5,000 sites, 24 h of ticks: {os.path.getsize(path)} bytes of snapshot, "
              f"{size} bytes of page")
        self.assertLess(size, BIG_LIMIT)


if __name__ == "__main__":
    sys.exit(driver.main())
