#!/usr/bin/env python3
"""Compiles the cases with one compiler in one way of building, for every language standard, and
compares what a preloaded provider saw, and what happens without it, with the expected transcript.

    check_header.py --compiler gcc --mode no-pie --provider FILE --include DIR

The provider is the fake one of this directory. Prints one line per program built and run. Exit
status: 0 all as expected, 1 not, 77 this compiler or way of building is not to be had here.
"""

import argparse
import difflib
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
SKIP = 77

C_STANDARDS = ['c99', 'c11', 'c17']
CXX_STANDARDS = ['c++11', 'c++17', 'c++20']
CXX_COMPILER = {'gcc': 'g++', 'clang': 'clang++'}
WARNINGS = ['-Werror', '-Wall', '-Wextra', '-pedantic', '-Wshadow']
MORE_WARNINGS = [
    '-Wconversion', '-Wsign-conversion', '-Wundef', '-Wcast-qual', '-Wcast-align', '-Wformat=2',
    '-Wimplicit-fallthrough', '-Wmissing-declarations', '-Wnull-dereference', '-Wredundant-decls',
    '-Wswitch-default', '-Wunused', '-Wwrite-strings',
]
MORE_C_WARNINGS = ['-Wstrict-prototypes', '-Wmissing-prototypes', '-Wvla']
MORE_CXX_WARNINGS = ['-Wold-style-cast', '-Wzero-as-null-pointer-constant', '-Wnon-virtual-dtor']

# mode: the ways of building it tries, each (options of every step, cases in a shared object?,
#       can the provider be found?)
MODES = {
    'no-pie': [(['-fno-pie', '-no-pie', o], False, True) for o in ('-O0', '-O2')],
    'pie': [(['-fPIE', '-pie', o], False, True) for o in ('-O0', '-O2')],
    'shared-object': [(['-fPIC', o], True, True) for o in ('-O0', '-O2')],
    'static': [(['-fno-pie', '-static', o], False, False) for o in ('-O0', '-O2')],
    'static-pie': [(['-fPIE', '-static-pie', '-O2'], False, False)],
    'lto': [
        (['-flto', '-O2', '-fno-pie', '-no-pie'], False, True),
        (['-flto', '-O2', '-fPIE', '-pie'], False, True),
        (['-flto', '-O2', '-static'], False, False),
    ],
    'gold': [
        (['-fuse-ld=gold', '-O2', '-fno-pie', '-no-pie'], False, True),
        (['-fuse-ld=gold', '-O2', '-fPIE', '-pie'], False, True),
    ],
    'lld': [
        (['-fuse-ld=lld', '-O2', '-fno-pie', '-no-pie'], False, True),
        (['-fuse-ld=lld', '-O2', '-fPIE', '-pie'], False, True),
    ],
    'now-gc-sections': [
        (['-O2', '-fno-pie', '-no-pie', '-ffunction-sections', '-fvisibility=hidden',
          '-Wl,-z,now', '-Wl,--gc-sections', '-Wl,--as-needed'], False, True),
    ],
    # The header as on another processor: plain weak references, which position-independence saves.
    'weak-reference': [
        (['-O2', '-U__LP64__', '-fPIE', '-pie'], False, True),
        (['-O0', '-U__LP64__', '-fPIC'], True, True),
        (['-O2', '-U__LP64__', '-static'], False, False),
    ],
    # The header as another compiler sees it: every entry evaluates its arguments, nothing else.
    'other-compiler': [(['-O2', '-U__ELF__'], False, False)],
}


def expected_lines(language):
    """The transcript with a provider: the cases of C, and under C++ its own after them."""
    names = ['common.expected'] + (['cxx.expected'] if language == 'c++' else [])
    lines = []
    for name in names:
        lines += (HERE / name).read_text().splitlines()
    return [line for line in lines if not line.startswith(';')]


def without_provider(lines):
    """What is left of a transcript when nothing answers."""
    return [line for line in lines if line.startswith(('case ', '# '))]


def show_difference(expected, got):
    for line in difflib.unified_diff(expected, got, 'expected', 'got', lineterm='', n=3):
        print('    ' + line)


