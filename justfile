# Run these through ./justw: it installs just itself and the pinned servers into .tools/.

set shell := ["bash", "-euo", "pipefail", "-c"]
set positional-arguments

# One folder for all checkouts and for CI, so that a second checkout builds in seconds.
export CARGO_TARGET_DIR := env("CARGO_TARGET_DIR", cache_directory() / "tidemark" / "target")

[private]
default:
    @"{{ just_executable() }}" --justfile "{{ justfile() }}" --list --unsorted

# Build, start, wait until ready; HOW: docker, native, s3 (native with SeaweedFS) or auto
[group('run')]
[no-exit-message]
up how="auto":
    @scripts/stack.sh up "$1"

# Stop everything; the data stays
[group('run')]
[no-exit-message]
down:
    @scripts/stack.sh down

# Stop everything and delete its data
[confirm("Delete all events of this checkout: journal, table and S3 data? [y/N]")]
[group('run')]
[no-exit-message]
reset:
    @scripts/stack.sh reset

# What runs, and whether it is ready
[group('run')]
[no-exit-message]
status:
    @scripts/stack.sh status

# The logs of all parts; follows them in a terminal
[group('run')]
[no-exit-message]
logs:
    @scripts/stack.sh logs

# Send a day of realistic events through HTTP and show a few metrics
[group('use')]
[no-exit-message]
demo *arguments:
    @scripts/stack.sh tidemark demo "$@"

# Ask Tidemark: just sql "SELECT event_name, count(*) FROM events GROUP BY 1"; a shell without a statement
[group('use')]
[no-exit-message]
sql *arguments:
    @scripts/stack.sh tidemark sql "$@"

# Any command of the operator's binary: just tidemark config show
[group('use')]
[no-exit-message]
tidemark *arguments:
    @scripts/stack.sh tidemark "$@"

# Ask DuckDB, which reads the same table without Tidemark
[group('use')]
[no-exit-message]
duckdb query: tools
    @scripts/stack.sh duckdb "$1"

# What the running NATS does by itself: 30 KB messages, 16 in flight, on a stream of its own (needs the nats CLI)
[group('use')]
[no-exit-message]
bench-nats:
    @scripts/bench-nats.sh

# Compile all binaries (dev profile: optimised a little, the first time about 12 minutes on 2 cores)
[group('develop')]
build: claim
    cargo build --locked --workspace --bins

# All tests, against real NATS and S3 servers; CI runs this
[group('develop')]
test: tools readers static claim
    cargo build --locked --workspace --bins
    cargo test --locked --workspace

# Break everything while events flow, then prove that none is lost or doubled: just chaos 7 5 (seed, minutes; 0 for a short run)
[group('develop')]
[no-exit-message]
chaos seed="" minutes="1": tools claim
    cargo build --locked --workspace --bins
    TIDEMARK_CHAOS_SEED="$1" TIDEMARK_CHAOS_MINUTES="$2" cargo test --locked --workspace --test tidemark -- \
        --exact --ignored --nocapture chaos::a_long_run_tells_one_story_whatever_breaks

# Commits, merges, deletions and questions together, nothing broken: all exact, nothing grows; figures: just soak s3 10 5000 (folder or s3, minutes, events a second)
[group('develop')]
[no-exit-message]
soak store="folder" minutes="10" rate="5000": tools claim
    cargo build --locked --workspace --bins
    TIDEMARK_SOAK_STORE="$1" TIDEMARK_SOAK_MINUTES="$2" TIDEMARK_SOAK_RATE="$3" cargo test --locked --workspace --test tidemark -- \
        --exact --ignored --nocapture chaos::commits_merges_deletions_and_questions_together_stay_exact

# Thousands of right and wrong requests, made from the served OpenAPI document: just schemathesis --seed 1 --max-examples 100
[group('develop')]
[no-exit-message]
schemathesis *options: tools claim
    cargo build --locked --package tidemark
    @scripts/schemathesis.sh "$CARGO_TARGET_DIR/debug/tidemark" "$@"

# Bytes that nobody would think of, sent to the parser of the door: just fuzz 600 (seconds), just fuzz artifacts/door/crash-... (one body)
[group('develop')]
[no-exit-message]
fuzz seconds_or_body="60":
    @scripts/fuzz.sh "$1"

# How fast, against an empty handler, a message per event, JetStream alone, DuckDB, chDB, DataFusion; writes docs/BENCHMARKS.md: just bench --only door
[group('develop')]
[no-exit-message]
bench *options: tools claim
    cargo build --locked --release --workspace --bins
    [ -x .tools/bench/bin/python ] || { python3 -m venv .tools/bench && .tools/bench/bin/pip install --quiet duckdb==2.0.0 chdb==4.4.0 datafusion==55.0.0; }
    mkdir -p .run
    python3 -B scripts/bench "$CARGO_TARGET_DIR/release" "$@"

# What each step costs an event: just bench-micro, or just bench-micro --instructions
[group('develop')]
[no-exit-message]
bench-micro *options: claim
    @scripts/bench-micro.sh "$@"

# Where a role's time goes under a load, and its flame graph; needs perf: just bench-profile ingest --connections 250
[group('develop')]
[no-exit-message]
bench-profile *options: tools claim
    cargo build --locked --release --workspace --bins
    python3 -B scripts/bench/samples.py "$CARGO_TARGET_DIR/release" "$@"

# What ten thousand small commits cost those who ask: cold start, questions, memory; release build
[group('develop')]
[no-exit-message]
bench-commits *options: tools claim
    cargo build --locked --release --workspace --bins
    python3 -B scripts/bench/commits.py "$CARGO_TARGET_DIR/release" "$@"

# A power cut of the journal's disk, and a full one: on loop-mounted images, so as root on Linux
[group('develop')]
[no-exit-message]
journal-disk: tools claim
    cargo test --locked --workspace --test tidemark -- --ignored --nocapture journal_disk::

# Everything that a change must pass: format, lints, docs, dependencies, licences, tests
[group('develop')]
check: static claim && test
    cargo clippy --locked --workspace --all-targets -- -D warnings
    RUSTDOCFLAGS="-D warnings -A rustdoc::private_intra_doc_links" cargo doc --locked --workspace --no-deps --document-private-items
    @if command -v cargo-deny >/dev/null; then cargo deny check; else echo "cargo-deny is not installed, so deny.toml is not checked: cargo install --locked cargo-deny"; fi

# The checks that compile nothing
[group('develop')]
static:
    cargo fmt --all --check
    @scripts/dependencies.sh

# Cargo must not take what another checkout built for ours
[private]
claim:
    @scripts/claim-target.sh

# Install the pinned tools of config/tools.txt into .tools/
[group('develop')]
tools:
    @./justw tools

# Install the other readers of the table, of config/readers.txt, into .tools/readers
[group('develop')]
readers:
    @./justw readers
