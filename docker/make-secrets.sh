#!/bin/sh
# Makes the system's secrets at the first start, each in a file that only the services can read.
set -eu
umask 077
for name in order_id_key fraud_key postgres_password; do
    if [ ! -s "/secrets/$name" ]; then
        head --bytes=32 /dev/urandom | od -An -tx1 | tr -d ' \n' >"/secrets/$name.partial"
        mv "/secrets/$name.partial" "/secrets/$name"
    fi
done
if [ ! -s /secrets/database_url ]; then
    echo "postgresql://bookstore:$(cat /secrets/postgres_password)@postgres:5432/postgres" >/secrets/database_url
fi
chmod 0444 /secrets/*
