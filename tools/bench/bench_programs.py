#!/usr/bin/env python3
"""What heaptally costs whole programs, as they are: sqlite3, redis, python3 and g++.

Each round runs every program plain and under heaptally, one after the other; ratios are taken
within the round, and the table shows medians over the rounds: of the time that went by, and of the
processor time of all threads, heaptally's own among them. For redis two servers are there at once,
of which only the one is watched, and the same requests go to them by turns, one at a time as
redis-benchmark does by itself and 16 at a time (pipelined): requests a second, and what a request
takes of the server's core, which depends little on who else wants it. Nothing is asserted.
"""

import argparse
import csv
import os
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

SMALL_CPP = """#include <algorithm>
#include <iostream>
#include <string>
#include <vector>
int main()
{
    std::vector<std::string> words;
    for (std::string word; std::cin >> word;)
        words.push_back(word);
    std::sort(words.begin(), words.end());
    for (auto &word : words)
        std::cout << word << '\\n';
}
"""


def seconds(command, text, env, directory):
    """(that went by, of processor time) until the program has ended, which is waited for in one
    call: who looks now and again whether it has, measures when he looked."""
    with tempfile.TemporaryFile() as stdin:
        stdin.write(text.encode())
        stdin.seek(0)
        start = time.monotonic()
        program = subprocess.Popen(command, env=env, cwd=directory, stdin=stdin,
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        _, status, used = os.wait4(program.pid, 0)
        took = time.monotonic() - start
    program.returncode = os.waitstatus_to_exitcode(status)
    if program.returncode != 0:
        raise subprocess.CalledProcessError(program.returncode, command)
    return took, used.ru_utime + used.ru_stime


def print_pairs(line, pairs, digits):
    """Of two quantities, each with so many digits: medians of both variants, and of the ratio."""
    for i, decimals in enumerate(digits):
        medians = [statistics.median(pair[who][i] for pair in pairs) for who in (0, 1)]
        ratio = statistics.median(pair[1][i] / pair[0][i] for pair in pairs)
        line += f" {medians[0]:12.{decimals}f} {medians[1]:12.{decimals}f} {ratio:8.3f}"
    print(line, flush=True)


def compare_programs(rounds, usual, directory):
    """Prints the table of programs that come to an end."""
    compile_it = ["g++", "-c", "-o", "/dev/null"]
    for name, text in (("small.cpp", SMALL_CPP), ("regex.cpp", CPP)):
        with open(os.path.join(directory, name), "w", encoding="ascii") as file:
            file.write(text)
    programs = (
        ("sqlite3", ["sqlite3", ":memory:"], SQL),
        ("python3", ["/usr/bin/python3", "-c", PYTHON], ""),
        ("g++, small", [*compile_it, "-O2", "small.cpp"], ""),
        ("g++ -O1", [*compile_it, "-O1", "regex.cpp"], ""),
        ("g++ -O2", [*compile_it, "-O2", "regex.cpp"], ""),
    )
    print(f"{'program':10} {'plain, s':>12} {'heaptally':>12} {'x plain':>8}"
          f" {'plain, CPU s':>12} {'heaptally':>12} {'x plain':>8}")
    for name, command, text in programs:
        if not shutil.which(command[0]):
            print(f"SKIP {name}: not installed")
            continue
        pairs = []
        in_turn = ["plain", "heaptally"]
        for _ in range(rounds):
            found = {v: seconds(command, text, dict(usual[v], PYTHONMALLOC="malloc"), directory)
                     for v in in_turn}
            pairs.append((found["plain"], found["heaptally"]))
            in_turn.reverse()
        print_pairs(f"{name:10}", pairs, (3, 3))


# ---- redis ------------------------------------------------------------------------------------

REDIS_REQUESTS = {1: 30000, 16: 100000}  # by how many are sent at a time
REDIS_COMMANDS = ("set", "get", "lpush")


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Server:
    """A redis-server on the loopback, until it is left."""

    def __init__(self, env, directory):
        self.port = free_port()
        self.process = subprocess.Popen(
            ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--save", "",
             "--appendonly", "no"], env=env, cwd=directory, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def __enter__(self):
        for _ in range(200):
            with socket.socket() as s:
                if s.connect_ex(("127.0.0.1", self.port)) == 0:
                    return self
            time.sleep(0.05)
        self.__exit__()
        raise RuntimeError("redis-server does not answer")

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(30)

    def core_seconds(self):
        """What the server has had of a core: user and system time of all its threads."""
        with open(f"/proc/{self.process.pid}/stat", encoding="ascii", errors="replace") as file:
            fields = file.read().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def measure(self, command, at_a_time):
        """(requests a second, microseconds of the server's core a request)"""
        before = self.core_seconds()
        requests = REDIS_REQUESTS[at_a_time]
        done = subprocess.run(["redis-benchmark", "-p", str(self.port), "-n", str(requests), "-P",
                               str(at_a_time), "-r", "100000", "-q", "--csv", "-t", command],
                              env=variants.environment(None), stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, timeout=300, check=True)
        rates = [float(row["rps"]) for row in csv.DictReader(done.stdout.splitlines())]
        if len(rates) != 1:
            raise RuntimeError(f"redis-benchmark said: {done.stdout!r}")
        return rates[0], 1e6 * (self.core_seconds() - before) / requests


def compare_redis(rounds, plain, watched, directory):
    """Prints the table of redis."""
    found = {(command, n): [] for command in REDIS_COMMANDS for n in REDIS_REQUESTS}
    with Server(plain, directory) as one, Server(watched, directory) as other:
        servers = [one, other]
        for turn in range(rounds + 1):
            for way, pairs in found.items():
                values = {server: server.measure(*way) for server in servers}
                if turn > 0:  # the first fills the servers
                    pairs.append((values[one], values[other]))
            servers.reverse()
    print(f"{'redis':10} {'plain, 1/s':>12} {'heaptally':>12} {'x plain':>8}"
          f" {'plain, us':>12} {'heaptally':>12} {'x plain':>8}")
    for (command, at_a_time), pairs in found.items():
        print_pairs(f"{command:6}{at_a_time:3} ", pairs, (0, 2))


# ---- all --------------------------------------------------------------------------------------


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=int(os.environ.get("BENCH_ROUNDS", "7")))
    options = parser.parse_args()
    if not os.path.exists(variants.LIBRARY):
        print("SKIP all: libheaptally.so is not built")
        sys.exit(77)
    usual = dict(variants.always())
    with tempfile.TemporaryDirectory(prefix="tally-bench-") as directory:
        compare_programs(options.rounds, usual, directory)
        if shutil.which("redis-server") and shutil.which("redis-benchmark"):
            compare_redis(2 * options.rounds, usual["plain"], usual["heaptally"], directory)
        else:
            print("SKIP redis: not installed")


if __name__ == "__main__":
    main()
