# The service as an image: `docker build -t ellq:0.1.0 .`
# With the reference kernels on CUDA: `docker build -t ellq:0.1.0-cuda --build-arg EXTRAS=server,torch .`
# Production pins the base by digest: --build-arg BASE=python:3.11-slim-bookworm@sha256:...
ARG BASE=python:3.11-slim-bookworm

FROM ${BASE} AS build
ARG EXTRAS=server
WORKDIR /src
# Only here does pip run: the environment that is copied on has none.
RUN python3 -m venv --without-pip /opt/ellq
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY proto proto
COPY client client
COPY server server
RUN python3 -m pip --python /opt/ellq/bin/python install --no-cache-dir --constraint constraints.txt ".[${EXTRAS}]"

FROM ${BASE}
LABEL org.opencontainers.image.title="ellq" \
      org.opencontainers.image.description="A gRPC service that compresses neural networks and proves what that costs." \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /opt/ellq /opt/ellq
# The compiled kernels are cached in /tmp, which must be writable: numba refuses to start on a read-only cache. They are not
# compiled at build time, because the cache holds code for one exact processor model and a cluster has several.
ENV PATH=/opt/ellq/bin:$PATH \
    HOME=/tmp \
    NUMBA_CACHE_DIR=/tmp/ellq-kernels \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
# A number, so that runAsNonRoot can be checked without reading /etc/passwd.
USER 65532:65532
WORKDIR /tmp
EXPOSE 50051 9464
STOPSIGNAL SIGTERM
# A long start period, for a fresh container may be compiling its kernels. Kubernetes uses the probes of the manifests instead.
HEALTHCHECK --interval=30s --timeout=10s --start-period=300s --retries=6 CMD ["python", "-m", "ellq_server.probe"]
ENTRYPOINT ["ellq", "serve"]
