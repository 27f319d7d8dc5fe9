#!/usr/bin/env bash
# Runs the examples of README.md, and the signature checks of docs/api.md, against a real binary.
#
#   tests/readme.sh [BINARY]        default: target/release/asyncqueue
#
# Each fenced `sh` block of the README is preceded by a marker that says what is done with it:
#   <!-- test: start -->    it starts the service and stays running; the one before it is stopped
#   <!-- test: client -->   it talks to the service that runs
#   <!-- test: shows -->    the block is text that the client block before it must have printed
# A block without a marker fails the test, so that none is forgotten. Ports, and the way the binary is built, are replaced.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
binary=$(realpath "${1:-target/release/asyncqueue}")
[[ -x $binary ]] || { echo "readme.sh: $binary is not there; run cargo build --release" >&2; exit 2; }

scratch=$(mktemp -d)
server=
trap 'stop; rm -rf "$scratch"' EXIT

stop() {
    if [[ -n $server ]]; then
        kill -TERM "$server" 2>/dev/null || true
        wait "$server" 2>/dev/null || true
        server=
    fi
}

fail() {
    echo "readme.sh: $1" >&2
    for file in server.out server.err client.out; do
        [[ -s $scratch/$file ]] && sed "s/^/  $file: /" "$scratch/$file" >&2
    done
    exit 1
}

free_port() {
    local port
    while port=$((20000 + RANDOM % 20000)); do
        if ! (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then echo "$port"; return; fi
    done
}

# Writes each block to $scratch/NUMBER.KIND.
split_blocks() {
    awk -v out="$scratch" '
        /^<!-- test: / { kind = $3; next }
        /^```/ && !inside {
            inside = 1
            shell = ($0 == "```sh")
            if (shell && kind == "") { print "line " NR ": a shell block without a test marker" > "/dev/stderr"; exit 1 }
            if (kind != "") { number += 1; file = sprintf("%s/%02d.%s", out, number, kind) } else file = ""
            next
        }
        /^```/ { inside = 0; kind = ""; next }
        inside && file != "" { print > file }
    ' "$1"
}

start() {
    stop
    port=$(free_port)
    export ASYNCQUEUE_LISTEN=127.0.0.1:$port
    local command
    command=$(sed "s|cargo run --release --|exec $binary|" "$1")
    [[ $command == *"$binary"* ]] || fail "this block starts no service: $(cat "$1")"
    (cd "$scratch" && exec bash -c "$command") >"$scratch/server.out" 2>"$scratch/server.err" &
    server=$!
    for _ in $(seq 300); do
        if curl -fs "http://127.0.0.1:$port/readyz" >/dev/null 2>&1 && grep -qE 'async_[A-Za-z0-9_-]{32}' "$scratch/server.out"; then
            KEY=$(grep -oE 'async_[A-Za-z0-9_-]{32,}' "$scratch/server.out" | head -n 1)
            export KEY
            PROVIDER=$(grep -oE 'provider on http://[0-9.:]+' "$scratch/server.out" | head -n 1 | sed 's/provider on //' || true)
            export PROVIDER
            return
        fi
        kill -0 "$server" 2>/dev/null || fail "the service ended: $(cat "$1")"
        sleep 0.1
    done
    fail "the service did not become ready: $(cat "$1")"
}

client() {
    sed "s|127\.0\.0\.1:8080|127.0.0.1:$port|g" "$1" >"$scratch/client.sh"
    bash -euo pipefail "$scratch/client.sh" >"$scratch/client.out" 2>&1 || fail "this block failed: $(cat "$1")"
    if grep -q '"error":"' "$scratch/client.out"; then fail "the service refused something: $(cat "$1")"; fi
}

shows() {
    grep -qF -- "$(cat "$1")" "$scratch/client.out" || fail "the block before did not print: $(cat "$1")"
}

split_blocks README.md
blocks=0
for block in "$scratch"/[0-9][0-9].*; do
    case $block in
        *.start) start "$block" ;;
        *.client) client "$block" ;;
        *.shows) shows "$block" ;;
        *) fail "no such kind of block: ${block##*.}" ;;
    esac
    blocks=$((blocks + 1))
done
((blocks >= 4)) || fail "only $blocks blocks were found"
stop

# The code that api.md tells receivers to use must accept what the signing code's own tests hold for right.
extract() {
    awk -v fence="\`\`\`$1" '$0 == fence { on = 1; next } /^```/ { on = 0 } on' docs/api.md
}
checked=
if command -v python3 >/dev/null; then
    { extract python; cat tests/data/verify.py; } >"$scratch/verify.py"
    python3 "$scratch/verify.py" || fail "docs/api.md: the Python verification is wrong"
    checked+=" Python"
fi
if command -v node >/dev/null; then
    { extract js; cat tests/data/verify.mjs; } >"$scratch/verify.mjs"
    node "$scratch/verify.mjs" || fail "docs/api.md: the Node verification is wrong"
    checked+=" Node"
fi
echo "README: $blocks blocks ran. Signature code checked:${checked:- none, neither python3 nor node is here}"
