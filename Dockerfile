# The same environment as `make repro` builds: docker build -t posegan . && docker run --rm -v "$PWD/models:/posegan/models" posegan make repro
FROM python:3.11-slim-bookworm
RUN apt-get update \
    && apt-get install --yes --no-install-recommends git make \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /posegan
COPY . .
RUN make .venv/ready
CMD ["make", "repro"]
