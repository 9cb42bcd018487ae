"""Our front before a real vLLM and a real llama.cpp server: what it answers is what the server
behind it says alone, and a client that leaves ends the work there.

Needs an environment with vLLM (vllm_python.py), or llama-server: CODLING_LLAMA_SERVER names it, or
it lies in the PATH.
"""

import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from openai import OpenAI

from codling.engine.request import SamplingParams
from codling.engine.text import TextEngine
from codling.export.export import ExportConfig, export
from codling.serve.config import ServeConfig
from codling.serve.upstream import UpstreamBackend
from serve.tiny_server import Running, Servers, free_port, save_model, wait_until_healthy
from vllm_python import ENVIRONMENT, vllm_python

pytestmark = pytest.mark.slow

PREFIX, SUFFIX = "def add(first, second):\n    return ", "\n\n\nclass Stack:\n"
N_NEW = 24
CONTEXT = 512
PIECE = "\ufffd"


@dataclass(frozen=True)
class Front:
    """The two servers, and what knows the right prompts and answers."""

    kind: str
    behind: str
    running: Running
    engine: TextEngine

    @property
    def client(self) -> OpenAI:
        return OpenAI(base_url=f"{self.running.url}/v1", api_key="none", max_retries=0)

    def alone(self, ids: list[int], n_tokens: int = N_NEW) -> str:
        """The greedy text of the server behind, asked without us."""
        body = {
            "model": self._name(), "prompt": ids, "max_tokens": n_tokens, "temperature": 0,
            "stop_token_ids": sorted(self.engine.tokenizer.stop_ids("insert")),
        }  # fmt: skip
        url = f"{self.behind}/v1/completions"
        answer = httpx.post(url, json=body, trust_env=False, timeout=600)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["choices"][0]["text"])

    def _name(self) -> str:
        listed = httpx.get(f"{self.behind}/v1/models", trust_env=False, timeout=600).json()
        return str(listed["data"][0]["id"])

    def n_running(self) -> float:
        """Requests that the server behind is computing."""
        text = httpx.get(f"{self.behind}/metrics", trust_env=False, timeout=600).text
        name = (
            "vllm:num_requests_running" if self.kind == "vllm" else "llamacpp:requests_processing"
        )
        (found,) = re.findall(rf"^{name}(?:{{.*}})? (\S+)", text, re.MULTILINE)
        return float(found)


def llama_server() -> str:
    found = os.environ.get("CODLING_LLAMA_SERVER") or shutil.which("llama-server")
    if found is None:
        pytest.skip("needs llama-server in the PATH, or CODLING_LLAMA_SERVER that names it")
    return found


def command_of(kind: str, folder: Path, port: int) -> list[str]:
    """The command line of the server behind, on an export of its own format."""
    where = ["--host", "127.0.0.1", "--port", str(port)]
    if kind == "vllm":
        python = vllm_python()
        made = export_as(folder, "hf")
        served = [python, "-m", "vllm.entrypoints.openai.api_server", "--model", str(made)]
        limits = ["--dtype", "float32", "--max-model-len", str(CONTEXT), "--enforce-eager"]
        return [*served, *limits, *where]
    program = llama_server()
    file = next(export_as(folder, "gguf").glob("*.gguf"))
    precise = ["--cache-type-k", "f32", "--cache-type-v", "f32", "--flash-attn", "off"]
    limits = ["-c", str(CONTEXT), "--parallel", "1", "--metrics", "--no-warmup", "-t", "1"]
    return [program, "-m", str(file), *limits, *precise, *where]


def export_as(folder: Path, name: Any) -> Path:
    made = ExportConfig(model=folder / "m", format=name, type="f32", out_dir=folder / name)
    return export(made).path


@pytest.fixture(scope="module", params=["vllm", "llama.cpp"])
def front(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Front]:
    kind, port = request.param, free_port()
    folder = tmp_path_factory.mktemp("upstream")
    save_model(folder / "m", hidden_size=64)
    command, behind = command_of(kind, folder, port), f"http://127.0.0.1:{port}"
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log, env=os.environ | ENVIRONMENT)
        servers = Servers()
        try:
            wait_until_healthy(server, behind)
            config = ServeConfig(model=folder / "m", upstream=behind, name="front")
            running = servers.start(UpstreamBackend.connect(config), config)
            with TextEngine.open(folder / "m", precision="float32") as engine:
                yield Front(kind, behind, running, engine)
        finally:
            servers.stop()
            server.terminate()
            server.wait(timeout=600)


