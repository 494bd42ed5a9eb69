"""The functions marked EXPORT in the sources, those in export.map, and those that the library
really exports are the same. And it needs the C library alone: what else it brought would be in
every program, and under mlockall resident.

usage: check_exports.py PRELOAD_DIRECTORY LIBRARY
"""

import glob
import os
import re
import subprocess
import sys


def marked(directory):
    names = set()
    for path in glob.glob(os.path.join(directory, "*.c")):
        with open(path, encoding="utf-8") as file:
            text = re.sub(r"/\*.*?\*/", "", file.read(), flags=re.S)
        # A macro's definition names its parameter, not a function.
        text = re.sub(r"^[ \t]*#[^\n]*(?:\\\n[^\n]*)*", "", text, flags=re.M)
        names |= set(re.findall(r"^EXPORT\b[^;{(]*?\b(\w+)\s*\(", text, flags=re.M))
        names |= set(re.findall(r"^OPERATOR_(?:NEW|DELETE)\((\w+)", text, flags=re.M))
    return names


def listed(directory):
    with open(os.path.join(directory, "export.map"), encoding="utf-8") as file:
        text = re.sub(r"/\*.*?\*/", "", file.read(), flags=re.S)
    inside = text[text.index("global:") + len("global:"):text.index("local:")]
    names = [name.strip() for name in inside.split(";") if name.strip()]
    assert len(names) == len(set(names)), "export.map names something twice"
    return set(names)


def exported(library):
    output = subprocess.run(["nm", "-D", "--defined-only", library], check=True,
                            capture_output=True, text=True).stdout
    return {line.split()[2].split("@")[0] for line in output.splitlines()
            if line.split()[1] in "TWVBDR"}


def needed(library):
    output = subprocess.run(["readelf", "-d", library], check=True, capture_output=True,
                            text=True).stdout
    return set(re.findall(r"\(NEEDED\).*\[(.*)\]", output))


def main():
    directory, library = sys.argv[1:]
    sets = {"marked EXPORT": marked(directory), "in export.map": listed(directory),
            "in the library": exported(library)}
    print({name: len(found) for name, found in sets.items()})
    assert sets["in export.map"], "no function was found"
    wrong = 0
    libraries = needed(library)
    print("needs", *sorted(libraries))
    assert any(name.startswith("libc.") for name in libraries), "no library was found"
    for name in libraries:
        if not name.startswith(("libc.", "ld-linux")):
            print(f"{name}: the library needs it")
            wrong += 1
    for name, found in sets.items():
        for other, others in sets.items():
            for function in sorted(found - others):
                print(f"{function}: is {name}, but not {other}")
                wrong += 1
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
