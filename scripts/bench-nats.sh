#!/usr/bin/env bash
# Measures the running NATS alone, without Tidemark.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

if ! command -v nats >/dev/null; then
    echo "The nats CLI is not installed. With Go: go install github.com/nats-io/natscli/nats@latest" >&2
    echo "Or take a release: https://github.com/nats-io/natscli/releases" >&2
    exit 1
fi
NATS_PORT=4222
# shellcheck source=/dev/null
[ ! -e .run/env ] || source .run/env
export NATS_URL=nats://127.0.0.1:$NATS_PORT
nats bench js pub async bench.publish --stream bench --create --purge --storage file --msgs 20000 --size 30KB --batch 16
nats stream rm --force bench
