#!/usr/bin/env bash
# Makes sure that the image debian:trixie-slim is there: pulls it, and where no image registry can be reached, builds the
# same content from Debian's packages (needs root and the package mmdebstrap).
set -euo pipefail
image=debian:trixie-slim

if docker image inspect "$image" >/dev/null 2>&1; then
    echo "$image is there."
    exit 0
fi
if timeout 60 docker pull --quiet "$image" 2>/dev/null; then
    exit 0
fi
echo "$image cannot be pulled; building it from Debian's packages (about half a minute)..."
if ! command -v mmdebstrap >/dev/null; then
    echo "mmdebstrap is missing: install it (apt-get install mmdebstrap) and try again" >&2
    exit 1
fi
certificates=/etc/ssl/certs/ca-certificates.crt
changes=()
hooks=()
if [ -f "$certificates" ]; then
    # A machine without a registry often has certificates of its own, which downloads inside a build must trust too.
    hooks=(--customize-hook="copy-in $certificates /etc/ssl/certs/")
    changes=(--change "ENV SSL_CERT_FILE=$certificates" --change "ENV PIP_CERT=$certificates")
fi
mmdebstrap --quiet --variant=minbase --include=ca-certificates "${hooks[@]}" trixie - \
    | docker import "${changes[@]}" - "$image"
