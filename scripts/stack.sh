#!/usr/bin/env bash
# One Tidemark on this machine: with Docker Compose, or as plain processes (native.sh).
#   stack.sh up [auto|docker|native|s3] | down | reset | logs | status | tidemark ARGUMENT... | duckdb SQL
# .run/ holds the state: `env` says how it was started, beside it are the pids and logs of plain processes.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source scripts/docker.sh
source scripts/native.sh

main() {
    mkdir -p -m 700 .run
    case ${1:-} in
    up) locked up "${2:-auto}" ;;
    down) locked down ;;
    reset) locked reset ;;
    logs | status) recall && "${backend}_$1" ;;
    tidemark) recall && "${backend}_tidemark" "${@:2}" ;;
    duckdb) recall && read_with_duckdb "$2" ;;
    *) fail "usage: stack.sh up [auto|docker|native|s3] | down | reset | logs | status | tidemark ARGUMENT... | duckdb SQL" ;;
    esac
}

up() {
    if (recall_quietly && "${backend}_running"); then
        recall_quietly
        [ "$1" = auto ] || [ "$1" = "$mode" ] || fail "already up as \`$mode\`; ./justw down stops that first"
    else
        mode=$(choose "$1")
        backend=$(backend_of "$mode")
        read_dotenv
        settings
    fi
    "${backend}_up"
    next_steps
}

down() {
    recall_quietly || { say "Nothing was started here." && return; }
    "${backend}_down"
    say "Tidemark is down. Its data is kept; ./justw up $mode goes on with it."
}

reset() {
    ! recall_quietly || "${backend}_reset"
    rm -rf data/lake data/nats data/s3 .run
    rmdir --ignore-fail-on-non-empty data 2>/dev/null || true
    say "Everything that Tidemark stored here is gone."
}

# Docker when its engine answers and Compose is there, else plain processes.
choose() {
    case $1 in
    docker | native | s3) echo "$1" ;;
    auto) if docker_answers; then echo docker; else echo native; fi ;;
    *) fail "no way to start is called \`$1\`; there are: up, up docker, up native, up s3" ;;
    esac
}

backend_of() { if [ "$1" = docker ]; then echo docker; else echo native; fi; }

# The settings of this start, as the binaries read them. What the environment or .env already says stays.
settings() {
    local offset=${TIDEMARK_PORT_OFFSET:-0}
    [[ $offset =~ ^(0|[1-9][0-9]{0,4})$ ]] || fail "TIDEMARK_PORT_OFFSET is \`$offset\`; it must be a number such as 100"
    export NATS_PORT=$((4222 + offset)) NATS_MONITORING_PORT=$((8222 + offset))
    export INGEST_PORT=$((8080 + offset)) QUERY_PORT=$((8081 + offset)) ADMIN_PORT=$((9180 + offset))
    case $mode in
    native) export TIDEMARK__TABLE__URL=${TIDEMARK__TABLE__URL:-./data/lake} ;;
    s3) s3_settings $((8333 + offset)) ;;
    docker) s3_settings $((9000 + offset)) && ensure_key ;;
    esac
}

s3_settings() {
    ensure_credentials
    export S3_PORT=$1
    export TIDEMARK__TABLE__URL=s3://tidemark/lake
    export TIDEMARK__TABLE__S3__ENDPOINT=http://127.0.0.1:$S3_PORT TIDEMARK__TABLE__S3__ALLOW_HTTP=true
    export TIDEMARK__TABLE__S3__ACCESS_KEY_ID=$S3_ACCESS_KEY_ID TIDEMARK__TABLE__S3__SECRET_ACCESS_KEY=$S3_SECRET_ACCESS_KEY
}

# The keys of the local S3 server (MinIO or SeaweedFS), made once and kept in .env, which git ignores.
ensure_credentials() {
    [ -z "${S3_SECRET_ACCESS_KEY:-}" ] || return 0
    export S3_ACCESS_KEY_ID=tidemark S3_SECRET_ACCESS_KEY
    S3_SECRET_ACCESS_KEY=$(od -An -N20 -tx1 /dev/urandom | tr -d ' \n')
    (umask 077 && touch .env && chmod 600 .env)
    printf 'S3_ACCESS_KEY_ID=%s\nS3_SECRET_ACCESS_KEY=%s\n' "$S3_ACCESS_KEY_ID" "$S3_SECRET_ACCESS_KEY" >>.env
}

