#!/usr/bin/env python3
"""Functions, files, lines and inlined frames of programs that are compiled here, at every address
of their functions, against eu-addr2line; and what is said where symbols are missing."""
import http.server
import os
import re
import shutil
import subprocess
import threading
import unittest

import driver
import htl

C_SOURCE = r"""
#include <stdlib.h>
struct history { char *bytes; size_t used, size; };
static inline void *grow(void *old, size_t size)
{
    return realloc(old, size);
}
static inline __attribute__((always_inline)) void append(struct history *h, char c)
{
    if (h->used == h->size)
        h->bytes = grow(h->bytes, h->size = 2 * h->size + 1);
    h->bytes[h->used++] = c;
}
__attribute__((noinline)) void history_push(struct history *h, const char *text)
{
    for (; *text; text++)
        append(h, *text);
}
__attribute__((noinline)) char *exported(int n)
{
    struct history h = {0};
    while (n-- > 0)
        history_push(&h, "state");
    return h.bytes;
}
int main(int argc, char **argv)
{
    (void)argv;
    return exported(argc) == NULL;
}
"""

CPP_SOURCE = r"""
#include <cstdlib>
#include <vector>
namespace plan {
struct History {
    std::vector<int> items;
    void push(int x) { items.push_back(x); }
};
static inline void *grab(size_t n) { return malloc(n); }
template <typename T> T *make(size_t n)
{
    return static_cast<T *>(grab(n * sizeof(T)));
}
struct Planner {
    virtual ~Planner() {}
    virtual void *step(int n) { return make<double>(n); }
};
}
extern "C" __attribute__((noinline)) void *c_entry(int n) { return plan::make<double>(n); }
__attribute__((noinline)) void fill(plan::History &h, int n)
{
    for (int i = 0; i < n; i++)
        h.push(i);
}
int main(int argc, char **)
{
    plan::History h;
    plan::Planner p;
    fill(h, argc);
    return p.step(argc) != c_entry(argc);
}
"""

RUST_SOURCE = r"""
mod history {
    pub struct Line<T> { pub items: Vec<T> }
    impl<T: Clone> Line<T> {
        #[inline(never)]
        pub fn push(&mut self, item: &T) { self.items.push(item.clone()); }
    }
}
fn main() {
    let mut line = history::Line { items: Vec::new() };
    for i in 0..std::env::args().count() { line.push(&(i as u64)); }
    std::process::exit((line.items.len() == 0) as i32);
}
"""

VARIANTS = (
    ("gcc -O2", "gcc", "c", ["-g", "-O2"]),
    ("gcc -O0 no-pie", "gcc", "c", ["-g", "-O0", "-no-pie"]),
    ("gcc -O2 dwarf 4 no-pie", "gcc", "c", ["-gdwarf-4", "-O2", "-no-pie"]),
    ("g++ -O2", "g++", "cpp", ["-g", "-O2"]),
    ("g++ -O1", "g++", "cpp", ["-g", "-O1"]),
    ("clang -O2", "clang", "c", ["-g", "-O2"]),
    ("clang++ -O2", "clang++", "cpp", ["-g", "-O2", "-gdwarf-aranges"]),
)



def run(*argv, **keywords):
    return subprocess.run([str(a) for a in argv], check=True, capture_output=True, text=True,
                          timeout=120, env=driver.environment(), **keywords).stdout


def need(*tools):
    for tool in tools:
        if not shutil.which(tool):
            raise unittest.SkipTest(f"{tool} is not installed")


def build_id(path):
    return bytes.fromhex(re.search(r"Build ID: ([0-9a-f]+)", run("eu-readelf", "-n", path))[1])


def functions(path):
    """Names, addresses and sizes of the functions that are compiled from our sources."""
    found = {}
    for line in run("nm", "-S", "--defined-only", path).splitlines():
        words = line.split()
        ours = re.match(r"[^_]|_Z4fill|_ZN4plan", words[-1])
        if len(words) == 4 and words[2] in "tTwW" and ours:
            found[words[3]] = (int(words[0], 16), int(words[1], 16))
    return found


