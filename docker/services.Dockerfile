# Every gRPC service and the orchestrator: one image (target services), the compose file says which module runs.
# And the same with sentence-transformers on Debian's torch for the CPU (target suggestions).
FROM debian:trixie-slim AS packages
RUN apt-get update \
    && apt-get install --yes --no-install-recommends python3 python3-venv \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /app
COPY docker/uv.txt ./
RUN python3 -m venv /opt/uv && /opt/uv/bin/pip install --no-cache-dir --require-hashes --requirement uv.txt
COPY pyproject.toml uv.lock ./
ENV UV_PROJECT_ENVIRONMENT=/opt/venv UV_PYTHON_DOWNLOADS=never UV_NO_CACHE=1
RUN /opt/uv/bin/uv sync --quiet --locked --no-default-groups --python /usr/bin/python3

FROM debian:trixie-slim AS runtime
RUN apt-get update \
    && apt-get install --yes --no-install-recommends python3 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 bookstore \
    && install --directory --owner=bookstore /data
WORKDIR /app
ENV PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 OPENBLAS_NUM_THREADS=1 \
    HF_HUB_OFFLINE=1 GRPC_VERBOSITY=ERROR BIND_HOST=0.0.0.0
VOLUME /data

FROM runtime AS services
COPY --from=packages /opt/venv /opt/venv
COPY utils utils
COPY orchestrator orchestrator
COPY transaction_verification transaction_verification
COPY fraud_detection fraud_detection
COPY suggestions suggestions
COPY order_queue order_queue
COPY order_executor order_executor
COPY payment payment
COPY db_node db_node
COPY docker/make-secrets.sh docker/make-certificates.sh docker/
RUN python3 -m compileall -q /app
USER bookstore

# Customers (benchmarks/load.py).
FROM services AS load
COPY bookstore bookstore
COPY benchmarks benchmarks

# Torch comes before the code, so that a change of the code does not install it again.
FROM packages AS packages-torch
RUN rm -rf /opt/venv \
    && /opt/uv/bin/uv venv --quiet --system-site-packages --python /usr/bin/python3 /opt/venv \
    && /opt/uv/bin/uv sync --quiet --locked --no-default-groups --group torch

FROM runtime AS runtime-torch
RUN apt-get update \
    && apt-get install --yes --no-install-recommends python3-torch \
    && rm -rf /var/lib/apt/lists/*
COPY --from=packages-torch /opt/venv /opt/venv

FROM runtime-torch AS suggestions
COPY --from=services /app /app
USER bookstore
