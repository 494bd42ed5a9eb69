"""Writes the sources of a program whose functions call each other in thousands of ways and note the
true path of each allocation (truth/shadow.h).

A function is a switch over the next step of its script: call one function or another, directly,
through a table, through a frame written in assembly or a callback of libc; throw an exception over
it; or allocate, which ends the script. Its frame is of one of several kinds. Functions lie in the
program and in plugins; calls between modules go through the table.

Which function has which frame and callees, and the scripts, follow from a seed. Scripts are random
walks, so functions meet again and again in other company and on top of themselves.
"""

import os
import random

END = 250  # steps from here on: allocate and return

# frame kind: what stands at the beginning of the function, what at its end
FRAMES = {
    "plain": ("", ""),
    "few": ("volatile char local[24]; local[0] = *script;", "SHADOW_TOUCH(local);"),
    "large": ("char local[{bytes}]; SHADOW_TOUCH(local);", "SHADOW_TOUCH(local);"),
    "alloca": ("char *area = (char *)__builtin_alloca(8 + shadow_random(shadow, {bytes}));"
               " SHADOW_TOUCH(area);", "SHADOW_TOUCH(area);"),
    "vla": ("char area[8 + shadow_random(shadow, {bytes})]; SHADOW_TOUCH(area);",
            "SHADOW_TOUCH(area);"),
    "realigned": ("char local[100] __attribute__((aligned(64))); SHADOW_TOUCH(local);",
                  "SHADOW_TOUCH(local);"),
    "realigned_alloca": (
        "char local[40] __attribute__((aligned(64))); SHADOW_TOUCH(local);"
        " char *area = (char *)__builtin_alloca(8 + shadow_random(shadow, {bytes}));"
        " SHADOW_TOUCH(area);", "SHADOW_TOUCH(area); SHADOW_TOUCH(local);"),
    "many_registers": (
        "unsigned long a = script[0] + 1ul, b = a * 3, c = b * 5, d = c * 7, e = d * 11, f = e * 13;"
        " __asm__ volatile(\"\" : \"+r\"(a), \"+r\"(b), \"+r\"(c), \"+r\"(d), \"+r\"(e), \"+r\"(f));",
        "a += b + c + d + e + f; SHADOW_TOUCH(a);"),
}

ASSEMBLY = ["frame_without_cfi", "frame_without_cfi_false_rbp", "frame_cfi_plain", "frame_cfi_rbp",
            "frame_cfi_rbp_is_scratch", "frame_cfi_pushes", "frame_cfi_by_rbx",
            "frame_cfi_rbp_in_register"]

ALLOCATORS = ["MALLOC", "CALLOC", "REALLOC", "ALIGNED_ALLOC", "POSIX_MEMALIGN", "STRDUP", "NEW"]

# name, language, functions
UNITS = [("part_a", "c", 44), ("part_b", "c", 44), ("part_c", "c", 32), ("part_x", "cpp", 32),
         ("part_y", "cpp", 24), ("plugin_c", "c", 32), ("plugin_x", "cpp", 24)]
PLUGINS = ("plugin_c", "plugin_x")


class Function:
    def __init__(self, number, unit, language):
        self.number, self.unit, self.language = number, unit, language
        self.name = f"{unit}_{number}"
        self.edges = []  # (how, callee); the step is the index
        self.allocators = []


def plan(seed):
    """The functions and their edges."""
    chance = random.Random(seed)
    functions = []
    for unit, language, count in UNITS:
        functions += [Function(len(functions) + i, unit, language) for i in range(count)]
    for f in functions:
        f.frame = chance.choice(list(FRAMES))
        f.bytes = chance.choice([16, 100, 400, 1500, 5000])
        near = [g for g in functions if g.unit == f.unit]
        in_program = [g for g in functions if g.unit not in PLUGINS]
        direct = near if f.unit in PLUGINS else in_program
        for _ in range(2):
            f.edges.append(("direct", chance.choice(direct)))
        f.edges.append(("direct", f))
        f.edges.append(("pointer", chance.choice(functions)))
        f.edges.append((chance.choice(["qsort", "bsearch", *ASSEMBLY]), chance.choice(functions)))
        f.edges.append((chance.choice(["qsort", "pointer", *ASSEMBLY]), chance.choice(functions)))
        if f.language == "cpp":
            f.edges.append(("caught", chance.choice(functions)))
            f.edges.append(("handler", chance.choice(functions)))
        f.allocators = chance.sample(ALLOCATORS, 2)
    return functions


