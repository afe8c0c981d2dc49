#!/usr/bin/env bash
# Lets libFuzzer send bodies to the parser of the door for some seconds; ends badly as soon as one of them breaks a rule of
# schemas/tests/schemas/oracle.rs, and says where that body is kept.
#   scripts/fuzz.sh SECONDS
#   scripts/fuzz.sh FILE        the rules against this body alone
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../fuzz"

# Longer bodies reach nothing new and cost executions.
max_bytes=4096

fail() {
    echo "just fuzz: $*" >&2
    exit 1
}

command -v c++ >/dev/null || fail "a C++ compiler is missing, which libFuzzer is built with; on Debian: apt-get install g++"
export RUSTC_WRAPPER=$PWD/../scripts/rustc-fuzz.sh
CARGO_TARGET_DIR=$CARGO_TARGET_DIR/fuzz cargo build --locked --release --bin door
door=$CARGO_TARGET_DIR/fuzz/release/door

if [[ $1 =~ ^[1-9][0-9]*$ ]]; then
    mkdir -p corpus/door artifacts/door
    exec "$door" corpus/door seeds/door -dict=door.dict -artifact_prefix=artifacts/door/ -max_len=$max_bytes -max_total_time="$1" \
        -timeout=10 -print_final_stats=1
fi
[[ -f $1 ]] || fail "\`$1\` is neither a number of seconds nor a file in fuzz/; for ten minutes: just fuzz 600"
exec "$door" "$1"
