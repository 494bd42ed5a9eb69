#!/usr/bin/env python3
"""Real programs, unmodified: output and exit status are the same with heaptally, and each leaves a
report that can be read, without a single free that heaptally cannot account for."""

import os
import socket
import time

import harness

CPP = r"""
#include <map>
#include <regex>
#include <string>
int count(const std::string &text)
{
    std::map<std::string, int> words;
    words[text]++;
    return (int)words.size() + (int)std::regex_constants::ECMAScript;
}
"""

# Instantiates the whole of <regex>: hundreds of thousands of different stacks, and a report of
# hundreds of megabytes. Taken instead of the former where E2E_LARGE=1.
LARGE_CPP = r"""
#include <map>
#include <regex>
#include <string>
int count(const std::string &text)
{
    std::map<std::string, int> words;
    std::regex word("[a-z]+");
    for (std::sregex_iterator i(text.begin(), text.end(), word), end; i != end; ++i)
        words[i->str()]++;
    return (int)words.size();
}
"""

SQL = """
create table t(id integer primary key, name text, value real);
with recursive n(i) as (select 1 union all select i + 1 from n where i < 60000)
  insert into t select i, 'name-' || (i * 7919 % 60013), i / 7.0 from n;
create index by_name on t(name);
select count(*), sum(value), min(name), max(name) from t;
delete from t where id % 3 = 0;
select name, value from t where name like 'name-1234%' order by name;
select substr(name, 1, 7) as p, count(*), avg(value) from t group by p order by p;
"""

PYTHON = """
import collections, json, re, subprocess, threading, zlib
words = collections.Counter()
def work(n):
    text = ' '.join(f'w{(i * n) % 997}' for i in range(20000))
    words.update(re.findall(r'w[0-9]+', text))
threads = [threading.Thread(target=work, args=(n,)) for n in (3, 5, 7)]
for t in threads: t.start()
for t in threads: t.join()
data = json.dumps(sorted(words.items())).encode()
print(zlib.crc32(data), len(zlib.compress(data)))
print(subprocess.run(['echo', 'child'], capture_output=True, text=True).stdout.strip())
try:
    'x' * (1 << 60)
except MemoryError:
    print('MemoryError')
"""


