# Two images of one file: `docker build -t tidegate:0.1.0 .` and, with the demo's model server,
# `docker build --target demo -t tidegate-demo:0.1.0 .`. deploy/README.md says more.
ARG PYTHON=3.11-slim

FROM python:${PYTHON} AS build
RUN apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev && rm -rf /var/lib/apt/lists/*
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /src
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY gateway gateway
COPY autoscaler autoscaler
# As `make compiled` does: the hot path as machine code.
RUN HATCH_BUILD_HOOKS_ENABLE=1 PIP_CONSTRAINT=/src/constraints.txt pip wheel --no-deps -w /wheel .
# Without pip of its own: what runs installs nothing.
RUN python -m venv --without-pip /opt/tidegate \
    && pip --python /opt/tidegate/bin/python install --no-compile -c constraints.txt "$(echo /wheel/*.whl)[kubernetes]" \
    && /opt/tidegate/bin/python -m compileall -q /opt/tidegate/lib

FROM python:${PYTHON} AS runtime
COPY --from=build /opt/tidegate /opt/tidegate
ENV PATH=/opt/tidegate/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
USER 65532:65532
WORKDIR /

FROM runtime AS demo
COPY deploy/demo /opt/demo
EXPOSE 8080
ENTRYPOINT ["python", "/opt/demo/server.py"]
CMD ["--host", "0.0.0.0", "--port", "8080"]

# The last stage is what is built unless another is named.
FROM runtime AS tidegate
EXPOSE 8080 8081 8082
ENTRYPOINT ["tidegate"]
