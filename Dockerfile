# Two images of one build: docker build --target exporter .  and  docker build --target recorder .
#
# No "# syntax=" line and no heredoc, so that engines without BuildKit build it as well.
ARG SWIFT_IMAGE=swift:6.3-bookworm
ARG DEBIAN_IMAGE=debian:bookworm-slim

FROM ${SWIFT_IMAGE} AS build
RUN apt-get -qq update \
 && apt-get -qq install --yes --no-install-recommends \
    binutils libcurl4-openssl-dev libsqlite3-dev libssl-dev pkg-config \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /source
COPY Package.swift ./
COPY tools/build.sh tools/swift-build.sh tools/
COPY bench bench
COPY Tests Tests
COPY Sources Sources
RUN tools/build.sh

# One static file: no shell, no libraries. Its health check is itself.
FROM scratch AS exporter
LABEL org.opencontainers.image.title="streamvault-exporter" \
      org.opencontainers.image.description="Shows how every shutdown of a StreamVault recorder went" \
      org.opencontainers.image.version="0.1.0"
COPY --from=build /source/.build/bin/streamvault-exporter /streamvault-exporter
USER 10001:10001
EXPOSE 9847
HEALTHCHECK --interval=10s --timeout=5s --retries=3 \
    CMD ["/streamvault-exporter", "healthcheck", "http://127.0.0.1:9847/-/healthy"]
ENTRYPOINT ["/streamvault-exporter"]

FROM ${DEBIAN_IMAGE} AS recorder
# Streamlink follows sites that change more often than a distribution does, so it is not Debian's.
ARG STREAMLINK_VERSION=8.6.3
LABEL org.opencontainers.image.title="streamvault-recorder" \
      org.opencontainers.image.description="Records live streams, and finalizes every recording when it is stopped" \
      org.opencontainers.image.version="0.1.0"
# procps: for the kill of "docker exec streamvault kill -TERM 1".
RUN apt-get -qq update \
 && apt-get -qq install --yes --no-install-recommends \
    ca-certificates ffmpeg libcurl4 libsqlite3-0 libssl3 libstdc++6 procps python3-minimal python3-venv \
 && python3 -m venv /opt/streamlink \
 && /opt/streamlink/bin/pip install --quiet --no-cache-dir --disable-pip-version-check \
    streamlink==${STREAMLINK_VERSION} \
 && ln -s /opt/streamlink/bin/streamlink /usr/local/bin/streamlink \
 && apt-get clean \
 && rm -rf /var/lib/apt/lists/* /root/.cache \
 && install -d -o 10001 -g 10001 /recordings /run/streamvault /etc/streamvault \
 && install -d -m 1777 /app/logs
COPY --from=build /source/.build/bin/streamvault-recorder /usr/local/bin/streamvault-recorder
USER 10001:10001
WORKDIR /recordings
# Where the configuration is mounted, and a log that can be followed beside the container's own.
ENV STREAMVAULT_CONFIG=/etc/streamvault/recorder.json5 \
    STREAMVAULT_LOG_FILE=/app/logs/streamvault.log
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=40s --retries=3 \
    CMD ["streamvault-recorder", "healthcheck", "http://127.0.0.1:8000/health"]
ENTRYPOINT ["streamvault-recorder"]
