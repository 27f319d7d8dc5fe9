#!/usr/bin/env bash
# Lets schemathesis loose on a running service: it makes requests out of the description, good and bad ones, and judges every
# answer by it. Usage: tests/schemathesis.sh [BINARY]; AQ_TEST_PYTHON names the interpreter beside which it is installed.
set -euo pipefail
cd "$(dirname "$0")/.."

binary=${1:-target/release/asyncqueue}
schemathesis="$(dirname "${AQ_TEST_PYTHON:-target/verifiers/bin/python}")/schemathesis"
scratch=$(mktemp -d)
touch "$scratch/log"
key="async_schemathesis-0123456789abcdef0123"
ASYNCQUEUE_BOOTSTRAP_KEY=$key "$binary" serve --listen 127.0.0.1:0 --database "sqlite:$scratch/store.db" --log json \
    --callback-rate-limit 0 --signal-rate-limit 0 --shutdown-grace 1s --allow-target 127.0.0.1:9999 \
    >"$scratch/said" 2>"$scratch/log" &
service=$!
trap 'kill $service 2>/dev/null || true; wait $service 2>/dev/null || true; rm -rf "$scratch"' EXIT
for _ in $(seq 200); do
    url=$(sed -n 's/.*Serving on \(http:[^"]*\)".*/\1/p' "$scratch/log")
    [ -n "$url" ] && break
    sleep 0.1
done
[ -n "$url" ] || { cat "$scratch/log"; exit 1; }

python="$(dirname "$schemathesis")/python"
link=$("$binary" setup-link --database "sqlite:$scratch/store.db" 2>>"$scratch/log" | grep -o 'http://[^ ]*/setup/[^ ]*') ||
    { cat "$scratch/log"; exit 1; }
known=$("$python" tests/oracles/schemathesis_owner.py "$url" "$link")
token=$("$python" -c 'import json, sys; print(json.loads(sys.argv[1])["token"])' "$known")
works() {
    [ "$(curl -s -o /dev/null -w '%{http_code}' -H "Authorization: Bearer $2" "$url$1")" = 200 ] && return
    echo "In the course of the run, the credential for $1 stopped to work"
    exit 1
}

AQ_SCHEMATHESIS_KEY=$key AQ_SCHEMATHESIS_TOKEN=$token AQ_SCHEMATHESIS_KNOWN=$known AQ_SCHEMATHESIS_SEEN=$scratch/seen \
    "$schemathesis" --config-file tests/data/schemathesis.toml run "$url/openapi.json" \
    --seed 20261125 --max-time "${AQ_SCHEMATHESIS_SECONDS:-120}" --workers 1 \
    >"$scratch/report" 2>&1 || { cat "$scratch/report"; exit 1; }
tail -n 40 "$scratch/report"
works /v1/tasks "$key"
works /me "$token"
"$python" tests/oracles/schemathesis_seen.py "$scratch/seen"
