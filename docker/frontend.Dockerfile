# The page, served by nginx as an ordinary user.
FROM debian:trixie-slim
RUN apt-get update \
    && apt-get install --yes --no-install-recommends nginx-light \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 bookstore
COPY frontend/nginx.conf /etc/nginx/nginx.conf
COPY frontend/page /srv/page
USER bookstore
EXPOSE 80
CMD ["nginx", "-e", "/dev/stderr", "-g", "daemon off;"]
