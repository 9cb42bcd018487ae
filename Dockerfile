# codling on a CPU: the package and its server, as an ordinary user. See docs/install.md.
#
#     docker build --build-arg PIP_ARGS="$CPU_WHEELS" -t codling .
#     docker run -p 127.0.0.1:8000:8000 -v "$PWD/runs:/data/runs" -e CODLING_API_KEY=... codling \
#         serve runs/app/checkpoint --host 0.0.0.0
FROM python:3.11-slim

# git reads repositories; a compiler makes training about a fifth faster; bubblewrap runs untrusted programs.
RUN apt-get update \
    && apt-get install -y --no-install-recommends git g++ bubblewrap \
    && rm -rf /var/lib/apt/lists/*

# Words for pip, such as --index-url and the place of the CPU wheels of torch.
ARG PIP_ARGS=""
WORKDIR /opt/codling
COPY pyproject.toml setup.py README.md LICENSE ./
COPY src src
COPY recipes recipes
COPY editors editors
RUN pip install --no-cache-dir $PIP_ARGS .

RUN useradd --create-home --uid 1000 codling && mkdir -p /data/runs && chown -R codling /data
USER codling
WORKDIR /data
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/health', timeout=4)"]
ENTRYPOINT ["codling"]
CMD ["--help"]
