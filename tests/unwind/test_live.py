"""Builds and runs live_stacks with every compiler that is here, at all levels of optimisation, with
and without frame pointers, and in the forms that change frames or unwind tables.

    test_live.py SOURCE-ROOT

The code that is tested is compiled the same way each time; the functions that it walks through are
what varies. One line for each variant.
"""

import concurrent.futures
import os
import shutil
import subprocess
import sys
import tempfile

COMPILERS = [("gcc", "g++"), ("clang", "clang++")]
LEVELS = ["-O0", "-O2", "-O3"]
POINTERS = ["-fomit-frame-pointer", "-fno-omit-frame-pointer"]
EXTRA = [
    # Frames with checks, and functions that begin with endbr64.
    ["-O2", "-fstack-protector-strong", "-fcf-protection=full", "-fstack-clash-protection"],
    ["-Os"],
    ["-O2", "-mavx2", "-ftree-vectorize"],
    # Link-time addresses that are run-time addresses.
    ["-O2", "-fno-pie", "-no-pie"],
    # Modules that can be identified by their unwind table only.
    ["-O2", "-Wl,--build-id=none"],
    ["-O2", "-Wl,-z,noseparate-code"],
    ["-O2", "-fuse-ld=gold"],
    ["-O2", "-fuse-ld=lld"],
]
TESTED = "module_bytes call_scan unwind_library unwind_table unwind_rule".split()
PATHS = "200"


def variants():
    for compiler in COMPILERS:
        if not all(shutil.which(name) for name in compiler):
            print("SKIP:", *compiler, "are not installed")
            continue
        for level in LEVELS:
            for pointer in POINTERS:
                yield compiler, [level, pointer]
        for flags in EXTRA:
            linker = next((f.split("=")[1] for f in flags if f.startswith("-fuse-ld")), None)
            if linker and not shutil.which("ld." + linker):
                print(f"SKIP: {compiler[0]} {' '.join(flags)}: ld.{linker} is not installed")
                continue
            yield compiler, flags


def call(*command):
    result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if result.returncode:
        raise RuntimeError(f"{' '.join(command)}\n{result.stdout}")
    return result.stdout


def build_tested(root, compiler, directory):
    """Compiles what is tested and the walker: the same objects for all variants."""
    objects = []
    sources = [f"{root}/preload/{name}.c" for name in TESTED]
    for source in sources + [f"{root}/tests/unwind/live_walk.c"]:
        objects.append(f"{directory}/{os.path.basename(source)}.o")
        call(compiler, "-O2", "-g", "-fPIC", "-std=gnu11", "-D_GNU_SOURCE", f"-I{root}/include",
             "-c", source, "-o", objects[-1])
    return objects


def run_variant(root, compilers, flags, objects, directory):
    c, cxx = compilers
    here = f"{root}/tests/unwind"
    common = ["-g", "-D_GNU_SOURCE", *[f for f in flags if not f.startswith(("-Wl", "-fuse"))]]
    mine = []
    for source in ("shapes.c", "live_stacks.c", "shapes_asm.S", "shapes_cxx.cc"):
        mine.append(f"{directory}/{source}.o")
        tool = cxx if source.endswith(".cc") else c
        call(tool, *common, "-c", f"{here}/{source}", "-o", mine[-1])
    pic = [f for f in flags if f not in ("-fno-pie", "-no-pie")]
    call(c, "-g", "-D_GNU_SOURCE", *pic, "-fPIC", "-shared", f"{here}/shapes_library.c", "-o",
         f"{directory}/shapes_library.so")
    program = f"{directory}/live_stacks"
    call(cxx, *flags, "-o", program, *mine, *objects, "-lunwind", "-ldl", "-lpthread")
    return call("nice", program, f"{directory}/shapes_library.so", PATHS).strip()


def main():
    root = os.path.abspath(sys.argv[1])
    todo = list(variants())
    if not todo:
        print("SKIP: no compiler is installed")
        return 77
    failed = 0
    with tempfile.TemporaryDirectory(prefix="heaptally-live-") as top:
        objects = build_tested(root, todo[0][0][0], top)
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            jobs = []
            for number, (compilers, flags) in enumerate(todo):
                directory = f"{top}/{number}"
                os.mkdir(directory)
                job = pool.submit(run_variant, root, compilers, flags, objects, directory)
                jobs.append((f"{compilers[0]} {' '.join(flags)}", job))
            for name, job in jobs:
                try:
                    print(f"{name}: {job.result()}", flush=True)
                except RuntimeError as error:
                    failed += 1
                    print(f"{name}: FAILED\n{error}", flush=True)
    print(f"{len(todo)} variants, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
