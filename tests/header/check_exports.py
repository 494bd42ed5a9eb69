#!/usr/bin/env python3
"""Holds a library that answers heaptally.h against the header: it exports exactly the functions
that the header looks for, and a program that uses them all behaves the same with it, whichever kind
of executable it is.

    check_exports.py --library FILE --include DIR [--compiler gcc]

Exit status: 0 as expected, 1 not, 77 there is no compiler or no nm here.
"""

import argparse
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
SKIP = 77
PREFIX = 'heaptally_'


def symbols(nm_arguments):
    """Names that nm lists and that are heaptally's, without versions."""
    listing = subprocess.run(['nm', '-P', *nm_arguments], text=True, stdout=subprocess.PIPE,
                             check=True).stdout
    names = {re.split('[ @]', line, maxsplit=1)[0] for line in listing.splitlines()}
    return {name for name in names if name.startswith(PREFIX)}


def check_symbols(compile_command, library, work):
    """Whether the library's exports are what a program that uses every entry looks for."""
    unit = os.path.join(work, 'unit.o')
    subprocess.run([*compile_command, '-c', str(HERE / 'common_cases.c'), '-o', unit], check=True)
    wanted = symbols(['-u', unit])
    got = symbols(['-D', '--defined-only', library])
    for name in sorted(wanted - got):
        print(f'FAIL {name}: looked for by the header, not exported')
    for name in sorted(got - wanted):
        print(f'FAIL {name}: exported, unknown to the header')
    if wanted and wanted == got:
        print(f'ok   exports: {" ".join(sorted(got))}')
        return True
    return False


def check_program(compile_command, options, library, work):
    """Whether the cases say with the library preloaded what they are expected to, and find it."""
    program = os.path.join(work, 'program')
    sources = [str(HERE / name) for name in ('main.c', 'common_cases.c')]
    subprocess.run([*compile_command, *options, *sources, '-o', program, '-pthread'], check=True)
    done = subprocess.run([program], text=True, capture_output=True, cwd=work, timeout=60,
                          env={**os.environ, 'LD_PRELOAD': library})
    expected = ['# active 1', '# main active 1'] + [
        line for line in (HERE / 'common.expected').read_text().splitlines()
        if line.startswith(('#', 'case '))]
    got = [line for line in done.stdout.splitlines() if line.startswith(('#', 'case '))]
    if done.returncode == 0 and got == expected:
        print(f'ok   {" ".join(options)}: {len(got)} lines as expected, heaptally_active() is 1')
        return True
    print(f'FAIL {" ".join(options)}: exit status {done.returncode}\n{done.stdout}{done.stderr}')
    return False


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--library', dest='preloaded', required=True)
    parser.add_argument('--include', required=True)
    parser.add_argument('--compiler', default='gcc')
    arguments = parser.parse_args()
    for tool in (arguments.compiler, 'nm'):
        if not shutil.which(tool):
            print(f'SKIP {tool} is not installed')
            return SKIP
    library = os.path.abspath(arguments.preloaded)
    command = [arguments.compiler, '-std=c11', '-O2', '-I', arguments.include]
    with tempfile.TemporaryDirectory(prefix='heaptally-exports-') as work:
        good = [
            check_symbols(command, library, work),
            check_program(command, ['-fno-pie', '-no-pie'], library, work),
            check_program(command, ['-fPIE', '-pie'], library, work),
        ]
    return 0 if all(good) else 1


if __name__ == '__main__':
    sys.exit(main())
