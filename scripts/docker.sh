# shellcheck shell=bash disable=SC2154
# Docker Compose: NATS, MinIO and the three services of docker-compose.yml.
# Sourced by stack.sh, which sets the ports.

docker_answers() { timeout 5 docker info >/dev/null 2>&1 && docker compose version >/dev/null 2>&1; }

docker_up() {
    docker_answers || fail "Docker does not answer; start it, or use plain processes: ./justw up native"
    say "Starting with Docker Compose: NATS, MinIO, ingest, pipeline and query, table in $TIDEMARK__TABLE__URL."
    docker image inspect tidemark:local >/dev/null 2>&1 ||
        say "First image: about 35 minutes on 2 cores. Later ones take as long as what has changed."
    remember
    docker compose up --detach --build --wait --wait-timeout 120 || docker_give_up
    say "Tidemark is ready."
}

docker_give_up() {
    docker compose ps --all
    docker compose logs --tail 20 >&2
    fail "not every service became healthy, see above. A taken port: TIDEMARK_PORT_OFFSET=100 ./justw up. ./justw down stops what runs."
}

docker_addresses() {
    say "  events            http://127.0.0.1:$INGEST_PORT"
    say "  metrics and SQL   http://127.0.0.1:$QUERY_PORT"
    say "  API key           TIDEMARK_KEY in .env: curl -H \"X-API-Key: \$TIDEMARK_KEY\" ..."
    say "  NATS              nats://127.0.0.1:$NATS_PORT, monitoring http://127.0.0.1:$NATS_MONITORING_PORT"
    say "  S3 (MinIO)        $TIDEMARK__TABLE__S3__ENDPOINT, keys in .env"
}

docker_running() { [ -n "$(docker compose ps --quiet 2>/dev/null)" ]; }

docker_down() { docker compose down; }

docker_reset() { docker compose down --volumes; }

docker_status() { docker compose ps --all; }

docker_logs() {
    local follow=()
    [ ! -t 1 ] || follow=(--follow)
    docker compose logs --tail 100 "${follow[@]}"
}

docker_tidemark() {
    local tty=() addresses=()
    [ -t 0 ] && [ -t 1 ] || tty=(--no-TTY)
    case ${1:-} in
    demo) addresses=(--url http://ingest:8080 --query-url http://query:8081) ;;
    sql | metrics) addresses=(--url http://query:8081) ;;
    esac
    docker compose exec "${tty[@]}" query tidemark "$1" "${addresses[@]}" "${@:2}"
}
