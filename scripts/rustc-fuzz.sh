#!/bin/sh
# Cargo calls this in place of rustc, as RUSTC_WRAPPER. Only our own code counts for libFuzzer what it reaches: its dependencies would
# take ten times as long to build and teach it nothing. The options are those of cargo-fuzz; all of them are stable.
set -eu

case " $* " in
*" --crate-name schemas "* | *" --crate-name door "*)
    exec "$@" -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
        -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares
    ;;
esac
exec "$@"
