# What stands beside a container of ours to make its network bad or its disk full. It is part of no bookstore that serves.
FROM debian:trixie-slim
RUN apt-get update \
    && apt-get install --yes --no-install-recommends iproute2 nftables \
    && rm -rf /var/lib/apt/lists/*
COPY docker/bad-network.sh /usr/local/bin/bad-network.sh
CMD ["sleep", "infinity"]
