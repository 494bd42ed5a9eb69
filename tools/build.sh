# shellcheck shell=bash
# What tools/demo and tools/test share: where the tree is, what surrounds a run, how it is built.
# It does nothing by itself but change to the root of the tree and set the environment.

cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1
root=$PWD

# Settings of the user's that would steer heaptally, the loader or the symbols. A debuginfod server
# that cannot be reached would be waited for.
unset "${!HEAPTALLY_@}" LD_PRELOAD LD_LIBRARY_PATH DEBUGINFOD_URLS DESTDIR
export PYTHONDONTWRITEBYTECODE=1

# Debian's redis-tools has the server's program under the name of its file checker.
use_redis_server() {
    if ! command -v redis-server >/dev/null && [[ -x /usr/bin/redis-check-rdb ]]; then
        mkdir -p "$root/build-all/bin"
        ln -sf /usr/bin/redis-check-rdb "$root/build-all/bin/redis-server"
        PATH=$root/build-all/bin:$PATH
    fi
}

# set_up DIRECTORY [MESON-OPTION]...: unless that is done already. Fails as meson does.
set_up() {
    [[ -f $1/build.ninja ]] || meson setup "$@"
}

# build DIRECTORY [MESON-OPTION]... [-- TARGET...]: sets the directory up and compiles the targets,
# all by default. Fails as meson does.
build() {
    local directory=$1 options=()
    shift
    while [[ $# -gt 0 && $1 != -- ]]; do
        options+=("$1")
        shift
    done
    shift || true
    set_up "$directory" "${options[@]}" && meson compile -C "$directory" "$@"
}
