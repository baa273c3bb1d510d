# The daemon as an image: the first stage builds, the second holds only Python, what the lock file names, and an
# allocator for the embedded store. Bytecode is compiled here, because who runs it may not write it, and would compile
# everything again at each start.
#   docker build -t smsd .
#   docker run -v ./smsd.toml:/etc/smsd/smsd.toml:ro -v smsd-data:/var/lib/smsd -p 8775:8775 -p 8776:8776 smsd

FROM python:3.13-slim AS build
WORKDIR /build
COPY pyproject.toml ./
COPY requirements/ requirements/
RUN python -m venv tools && tools/bin/pip install --require-hashes -r requirements/build.txt
RUN python -m venv --without-pip /opt/smsd
RUN tools/bin/uv pip install --compile-bytecode --python /opt/smsd/bin/python --require-hashes -r requirements/run.txt
COPY README.md CHANGELOG.md LICENSE ./
COPY smsd/ smsd/
COPY providers/ providers/
RUN tools/bin/hatchling build -t wheel
RUN tools/bin/uv pip install --compile-bytecode --python /opt/smsd/bin/python --no-deps dist/*.whl

FROM python:3.13-slim
RUN apt-get update && apt-get install -y --no-install-recommends libjemalloc2 && rm -rf /var/lib/apt/lists/*
COPY --from=build /opt/smsd /opt/smsd
COPY smsd.toml /etc/smsd/smsd.toml
RUN useradd --system --uid 65532 --no-create-home smsd && install -d -o 65532 -g 65532 /var/lib/smsd
ENV PATH=/opt/smsd/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    SMSD_CONFIG=/etc/smsd/smsd.toml \
    SMSD_STORE__DATA_DIR=/var/lib/smsd \
    SMSD_HTTP__LISTEN=0.0.0.0:8775 \
    SMSD_WEBHOOKS__LISTEN=0.0.0.0:8776
USER 65532:65532
WORKDIR /var/lib/smsd
VOLUME /var/lib/smsd
EXPOSE 8775 8776
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s CMD ["smsd", "health"]
ENTRYPOINT ["smsd"]
CMD ["run"]