def script(functions, chance, length, through_libc):
    """A random walk: where it begins, and its steps."""
    f = start = chance.choice(functions)
    steps = []
    while len(steps) < length:
        step = chance.randrange(len(f.edges))
        how, callee = f.edges[step]
        likely = {"direct": 1, "pointer": 1, "caught": 0.1, "handler": 0.1}.get(how, 0.5)
        if chance.random() < likely and (through_libc or likely == 1):
            steps.append(step)
            f = callee
    return start.number, steps + [END + chance.randrange(2)]


def scripts(functions, seed, count):
    chance = random.Random(seed + 1)
    found = {}
    while len(found) < count:
        length = chance.choice([1, 2, 3, 5, 8, 12, 16, 20, 24, 24, 30, 40])
        start, steps = script(functions, chance, length, True)
        found[start, tuple(steps)] = True
    deep = 0
    while deep < count // 100:  # deeper than what is kept of a stack
        start, steps = script(functions, chance, chance.randrange(110, 240), False)
        deep += (start, tuple(steps)) not in found
        found[start, tuple(steps)] = True
    return list(found)


def edge_code(f, step, how, callee):
    target = f"shadow_functions[{callee.number}]"
    call = {
        "direct": f"{callee.name}(script + 1);",
        "pointer": f"{target}(script + 1);",
        "qsort": f"sort_through(shadow, {target}, script + 1);",
        "bsearch": f"search_through(shadow, {target}, script + 1);",
        "caught": f"try {{ {f.name}_throws({target}, script + 1); }} catch (int) {{ }}",
        "handler": (f"try {{ {f.name}_throws(0, script + 1); }} catch (int) {{ SHADOW_BACK();"
                    f" {target}(script + 1); }}"),
    }.get(how) or f"{how}({target}, script + 1);"
    return f"    case {step}:\n        {call}\n        SHADOW_BACK();\n        break;\n"


def function_code(f):
    before, after = (part.format(bytes=f.bytes) for part in FRAMES[f.frame])
    out = ""
    if any(how in ("caught", "handler") for how, _ in f.edges):
        out += (f"static SHADOW_OPAQUE void {f.name}_throws(shadow_function *go_on, "
                "const unsigned char *script)\n{\n    SHADOW_ENTER();\n    if (go_on)\n"
                "        go_on(script);\n    SHADOW_BACK();\n    shadow_passed(shadow);\n"
                "    throw 7;\n}\n\n")
    out += f"SHADOW_OPAQUE void {f.name}(const unsigned char *script)\n{{\n    SHADOW_ENTER();\n"
    out += f"    {before}\n    switch (*script) {{\n"
    for step, (how, callee) in enumerate(f.edges):
        out += edge_code(f, step, how, callee)
    for i, allocator in enumerate(f.allocators):
        size = f"16 + (shadow_random(shadow, 1000) & ~7u)"
        out += (f"    case {END + i}: {{\n        size_t size = {size};\n"
                f"        ALLOCATE_{allocator}(size);\n        break;\n    }}\n")
    return out + f"    }}\n    {after}\n    SHADOW_LEAVE();\n}}\n\n"


