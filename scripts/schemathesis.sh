#!/usr/bin/env bash
# Sends thousands of right and wrong requests, made from the served OpenAPI document, to a running `tidemark serve`:
# no 5xx but the 503 that are right, no status that is not documented, no answer against its schema.
#   scripts/schemathesis.sh TIDEMARK [option of `schemathesis run` ...]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

version=4.32.5
venv=.tools/schemathesis-$version
tidemark=$1
shift

install() {
    [ -x "$venv/bin/schemathesis" ] && return
    rm -rf "$venv"
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check "schemathesis==$version"
}

free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }

stop() {
    kill "${serve:-}" "${nats:-}" 2>/dev/null || true
    wait "${serve:-}" "${nats:-}" 2>/dev/null || true
    rm -rf "$folder"
}

install
folder=$(mktemp -d)
trap stop EXIT
nats_port=$(free_port) port=$(free_port)
.tools/bin/nats-server --config config/nats.conf --addr 127.0.0.1 --port "$nats_port" --http_port 0 --store_dir "$folder/nats" >"$folder/nats.log" 2>&1 &
nats=$!
until (exec 3<>"/dev/tcp/127.0.0.1/$nats_port") 2>/dev/null; do kill -0 "$nats" && sleep 0.1; done
"$tidemark" serve --set "nats.url=nats://127.0.0.1:$nats_port" --set "serve.listen=127.0.0.1:$port" --set serve.admin_listen=127.0.0.1:0 \
    --set "table.url=$folder/lake" --set query.timeout=1s >"$folder/tidemark.log" 2>&1 &
serve=$!
until curl -sf "http://127.0.0.1:$port/readyz" >/dev/null; do kill -0 "$serve" || { cat "$folder/tidemark.log" >&2; exit 1; }; sleep 0.1; done

PYTHONPATH=scripts SCHEMATHESIS_HOOKS=schemathesis_hooks "$venv/bin/schemathesis" --config-file scripts/schemathesis.toml \
    run "http://127.0.0.1:$port/openapi.json" --phases examples,coverage,fuzzing --continue-on-failure "$@"
