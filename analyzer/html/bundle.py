#!/usr/bin/env python3
"""Makes one page of its sources: bundle.py OUTPUT.c page.html page.css D3 LICENCE SCRIPT.js...

The page becomes two arrays of bytes, before and after the place where the report's data go. Scripts
and style are inline, and the page's Content-Security-Policy names them by hash: nothing else runs,
and nothing is fetched.
"""
import base64
import hashlib
import re
import sys

DATA = "@DATA@"


def read(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


def hash_of(text):
    return "'sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() + "'"


def checked(path, text):
    """What may stand inside a script or style element."""
    if re.search(r"</(script|style)|<!--", text, re.IGNORECASE):
        sys.exit(f"{path}: holds what would end its element; write it in another way")
    return text


def joined(paths):
    """The page's own scripts as one, in one scope that is theirs."""
    parts = [checked(path, read(path)) for path in paths]
    return "(() => {\n\"use strict\";\n" + "\n".join(parts) + "})();\n"


def bundle(page, style, library, licence, scripts):
    library_text = "/*\n" + read(licence) + "*/\n" + checked(library, read(library))
    parts = {"STYLE": checked(style, read(style)), "LIBRARY": library_text,
             "SCRIPT": joined(scripts)}
    parts["STYLE_HASH"] = hash_of(parts["STYLE"])
    parts["SCRIPT_HASHES"] = hash_of(parts["LIBRARY"]) + " " + hash_of(parts["SCRIPT"])
    text = re.sub(r"@(\w+)@", lambda m: parts.get(m[1], m[0]), read(page))
    before, after = text.split(DATA)
    return before, after


def array(name, text):
    data = text.encode()
    rows = [",".join(map(str, data[i:i + 32])) for i in range(0, len(data), 32)]
    return (f"const unsigned char {name}[] = {{\n" + ",\n".join(rows) + "};\n"
            f"const size_t {name}_size = sizeof {name};\n")


def main():
    output, page, style, library, licence, *scripts = sys.argv[1:]
    before, after = bundle(page, style, library, licence, scripts)
    with open(output, "w", encoding="ascii") as out:
        out.write("/* Made by bundle.py. */\n#include \"html/page.h\"\n\n")
        out.write(array("ht_page_before", before))
        out.write(array("ht_page_after", after))


main()