class RealPrograms(harness.TallyTest):
    def both(self, name, argv, env=None, main=None, timeout=120, prepare=None):
        """Runs `argv` without and with heaptally. `main` is what the file of the process that does
        the work begins with, `prepare` makes the directory of each run."""
        outcomes = []
        for way in ("alone", "tallied"):
            where = os.path.join(self.dir, way)
            os.mkdir(where)
            if prepare:
                prepare(where)
            environment = self.environment() if way == "tallied" else harness.clean_environment()
            environment.update(env or {})
            result = harness.run(argv, where, environment, timeout)
            outcomes.append((result.status, result.out, result.err))
        self.compare(name, *outcomes)
        self.judge_files(name, main or os.path.basename(argv[0]))

    def compare(self, name, alone, tallied):
        self.expect(f"{name}: exit status", tallied[0], alone[0])
        same = alone[1] == tallied[1]
        self.expect(f"{name}: bytes of output, and the same", (len(tallied[1]), same),
                    (len(alone[1]), True))
        self.assertEqual(tallied[2], alone[2], "error output")

    def judge_files(self, name, main):
        found = self.snapshots(main)
        self.expect_that(f"{name}: files of {main}", len(found), found, "at least one")
        for path in self.snapshots():
            report = self.report(path)
            exe = os.path.basename(report["process"]["exe"])
            if main in path:
                blocks = sum(c["allocated_blocks"] or 0 for c in report["controllers"])
                print(f"{name}: {exe}: {blocks} blocks ever, live {report['memory']['live_bytes']} "
                      f"bytes, fallback {report['quality']['fallback_bytes']} bytes")
            self.expect(f"{name}: {exe}: foreign frees", report["quality"]["foreign_frees"], 0)
            self.expect(f"{name}: {exe}: suspected overruns",
                        report["quality"]["suspected_overruns"], 0)

    def write(self, name, text):
        path = os.path.join(self.dir, name)
        with open(path, "w", encoding="ascii") as file:
            file.write(text)
        return path

    def test_sqlite(self):
        sqlite = harness.need_program(self, "sqlite3")
        self.both("sqlite3", [sqlite, ":memory:", f".read {self.write('script.sql', SQL)}"])

    def test_python(self):
        # The interpreter itself: what stands first in PATH may be a script that looks for one.
        python = "/usr/bin/python3"
        if not os.path.exists(python):
            self.skipTest(f"{python} is not installed")
        self.both("python3", [python, "-c", PYTHON], {"PYTHONMALLOC": "malloc"}, "python3")

    def test_cpp_compiler(self):
        compiler = harness.need_program(self, "g++")
        large = os.environ.get("E2E_LARGE") == "1"
        source = self.write("words.cpp", LARGE_CPP if large else CPP)
        self.both("g++", [compiler, "-O1", "-S", "-o", "-", source], main="cc1plus")

    def lines(self):
        return self.write("lines", "".join(f"{i * 48271 % 2147483647} {i % 97}\n"
                                           for i in range(150000)))

    def test_xz(self):
        xz = harness.need_program(self, "xz")
        path = self.lines()
        self.both("xz -T2", ["/bin/sh", "-c", f'"{xz}" -T2 -2 --block-size=300KiB -c "{path}" | '
                             'cksum'], main="xz")

    def test_sort(self):
        sort = harness.need_program(self, "sort")
        self.both("sort", ["/bin/sh", "-c", f'"{sort}" --parallel=2 -S 4M -k2n -k1 "{self.lines()}"'
                           " | cksum"], main="sort")

    def test_git(self):
        git = harness.need_program(self, "git")
        stream = []
        for i in range(1, 201):
            body = "".join(f"line {j * i % 311}\n" for j in range(400))
            stream.append(f"commit refs/heads/main\nmark :{i}\ncommitter A <a@example.org> "
                          f"{1700000000 + i} +0000\ndata 4\nwork\n"
                          f"M 100644 inline file{i % 17}\ndata {len(body)}\n{body}\n")
        path = self.write("stream", "".join(stream))
        script = (f'export GIT_CONFIG_NOSYSTEM=1 HOME=$PWD; git="{git}"; $git init -q repo -b main '
                  f'&& cd repo && $git fast-import --quiet <"{path}" && $git gc -q '
                  '&& $git fsck --full 2>&1 && $git log --stat -p main | cksum '
                  '&& $git log --format=%H main | tail -3 && $git blame main -- file3 | cksum')
        self.both("git", ["/bin/sh", "-c", script], main="git")

    # ---- a server ----

    def free_port(self):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            return probe.getsockname()[1]

    def serve_redis(self, way, environment):
        """Starts a server, loads it, and stops it; returns (status, what its data add up to)."""
        port, where = str(self.free_port()), os.path.join(self.dir, way)
        os.mkdir(where)
        env = harness.clean_environment()
        client = ["redis-cli", "-p", port]
        server = harness.start(
            ["redis-server", "--port", port, "--bind", "127.0.0.1", "--save", "", "--appendonly",
             "no", "--dir", where, "--enable-debug-command", "local", "--logfile",
             os.path.join(where, "log")], where, environment)
        try:
            deadline = time.monotonic() + 30
            while harness.run([*client, "ping"], where, env).out != "PONG\n":
                self.assertLess(time.monotonic(), deadline, "redis-server does not answer")
                time.sleep(0.05)
            load = harness.run(["redis-benchmark", "-p", port, "-n", "15000", "-q", "-t",
                                "set,get,lpush,lrange_100,mset", "-d", "200"], where, env, 120)
            self.assertEqual(load.status, 0, load.err)
            harness.run([*client, "flushall"], where, env)
            script = "for i=1,20000 do redis.call('set','k'..i,string.rep('v',i%500)) end return 1"
            harness.run([*client, "eval", script, "0"], where, env)
            facts = [harness.run([*client, *question], where, env).out
                     for question in (("dbsize",), ("debug", "digest"))]
            harness.run([*client, "shutdown", "nosave"], where, env)
            return harness.finish(server, 30).status, "".join(facts), ""
        finally:
            if server.poll() is None:
                server.kill()
                server.wait()

    def test_redis(self):
        for name in ("redis-server", "redis-cli", "redis-benchmark"):
            harness.need_program(self, name)
        alone = self.serve_redis("alone", harness.clean_environment())
        tallied = self.serve_redis("tallied", self.environment())
        self.compare("redis-server", alone, tallied)
        self.judge_files("redis-server", "redis")


if __name__ == "__main__":
    harness.main()