# The API key of the containers, made once and kept in .env.
ensure_key() {
    [ -z "${TIDEMARK_KEY:-}" ] || return 0
    export TIDEMARK_KEY
    TIDEMARK_KEY=$(od -An -N32 -tx1 /dev/urandom | tr -d ' \n')
    (umask 077 && touch .env && chmod 600 .env)
    printf 'TIDEMARK_KEY=%s\n' "$TIDEMARK_KEY" >>.env
}

# NAME=value lines; the environment wins over them, as with Docker Compose.
read_dotenv() {
    local name value
    [ -e .env ] || return 0
    while IFS='=' read -r name value; do
        [[ $name =~ ^[A-Za-z_][A-Za-z0-9_]*$ ]] || continue
        [ -n "${!name+set}" ] || export "$name=$value"
    done <.env
}

# What later commands need to talk to what this `up` starts.
remember() {
    local name
    {
        printf 'mode=%s backend=%s\n' "$mode" "$backend"
        for name in NATS_PORT NATS_MONITORING_PORT INGEST_PORT QUERY_PORT ADMIN_PORT "${!TIDEMARK_KEY@}" "${!S3_@}" "${!TIDEMARK__@}"; do
            printf 'export %s=%q\n' "$name" "${!name}"
        done
    } | (umask 077 && cat >.run/env.new)
    mv -f .run/env.new .run/env
}

recall_quietly() {
    [ -e .run/env ] || return 1
    # shellcheck source=/dev/null
    source .run/env
}

recall() { recall_quietly || fail "nothing was started here; ./justw up does that"; }

# DuckDB as a second engine that reads the table itself, through its own Delta reader, not through Tidemark.
read_with_duckdb() {
    local table=${TIDEMARK__TABLE__URL%/}/events
    if [[ $table != s3://* ]]; then
        table=$(realpath -m "$table")
        [ -d "$table/_delta_log" ] || fail "no table in $table yet; ./justw demo sends events"
    fi
    { duckdb_session "$table" && printf '%s\n;\n' "$1"; } | .tools/bin/duckdb -no-init -bail
}

duckdb_session() {
    local endpoint=${TIDEMARK__TABLE__S3__ENDPOINT:-https://s3.amazonaws.com} tls=false
    [[ $endpoint != https://* ]] || tls=true
    say ".output /dev/null"
    say "SET autoinstall_known_extensions = false;"
    say "LOAD $(quote "$PWD/.tools/bin/delta.duckdb_extension"); LOAD $(quote "$PWD/.tools/bin/httpfs.duckdb_extension");"
    [[ $1 != s3://* ]] ||
        say "CREATE SECRET (TYPE s3, URL_STYLE 'path', USE_SSL $tls, ENDPOINT $(quote "${endpoint#*://}")," \
            "REGION $(quote "${TIDEMARK__TABLE__S3__REGION:-us-east-1}"), KEY_ID $(quote "${TIDEMARK__TABLE__S3__ACCESS_KEY_ID:-}")," \
            "SECRET $(quote "${TIDEMARK__TABLE__S3__SECRET_ACCESS_KEY:-}"));"
    say "CREATE VIEW events AS SELECT * FROM delta_scan($(quote "$1"));"
    say ".output"
}

quote() { printf "'%s'" "${1//\'/\'\'}"; }

next_steps() {
    "${backend}_addresses"
    cat <<'NEXT'
Next:
  ./justw demo                                      send a day of events
  ./justw sql "SELECT count(*) FROM events"         ask Tidemark
  ./justw duckdb "SELECT count(*) FROM events"      ask DuckDB, on the same table
  ./justw status | logs | down
NEXT
}

# up, down and reset exclude each other; the processes that they start do not inherit the lock.
locked() (
    exec 9>.run/lock
    flock -n 9 || fail "another ./justw up, down or reset is at work in this checkout"
    "$@"
)

say() { printf '%s\n' "$*"; }

fail() {
    printf 'error: %s\n' "$*" >&2
    exit 1
}

main "$@"
