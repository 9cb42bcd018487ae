"""From the start of `codling serve` to the end of the first completion: seconds and memory.

Input: a model. Output: for each start the seconds until the server listens, until its first
completion of 40 tokens has come and what a second one takes, the CPU seconds, and the process's
memory: all, and what is its own (not pages of files). Linux. One start before, not shown, compiles.

    python benchmarks/start.py qwen2.5-coder-0.5b.gguf --starts 5

Not here: the speed of decoding (decode.py), of keystrokes (keystroke.py).
"""

import argparse
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx

_BODY = {"prompt": "def is_prime(n):\n", "max_tokens": 40, "temperature": 0}


def start(model: Path) -> str:
    """One start, measured; a line."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "codling", "serve", str(model), "--port", str(port)]
    began = time.perf_counter()
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=240) as client:
            _wait(client, server)
            times = [time.perf_counter()]
            for _ in range(2):
                client.post("/v1/completions", json=_BODY).raise_for_status()
                times.append(time.perf_counter())
        listens, first, second = (time - began for time in times)
        spent = sum(map(int, _of(server.pid, "stat").rpartition(")")[2].split()[11:13]))
        whole, own = (_megabytes(server.pid, name) for name in ("Rss", "Anonymous"))
        return (
            f"listens {listens:.2f} s, first completion {first:.2f} s (a second takes "
            f"{second - first:.2f} s), {spent / os.sysconf('SC_CLK_TCK'):.1f} CPU s; "
            f"{whole:,.0f} MB, of its own {own:,.0f} MB"
        )
    finally:
        server.terminate()
        server.wait()


def _wait(client: httpx.Client, server: subprocess.Popen[bytes]) -> None:
    while server.poll() is None:
        try:
            client.get("/health").raise_for_status()
        except httpx.HTTPError:
            time.sleep(0.02)
        else:
            return
    sys.exit("the server ended")


def _of(pid: int, name: str) -> str:
    return Path(f"/proc/{pid}/{name}").read_text()


def _megabytes(pid: int, name: str) -> float:
    lines = dict(line.split(":") for line in _of(pid, "smaps_rollup").splitlines()[1:])
    return int(lines[name].split()[0]) * 1024 / 1e6


def main() -> None:
    """Start the server some times."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("--starts", type=int, default=5)
    given = parser.parse_args()
    start(given.model)
    for _ in range(given.starts):
        print(start(given.model), flush=True)


if __name__ == "__main__":
    main()
