# shellcheck shell=bash disable=SC2154
# Plain processes: nats-server and, for S3, SeaweedFS from .tools/, and `tidemark serve` built here.
# Sourced by stack.sh, which sets `mode` and the ports.

parts() { if [ "$mode" = s3 ]; then echo nats seaweedfs tidemark; else echo nats tidemark; fi; }

native_up() {
    native_settings
    if all_alive && is_ready; then
        say "Tidemark is already up ($(native_path)). Other settings take effect after ./justw down."
        return
    fi
    check_ports
    say "Starting without Docker: $(native_path)."
    ./justw tools
    alive tidemark || build 9>&-
    remember
    start nats .tools/bin/nats-server -c config/nats.conf -a 127.0.0.1 -p "$NATS_PORT" -m "$NATS_MONITORING_PORT" -sd "$data/nats"
    [ "$mode" != s3 ] || start_seaweedfs
    wait_for nats 10 http_ok "$NATS_MONITORING_PORT" '/healthz?js-enabled-only=true'
    [ "$mode" != s3 ] || wait_for seaweedfs 30 http_ok "$S3_PORT" /healthz
    start tidemark .run/tidemark serve
    wait_for tidemark 30 is_ready
    say "Tidemark is ready."
}

native_settings() {
    if [ "$mode" = s3 ]; then data=data/s3; else data=data; fi
    export TIDEMARK__NATS__URL=nats://127.0.0.1:$NATS_PORT
    export TIDEMARK__NATS__MONITORING_URL=http://127.0.0.1:$NATS_MONITORING_PORT
    export TIDEMARK__SERVE__LISTEN=${TIDEMARK__SERVE__LISTEN:-127.0.0.1:$INGEST_PORT}
    export TIDEMARK__SERVE__ADMIN_LISTEN=${TIDEMARK__SERVE__ADMIN_LISTEN:-127.0.0.1:$ADMIN_PORT}
    export TIDEMARK__LOG__FORMAT=${TIDEMARK__LOG__FORMAT:-text}
    http_port=${TIDEMARK__SERVE__LISTEN##*:} admin_port=${TIDEMARK__SERVE__ADMIN_LISTEN##*:}
}

native_path() { say "nats-server and tidemark serve, table in $TIDEMARK__TABLE__URL"; }

native_addresses() {
    say "  events, metrics, SQL    http${TIDEMARK__TLS__CERTIFICATE:+s}://127.0.0.1:$http_port"
    say "  health and Prometheus   $(admin_url)/readyz, /metrics"
    say "  NATS                    $TIDEMARK__NATS__URL, monitoring $TIDEMARK__NATS__MONITORING_URL"
    [ "$mode" != s3 ] || say "  S3 (SeaweedFS)          $TIDEMARK__TABLE__S3__ENDPOINT, keys in .env"
}

native_running() { alive tidemark || alive seaweedfs || alive nats; }

admin_url() {
    if [ "${TIDEMARK__TLS__INTERNAL:-}" = true ]; then say "https://127.0.0.1:$admin_port"; else say "http://127.0.0.1:$admin_port"; fi
}

# What Tidemark says of its parts; succeeds if it is ready. The internal port speaks TLS only where it is told to.
ready() {
    if [ "${TIDEMARK__TLS__INTERNAL:-}" = true ]; then
        .run/tidemark health --url "$(admin_url)/readyz"
    else
        http_get "$admin_port" /readyz
    fi
}

is_ready() { ready >/dev/null 2>&1; }

all_alive() {
    local part
    for part in $(parts); do alive "$part" || return 1; done
}

native_down() {
    local part
    for part in tidemark seaweedfs nats; do stop "$part"; done
}

native_reset() { native_down; }

native_status() {
    local part
    native_settings
    for part in $(parts); do
        if alive "$part"; then say "$part runs, pid $(pid_of "$part"), log .run/$part.log"; else say "$part is stopped, log .run/$part.log"; fi
    done
    ready || fail "not ready; ./justw logs says more"
}

native_logs() {
    local follow=()
    [ ! -t 1 ] || follow=(-F)
    tail -n 100 "${follow[@]}" .run/*.log
}

native_tidemark() { .run/tidemark "$@"; }

# Cargo's folder is shared by all checkouts, so this checkout keeps a link to the binary that it built.
build() {
    command -v cargo >/dev/null || fail "cargo is missing; https://rustup.rs installs Rust"
    [ -x "$CARGO_TARGET_DIR/debug/tidemark" ] ||
        say "First build: about 12 minutes on 2 cores. Later builds take seconds."
    scripts/claim-target.sh
    cargo build --locked --workspace --bins
    ln -f "$CARGO_TARGET_DIR/debug/tidemark" .run/tidemark 2>/dev/null || cp -f "$CARGO_TARGET_DIR/debug/tidemark" .run/tidemark
}

# SeaweedFS takes four ports from S3_PORT on, and for gRPC the same plus 10000.
start_seaweedfs() {
    local keys='{"identities":[{"name":"tidemark","actions":["Admin"],"credentials":[{"accessKey":"%s","secretKey":"%s"}]}]}'
    mkdir -p "$data/seaweedfs"
    # shellcheck disable=SC2059  # the format is the constant above
    (umask 077 && printf "$keys\n" "$TIDEMARK__TABLE__S3__ACCESS_KEY_ID" "$TIDEMARK__TABLE__S3__SECRET_ACCESS_KEY" >.run/seaweedfs.json)
    start seaweedfs .tools/bin/weed -logtostderr=true server -dir="$data/seaweedfs" -ip=127.0.0.1 -ip.bind=127.0.0.1 \
        -s3 -s3.port="$S3_PORT" -s3.config=.run/seaweedfs.json -s3.port.iceberg=0 -s3.port.lance=0 \
        -filer -master.port=$((S3_PORT + 1)) -volume.port=$((S3_PORT + 2)) -filer.port=$((S3_PORT + 3)) \
        -s3.autoCreateBucket=false -volume.max=200 -master.volumeSizeLimitMB=256 -master.electionTimeout=1s \
        -master.telemetry=false -volume.preStopSeconds=0
}

check_ports() {
    alive tidemark || need_ports HTTP "$http_port" "$admin_port"
    alive nats || need_ports NATS "$NATS_PORT" "$NATS_MONITORING_PORT"
    [ "$mode" != s3 ] || alive seaweedfs || need_ports S3 "$S3_PORT" $((S3_PORT + 1)) $((S3_PORT + 2)) $((S3_PORT + 3))
}

need_ports() {
    local port
    for port in "${@:2}"; do
        ! listening "$port" || fail "port $port ($1) is taken$(holder "$port"). Stop that program," \
            "or move all ports of this checkout: TIDEMARK_PORT_OFFSET=100 ./justw up (a line in .env keeps it so)"
    done
}

listening() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

holder() { ss -ltnpH "sport = :$1" 2>/dev/null | sed -n 's/.*(("\([^"]*\)",pid=\([0-9]*\).*/ by \1, pid \2/p;q' || true; }

# PORT PATH: prints the body of the answer to a GET there; succeeds if its status is 200.
http_get() {
    (
        exec 3<>"/dev/tcp/127.0.0.1/$1"
        printf 'GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n' "$2" >&3
        read -r -t 5 _ code _ <&3
        sed '1,/^\r*$/d' <&3 && echo
        [ "$code" = 200 ]
    ) 2>/dev/null
}

http_ok() { http_get "$@" >/dev/null; }

# NAME COMMAND...: runs it on, apart from this terminal. The pid file also holds the start time, which makes it unmistakable.
start() {
    local name=$1
    ! alive "$name" || return 0
    [ ! -e ".run/$name.log" ] || mv -f ".run/$name.log" ".run/$name.log.1"
    setsid "${@:2}" </dev/null >".run/$name.log" 2>&1 9>&- &
    printf '%s %s\n' $! "$(start_time $!)" >".run/$name.pid"
}

# NAME SECONDS COMMAND...: until COMMAND succeeds.
wait_for() {
    local name=$1 deadline=$((SECONDS + $2))
    until "${@:3}"; do
        alive "$name" || give_up "$name stopped right after its start"
        ((SECONDS < deadline)) || give_up "$name is not ready after $2 s"
        sleep 0.1
    done
}

give_up() {
    local name=${1%% *}
    tail -n 20 ".run/$name.log" >&2
    [ "$name" != tidemark ] || ready >&2 || true
    fail "$1; above are the last lines of .run/$name.log. ./justw down stops what runs."
}

# SeaweedFS always takes 15 s, because its filer waits for its own subscribers.
stop() {
    local pid deadline=$((SECONDS + 30))
    if alive "$1"; then
        say "Stopping $1."
        pid=$(pid_of "$1")
        kill "$pid"
        while alive "$1" && ((SECONDS < deadline)); do sleep 0.1; done
        ! alive "$1" || { say "$1 did not stop within 30 s and is killed." && kill -9 "$pid"; }
    fi
    rm -f ".run/$1.pid"
}

pid_of() { cut -d ' ' -f 1 ".run/$1.pid"; }

# Whether the very process that `start` started still runs.
alive() {
    local pid started
    { read -r pid started <".run/$1.pid"; } 2>/dev/null && [ "$(start_time "$pid")" = "$started" ]
}

# In clock ticks since boot; empty for a process that has ended.
start_time() {
    local stat
    { read -r -a stat <"/proc/$1/stat"; } 2>/dev/null || return 0
    [ "${stat[2]}" = Z ] || echo "${stat[21]}"
}