# Callbacks of libc: the first of them, or a later one, goes on with the script.
CALLBACKS = """\
static SHADOW_OPAQUE int compare(const void *a, const void *b)
{
    SHADOW_ENTER();
    shadow_function *go_on = shadow->pending;
    if (go_on && shadow->pending_wait-- == 0) {
        shadow->pending = 0;
        go_on(shadow->pending_script);
        SHADOW_BACK();
    }
    SHADOW_LEAVE();
    return (*(const unsigned short *)a > *(const unsigned short *)b) -
           (*(const unsigned short *)a < *(const unsigned short *)b);
}

static SHADOW_OPAQUE void sort_through(struct shadow *shadow, shadow_function *go_on,
                                       const unsigned char *script)
{
    unsigned short items[24];
    const uint64_t shadow_depth = shadow->depth;
    unsigned count = 2 + shadow_random(shadow, 3) * 5;
    for (unsigned i = 0; i < count; i++)
        items[i] = (unsigned short)shadow_random(shadow, 1000);
    shadow->slots[shadow->depth++] = (uint64_t)__builtin_return_address(0);
    shadow->pending = go_on;
    shadow->pending_script = script;
    shadow->pending_wait = shadow_random(shadow, count / 2);
    thunk_qsort(items, count, sizeof *items, compare);
    SHADOW_LEAVE();
}

static SHADOW_OPAQUE void search_through(struct shadow *shadow, shadow_function *go_on,
                                         const unsigned char *script)
{
    static const unsigned short items[7] = {1, 2, 3, 4, 5, 6, 7};
    const unsigned short wanted = 7;
    const uint64_t shadow_depth = shadow->depth;
    shadow->slots[shadow->depth++] = (uint64_t)__builtin_return_address(0);
    shadow->pending = go_on;
    shadow->pending_script = script;
    shadow->pending_wait = shadow_random(shadow, 2);
    thunk_bsearch(&wanted, items, 7, sizeof *items, compare);
    SHADOW_LEAVE();
}

"""


def unit_code(functions, unit, language):
    mine = [f for f in functions if f.unit == unit]
    out = '#include "shadow.h"\n\n'
    if language == "cpp":
        out += 'extern "C" {\n'
    prefix = 'extern ' if language == "c" else ''
    for f in functions:
        out += f"{prefix}shadow_function {f.name};\n"
    if language == "cpp":
        out += "}\n"
    out += "\n" + CALLBACKS
    for f in mine:
        code = function_code(f)
        out += code
    if unit in PLUGINS:
        extern = 'extern "C" ' if language == "cpp" else ""
        out += (f"{extern}void plugin_functions(shadow_function *volatile *functions);\n"
                f"{extern}void plugin_functions(shadow_function *volatile *functions)\n{{\n")
        out += "".join(f"    functions[{f.number}] = {f.name};\n" for f in mine) + "}\n"
    return out


def main_code(functions, walks):
    out = '#include "shadow.h"\n#include "program.h"\n\n'
    for f in functions:
        if f.unit not in PLUGINS:
            out += f"extern shadow_function {f.name};\n"
    out += f"\nshadow_function *volatile shadow_functions[{len(functions)}] = {{\n"
    for f in functions:
        out += f"    {'0' if f.unit in PLUGINS else f.name},\n"
    out += "};\n\nconst struct shadow_script shadow_scripts[] = {\n"
    for start, steps in walks:
        out += f"    {{{start}, (const unsigned char[]){{{', '.join(map(str, steps))}}}}},\n"
    return out + f"}};\n\nconst unsigned shadow_script_count = {len(walks)};\n"


def write(directory, seed, count):
    """Writes all sources; returns [(unit, language, is a plugin)]."""
    functions = plan(seed)
    units = [(u, language, u in PLUGINS) for u, language, _ in UNITS]
    for unit, language, _ in units:
        with open(os.path.join(directory, f"{unit}.{language}"), "w") as file:
            file.write(unit_code(functions, unit, language))
    with open(os.path.join(directory, "scripts.c"), "w") as file:
        file.write(main_code(functions, scripts(functions, seed, count)))
    return units + [("scripts", "c", False)]
