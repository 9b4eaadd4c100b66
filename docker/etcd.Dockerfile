# etcd as Debian packages it, for docker/etcd.yaml.
FROM debian:trixie-slim
RUN apt-get update \
    && apt-get install --yes --no-install-recommends etcd-server \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 bookstore \
    && install --directory --owner=bookstore /data
USER bookstore
VOLUME /data
ENV ETCD_DATA_DIR=/data/etcd ETCD_LOG_LEVEL=warn \
    ETCD_LISTEN_CLIENT_URLS=http://0.0.0.0:2379 ETCD_LISTEN_PEER_URLS=http://0.0.0.0:2380 \
    ETCD_AUTO_COMPACTION_MODE=revision ETCD_AUTO_COMPACTION_RETENTION=1000
CMD ["etcd"]
