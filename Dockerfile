# The environment that `make repro` builds, as an image:
#   docker build -t posegan .
#   docker run --rm -v "$PWD/out:/out" posegan sh -c 'make repro && cp -r metrics.json reports models /out'
# For a GPU add `--gpus all` (NVIDIA's container toolkit); PyTorch brings CUDA along.
FROM python:3.11-slim-bookworm

# git and make of any version will do, and Debian's mirrors drop old ones.
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install --yes --no-install-recommends git make \
 && rm -rf /var/lib/apt/lists/*

WORKDIR /posegan
# The libraries first: an edit of the program does not fetch them again.
COPY requirements.lock ./
RUN python3 -m venv --without-pip .venv \
 && python3 -m pip --python .venv/bin/python install --no-cache-dir --no-deps -r requirements.lock
COPY . .
RUN make .venv/ready

ENV PATH=/posegan/.venv/bin:$PATH
CMD ["make", "repro"]