class Symbolize(driver.Case):
    def setUp(self):
        super().setUp()
        need("nm", "eu-readelf", "eu-addr2line", "objcopy", "strip")

    def compile(self, compiler, language, flags, name="program"):
        need(compiler)
        source = self.path(f"source.{language}")
        with open(source, "w", encoding="ascii") as out:
            out.write(CPP_SOURCE if language == "cpp" else C_SOURCE)
        path = self.path(name)
        run(compiler, *flags, "-Wl,--build-id=sha1", "-o", path, source)
        return path

    def frames(self, module, offsets, identity=None, *argv, **more):
        """For each return address offset the list of (function, file:line) from the report, the
        innermost first, and the quality block."""
        f = htl.File().module(1, module, build_id(module) if identity is None else identity)
        f.tag(1, "t")
        for i, offset in enumerate(offsets):
            f.stack(i, [(1, offset)]).site(i, i, 1)
        f.snapshot(1, sites={i: dict(allocated=(2**32 - i, 1)) for i in range(len(offsets))}).end(1)
        report = self.json(f.write(self.path("file.htl")), *argv, **more)
        stacks = [s["stack"] for s in report["controllers"][0]["sites"]]
        self.assertEqual([s[0]["offset"] for s in stacks], list(offsets))
        for stack in stacks:
            self.assertEqual([x["inlined"] for x in stack], [True] * (len(stack) - 1) + [False])
        return ([[(x["function"], f"{x['file'] or '??'}:{x['line'] or 0}")
                  for x in stack] for stack in stacks], report["quality"])

    def addr2line(self, path, addresses):
        out = run("eu-addr2line", "-a", "-f", "-i", "-C", "-e", path,
                  *[hex(a) for a in addresses]).splitlines()
        answers = []
        while out:
            line = out.pop(0)
            if line.startswith("0x"):
                answers.append([])
                continue
            place = re.match(r"(.*?:\d+)(:\d+)?( \(.*\))?$", out.pop(0))[1]
            answers[-1].append((re.sub(r" inlined at .*", "", line), place))
        return answers

    def llvm_symbolizer(self, path, addresses):
        """eu-addr2line leaves out functions around an inlined one in what clang compiles."""
        out = run("llvm-symbolizer", "-f", "--inlines", "-C", "-e", path,
                  *[hex(a) for a in addresses])
        answers = []
        for block in out.strip().split("\n\n"):
            lines = block.splitlines()
            answers.append([(name, place.rsplit(":", 1)[0])
                            for name, place in zip(lines[::2], lines[1::2])])
        return answers

    def test_against_addr2line(self):
        """Every address of every function; a return address is looked up one byte before it."""
        for name, compiler, language, flags in VARIANTS:
            with self.subTest(name):
                path = self.compile(compiler, language, flags)
                addresses = [a for start, size in functions(path).values()
                             for a in range(start, start + size)]
                self.assertGreater(len(addresses), 100)
                ours, quality = self.frames(path, [a + 1 for a in addresses])
                if compiler.startswith("clang"):
                    need("llvm-symbolizer")
                    theirs = self.llvm_symbolizer(path, addresses)
                else:
                    theirs = self.addr2line(path, addresses)
                inlined = 0
                for address, mine, other in zip(addresses, ours, theirs):
                    self.assertEqual(mine, other, f"{name} at {address:#x}")
                    inlined += len(mine) > 1
                self.assertEqual(quality["modules_without_symbols"], [])
                self.assertEqual(len(ours), len(theirs))
                print(f"{name}: {len(addresses)} addresses, {inlined} in inlined functions")
                if "-O2" in flags:
                    self.assertGreater(inlined, 10)

    def test_without_address_table(self):
        """clang writes no .debug_aranges unless asked: the same answers as with it."""
        plain = self.compile("clang++", "cpp", ["-g", "-O2"], "plain")
        table = self.compile("clang++", "cpp", ["-g", "-O2", "-gdwarf-aranges"], "table")
        offsets = [a for start, size in functions(plain).values()
                   for a in range(start + 1, start + size)]
        self.assertEqual(functions(plain), functions(table))
        ours, _ = self.frames(plain, offsets)
        self.assertEqual(ours, self.frames(table, offsets)[0])
        self.assertTrue(all(place != "??:0" for stack in ours for _, place in stack))

    def test_split_dwarf(self):
        """Debug information in .dwo files: the same answers as without; and function names where
        they are gone."""
        for flags in (["-gdwarf-5"], ["-gdwarf-4"]):
            with self.subTest(flags):
                flags = ["-g", "-O2", *flags]
                whole = self.compile("g++", "cpp", flags, "whole")
                split = self.compile("g++", "cpp", [*flags, "-gsplit-dwarf"], "split")
                self.assertEqual(functions(whole), functions(split))
                offsets = [a for start, size in functions(whole).values()
                           for a in range(start + 1, start + size)]
                expected, _ = self.frames(whole, offsets)
                ours, quality = self.frames(split, offsets)
                self.assertEqual((ours, quality["modules_without_symbols"]), (expected, []))
                for name in os.listdir(self.dir):
                    if name.endswith(".dwo"):
                        os.unlink(self.path(name))
                ours, _ = self.frames(split, offsets)
                # The symbol of the part that is rarely run has a name of its own.
                self.assertEqual([stack[-1][0].removesuffix(".cold") for stack in ours],
                                 [stack[-1][0] for stack in expected])

    def test_rust(self):
        """Both manglings of Rust, without the hash; with debug information and from symbols."""
        need("rustc")
        with open(self.path("source.rs"), "w", encoding="ascii") as out:
            out.write(RUST_SOURCE)
        for mangling, name in (("legacy", "source::history::Line<T>::push"),
                               ("v0", "<source::history::Line<u64>>::push")):
            for debug in ("2", "0"):
                with self.subTest(f"{mangling}, debug level {debug}"):
                    path = self.path(f"rust-{mangling}-{debug}")
                    # Compilers differ in which of the two they still call stable.
                    run("env", "RUSTC_BOOTSTRAP=1", "rustc", "-Zunstable-options", "-O", f"-Cdebuginfo={debug}",
                        "--edition=2021", "-o", path, f"-Csymbol-mangling-version={mangling}",
                        "-Clink-arg=-Wl,--build-id=sha1", self.path("source.rs"))
                    listing = run("nm", "-S", "--defined-only", path)
                    start, size = re.search(r"^(\w+) (\w+) . _\S*7history\S*4push", listing,
                                            re.MULTILINE).groups()
                    offsets = range(int(start, 16) + 1, int(start, 16) + int(size, 16))
                    stacks, _ = self.frames(path, offsets)
                    self.assertEqual({stack[-1][0] for stack in stacks}, {name})
                    if debug == "2":
                        self.assertTrue(any(len(stack) > 1 for stack in stacks))
                        self.assertFalse([f for stack in stacks for f in stack
                                          if re.search(r"17h[0-9a-f]{16}|^_R|^_ZN", f[0])])

    def test_shared_debug_information(self):
        """What dwz moves to a file of its own, by .gnu_debugaltlink: the same answers."""
        need("dwz")
        first, second = (self.compile("g++", "cpp", ["-g", "-O2"], n) for n in ("one", "two"))
        offsets = [a for start, size in functions(first).values()
                   for a in range(start + 1, start + size)]
        expected, _ = self.frames(first, offsets)
        run("dwz", "-m", self.path("common"), first, second)
        self.assertGreater(os.path.getsize(self.path("common")), 0)
        self.assertEqual(self.frames(first, offsets)[0], expected)

    def test_return_address_behind_the_call(self):
        """A call that is the last instruction of its line is blamed, not the line after it."""
        path = self.compile("gcc", "c", ["-g", "-O0"])
        start, size = functions(path)["exported"]
        listing = run("objdump", "-d", f"--start-address={start}", f"--stop-address={start + size}",
                      path)
        call = re.search(r"call.*<history_push>\n\s+([0-9a-f]+):", listing)
        stack, _ = self.frames(path, [int(call[1], 16)])
        line = 1 + C_SOURCE.split("\n").index('        history_push(&h, "state");')
        self.assertEqual(stack, [[("exported", f"{self.path('source.c')}:{line}")]])

    # ---- without debug information ----

    def stripped(self, *flags):
        whole = self.compile("gcc", "c", ["-g", "-O1", *flags], "whole")
        path = self.path("stripped")
        run("strip", "-o", path, whole)
        return whole, path

    def test_symbol_table_only(self):
        path = self.compile("gcc", "c", ["-O1"])
        start, size = functions(path)["history_push"]
        stacks, quality = self.frames(path, [start + 1, start + size, start + size + 1])
        self.assertEqual(stacks[:2], [[("history_push", "??:0")]] * 2)
        self.assertNotEqual(stacks[2], stacks[1])
        self.assertEqual(quality["modules_without_symbols"],
                         [dict(module=path, problem="no debug information, function names only")])

    def test_stripped_has_nearest_exported_symbol(self):
        """Inside an exported function its name; behind it the name, marked as no more than near."""
        whole, path = self.stripped("-rdynamic")
        start, size = functions(whole)["history_push"]
        after = max(a + s for n, (a, s) in functions(whole).items())
        stacks, quality = self.frames(path, [start + 5, start + size, after + 9, 5])
        self.assertEqual(stacks[:2], [[("history_push", "??:0")]] * 2)
        self.assertTrue(stacks[2][0][0].endswith("+?"), stacks[2])
        self.assertEqual(stacks[3], [(None, "??:0")])
        self.assertEqual(quality["modules_without_symbols"],
                         [dict(module=path, problem="stripped, nearest exported symbols only")])
        self.assertIn("stripped: stripped, nearest", self.text(self.path("file.htl")))

    def test_stripped_of_everything(self):
        whole, path = self.stripped()
        start, _ = functions(whole)["history_push"]
        stacks, _ = self.frames(path, [start + 5])
        self.assertEqual(stacks, [[(None, "??:0")]])
        self.assertIn(f"stripped+{start + 5:#x}", self.text(self.path("file.htl")))

    def test_debug_link(self):
        """The debug file beside the program, by .gnu_debuglink."""
        whole, path = self.stripped()
        os.mkdir(self.path(".debug"))
        run("objcopy", "--only-keep-debug", whole, self.path(".debug/program.debug"))
        run("objcopy", f"--add-gnu-debuglink={self.path('.debug/program.debug')}", path)
        self.expect_whole(whole, path)

    def expect_whole(self, whole, path, *argv, identity=None, **more):
        start, size = functions(whole)["history_push"]
        offsets = range(start + 1, start + size)
        expected, _ = self.frames(whole, offsets)
        ours, quality = self.frames(path, offsets, identity or build_id(whole), *argv, **more)
        self.assertEqual((ours, quality["modules_without_symbols"]), (expected, []))
        self.assertTrue(any(len(stack) > 1 for stack in ours))

    def debug_directory(self, whole):
        identity = build_id(whole).hex()
        directory = self.path(f"debug/.build-id/{identity[:2]}")
        os.makedirs(directory)
        run("objcopy", "--only-keep-debug", whole, f"{directory}/{identity[2:]}.debug")
        return self.path("debug")

    def test_debug_file_by_build_id(self):
        whole, path = self.stripped()
        self.expect_whole(whole, path, "--debug-path", self.debug_directory(whole))

    def test_debug_file_without_the_program(self):
        """The program is gone, its debug file is not."""
        whole, path = self.stripped()
        directory = self.debug_directory(whole)
        identity = build_id(whole)
        os.unlink(path)
        self.expect_whole(whole, path, "--debug-path", directory, identity=identity)

    def test_debug_file_of_a_program_without_directory(self):
        """Nobody knows where the program was; its debug file is found by what build it is."""
        whole, path = self.stripped()
        self.expect_whole(whole, os.path.basename(path), "--debug-path",
                          self.debug_directory(whole))

    def test_deleted_program(self):
        """A file that was removed and put back: the kernel called it "PATH (deleted)"."""
        path = self.compile("gcc", "c", ["-g", "-O2"])
        self.expect_whole(path, path + " (deleted)")

    def server(self, files):
        """A debuginfod server of our own: {path: file}. Returns the environment that points to
        it."""
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                content = files.get(self.path)
                self.send_response(200 if content else 404)
                self.send_header("Content-Length", str(len(content or b"")))
                self.end_headers()
                self.wfile.write(content or b"")

            def log_message(self, *_):
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        return dict(DEBUGINFOD_URLS=f"http://127.0.0.1:{server.server_address[1]}/",
                    DEBUGINFOD_CACHE_PATH=self.path("cache"), no_proxy="127.0.0.1")

    def test_debuginfod(self):
        """Debug information from a server; and the program itself, where it is gone."""
        if not any(os.path.exists(f"{d}/libdebuginfod.so.1")
                   for d in ("/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu",
                             "/usr/lib64")):
            self.skipTest("libdebuginfod is not installed")
        whole, path = self.stripped()
        identity = build_id(whole)
        with open(whole, "rb") as file:
            content = file.read()
        env = self.server({f"/buildid/{identity.hex()}/debuginfo": content,
                           f"/buildid/{identity.hex()}/executable": content})
        self.expect_whole(whole, path, **env)
        os.unlink(path)
        env["DEBUGINFOD_CACHE_PATH"] = self.path("cache2")
        self.expect_whole(whole, path, identity=identity, **env)

    # ---- the wrong file ----

    def problem(self, module, identity):
        stacks, quality = self.frames(module, [4660], identity)
        self.assertEqual(stacks, [[(None, "??:0")]])
        [entry] = quality["modules_without_symbols"]
        self.assertEqual(entry["module"], module)
        text = self.text(self.path("file.htl"))
        self.assertIn(f"{os.path.basename(module)}+0x1234", text)
        self.assertIn(f"{os.path.basename(module)}: {entry['problem']}", text)
        return entry["problem"]

    def test_unknown_directory(self):
        self.assertEqual(self.problem("libplan.so", b"\1" * 20), "its directory is not known")

    def test_missing_file(self):
        self.assertEqual(self.problem("/nonexistent/libplan.so", b"\1" * 20), "file not found")

    def test_replaced_build(self):
        """The file has the recorded name and another build-id: nothing is read from it."""
        path = self.compile("gcc", "c", ["-g", "-O2"])
        old = build_id(path)
        path = self.compile("gcc", "c", ["-g", "-O1"])
        self.assertNotEqual(old, build_id(path))
        self.assertEqual(self.problem(path, old), "the file is a different build")

    def test_no_elf_file(self):
        with open(self.path("text"), "w", encoding="ascii") as out:
            out.write("text")
        self.assertEqual(self.problem(self.path("text"), b"\1" * 20), "the file is not an ELF file")

    def test_no_file_at_all(self):
        os.mkfifo(self.path("fifo"))
        self.assertEqual(self.problem(self.path("fifo"), b"\1" * 20), "file not found")
        self.assertEqual(self.problem(self.dir, b"\1" * 20), "file not found")

    def test_damaged_program(self):
        """Debug information cut off or overwritten: an answer, whichever."""
        path = self.compile("g++", "cpp", ["-g", "-O2"])
        offsets = [start + 9 for start, _ in functions(path).values()]
        identity = build_id(path)
        with open(path, "rb") as file:
            whole = file.read()
        for i in range(24):
            damaged = bytearray(whole)
            if i % 2:
                del damaged[len(whole) * i // 24:]
            else:
                at = len(whole) * i // 24
                damaged[at:at + 400] = bytes((7 * j + i) % 256 for j in range(400))
            with open(path, "wb") as file:
                file.write(damaged)
            # libdw loses 32 bytes where it gives up on a line table.
            stacks, _ = self.frames(path, offsets, identity, ASAN_OPTIONS="detect_leaks=0")
            self.assertEqual(len(stacks), len(offsets))

    def test_program_without_build_id(self):
        path = self.compile("gcc", "c", ["-g", "-O2"])
        start, _ = functions(path)["history_push"]
        stacks, _ = self.frames(path, [start + 1], b"")
        self.assertEqual(stacks[0][-1][0], "history_push")

    def test_vdso_and_code_without_module(self):
        f = htl.File().module(1, "[vdso]", b"\1" * 20).tag(1, "t")
        f.stack(1, [(1, 64), (htl.NO_MODULE, 0xABC)]).site(1, 1, 1)
        f.snapshot(1, sites={1: dict(allocated=(1, 1))})
        report = self.load(f)
        self.assertEqual([(x["module"], x["function"], x["offset"])
                          for x in report["controllers"][0]["sites"][0]["stack"]],
                         [("[vdso]", None, 64), (None, None, 0xABC)])
        self.assertEqual(report["quality"]["modules_without_symbols"], [])
        self.assertIn("0xabc", self.text(self.path("file.htl")))

    # ---- who is blamed ----

    def test_plumbing_is_not_blamed(self):
        """The top site is the function that pushed, not the vector's code that was inlined into
        it."""
        path = self.compile("g++", "cpp", ["-g", "-O2"])
        start, size = functions(path)["_Z4fillRN4plan7HistoryEi"]
        stacks, _ = self.frames(path, range(start + 1, start + size))
        deep = [i for i, s in enumerate(stacks)
                if s[0][0].startswith("std::") and any("History::push" in x[0] for x in s)]
        self.assertGreater(len(deep), 0)
        self.frames(path, [start + 1 + deep[0]])
        line = 1 + CPP_SOURCE.split("\n").index("    void push(int x) { items.push_back(x); }")
        self.assertRegex(self.text(self.path("file.htl")),
                         rf"top site +plan::History::push\(int\) \(source\.cpp:{line}\)")


if __name__ == "__main__":
    driver.main()