class Checker:
    def __init__(self, arguments, work):
        self.compiler = arguments.compiler
        self.include = os.path.abspath(arguments.include)
        self.provider = os.path.abspath(arguments.provider)
        self.work = work
        self.failures = 0

    def command(self, standard):
        cxx = standard.startswith('c++')
        compiler = CXX_COMPILER[self.compiler] if cxx else self.compiler
        return [compiler, f'-std={standard}', '-I', self.include, *WARNINGS,
                *(['-x', 'c++'] if cxx else [])]

    def sources(self, standard):
        names = ['common_cases.c'] + (['cxx_cases.cpp'] if standard.startswith('c++') else [])
        return [str(HERE / name) for name in names]

    def complain(self, what, text):
        self.failures += 1
        print(f'FAIL {what}')
        for line in text.splitlines():
            print('    ' + line)

    def call(self, command, what):
        """Runs a compiler; false, with its messages shown, if it fails or says anything."""
        done = subprocess.run(command, text=True, capture_output=True, cwd=self.work)
        if done.returncode != 0 or done.stderr:
            self.complain(what, ' '.join(command) + '\n' + done.stderr)
            return False
        return True

    def build(self, standard, options, split, what):
        """The program's path, or None if it could not be built (which has been reported)."""
        program = os.path.join(self.work, 'program')
        command = self.command(standard) + options
        main = [str(HERE / 'main.c')]
        if not split:
            one_step = command + main + self.sources(standard) + ['-o', program, '-pthread']
            return program if self.call(one_step, what) else None
        library = os.path.join(self.work, 'libcases.so')
        steps = [
            command + ['-shared', *self.sources(standard), '-o', library, '-pthread'],
            command + [*main, '-x', 'none', library, f'-Wl,-rpath,{self.work}', '-o', program],
        ]
        return program if all([self.call(step, what) for step in steps]) else None

    def run(self, program, preload):
        environment = {k: v for k, v in os.environ.items() if k != 'LD_PRELOAD'}
        if preload:
            environment['LD_PRELOAD'] = self.provider
        return subprocess.run([program], text=True, capture_output=True, timeout=60,
                              env=environment, cwd=self.work)

    def compare(self, program, preload, found, standard, what):
        """Runs once and compares; `found` tells whether the provider should be reached."""
        done = self.run(program, preload)
        lines = expected_lines('c++' if standard.startswith('c++') else 'c')
        active = int(found)
        wanted = [f'# active {active}', f'# main active {active}']
        wanted += lines if found else without_provider(lines)
        got = done.stdout.splitlines()
        if done.returncode != 0 or done.stderr or got != wanted:
            self.complain(what, f'exit status {done.returncode}\n{done.stderr}')
            show_difference(wanted, got)
            return
        calls = len(got) - len(without_provider(got))
        cases = sum(line.startswith('case ') for line in got)
        print(f'ok   {what}: {cases} cases, {calls} calls as expected, active {active}')

    def check(self, standard, options, split, findable):
        what = f'{self.compiler} {standard} {" ".join(options)}'
        program = self.build(standard, options, split, what)
        if program:
            self.compare(program, True, findable, standard, f'{what}, provider preloaded')
            self.compare(program, False, False, standard, f'{what}, no provider')

    def linkable(self, standard, options):
        """Whether an empty program can be built this way here at all."""
        source = os.path.join(self.work, 'empty.c')
        pathlib.Path(source).write_text('int main(void) { return 0; }\n')
        empty = os.path.join(self.work, 'empty')
        command = [*self.command(standard), *options, source, '-o', empty]
        return subprocess.run(command, capture_output=True).returncode == 0

    def check_mode(self, mode):
        """False if nothing of this mode could be tried."""
        tried = 0
        for options, split, findable in MODES[mode]:
            for standard in C_STANDARDS + CXX_STANDARDS:
                if not self.linkable(standard, options):
                    print(f'SKIP {self.compiler} {standard} {" ".join(options)}: cannot link an '
                          'empty program this way here')
                    continue
                tried += 1
                self.check(standard, options, split, findable)
        return tried > 0

    def check_warnings(self):
        """Stricter warnings than those of every build, and the other assembler syntax."""
        for standard in C_STANDARDS + CXX_STANDARDS + ['gnu2x', 'gnu++2b']:
            cxx = '++' in standard
            more = MORE_WARNINGS + (MORE_CXX_WARNINGS if cxx else MORE_C_WARNINGS)
            source = str(HERE / ('cxx_cases.cpp' if cxx else 'common_cases.c'))
            command = self.command('c++11' if cxx else 'c99') + [f'-std={standard}', *more]
            for options in (['-O2'], ['-O0'], ['-O2', '-masm=intel'], ['-O3', '-fPIC']):
                what = f'{self.compiler} {standard} {" ".join(options)}, {len(more)} more warnings'
                if self.call(command + options + ['-c', source, '-o', 'unit.o'], what):
                    print(f'ok   {what}: none')

    def check_race(self):
        """False if ThreadSanitizer does not work here."""
        what = f'{self.compiler} -fsanitize=thread, threads meet at one scope'
        program = os.path.join(self.work, 'race')
        options = ['-fsanitize=thread', '-O1', '-g', '-pthread']
        if not self.linkable('c11', options):
            return False
        empty = subprocess.run([os.path.join(self.work, 'empty')], capture_output=True)
        if empty.returncode != 0:
            return False
        if self.call(self.command('c11') + options + [str(HERE / 'race.c'), '-o', program], what):
            done = self.run(program, True)
            opened = done.stdout.splitlines().count('enter raced from none')
            if done.returncode != 0 or opened != 200 or 'WARNING' in done.stderr:
                self.complain(what, f'exit status {done.returncode}, {opened} of 200 scopes '
                              f'opened\n{done.stderr}')
            else:
                print(f'ok   {what}: 200 scopes opened, no race reported')
        return True


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--compiler', choices=sorted(CXX_COMPILER), required=True)
    parser.add_argument('--mode', choices=[*MODES, 'warnings', 'race'], required=True)
    parser.add_argument('--provider', required=True)
    parser.add_argument('--include', required=True)
    arguments = parser.parse_args()
    for name in (arguments.compiler, CXX_COMPILER[arguments.compiler]):
        if not shutil.which(name):
            print(f'SKIP {name} is not installed')
            return SKIP
    with tempfile.TemporaryDirectory(prefix='heaptally-header-') as work:
        checker = Checker(arguments, work)
        tried = True
        if arguments.mode == 'warnings':
            checker.check_warnings()
        elif arguments.mode == 'race':
            tried = checker.check_race()
        else:
            tried = checker.check_mode(arguments.mode)
        if not tried:
            print(f'SKIP {arguments.compiler} {arguments.mode}: not possible on this machine')
            return SKIP
        return 1 if checker.failures else 0


if __name__ == '__main__':
    sys.exit(main())
