# The connector's image: the first stage compiles, the second has neither compiler nor pip's cache.
# Another base must be a Debian with Python 3.13; pin it by digest in production:
#   docker build --build-arg PYTHON_IMAGE=python:3.13-slim-trixie@sha256:… .
ARG PYTHON_IMAGE=python:3.13-slim-trixie

FROM ${PYTHON_IMAGE} AS build
# a Python from Debian's own package has its headers in another package
RUN apt-get update \
 && apt-get install -y --no-install-recommends gcc libc6-dev \
 && { [ -e "$(python -c 'import sysconfig; print(sysconfig.get_path("include"))')/Python.h" ] \
      || apt-get install -y --no-install-recommends python3-dev; } \
 && rm -rf /var/lib/apt/lists/*
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /src
COPY requirements/build.txt requirements/run.txt requirements/sbom.txt requirements/
RUN python -m venv /build \
 && /build/bin/pip install --require-hashes -r requirements/build.txt \
 && python -m venv --without-pip /opt/kite-connector \
 && /build/bin/pip --python /opt/kite-connector/bin/python install \
      --only-binary :all: --require-hashes -r requirements/run.txt \
 && python -m venv /bill && /bill/bin/pip install --require-hashes -r requirements/sbom.txt
COPY . .
RUN KITE_CONNECTOR_BUILD=native /build/bin/pip wheel --no-deps --no-build-isolation -w /wheel . \
 && /build/bin/pip --python /opt/kite-connector/bin/python install --no-deps --no-index /wheel/*.whl \
 && cd / \
 && /opt/kite-connector/bin/python -c \
      "import connector.codec; assert connector.codec.IMPLEMENTATION == 'native'" \
 && /opt/kite-connector/bin/kite-connector version
# what is installed on top of the base image; the same for the same sources
RUN /bill/bin/cyclonedx-py environment --output-reproducible --no-validate --pyproject pyproject.toml \
      --output-file /opt/kite-connector/sbom.cdx.json /opt/kite-connector/bin/python

FROM ${PYTHON_IMAGE}
ARG VERSION=0.1.0
ARG REVISION=
ARG SOURCE=
# what PYTHON_IMAGE is, for scanners that look for fixes of the base: its name and its digest
ARG BASE_NAME=
ARG BASE_DIGEST=
LABEL org.opencontainers.image.title="kite-connector" \
      org.opencontainers.image.description="Streams Zerodha Kite Connect market data into Apache Kafka" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.source="${SOURCE}" \
      org.opencontainers.image.base.name="${BASE_NAME}" \
      org.opencontainers.image.base.digest="${BASE_DIGEST}"
# the spool's folder belongs to the account, so that a new volume mounted there does too
RUN groupadd --gid 10001 connector \
 && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin connector \
 && install -d -o 10001 -g 10001 -m 0750 /var/lib/kite-connector
COPY --from=build /opt/kite-connector /opt/kite-connector
# KITE_HTTP__HOST: inside a container the default, 127.0.0.1, would be reached by nobody
ENV PATH=/opt/kite-connector/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    KITE_HTTP__HOST=0.0.0.0
USER 10001:10001
WORKDIR /var/lib/kite-connector
EXPOSE 8090
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s --retries=3 \
  CMD ["python", "-c", "import os, urllib.request as u; u.urlopen('http://127.0.0.1:' + os.environ.get('KITE_HTTP__PORT', '8090') + '/live', timeout=2)"]
ENTRYPOINT ["kite-connector"]
CMD ["run"]
