# PostgreSQL 17 with pgvector, from Debian's packages.
FROM debian:trixie-slim
RUN apt-get update \
    && apt-get install --yes --no-install-recommends postgresql-17 postgresql-17-pgvector \
    && rm -rf /var/lib/apt/lists/* /var/lib/postgresql/17 \
    && install --directory --owner=postgres --mode=0700 /data
COPY docker/postgres.sh /usr/local/bin/postgres.sh
ENV PATH=/usr/lib/postgresql/17/bin:$PATH
USER postgres
VOLUME /data
STOPSIGNAL SIGINT
CMD ["postgres.sh"]
