# The runtime image; its entry point runs any distmtl command.
#
#   docker build -t distmtl .                                     CUDA: torch's own wheels carry the libraries
#   docker build -t distmtl:cpu --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cpu .
#   docker run --rm --gpus all -v $PWD:/run-files -w /run-files distmtl train my-run.yaml
#
# Credentials come from the environment or the node's role when it runs; none are built in.
ARG BASE_IMAGE=python:3.11-slim-bookworm

FROM ${BASE_IMAGE} AS build
ARG TORCH_INDEX=""
RUN python3 -m venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH
WORKDIR /src
# Dependencies first: they change seldom, so that a change of the code rebuilds in seconds.
COPY constraints.txt ./
RUN pip install --no-cache-dir --constraint constraints.txt ${TORCH_INDEX:+--index-url ${TORCH_INDEX}} torch
COPY pyproject.toml README.md LICENSE ./
COPY distmtl/__init__.py distmtl/__init__.py
RUN pip install --no-cache-dir --constraint constraints.txt ".[s3]"
COPY distmtl distmtl
RUN pip install --no-cache-dir --no-deps --force-reinstall .

FROM ${BASE_IMAGE}
COPY --from=build /opt/venv /opt/venv
RUN useradd --create-home --uid 10001 distmtl
USER distmtl
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
WORKDIR /home/distmtl
HEALTHCHECK --interval=60s --timeout=20s CMD ["distmtl", "--version"]
ENTRYPOINT ["distmtl"]
CMD ["--help"]
