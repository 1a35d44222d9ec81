# Sourced by ./run, ./test and ./bench: installs what is missing, and says what and why.

say() { printf '\033[1m==>\033[0m %s\n' "$*"; }

as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        echo "This needs root: $*" >&2
        echo "Run it yourself, or install sudo, and start again." >&2
        exit 1
    fi
}

missing=()

# need PACKAGE WHY [COMMAND]: notes a Debian package unless it, or the command it is wanted for, is there.
need() {
    if [ -n "${3:-}" ] && command -v "$3" >/dev/null; then return; fi
    if dpkg-query -W -f '${Status}' "$1" 2>/dev/null | grep -q 'ok installed'; then return; fi
    say "missing: $1 ($2)"
    missing+=("$1")
}

install_missing() {
    if [ ${#missing[@]} -gt 0 ]; then
        as_root apt-get update -qq
        as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}"
        missing=()
    fi
}

# want PACKAGE WHY COMMAND: installs what a comparison is made with; goes on without it, and says so. A service that comes with
# it neither starts now nor with the machine.
want() {
    if command -v "$3" >/dev/null; then return; fi
    say "missing: $1 ($2)"
    local managed=""
    if [ -d /run/systemd/system ]; then managed=yes; fi
    if [ -n "$managed" ]; then as_root systemctl --quiet --runtime mask "$1"; fi
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$1" ||
        say "$1 cannot be installed: the comparison is left out"
    if [ -n "$managed" ]; then
        as_root systemctl --quiet --runtime unmask "$1"
        as_root systemctl --quiet disable "$1" 2>/dev/null || true
    fi
}

need_rust() {
    if ! command -v cargo >/dev/null; then
        echo "Rust 1.95 or newer is missing: install it with rustup (https://rustup.rs), then start again." >&2
        if [ -n "${SUDO_USER:-}" ]; then
            echo "If $SUDO_USER has it: start without sudo, this script asks for it where it is needed." >&2
        fi
        exit 1
    fi
}

need_build() {
    need_rust
    need gcc "links the binary; compiles SQLite" cc
    need make "builds libbpf" make
    need pkg-config "finds the C libraries" pkg-config
    need clang-16 "compiles the eBPF programs" clang-16
    need libelf-dev "libbpf reads ELF files with it"
    need zlib1g-dev "libelf needs it"
    need nodejs "compiles the console's style sheet" node
    need npm "fetches the design system" npm
}

# Python with virtual environments, which Debian packs separately.
need_python() {
    need python3 "runs comparisons and benchmarks" python3
    if ! python3 -c 'import ensurepip, venv' 2>/dev/null; then
        need python3-venv "keeps their packages in target/"
    fi
}

# The console's style sheet and scripts; embedded into the binary.
build_console() {
    local at=hub/console-assets
    if [ ! -d $at/node_modules ] || [ $at/package-lock.json -nt $at/node_modules ]; then
        say "fetching the design system (npm)"
        npm --prefix $at ci --no-audit --no-fund --loglevel=error
        touch $at/node_modules
    fi
    if [ ! -d $at/dist ] || [ -n "$(find $at/src $at/package.json -newer $at/dist 2>/dev/null | head -1)" ]; then
        say "compiling the console's style sheet"
        npm --prefix $at run --silent build
        touch $at/dist
    fi
}

# Playwright wants Node 20; Debian 12 has 18, which is enough for everything else.
node_20() {
    if [ "$(node -p 'process.versions.node.split(".")[0]')" -ge 20 ]; then
        echo node
        return
    fi
    say "Debian's Node is too old for Playwright: fetching Node 20 (npm)" >&2
    npm install --prefix target/node --no-audit --no-fund --loglevel=error node@20 >&2
    echo target/node/node_modules/node/bin/node
}