def test_insertions_are_those_of_the_server_alone(front: Front) -> None:
    asked: dict[str, Any] = {"model": "m", "prompt": PREFIX, "suffix": SUFFIX, "max_tokens": N_NEW}
    asked["extra_body"] = {"stop_at_suffix": False}
    own = front.engine.insert([(PREFIX, SUFFIX)], SamplingParams(max_tokens=N_NEW))[0]
    alone = front.alone(front.engine.insert_prompt(PREFIX, SUFFIX))
    answer = front.client.completions.create(**asked)
    # Of a character that the last token breaks off, llama.cpp leaves out the piece.
    assert answer.choices[0].text.rstrip(PIECE) == alone.rstrip(PIECE) == own.text.rstrip(PIECE)
    streamed = front.client.completions.create(**asked, stream=True)
    text = "".join(chunk.choices[0].text for chunk in streamed)
    assert text.rstrip(PIECE) == alone.rstrip(PIECE)
    body = {"input_prefix": PREFIX, "input_suffix": SUFFIX, "n_predict": N_NEW}
    infill = httpx.post(f"{front.running.url}/infill", json=body, trust_env=False, timeout=600)
    assert alone.startswith(infill.json()["content"].rstrip(PIECE))


def test_chats_are_those_of_the_server_alone(front: Front) -> None:
    turns: list[Any] = [{"role": "user", "content": "add two numbers"}]
    alone = front.alone(front.engine.chat_prompt(turns), 9)
    asked: dict[str, Any] = {"model": "m", "messages": turns, "max_tokens": 9}
    answer = front.client.chat.completions.create(**asked)
    assert answer.choices[0].message.content == alone
    streamed = front.client.chat.completions.create(**asked, stream=True)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in streamed) == alone


def test_log_probabilities_are_those_of_our_engine(front: Front) -> None:
    answer = front.client.completions.create(
        model="m", prompt=PREFIX, max_tokens=5, logprobs=2
    ).choices[0]
    own = front.engine.complete([PREFIX], SamplingParams(max_tokens=5, logprobs=2))[0]
    assert answer.logprobs is not None
    found = answer.logprobs.token_logprobs or []
    assert found == pytest.approx([entry.logprob for entry in own.logprobs], abs=1e-3)
    assert [len(top) for top in answer.logprobs.top_logprobs or []] == [2] * 5


def test_a_given_text_is_scored_or_refused_in_one_line(front: Front) -> None:
    body = {"prompt": PREFIX, "max_tokens": 0, "echo": True, "logprobs": 0}
    url = f"{front.running.url}/v1/completions"
    answer = httpx.post(url, json=body, trust_env=False, timeout=600)
    if front.kind == "llama.cpp":
        assert answer.status_code == 400
        assert "no log-probabilities of a prompt" in answer.json()["error"]["message"]
        return
    first, *rest = answer.json()["choices"][0]["logprobs"]["token_logprobs"]
    own = front.engine.score(front.engine.complete_prompt(PREFIX))
    assert first is None
    assert rest == pytest.approx([e.logprob for e in own if e is not None], abs=1e-3)


def test_a_newer_insertion_of_a_session_ends_the_older(front: Front) -> None:
    asked = {"prompt": PREFIX, "suffix": SUFFIX, "max_tokens": 400, "stream": True, "user": "me"}
    url = f"{front.running.url}/v1/completions"
    with httpx.stream("POST", url, json=asked, trust_env=False, timeout=600) as older:
        lines = older.iter_lines()
        next(lines)
        newer = httpx.post(
            url, json=asked | {"stream": False, "max_tokens": 2}, trust_env=False, timeout=600
        )
        assert newer.status_code == 200
        rest = "\n".join(lines)
    # The older one may have come to its end before.
    assert "request_superseded" in rest or "[DONE]" in rest
    wait_until_idle(front)


def test_a_client_that_leaves_ends_the_work_behind(front: Front) -> None:
    asked = {"prompt": PREFIX, "max_tokens": 400, "stream": True, "temperature": 1.0}
    url = f"{front.running.url}/v1/completions"
    with httpx.stream("POST", url, json=asked, trust_env=False, timeout=600) as answer:
        next(answer.iter_lines())
    front.running.wait_idle()
    wait_until_idle(front)


def wait_until_idle(front: Front) -> None:
    """Until nothing runs behind; fails after ten minutes."""
    end = time.monotonic() + 600
    while front.n_running() > 0:
        assert time.monotonic() < end, "the server behind goes on computing"
        time.sleep(0.2)
