#!/usr/bin/env python3
"""What heaptally costs whole programs, as they are: sqlite3, redis, python3 and g++.

Each round runs every program plain and under heaptally, one after the other; ratios are taken
within the round, and the table shows medians over the rounds. Elapsed time for sqlite3 and python3,
user time for the compiler, requests a second for redis. Nothing is asserted.
"""

import argparse
import os
import resource
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time

import variants

SQL = """create table t(a integer primary key, b text, c real);
with recursive n(i) as (select 1 union all select i+1 from n where i<200000)
insert into t select i, 'row ' || (i * 7919 % 100003), i / 3.0 from n;
create index tb on t(b);
select count(*), sum(c) from t where b like 'row 1%';
select b, count(*) from t group by b order by 2 desc, 1 limit 5;
"""

PYTHON = """import json
for turn in range(8):
    rows = [{"id": i, "name": "n%d" % i, "tags": [str(i % 7)] * 3} for i in range(20000)]
    text = json.dumps(rows)
    assert sum(len(r["tags"]) for r in json.loads(text)) == 60000
"""

CPP = """#include <map>
#include <regex>
#include <string>
#include <vector>
std::map<std::string, std::vector<int>> words;
bool match(const std::string &text) { return std::regex_match(text, std::regex("[a-z]+([0-9]*)")); }
"""


def run(command, env, directory, **keywords):
    subprocess.run(command, env=env, cwd=directory, stdout=subprocess.DEVNULL,
                   stderr=subprocess.DEVNULL, timeout=600, check=True, **keywords)


def elapsed(command, text=None):
    def measure(env, directory):
        start = time.monotonic()
        run(command, env, directory, **({"input": text, "text": True} if text else {}))
        return time.monotonic() - start
    return measure


def user_time(command):
    def measure(env, directory):
        before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
        run(command, env, directory)
        return resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before
    return measure


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def redis(env, directory):
    """Seconds that a request takes."""
    port = str(free_port())
    server = subprocess.Popen(["redis-server", "--port", port, "--bind", "127.0.0.1", "--save", "",
                               "--appendonly", "no"], env=env, cwd=directory,
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(100):
            with socket.socket() as s:
                if s.connect_ex(("127.0.0.1", int(port))) == 0:
                    break
            time.sleep(0.05)
        done = subprocess.run(["redis-benchmark", "-p", port, "-n", "150000", "-P", "16", "-r",
                               "100000", "-q", "--csv", "-t", "set,get,lpush"], timeout=300,
                              capture_output=True, text=True, check=True)
        rates = [float(line.split('","')[1].strip('"')) for line in done.stdout.splitlines()[1:]]
        return sum(1 / rate for rate in rates) / len(rates)
    finally:
        server.terminate()
        server.wait(30)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=int(os.environ.get("BENCH_ROUNDS", "7")))
    options = parser.parse_args()
    if not os.path.exists(variants.LIBRARY):
        print("SKIP all: libheaptally.so is not built")
        sys.exit(77)
    usual = dict(variants.always())
    with tempfile.TemporaryDirectory(prefix="tally-bench-") as directory:
        source = os.path.join(directory, "words.cpp")
        with open(source, "w", encoding="ascii") as file:
            file.write(CPP)
        programs = (
            ("sqlite3", elapsed(["sqlite3", ":memory:"], SQL), "sqlite3"),
            ("python3", elapsed(["/usr/bin/python3", "-c", PYTHON]), "/usr/bin/python3"),
            ("g++", user_time(["g++", "-O1", "-c", "-o", "/dev/null", source]), "g++"),
            ("redis", redis, "redis-benchmark"),
        )
        print(f"{'program':10} {'plain, s':>12} {'heaptally, s':>12} {'x plain':>8}")
        for name, measure, needs in programs:
            if not shutil.which(needs):
                print(f"SKIP {name}: not installed")
                continue
            rounds = []
            for _ in range(options.rounds):
                rounds.append([measure(dict(usual[v], PYTHONMALLOC="malloc"), directory)
                               for v in ("plain", "heaptally")])
            medians = [statistics.median(r[i] for r in rounds) for i in (0, 1)]
            ratio = statistics.median(r[1] / r[0] for r in rounds)
            print(f"{name:10} {medians[0]:12.6f} {medians[1]:12.6f} {ratio:8.3f}", flush=True)


if __name__ == "__main__":
    main()
