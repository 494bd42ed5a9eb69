# shellcheck shell=bash
# The Debian packages that the project needs, once, and how the missing ones are installed.
# tools/demo and tools/test read this file; it does nothing by itself.
#
# Nothing here brings a service: redis-server comes out of redis-tools (see tools/build.sh), since
# the package of that name would start one, and enable it for the next boot.

# Who needs it: "build" everybody, "test" tools/test, "all" tools/test --all. Then the package, and
# what it is for.
packages_table='
build  gcc                   compiler
build  g++                   compiler
build  libc6-dev             C library, static too
build  meson                 build
build  ninja-build           build
build  pkg-config            build
build  python3               meson, and the drivers of demo and tests
build  libunwind-dev         call stacks
build  uthash-dev            hash tables
build  libdw-dev             symbols of modules
build  libelf-dev            symbols of modules
build  libiberty-dev         names of C++ and Rust
build  libjansson-dev        JSON
build  node-d3               the curves and the flame graph of the HTML report
build  libncurses-dev        live view on the terminal
build  zlib1g-dev            compressed debug information, compressed profiles
build  libprotobuf-c-dev     profiles for pprof
build  protobuf-c-compiler   profiles for pprof
build  check                 unit tests, which are built with all else
test   binutils              nm, objdump, readelf, strip, ld.gold
test   elfutils              eu-addr2line, eu-readelf: what our symbols are compared with
test   util-linux            setpriv, unshare
test   tmux                  a terminal to look at
test   git                   a real program to run
test   xz-utils              a real program to run
test   sqlite3               a real program to run
all    chromium              opens the HTML report, without a screen
all    clang                 second compiler
all    libclang-rt-dev       its sanitizers
all    llvm                  llvm-symbolizer: what symbols of clang are compared with
all    lld                   third linker
all    clang-format          layout of the sources
all    gdb                   which thread unwinds
all    libcap2-bin           setcap: programs that must be refused
all    libdebuginfod1        symbols from servers
all    dwz                   debug information that two files share
all    libc6-dbg             line numbers in the C library
all    redis-tools           a server to run, its client and its benchmark
all    libjemalloc2          allocator beneath
all    libtcmalloc-minimal4  allocator beneath
all    libmimalloc2.0        allocator beneath
all    golang-go             go tool pprof: what its profiles are read with
all    valgrind              instructions of the benchmark
'

# Prints the packages of the given sets, one a line.
packages_of() {
    local sets=" $* "
    while read -r set package _; do
        [[ -n $set && $sets == *" $set "* ]] && echo "$package"
    done <<<"$packages_table"
    return 0
}

# Prints those of the given sets that are not installed, by their own name or another's.
packages_missing() {
    local installed
    installed=" $(dpkg-query -W -f '${db:Status-Status} ${binary:Package} ${Provides}\n' |
        sed -n 's/^installed //p' | sed 's/([^)]*)//g; s/:[a-z0-9]*//g' | tr ',\n' '  ') "
    packages_of "$@" | while read -r package; do
        [[ $installed == *" $package "* ]] || echo "$package"
    done
}

# Runs apt-get as root, asking nothing and restarting nothing.
packages_apt() {
    local root=()
    if [[ $(id -u) -ne 0 ]]; then
        root=(sudo)
    fi
    "${root[@]}" env DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1 \
        apt-get -q -o DPkg::Lock::Timeout=300 "$@" </dev/null
}

# Whether the user wants them installed; without a terminal, or with --yes, it is so.
packages_agreed() {
    local answer
    if [[ $1 == yes || ! -t 0 || ! -t 1 ]]; then
        return 0
    fi
    read -r -p "Install them with apt-get? [Y/n] " answer
    [[ -z $answer || $answer == [Yy]* ]]
}

# packages_ensure yes|ask SET...: installs what is missing of the sets. If nothing is, apt-get is not
# touched, so that no network is needed. Ends the script if packages are missing and stay so.
packages_ensure() {
    local consent=$1 missing
    shift
    if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
        echo "No apt-get here: what these Debian packages bring must be there already:"
        packages_of "$@" | fmt -w 96 | sed 's/^/    /'
        return
    fi
    mapfile -t missing < <(packages_missing "$@")
    if [[ ${#missing[@]} -eq 0 ]]; then
        return
    fi
    echo "Debian packages that are missing:"
    echo "    ${missing[*]}" | fmt -w 96
    if [[ $(id -u) -ne 0 ]] && ! command -v sudo >/dev/null; then
        echo "$0: no sudo here; as root: apt-get install ${missing[*]}" >&2
        exit 1
    fi
    if ! packages_agreed "$consent"; then
        echo "$0: not installed; by hand: apt-get install ${missing[*]}" >&2
        exit 1
    fi
    echo "Installing them ..."
    # The lists of packages may be missing or old: then they are fetched, and it is tried once more.
    if ! packages_apt install -y --no-install-recommends "${missing[@]}" >/dev/null 2>&1; then
        if ! packages_apt update ||
            ! packages_apt install -y --no-install-recommends "${missing[@]}"; then
            echo "$0: apt-get failed; see above, then try again" >&2
            exit 1
        fi
    fi
}
