#!/bin/sh
# Makes the system's secrets at the first start, and gives each service a copy of those that it needs, in a volume that only
# that service has.
set -eu
umask 077
# Elsewhere for deploy/, which gives them to Swarm or Kubernetes.
secrets=${SECRETS_DIR:-/secrets}
granted=${GRANTED_DIR:-/granted}
google_api_key=${GOOGLE_API_KEY_FILE:-/run/google_api_key}
for name in order_id_key fraud_key postgres_password; do
    if [ ! -s "$secrets/$name" ]; then
        head --bytes=32 /dev/urandom | od -An -tx1 | tr -d ' \n' >"$secrets/$name.partial"
        mv "$secrets/$name.partial" "$secrets/$name"
    fi
done
echo "postgresql://bookstore:$(cat "$secrets/postgres_password")@postgres:5432/postgres" >"$secrets/database_url"
# Of the user's own: a file, or a variable. Both may be empty.
cat "$google_api_key" >"$secrets/google_api_key"
[ -s "$secrets/google_api_key" ] || printf %s "${GOOGLE_API_KEY:-}" >"$secrets/google_api_key"
chmod 0600 "$secrets"/*

grant() {
    service=$1
    mkdir -p "$granted/$service"
    shift
    for name in "$@"; do
        install --mode=0444 "$secrets/$name" "$granted/$service/$name"
    done
}
grant orchestrator order_id_key
grant fraud_detection fraud_key google_api_key
grant suggestions database_url google_api_key
grant order_queue database_url
grant postgres postgres_password
