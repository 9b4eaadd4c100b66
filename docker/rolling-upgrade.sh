#!/usr/bin/env bash
# Replaces every container by one of the image and the settings of now, one at a time, while orders flow:
#
#   docker compose build && docker/rolling-upgrade.sh [service ...]
#
# Compose's own variables say which project it is (COMPOSE_PROJECT_NAME, COMPOSE_FILE). A node of a cluster goes only while
# all others follow its leader, which goes last: a node that stops hands leadership over. Everything written stays in the
# volumes. It ends with an error, and touches nothing more, when a container or a cluster is not well after 5 minutes.
set -euo pipefail
cd "$(dirname "$0")/.."
patience_s=300

if docker compose version >/dev/null 2>&1; then compose=(docker compose); else compose=(docker-compose); fi

label() {
    docker inspect --format "{{index .Config.Labels \"com.docker.compose.$2\"}}" "$1"
}

mapfile -t containers < <("${compose[@]}" ps --quiet)
[ ${#containers[@]} -gt 0 ] || { echo "No bookstore of this project runs." >&2; exit 1; }
project=$(label "${containers[0]}" project)

# Those that run, all or of one service.
running() {
    docker ps --quiet --filter "label=com.docker.compose.project=$project" ${1:+--filter "label=com.docker.compose.service=$1"}
}

# What the orchestrator knows of each part, one a line; its status is 0 when all of them can be relied on.
whole() {
    docker exec "$(running orchestrator)" python -c '
import json, re, sys, urllib.error, urllib.request
try:
    answer = urllib.request.urlopen("http://localhost:5000/readyz", timeout=8)
except urllib.error.HTTPError as error:
    answer = error
parts = json.load(answer)["components"]
for name, part in parts.items():
    print(name + ":", part["detail"])
some_follow = [part for part in parts.values() if re.search(r"leads (\d+) of (?!\1 )\d+ nodes", part["detail"])]
sys.exit(bool(some_follow) or not all(part["ready"] for part in parts.values()))
'
}

# Asks the container itself what compose asks it from time to time.
healthy() {
    local id question
    id=$(running "$1")
    mapfile -t question < <(docker inspect --format '{{range .Config.Healthcheck.Test}}{{println .}}{{end}}' "$id" | sed '/^$/d')
    docker exec "$id" "${question[@]:1}" >/dev/null 2>&1
}

await() {
    local what=$1 deadline=$((SECONDS + patience_s))
    shift
    until "$@" >/dev/null 2>&1; do
        if [ $SECONDS -gt $deadline ]; then
            echo "$what is not well after $patience_s s; nothing more is replaced." >&2
            whole >&2 || true
            exit 1
        fi
        sleep 0.5
    done
}

replace() {
    await "the bookstore" whole
    echo "$1"
    local old
    old=$(running "$1")
    docker stop "$old" >/dev/null
    docker rm --volumes "$old" >/dev/null
    "${compose[@]}" up --detach --no-deps "$1" >/dev/null 2>&1
    await "$1" healthy "$1"
}

# The services of a cluster, its leader last.
leader_last() {
    local leader
    leader=$(whole | sed -n 's/.*: \([^ ]*\) leads .*/\1/p' | grep -xF -f <(printf '%s\n' "$@") || true)
    printf '%s\n' "$@" | grep -vxF "$leader" || true
    echo "$leader"
}

if [ $# -gt 0 ]; then wanted=("$@"); else mapfile -t wanted < <(for id in $(running); do label "$id" service; done | sort); fi
await "the bookstore" whole
for family in authority postgres db-node order_queue order_executor payment-service fraud_detection suggestions \
    transaction_verification orchestrator frontend; do
    mapfile -t members < <(printf '%s\n' "${wanted[@]}" | grep -E "^$family(_?[0-9]+)?$" || true)
    [ ${#members[@]} -gt 0 ] || continue
    if [ ${#members[@]} -gt 1 ]; then mapfile -t members < <(leader_last "${members[@]}"); fi
    for member in "${members[@]}"; do
        [ -z "$member" ] || replace "$member"
    done
done
await "the bookstore" whole
