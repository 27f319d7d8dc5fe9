#!/usr/bin/env bash
# Lets schemathesis loose on a running service: it makes requests out of the description, good and bad ones, and judges every
# answer by it. Usage: tests/schemathesis.sh [BINARY]; AQ_TEST_PYTHON names the interpreter beside which it is installed.
set -euo pipefail
cd "$(dirname "$0")/.."

binary=${1:-target/release/asyncqueue}
schemathesis="$(dirname "${AQ_TEST_PYTHON:-target/verifiers/bin/python}")/schemathesis"
scratch=$(mktemp -d)
key="async_schemathesis-0123456789abcdef0123"
ASYNCQUEUE_BOOTSTRAP_KEY=$key "$binary" serve --listen 127.0.0.1:0 --database "sqlite:$scratch/store.db" --log json \
    --callback-rate-limit 0 --signal-rate-limit 0 --shutdown-grace 1s 2>"$scratch/log" &
service=$!
trap 'kill $service 2>/dev/null || true; wait $service 2>/dev/null || true; rm -rf "$scratch"' EXIT
for _ in $(seq 200); do
    url=$(sed -n 's/.*Serving on \(http:[^"]*\)".*/\1/p' "$scratch/log")
    [ -n "$url" ] && break
    sleep 0.1
done
[ -n "$url" ] || { cat "$scratch/log"; exit 1; }

"$schemathesis" --config-file tests/data/schemathesis.toml run "$url/openapi.json" \
    --header "Authorization: Bearer $key" --seed 20261125 --max-time "${AQ_SCHEMATHESIS_SECONDS:-75}" --workers 1 \
    >"$scratch/report" 2>&1 || { cat "$scratch/report"; exit 1; }
tail -n 40 "$scratch/report"
