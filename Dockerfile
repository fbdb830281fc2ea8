# The service in a container (docs/guides/serving.md says how to build and start it). With other extras, the same image runs
# every command on a cluster (docs/scale.md).
FROM python:3.11-slim-bookworm

# The build of PyTorch: without a GPU, add the index of the CPU builds, or several GB of CUDA come along.
ARG TORCH="torch==2.13.0"
ARG EXTRAS="cpu"

RUN useradd --system --create-home --home-dir /var/lib/recsys recsys
RUN python3 -m venv /opt/recsys
RUN /opt/recsys/bin/pip install --no-cache-dir ${TORCH}
WORKDIR /opt/recsys/source
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY recsys recsys
COPY features features
COPY training training
COPY serving serving
# `cpu` is without TorchRec, which only a training in several processes needs; `cuda` brings it
RUN /opt/recsys/bin/pip install --no-cache-dir --constraint constraints.txt ".[${EXTRAS}]"

USER recsys
WORKDIR /var/lib/recsys
# bundles for a start while the registry is down, and the mask
VOLUME /var/lib/recsys
ENV OMP_NUM_THREADS=1 PATH=/opt/recsys/bin:$PATH
EXPOSE 8000
HEALTHCHECK --start-period=60s CMD ["/opt/recsys/bin/python", "-c", \
    "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/health/ready', timeout=5)"]
ENTRYPOINT ["/opt/recsys/bin/recsys", "serve", "--host", "0.0.0.0", "--cache", "/var/lib/recsys/cache"]
CMD ["--help"]
