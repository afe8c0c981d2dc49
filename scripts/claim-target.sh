#!/usr/bin/env bash
# One target folder serves several checkouts. Cargo names what it builds by the path inside the workspace, and takes what is newer
# than the sources for fresh: after a build in another checkout it would link that one's code. So a checkout that did not build
# last touches its sources first; dependencies stay as they are.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
stamp=$CARGO_TARGET_DIR/checkout
[ "$(cat "$stamp" 2>/dev/null)" != "$PWD" ] || exit 0
mkdir -p "$CARGO_TARGET_DIR"
find . -name .tools -prune -o -name target -prune -o \( -name '*.rs' -o -name '*.toml' \) -exec touch {} +
echo "$PWD" >"$stamp"
