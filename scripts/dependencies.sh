#!/usr/bin/env bash
# What the dependency graph must look like; compiles nothing.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# Their types cross crate borders, so a second version is another type of the same name.
for crate in arrow arrow-array arrow-schema parquet datafusion object_store deltalake-core delta_kernel; do
    versions=$(grep -cFx "name = \"$crate\"" Cargo.lock || true)
    if ((versions > 1)); then
        echo "Cargo.lock has $versions versions of $crate; \`cargo tree -i $crate\` tells who asks for which" >&2
        exit 1
    fi
done

# `ingest` is built for the edge: small, and without a query engine.
ingest=$(cargo tree --locked --package pipeline --no-default-features --edges normal --prefix none)
if grep -q '^datafusion' <<<"$ingest"; then
    echo "ingest depends on DataFusion; \`cargo tree -p pipeline --no-default-features -i datafusion\` tells why" >&2
    exit 1
fi
