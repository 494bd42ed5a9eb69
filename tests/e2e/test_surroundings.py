#!/usr/bin/env python3
"""Surroundings that change or refuse: descriptors, directories, privileges, limits, full disks.

Whatever happens to heaptally there, the program ends as it would have alone.
"""

import ctypes
import os
import re
import resource
import select
import shutil
import signal
import socket
import subprocess
import time

import harness
from harness import controller

CLONE_NEWNS, MS_REC, MS_PRIVATE = (
    0x20000, 0x4000, 1 << 18)


def own_mounts():
    """Makes the calling process (between fork and exec) the owner of its mounts."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNS) or libc.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None):
        os._exit(99)

FIRST_TICK = {"INTERVAL": "130ms", "ROOT": "1"}  # of a process that another one started


class Surroundings(harness.TallyTest):
    def unharmed(self, name, result, out="done\n"):
        self.expect(f"{name}: exit status and output", (result.status, result.out), (0, out))
        self.assertEqual(result.err, "", "error output beside heaptally's")

    def kept(self, name, path, expected):
        report = self.report(path)
        live = controller(report, "kept")["live_bytes"]
        self.expect_that(f"{name}: live bytes", live, live in expected, sorted(expected))
        return report

    def public(self, path, mode=0o755):
        """A copy that everybody may read: the build directory may be closed to others."""
        copy = os.path.join(self.dir, os.path.basename(path))
        shutil.copy(path, copy)
        os.chmod(copy, mode)
        return copy

    # ---- descriptors and directories ----

    def test_descriptors_closed(self):
        for way in ("range", "loop"):
            with self.subTest(way):
                victim = os.path.join(self.dir, f"victim-{way}")
                result = self.tally([harness.program("close_all_fds"), way, victim])
                self.unharmed(f"close by {way}", result, "")
                self.expect(f"close by {way}: the program's file", open(victim, "rb").read(),
                            b"intact\n" * 16)
                path = self.snapshots()[0]
                self.kept(f"close by {way}", path, {100000, 150000})
            for path in self.snapshots():
                os.unlink(path)

    def test_log_that_nobody_reads(self):
        """A broken pipe as the log ends no program, neither at its start nor at its end."""
        reader, writer = os.pipe()
        os.close(reader)
        process = subprocess.Popen(
            [harness.program("flaw_small_blocks")], cwd=self.dir,
            env=self.environment({"LEAK_THRESHOLD": "1KB"}), stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=writer,
            preexec_fn=lambda: signal.signal(signal.SIGPIPE, signal.SIG_DFL))
        os.close(writer)
        self.expect("status", process.wait(60), 0)
        self.only_snapshot()

    def stalled(self, kind):
        """Both ends of a log that takes nothing more: (reader, writer)."""
        if kind == "pipe":
            reader, writer = os.pipe()
        elif kind == "socket":
            reader, writer = (s.detach() for s in socket.socketpair())
        else:
            reader, writer = os.openpty()
        os.set_blocking(writer, False)
        quiet = 0
        while quiet < 20: # a terminal passes on some of it by itself, a little later
            quiet += 1
            for size in (1000, 1):
                try:
                    while True:
                        os.write(writer, b"x" * size)
                        quiet = 0
                except BlockingIOError:
                    pass
            time.sleep(0.01)
        os.set_blocking(writer, True)
        return reader, writer

    def test_log_that_stands_still(self):
        """A log that takes nothing more holds nobody up, and what it lost is said when it takes
        lines again."""
        for kind in ("pipe", "socket", "terminal"):
            with self.subTest(kind):
                reader, writer = self.stalled(kind)
                process = subprocess.Popen(
                    [harness.program("phases"), ".200", "+2000", ".200", "say", "-", ".300"],
                    cwd=self.dir, env=self.environment({"THRESHOLD": "ctl=1MB"}),
                    stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=writer,
                    start_new_session=True)
                try:
                    ready = select.select([process.stdout], [], [], 20)[0]
                    self.expect(f"{kind}: the program came through", bool(ready), True)
                    told = harness.run([harness.COMMAND, "status", process.pid], self.dir,
                                       harness.clean_environment()
                                       | {"HEAPTALLY_RUNDIR": os.path.join(self.dir, "run")})
                    self.expect_that(f"{kind}: status", told.out, "lines lost" in told.out,
                                     "says how many lines were lost")
                    os.set_blocking(reader, False)
                    self.drain(reader)
                    process.communicate(b"go on\n", timeout=20)
                finally:
                    process.kill()
                self.expect(f"{kind}: exit status", process.returncode, 0)
                text = self.drain(reader).replace("\r", "").splitlines()
                self.expect_that(f"{kind}: what came when there was room", text, len(text) == 2
                                 and re.fullmatch(r"heaptally: [2-9] lines were lost here: nobody "
                                                  "read them", text[0]) and " CLEAR " in text[1],
                                 "how many lines were lost, then the next alert")
                os.close(reader)
                os.close(writer)

    def drain(self, reader):
        """All that there is to read now."""
        text = b""
        try:
            while True:
                text += os.read(reader, 65536)
        except BlockingIOError:
            return text.decode()

    def test_log_that_is_data_now(self):
        """Descriptor 2 is closed and used again for something else: no line of ours gets there. Where
        output and errors are sent to the same file, it is a log."""
        for kind in ("file", "socket", "redirect"):
            victim = os.path.join(self.dir, f"victim-{kind}")
            result = self.tally([harness.program("reuse_log"), kind, victim],
                                {"THRESHOLD": "ctl=10KB"})
            self.expect(f"{kind} at descriptor 2: status", result.status, 0)
            with open(victim, encoding="utf-8") as file:
                text = file.read().splitlines()
            if kind == "redirect":
                self.expect_that(f"{kind}: lines in it", text, len(text) == 2
                                 and " tag_growth ctl: " in text[1], "the program's, and the alert")
            else:
                self.expect(f"{kind} at descriptor 2: lines in it", text, ["intact"])

    def test_working_directory_changes(self):
        result = self.tally([harness.program("change_directory")], {"OUTPUT": None})
        self.unharmed("chdir", result, "")
        self.kept("chdir: file where it began", self.only_snapshot(), {150000})

    def test_started_by_the_loader(self):
        """The kernel then takes the loader for the program."""
        loader = "/lib64/ld-linux-x86-64.so.2"
        if not os.path.exists(loader):
            self.skipTest(f"{loader} is not there")
        program = harness.program("just_allocate")
        for name in program, os.path.relpath(program, self.dir):
            result = self.tally([loader, name])
            self.expect(f"{name}: exit status", result.status, 0)
            path = self.only_snapshot()
            report = self.report(path)
            self.expect(f"{name}: program", os.path.basename(report["process"]["exe"]),
                        "just_allocate")
            sites = harness.controller(report, "kept")["sites"]
            cut = [s for s in sites if s["cut"] or s["stack"][-1]["function"] != "_start"]
            whole = sum(s["live_blocks"] for s in sites if s not in cut and not s["fallback"])
            self.expect_that(f"{name}: blocks under whole stacks", whole, whole >= 500,
                             "at least the 500 of the end")
            os.unlink(path)

    def test_under_valgrind(self):
        """It reports nothing of ours and has the program's allocations to itself, which is said."""
        valgrind = [harness.need_program(self, "valgrind"), "-q", "--error-exitcode=9",
                    harness.program("usable_size")]
        plain = harness.run(valgrind, self.dir)
        result = self.tally(valgrind, options={"ONLY": "usable_size"})
        if "debuginfo reader" in result.err:
            self.skipTest("valgrind does not know this compiler's debug information")
        self.expect("under valgrind: exit status and what it reports", (result.status, result.err),
                    (plain.status, plain.err))
        quality = self.report(self.only_snapshot("usable_size"))["quality"]
        self.expect("under valgrind: what is counted is not all there is",
                    quality["static_allocator"], True)

    def test_over_valgrind(self):
        """Where it leaves the program's calls to heaptally, all is counted, and nothing beside a block
        is read."""
        valgrind = [harness.need_program(self, "valgrind"), "-q", "--undef-value-errors=no",
                    "--error-exitcode=9", "--soname-synonyms=somalloc=nouserintercepts",
                    harness.program("usable_size")]
        result = self.tally(valgrind, options={"ONLY": "usable_size"})
        if "debuginfo reader" in result.err:
            self.skipTest("valgrind does not know this compiler's debug information")
        self.expect("over valgrind: exit status and what it reports", (result.status, result.err),
                    (0, ""))
        whole = harness.controller(self.report(self.only_snapshot("usable_size")), "whole")
        self.expect("over valgrind: blocks ever and live",
                    (whole["allocated_blocks"], whole["live_blocks"]), (18000, 90))

    def test_confined(self):
        """Who may make few system calls is not killed for ours: neither where the watching would
        begin after that, nor at its end. Where it had begun before, it goes on."""
        for how in "prctl", "syscall":
            result = self.tally([harness.program("confined"), how], FIRST_TICK)
            self.expect(f"confined in its first tick, {how}: exit status", result.status, 0)
            self.expect(f"confined in its first tick, {how}: files", self.snapshots(), [])
            result = self.tally([harness.program("confined"), how])
            self.expect(f"confined while watched, {how}: exit status", result.status, 0)
            report = self.report(self.only_snapshot())
            self.expect(f"confined while watched, {how}: live bytes",
                        harness.controller(report, "confined")["live_bytes"], 101000)
            os.unlink(self.only_snapshot())

    def test_confined_with_all_threads(self):
        """Ours are gone before, and so is the watch: with its last figures, in good order."""
        result = self.tally([harness.program("confined"), "all"], FIRST_TICK)
        self.expect("all confined in the first tick: exit status", result.status, 0)
        self.expect("all confined in the first tick: what is said", result.own, [])
        self.expect("all confined in the first tick: files", self.snapshots(), [])
        result = self.tally([harness.program("confined"), "all"])
        self.expect("all confined while watched: exit status", result.status, 0)
        self.expect("all confined while watched: what is said last",
                    result.own[-1].endswith("the figures end here"), True)
        report = self.report(self.only_snapshot())
        self.expect("all confined while watched: complete", report["process"]["complete"], True)
        self.expect("all confined while watched: live bytes",
                    harness.controller(report, "confined")["live_bytes"], 1000)

    def test_fork_of_the_confined(self):
        """The child is as confined, and is not watched; nor is it killed for that."""
        for name, more in ("watched", {}), ("in its first tick", FIRST_TICK):
            result = self.tally([harness.program("confined"), "fork"], more)
            self.expect(f"fork of the confined, {name}: exit status", result.status, 0)
            files = self.snapshots()
            self.expect(f"fork of the confined, {name}: files", len(files), 0 if more else 1)
            for file in files:
                os.unlink(file)

    def test_seccomp_is_asked_for(self):
        """Who is refused a filter is watched as before, to its end; so is the parent of a child
        that shares its memory."""
        for name, more in ("watched", {}), ("in its first tick", FIRST_TICK):
            result = self.tally([harness.program("confined"), "probe"], more)
            self.expect(f"probe, {name}: exit status", result.status, 0)
            report = self.report(self.only_snapshot())
            self.expect(f"probe, {name}: complete", report["process"]["complete"], True)
            self.expect(f"probe, {name}: live bytes",
                        harness.controller(report, "confined")["live_bytes"], 101000)
            os.unlink(self.only_snapshot())

    def test_file_is_private(self):
        self.tallied([harness.program("just_allocate")])
        mode = os.stat(self.only_snapshot()).st_mode & 0o777
        self.expect("mode of the file", oct(mode), oct(0o600))

    def test_never_overwrites(self):
        """A name that exists is taken by others, a symbolic link too: another name is used."""
        precious = os.path.join(self.dir, "precious")
        with open(precious, "w", encoding="ascii") as file:
            file.write("precious")
        os.symlink(precious, os.path.join(self.dir, "fixed.htl"))
        result = self.tally([harness.program("just_allocate")],
                            {"OUTPUT": os.path.join(self.dir, "fixed.htl")})
        self.unharmed("name exists", result)
        self.expect("name exists: the other's file", open(precious, encoding="ascii").read(),
                    "precious")
        files = [p for p in self.snapshots() if not os.path.islink(p)]
        self.expect("name exists: files of ours", len(files), 1)
        self.kept("name exists", files[0], {150000})

    def run_in_closed_directory(self, more):
        harness.need_root(self)
        closed = os.path.join(self.dir, "closed")
        os.mkdir(closed, 0o555)
        env = self.environment({"OUTPUT": None, "RUNDIR": None}, library=self.public(
            harness.LIBRARY))
        env.update(more, HOME=closed)
        return harness.run([self.public(harness.program("just_allocate"))], closed, env,
                           **harness.as_nobody())

    def test_closed_working_directory(self):
        for variable, sub in (("STATE_DIRECTORY", ""), ("XDG_STATE_HOME", "heaptally")):
            with self.subTest(variable):
                state = os.path.join(self.dir, "state-" + variable)
                os.mkdir(state)
                os.chown(state, harness.NOBODY, harness.NOBODY)
                result = self.run_in_closed_directory({variable: state})
                self.unharmed(f"closed directory, {variable}", result)
                where = os.path.join(state, sub)
                found = os.listdir(where) if os.path.isdir(where) else []
                self.expect(f"closed directory: files in {variable}", len(found), 1)
                self.kept(f"closed directory, {variable}", os.path.join(where, found[0]), {150000})
            shutil.rmtree(os.path.join(self.dir, "closed"))

    def test_nowhere_to_write(self):
        result = self.run_in_closed_directory({})
        self.unharmed("nowhere to write", result)
        self.expect_that("nowhere to write: lines of ours", result.own,
                         len(result.own) == 1 and ".htl" in result.own[0]
                         and "snapshot is" not in result.own[0],
                         "one, that nothing is written")

    # ---- privileges ----

    def test_privileges_dropped(self):
        harness.need_root(self)
        for way, expected in (("libc", {150000}), ("raw", {100000, 150000})):
            with self.subTest(way):
                result = self.tally([harness.program("drop_privileges"), way, harness.NOBODY])
                self.unharmed(f"privileges dropped by {way}", result, "")
                self.kept(f"privileges dropped by {way}", self.only_snapshot(), expected)
            for path in self.snapshots():
                os.unlink(path)

    def test_monitor_of_another_user(self):
        """A monitor that did not become the user that the program became does nothing more; one
        that libc changes along goes on, however often."""
        harness.need_root(self)
        name = "the main thread alone becomes another user"
        result = self.tally([harness.program("drop_privileges"), "raw", harness.NOBODY, 2500])
        self.unharmed(name, result, "")
        said = [line for line in result.own if line.startswith("heaptally: credentials: ")]
        self.expect(f"{name}: lines that say so", len(said), 1)
        self.kept(name, self.only_snapshot(), {100000})
        self.expect(f"{name}: sockets left", os.listdir(os.path.join(self.dir, "run")), [])
        os.unlink(self.only_snapshot())
        name = "all threads change users, 1,500 times"
        result = self.tally([harness.program("drop_privileges"), "often", harness.NOBODY, 1500])
        self.unharmed(name, result, "")
        self.expect(f"{name}: lines of ours but the first", result.own[1:], [])
        self.kept(name, self.only_snapshot(), {150000})

    def test_user_in_many_groups(self):
        """Whose groups do not fit into what is read of them is no other user."""
        harness.need_root(self)
        name = "300 groups"
        result = self.tally([harness.program("drop_privileges"), "groups", harness.NOBODY, 2500])
        self.unharmed(name, result, "")
        self.expect(f"{name}: lines of ours but the first", result.own[1:], [])
        self.kept(name, self.only_snapshot(), {150000})

    def listing(self):
        return sorted(os.path.join(where, n) for where, _, names in os.walk(self.dir)
                      for n in names)

    def test_set_uid_program(self):
        """The loader drops a preload that is named by its path; nothing may appear either."""
        harness.need_root(self)
        tool = self.public(harness.program("just_allocate"), 0o4755)
        env = self.environment(library=self.public(harness.LIBRARY))
        os.chmod(self.dir, 0o777)
        before = self.listing()
        result = harness.run([tool], self.dir, env, **harness.as_nobody())
        self.expect("set-uid program: exit status and output", (result.status, result.out),
                    (0, "done\n"))
        self.expect("set-uid program: files that appeared", self.listing(), before)

    def test_set_uid_program_with_trusted_library(self):
        """Loaded into a set-uid program all the same, from where the loader trusts: no files."""
        harness.need_root(self)
        host = harness.find_library("libmemusage.so") or next(
            (p for p in ("/lib/x86_64-linux-gnu/libmemusage.so",
                         "/usr/lib/x86_64-linux-gnu/libmemusage.so") if os.path.exists(p)), None)
        if not host:
            self.skipTest("no unused library in a trusted directory to mount over")
        ours = self.public(harness.LIBRARY, 0o4755)
        tool = self.public(harness.program("just_allocate"), 0o4755)
        maps = self.public("/bin/cat", 0o4755)
        env = self.environment()
        env["LD_PRELOAD"] = os.path.basename(host)
        os.chmod(self.dir, 0o777)
        before = self.listing()
        inner = ["/bin/sh", "-c", f'mount --bind "{ours}" "{host}" && shift 0 && exec setpriv '
                 f'--reuid {harness.NOBODY} --regid {harness.NOBODY} --clear-groups env "$@"', "sh",
                 *(f"{k}={v}" for k, v in env.items() if k.startswith(("LD_", "HEAPTALLY_")))]
        plain = harness.clean_environment()
        seen = harness.run([*inner, maps, "/proc/self/maps"], self.dir, plain,
                           preexec_fn=own_mounts)
        if os.path.basename(host) not in seen.out:
            self.skipTest(f"the loader did not take it: {seen.err.strip()}")
        result = harness.run([*inner, tool], self.dir, plain, preexec_fn=own_mounts)
        self.expect("set-uid program, library loaded: exit status and output",
                    (result.status, result.out), (0, "done\n"))
        self.expect("set-uid program, library loaded: files that appeared", self.listing(), before)

    # ---- limits and disks ----

    def test_file_size_limit(self):
        for limit in (0, 4096, 20000):
            with self.subTest(limit):
                result = self.tally([harness.program("file_size_limit"), limit])
                self.unharmed(f"RLIMIT_FSIZE {limit}", result)
                self.kept(f"RLIMIT_FSIZE {limit}", self.snapshots()[0], {100000, 150000})
            for path in self.snapshots():
                os.unlink(path)

    def on_tmpfs(self, options, fill):
        """Runs just_allocate on a small tmpfs, `fill` bytes of which are taken, and copies its
        files to our directory."""
        harness.need_root(self)
        disk = os.path.join(self.dir, "disk")
        os.mkdir(disk)
        env = self.environment({"OUTPUT": os.path.join(disk, "%e-%p.htl")})
        script = (f'mount -t tmpfs -o {options} tmpfs "{disk}" || exit 99\n'
                  f'head -c {fill} /dev/zero >"{disk}/filling" 2>/dev/null\n'
                  '"$@"; status=$?\n'
                  f'cp "{disk}"/*.htl "{self.dir}" 2>/dev/null\nexit $status')
        argv = ["/bin/sh", "-c", script, "sh", "env",
                *(f"{k}={v}" for k, v in env.items() if k.startswith(("LD_", "HEAPTALLY_"))),
                harness.program("just_allocate"), "1"]
        result = harness.run(argv, self.dir, harness.clean_environment(), preexec_fn=own_mounts)
        if result.status == 99:
            self.skipTest("mounting is not allowed here")
        return result

    def test_full_disk(self):
        result = self.on_tmpfs("size=64k", 1 << 20)
        self.unharmed("full disk", result)

    def test_disk_that_fills(self):
        result = self.on_tmpfs("size=64k", 48 << 10)
        self.unharmed("disk that fills", result)
        for path in self.snapshots():
            report = self.report(path)
            print(f"disk that fills: what is left of the file: live bytes "
                  f"{controller(report, 'kept')['live_bytes']}, dropped ticks "
                  f"{report['quality']['dropped_ticks']}")

    def test_read_only_disk(self):
        harness.need_root(self)
        result = self.on_tmpfs("size=1m,ro", 0)
        self.expect("read-only disk: exit status and output", (result.status, result.out),
                    (0, "done\n"))

    def locked(self, env, flags=()):
        """What the program says of itself, in kB: VmRSS and VmLck."""
        result = harness.run([harness.program("lock_memory"), *flags], self.dir, env)
        self.assertEqual(result.status, 0, f"{result.err} {result.own}")
        return {k: int(v) for k, v in re.findall(r"(Vm\w+):\s*(\d+) kB", result.out)}

    def test_locked_memory(self):
        """A program that locks its memory starts; what heaptally then keeps resident is the memory
        that it reports as its own, and its code."""
        harness.need_root(self)
        plain = self.locked(harness.clean_environment())
        tallied = self.locked(self.environment())
        report = self.kept("mlockall", self.only_snapshot(), {100000})
        own = report["quality"]["own_bytes"] >> 10
        more = tallied["VmRSS"] - plain["VmRSS"]
        print(f"mlockall: locked {tallied['VmLck']} kB with heaptally, {plain['VmLck']} kB alone")
        self.expect_that("mlockall: resident kB more than alone", more, more < own + 4096,
                         f"less than {own} (reported as heaptally's own) + 4096 (code)")

    def test_lock_limit(self):
        """An unprivileged program that may lock 96 MB locks itself with heaptally too."""
        harness.need_root(self)
        limit = 96 << 20
        hard = resource.getrlimit(resource.RLIMIT_MEMLOCK)[1]
        if hard != resource.RLIM_INFINITY and hard < limit:
            self.skipTest(f"RLIMIT_MEMLOCK is at most {hard} bytes here")
        tool, library = self.public(harness.program("lock_memory")), self.public(harness.LIBRARY)
        os.chmod(self.dir, 0o777)

        def bounded():
            resource.setrlimit(resource.RLIMIT_MEMLOCK, (limit, limit))

        for name, env in (("alone", harness.clean_environment()),
                          ("with heaptally", self.environment(library=library))):
            argv = ["setpriv", f"--reuid={harness.NOBODY}", f"--regid={harness.NOBODY}",
                    "--clear-groups", "--bounding-set=-all", "--inh-caps=-all", tool]
            result = harness.run(argv, self.dir, env, preexec_fn=bounded)
            self.expect(f"mlockall within {limit >> 20} MB, {name}: exit status", result.status, 0)


if __name__ == "__main__":
    harness.main()
