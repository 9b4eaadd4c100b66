#!/bin/sh
# Gives the volumes to the user of the services, and as that user each process its certificate.
set -eu
chown bookstore /granted/*
exec setpriv --reuid=bookstore --regid="$(id --group bookstore)" --clear-groups python -m utils.identity issue
