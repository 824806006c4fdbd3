# Images of the service. Targets: `cpu` (ONNX Runtime on CPU) and `gpu` (torch and ONNX Runtime on CUDA).
#   make image, or: docker build --target cpu --tag wavescope:cpu .
# The Python of the base must be the one the requirements were locked for.
ARG PYTHON_IMAGE=python:3.11-slim-bookworm

# ---- base: what every stage and both images stand on -----------------------------------------------------------------
FROM ${PYTHON_IMAGE} AS base
# Only /tmp and the state directory, a volume, need to be writable: the root filesystem may be mounted read-only.
ENV PATH=/opt/wavescope/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    XDG_CACHE_HOME=/tmp/.cache \
    MPLCONFIGDIR=/tmp/.cache/matplotlib \
    RAY_USAGE_STATS_ENABLED=0 \
    WAVESCOPE_CACHE_DIR=/var/cache/wavescope \
    WAVESCOPE_STATE_DIR=/var/lib/wavescope
# wget: KubeRay's readiness probe and HEALTHCHECK call it. Debian's security fixes matter more than its version.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends wget \
    && rm -rf /var/lib/apt/lists/* \
    && groupadd --gid 10001 wavescope \
    && useradd --uid 10001 --gid wavescope --create-home --shell /usr/sbin/nologin wavescope \
    && install --directory --owner wavescope --group wavescope /var/cache/wavescope /var/lib/wavescope

# ---- wheels: this repository's own packages --------------------------------------------------------------------------
FROM base AS wheels
WORKDIR /src
# Secrets, here and below: the builder's own pip configuration and authorities, where it has any. They leave no trace.
COPY requirements/build.txt requirements/
RUN --mount=type=secret,id=pip-conf,target=/etc/pip.conf \
    --mount=type=secret,id=ca-certificates \
    python3 -m venv /opt/build-env \
    && /opt/build-env/bin/pip install --no-cache-dir --require-hashes --requirement requirements/build.txt
COPY clients/proto clients/proto
COPY service service
RUN /opt/build-env/bin/pip wheel --no-cache-dir --no-deps --no-index --no-build-isolation --wheel-dir /wheels \
    ./clients/proto ./service

# ---- per target: dependencies by hash, our wheels, and the default model exported once -------------------------------
# --no-deps: the files are complete, and name opencv-python-headless where corrupt-tta asks for opencv-python and libGL.
FROM base AS build-cpu
COPY requirements/cpu.txt /requirements/
RUN --mount=type=secret,id=pip-conf,target=/etc/pip.conf \
    --mount=type=secret,id=ca-certificates \
    python3 -m venv /opt/wavescope \
    && pip install --no-cache-dir --no-deps --require-hashes --requirement /requirements/cpu.txt
COPY --from=wheels /wheels /wheels
RUN pip install --no-cache-dir --no-deps --no-index /wheels/*.whl
USER 10001:10001
RUN python3 -c "from wavescope.api import load_model; load_model('efficientnet-lite0')"

FROM base AS build-gpu
COPY requirements/gpu.txt /requirements/
RUN --mount=type=secret,id=pip-conf,target=/etc/pip.conf \
    --mount=type=secret,id=ca-certificates \
    python3 -m venv /opt/wavescope \
    && pip install --no-cache-dir --no-deps --require-hashes --requirement /requirements/gpu.txt
COPY --from=wheels /wheels /wheels
RUN pip install --no-cache-dir --no-deps --no-index /wheels/*.whl
USER 10001:10001
RUN python3 -c "from wavescope.api import load_model; load_model('efficientnet-lite0')"

# ---- runtime: what both images say of themselves ---------------------------------------------------------------------
FROM base AS runtime
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="wavescope" \
      org.opencontainers.image.description="Explanations of image classifiers in the scale domain" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
USER 10001:10001
WORKDIR /home/wavescope
EXPOSE 8000 9000
# Jobs and cached results. Unnamed it ends with its container: name it, or name a Redis with WAVESCOPE_STORE_URL.
VOLUME /var/lib/wavescope
HEALTHCHECK --interval=10s --timeout=5s --start-period=120s --retries=3 \
    CMD ["wget", "--quiet", "--tries=1", "--output-document=/dev/null", "http://127.0.0.1:8000/readyz"]
ENTRYPOINT ["wavescope"]
# Inside a container loopback serves nobody, so every interface is bound and no key is asked for: who publishes the
# ports decides who may call. Publish on 127.0.0.1, or behind a gateway, or say --api-keys in place of --no-auth.
CMD ["serve", "--host", "0.0.0.0", "--no-auth"]

FROM runtime AS gpu
ENV NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
COPY --from=build-gpu /opt/wavescope /opt/wavescope
COPY --from=build-gpu /var/cache/wavescope /var/cache/wavescope

# Last, so that a build without --target is the cpu image.
FROM runtime AS cpu
COPY --from=build-cpu /opt/wavescope /opt/wavescope
COPY --from=build-cpu /var/cache/wavescope /var/cache/wavescope
