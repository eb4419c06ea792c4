#!/bin/sh
# Makes the database that the environment names, once, and serves it.
set -e
bin=$(echo /usr/lib/postgresql/*/bin)
if [ ! -s "$PGDATA/PG_VERSION" ]; then
    password=$(mktemp)
    echo "$POSTGRES_PASSWORD" > "$password"
    "$bin/initdb" -U "$POSTGRES_USER" --pwfile "$password" --auth-host scram-sha-256 --auth-local trust -E UTF8 > /dev/null
    rm "$password"
    echo "host all all all scram-sha-256" >> "$PGDATA/pg_hba.conf"
    echo "CREATE DATABASE $POSTGRES_DB" | "$bin/postgres" --single -j postgres > /dev/null
fi
exec "$bin/postgres" -c listen_addresses='*' -c unix_socket_directories=/tmp
