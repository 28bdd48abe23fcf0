# A mirror in front of the image names, with a slash at its end: --build-arg IMAGE_PREFIX=mirror.example/library/
ARG IMAGE_PREFIX=""

FROM ${IMAGE_PREFIX}python:3.12-slim-bookworm AS build
ARG PIP_INDEX_URL
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
RUN python -m venv /opt/venv
COPY requirements-runtime.txt /tmp/requirements-runtime.txt
RUN /opt/venv/bin/pip install --require-hashes --only-binary=:all: -r /tmp/requirements-runtime.txt
# OpenTelemetry, for whoever collects traces: WITH_OTEL=1 in .env, or --build-arg WITH_OTEL=1
ARG WITH_OTEL=""
COPY requirements-otel.txt /tmp/requirements-otel.txt
RUN if [ -n "${WITH_OTEL}" ]; then \
        /opt/venv/bin/pip install --require-hashes --only-binary=:all: -r /tmp/requirements-otel.txt; \
    fi
WORKDIR /app
COPY main.py config.py config.json ./
COPY settings/ settings/
COPY app/ app/
COPY migrations/ migrations/
RUN /opt/venv/bin/python -m compileall -q . && mkdir data logs

FROM ${IMAGE_PREFIX}python:3.12-slim-bookworm
ARG VERSION=0.1.0
LABEL org.opencontainers.image.title="ecloud-dify" \
      org.opencontainers.image.description="A self-hosted bridge between WeChat groups (E云管家) and Dify" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.licenses="MIT"
# HOME and USER: the numeric user has no line in /etc/passwd, and nothing may be written but data and logs.
ENV PATH=/opt/venv/bin:$PATH HOME=/tmp USER=bridge \
    PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 LOG_FORMAT=json
COPY --from=build /opt/venv /opt/venv
COPY --from=build /app /app
COPY --from=build --chown=10001:10001 /app/data /app/data
COPY --from=build --chown=10001:10001 /app/logs /app/logs
WORKDIR /app
USER 10001:10001
VOLUME ["/app/data", "/app/logs"]
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=15s --timeout=5s --start-period=30s --retries=3 \
    CMD ["python", "-m", "app.cli", "healthcheck"]
ENTRYPOINT ["python", "main.py"]
