#!/bin/sh
# Makes the database's files at the first start, then becomes the server.
set -eu
files=/data/17
if [ ! -f "$files/PG_VERSION" ]; then
    rm -rf "$files.partial"
    initdb --pgdata="$files.partial" --username=bookstore --encoding=UTF8 --no-locale \
        --auth=scram-sha-256 --pwfile="$POSTGRES_PASSWORD_FILE"
    echo "host all all all scram-sha-256" >>"$files.partial/pg_hba.conf"
    mv "$files.partial" "$files"
fi
exec postgres -D "$files" -c listen_addresses='*' -c unix_socket_directories= -c shared_buffers=32MB
