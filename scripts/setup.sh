#!/usr/bin/env bash
# Installs what building, testing, measuring or fuzzing needs and this machine lacks.
#
#   scripts/setup.sh build|test|bench|fuzz ...
#
# Debian packages are installed where this may (as root, or with sudo that asks nothing);
# elsewhere it says what to install and stops. What it makes itself stays inside the checkout
# (.venv, node_modules in tests/interop), but for cargo-fuzz, which cargo keeps with its own.
# When nothing is missing it is done in a second.
set -euo pipefail
cd "$(dirname "$0")/.."

rust_needed=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)

die() { printf 'setup: %s\n' "$*" >&2; exit 1; }

# at_least HAVE WANTED: is the first version not older than the second?
at_least() { [ "$(printf '%s\n%s\n' "$1" "$2" | sort -V | head -n 1)" = "$2" ]; }

# debian PACKAGE...: make sure that they are installed, in one go.
debian() {
    local missing=() package
    for package in "$@"; do
        dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
    done
    [ ${#missing[@]} -eq 0 ] && return
    command -v apt-get >/dev/null || die "please install: ${missing[*]} (the names are Debian's)"
    if [ "$(id -u)" -ne 0 ]; then
        sudo -n true 2>/dev/null || die "please run: sudo apt-get install ${missing[*]}"
    fi
    echo "setup: installing ${missing[*]}"
    as_root apt-get update -qq
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" \
        >/dev/null || die "apt-get could not install: ${missing[*]}"
}

# as_root COMMAND...: where `debian` has found that this may.
as_root() {
    if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo -n "$@"; fi
}

# have_command COMMAND PACKAGE...: the packages only where the command is not there already.
have_command() {
    # Not `command -v`, which would find the functions here that are named like their programs.
    type -P "$1" >/dev/null || debian "${@:2}"
}

# rivals: Prosody and ejabberd, to talk to and to measure against. Only their programs are wanted: the service that a
# package starts where systemd runs would hold port 5222, which `make run` needs. One that was there before is left alone.
rivals() {
    local rival
    for rival in prosody:prosody ejabberdctl:ejabberd; do
        type -P "${rival%:*}" >/dev/null && continue
        debian "${rival#*:}"
        [ ! -d /run/systemd/system ] || as_root systemctl disable --quiet --now "${rival#*:}"
    done
}

# yardstick: nginx, which files are measured beside; nothing of it is to run by itself either.
yardstick() {
    type -P nginx >/dev/null && return
    debian nginx
    [ ! -d /run/systemd/system ] || as_root systemctl disable --quiet --now nginx
}

rust() {
    if ! command -v cargo >/dev/null && apt-cache policy rustup 2>/dev/null | grep -q 'Candidate: [0-9]'; then
        debian rustup
        rustup -q toolchain install stable --profile default
    fi
    command -v cargo >/dev/null ||
        die "Rust $rust_needed or newer is needed: install rustup (https://rustup.rs), then run 'rustup toolchain install stable'"
    local have
    have=$(cargo --version | cut -d ' ' -f 2)
    at_least "$have" "$rust_needed" ||
        die "Rust $rust_needed or newer is needed, this is $have: run 'rustup update stable'"
}

# The protocol crate is for browsers, too; that it compiles for them is checked without one.
wasm_target() {
    if ! command -v rustup >/dev/null; then
        echo "setup: without rustup there is no wasm32 target; that part of the tests will be skipped"
    elif ! rustup target list --installed | grep -qx wasm32-unknown-unknown; then
        echo "setup: installing the wasm32 target"
        rustup -q target add wasm32-unknown-unknown
    fi
}

build() {
    rust
    # aws-lc (TLS) and jemalloc are C.
    have_command cc gcc libc6-dev
    have_command make make
    have_command cmake cmake
}

python() {
    have_command python3 python3
    python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
        die "Python 3.11 or newer is needed for the tests, this is $(python3 --version)"
    python3 -c 'import ensurepip, venv' 2>/dev/null || debian python3-venv
    local stamp=.venv/installed-requirements.txt
    cmp -s tests/requirements.txt "$stamp" && return
    echo "setup: making .venv"
    python3 -m venv --clear .venv
    .venv/bin/pip -q --disable-pip-version-check install -r tests/requirements.txt
    cp tests/requirements.txt "$stamp"
}

# aioxmpp's own end-to-end tests are in its source tree only, and Debian's source package has that whole. Nothing of
# apt's on this machine is changed: it looks at a copy of its sources that names source packages.
aioxmpp_tests() {
    local folder=.venv/aioxmpp-tests scratch
    [ -d $folder/tests ] && return
    if ! command -v apt-get >/dev/null; then
        echo "setup: without apt-get aioxmpp's own tests are not here and will be skipped"
        return
    fi
    echo "setup: fetching aioxmpp's own tests"
    scratch=$(mktemp -d)
    mkdir -p "$scratch"/{sources,lists/partial,cache/archives/partial}
    local file apt=(apt-get -qq -o Dir::Etc::SourceList=/dev/null -o Dir::Etc::SourceParts="$scratch/sources"
        -o Dir::State::Lists="$scratch/lists" -o Dir::Cache="$scratch/cache" -o APT::Sandbox::User=)
    for file in /etc/apt/sources.list.d/*.sources; do
        [ -f "$file" ] && sed 's/^Types:.*/Types: deb-src/' "$file" >"$scratch/sources/${file##*/}"
    done
    for file in /etc/apt/sources.list /etc/apt/sources.list.d/*.list; do
        [ -f "$file" ] && sed -n 's/^deb /deb-src /p' "$file" >"$scratch/sources/${file##*/}.list"
    done
    mkdir -p $folder
    if "${apt[@]}" update && (cd "$scratch" && "${apt[@]}" source --download-only --tar-only python-aioxmpp); then
        tar -xf "$scratch"/python-aioxmpp_*.orig.tar.* -C $folder --wildcards '*tests/*'
        # An upstream archive may have a folder of its own around everything.
        [ -d $folder/tests ] || mv $folder/*/tests $folder/
    else
        echo "setup: aioxmpp's source package is not to be had here; its own tests will be skipped"
    fi
    rm -rf "$scratch"
}

node() {
    have_command node nodejs
    have_command npm npm
    at_least "$(command node --version | tr -d v)" 18 ||
        die "Node.js 18 or newer is needed for the tests, this is $(command node --version)"
    local folder stamp
    for folder in tests/interop/xmppjs tests/interop/tus; do
        stamp=$folder/node_modules/installed-lock.json
        cmp -s $folder/package-lock.json "$stamp" && continue
        echo "setup: installing $folder/node_modules"
        (cd $folder && npm ci --silent --no-audit --no-fund)
        cp $folder/package-lock.json "$stamp"
    done
}

# Converse.js as npm has it, without the hundreds of packages that only building it takes.
converse_js() {
    local version=14.0.0 folder=tests/interop/converse/node_modules/converse.js scratch
    local sha512=2c5520d37d230da955e3bbc8fefc953ea60f65f2585c56ee6eaf2fd1c1437b6cd735e786124dd4a74163fd64f34fab7ee9da3e700213a32ef77808fb44d0e3d9
    [ "$(cat $folder/installed-version 2>/dev/null)" = $version ] && return
    echo "setup: installing $folder"
    scratch=$(mktemp -d)
    (cd "$scratch" && npm pack --silent "converse.js@$version" >/dev/null)
    echo "$sha512  $scratch/converse.js-$version.tgz" | sha512sum --check --quiet ||
        die "converse.js $version is not what it was when its tests were written"
    rm -rf $folder && mkdir -p $folder
    tar -xzf "$scratch/converse.js-$version.tgz" -C $folder --strip-components=1 package/dist
    rm -rf "$scratch"
    echo $version >$folder/installed-version
}

# Gajim's library is packaged for the system's Python, which has the bindings of GLib that it stands on.
nbxmpp() {
    /usr/bin/python3 -c 'import nbxmpp.http' 2>/dev/null || debian python3-nbxmpp
}

# An S3-compatible server to keep files in: versitygw (Apache-2.0), which others run for real, from its Go module. The
# first build takes minutes; Go keeps what it has built with its own.
s3_server() {
    local version=v1.8.0 folder=.venv/versitygw
    [ "$(cat $folder/installed-version 2>/dev/null)" = $version ] && return
    if ! command -v go >/dev/null || ! at_least "$(go env GOVERSION | tr -d go)" 1.21; then
        echo "setup: without Go 1.21 or newer there is no S3 server here; the tests with it will be skipped"
        return
    fi
    echo "setup: building versitygw"
    GOBIN=$PWD/$folder go install -trimpath "github.com/versity/versitygw/cmd/versitygw@$version" || {
        echo "setup: versitygw cannot be built here; the tests with it will be skipped"
        return
    }
    echo $version >$folder/installed-version
}

# Debian has Chromium as a package, Ubuntu has none.
chromium_browser() {
    command -v chromium >/dev/null && return
    if apt-cache policy chromium 2>/dev/null | grep -q 'Candidate: [0-9]'; then
        debian chromium
    else
        echo "setup: no package of Chromium here; the tests with Converse.js will be skipped"
    fi
}

tests() {
    build
    { command -v rustfmt && cargo clippy --version; } >/dev/null 2>&1 ||
        die "rustfmt and clippy are needed: run 'rustup component add rustfmt clippy'"
    wasm_target
    python
    aioxmpp_tests
    node
    rivals
    debian lua-unbound
    have_command profanity profanity
    have_command go-sendxmpp go-sendxmpp
    nbxmpp
    converse_js
    chromium_browser
    s3_server
    have_command tmux tmux
}

bench() {
    build
    rivals
    yardstick
    have_command openssl openssl
    have_command python3 python3
}

fuzz() {
    build
    have_command c++ g++
    cargo fuzz --version >/dev/null 2>&1 && return
    echo "setup: installing cargo-fuzz"
    cargo install --quiet --locked cargo-fuzz
}

[ $# -gt 0 ] || set -- build
for what in "$@"; do
    case $what in
    build) build ;;
    test) tests ;;
    bench) bench ;;
    fuzz) fuzz ;;
    *) die "unknown set '$what': build, test, bench and fuzz are known" ;;
    esac
done
