# Every process of Trading Sidecar: `docker run IMAGE arbiter --config FILE` and so on; see docker-compose.yml.
# Behind a proxy or mirror pass what pip needs as build arguments, for example --build-arg PIP_INDEX_URL.
FROM python:3.13-slim AS build
ARG PIP_INDEX_URL PIP_EXTRA_INDEX_URL PIP_TRUSTED_HOST
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
RUN python -m venv /opt/sidecar
WORKDIR /src
COPY pyproject.toml constraints.txt ./
# The dependencies alone first: this layer stays while only our own code changes.
RUN python -c "import tomllib; project = tomllib.load(open('pyproject.toml', 'rb')); \
    print(*project['project']['dependencies'], *project['build-system']['requires'], sep='\n')" > requirements.txt \
 && /opt/sidecar/bin/pip install --quiet -c constraints.txt -r requirements.txt
COPY README.md LICENSE ./
COPY sidecar ./sidecar
RUN /opt/sidecar/bin/pip install --quiet --no-deps --no-build-isolation . \
 && /opt/sidecar/bin/pip uninstall --quiet --yes hatchling && /opt/sidecar/bin/pip check

FROM python:3.13-slim
RUN useradd --system --uid 10001 --home-dir /var/lib/sidecar --create-home sidecar
COPY --from=build /opt/sidecar /opt/sidecar
ENV PATH=/opt/sidecar/bin:$PATH PYTHONUNBUFFERED=1
USER sidecar
WORKDIR /var/lib/sidecar
ENTRYPOINT ["sidecar"]
CMD ["--help"]
