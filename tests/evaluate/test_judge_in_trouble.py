"""A judge that dies, is busy or talks nonsense: what it said is kept, a rerun asks the rest."""

import json
import math
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from codling.cli import main
from codling.core.threads import in_threads
from codling.evaluate import backends
from codling.evaluate.benchmark import evaluate
from codling.evaluate.config import BenchmarkConfig

JUDGED = [
    pytest.param("alignbench"),
    *(
        pytest.param(name, marks=pytest.mark.slow)
        for name in ("mt-bench", "arena-hard", "alpaca-eval")
    ),
]
Trouble = Callable[[BaseHTTPRequestHandler, int], bool]


class Judge:
    """A server that is the model and the judge; `trouble` may spoil the nth judgment."""

    def __init__(self, says: Callable[[str], str] | None = None) -> None:
        self.judged: list[str] = []
        self.n_asked = 0
        self.trouble: Trouble = lambda _handler, _number: False
        self.says = says or _verdict
        lock, outer = threading.Lock(), self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                text = json.dumps(body["messages"], ensure_ascii=False)
                is_judge = body["model"] == "judge"
                if is_judge:
                    with lock:
                        outer.n_asked += 1
                        number = outer.n_asked
                    if outer.trouble(self, number):
                        return
                    with lock:
                        outer.judged.append(text)
                said = outer.says(text) if is_judge else "an answer to " + text[-40:]
                send(self, 200, json.dumps({"choices": [_choice(said)]}))

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


def send(handler: Any, status: int, text: str, **headers: str) -> None:
    data = text.encode()
    handler.send_response(status)
    for name, value in {"content-length": str(len(data)), **headers}.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.end_headers()
    handler.wfile.write(data)


def _verdict(text: str) -> str:
    """A verdict of all four forms, which depends on the question."""
    grade = 1 + int(sha256(text.encode()).hexdigest(), 16) % 9
    label = ["A>>B", "A>B", "A=B", "B>A", "B>>A"][grade % 5]
    return f"[[{grade}]]" if "[[rating]]" in text else f"[[{label}]] {{'综合得分': {grade}}}"


def _choice(said: str) -> dict[str, Any]:
    top = [{"token": "m", "logprob": -0.1 - len(said) / 50}, {"token": "M", "logprob": -2.0}]
    return {"message": {"content": said}, "logprobs": {"content": [{"top_logprobs": top}]}}


@pytest.fixture
def judge(monkeypatch: pytest.MonkeyPatch) -> Iterator[Judge]:
    monkeypatch.setattr(backends, "_PAUSE", 0.0)
    made = Judge()
    yield made
    made.server.shutdown()
    made.server.server_close()


def settings(shared_data, tmp_path, judge, name) -> BenchmarkConfig:
    return BenchmarkConfig(
        benchmark=name, data_dir=shared_data / "benchmarks", out_dir=tmp_path / "out", limit=3,
        api=judge.url, api_model="ours", judge_api=judge.url, judge_model="judge", concurrency=2,
    )  # fmt: skip


def exit_code(line: list[str]) -> object:
    with pytest.raises(SystemExit) as left:
        main(line)
    return left.value.code


def stored(config: BenchmarkConfig) -> int:
    path = config.out_dir.parent / f"{config.out_dir.name}.rows" / "executions.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    return sum("said" in json.loads(line) for line in lines)


@pytest.mark.parametrize("name", JUDGED)
def test_a_judge_that_dies_loses_nothing_and_is_asked_only_the_rest(
    shared_data, tmp_path, judge, capsys, name
):
    config = settings(shared_data, tmp_path, judge, name)
    calm = evaluate(replace(config, out_dir=tmp_path / "calm")).path
    asked, judge.judged, judge.n_asked = sorted(judge.judged), [], 0

    def dies(handler: BaseHTTPRequestHandler, number: int) -> bool:
        handler.close_connection = True
        return number > 2

    judge.trouble = dies
    line = f"evaluate {name} --limit 3 --concurrency 2 --out-dir {config.out_dir}".split()
    line += ["--api", judge.url, "--api-model", "ours", "--judge-model", "judge"]
    line += ["--judge-api", judge.url, "--data-dir", str(config.data_dir)]
    assert exit_code(line) == 2
    (said,) = [x for x in capsys.readouterr().err.splitlines() if "does not answer" in x]
    assert "the same command goes on there" in said
    assert (stored(config), len(judge.judged)) == (2, 2)
    judge.trouble = lambda _handler, _number: False
    assert exit_code(line) == 0
    assert sorted(judge.judged) == asked
    for file in ("judgments.jsonl", "report.json", "report.md"):
        assert (config.out_dir / file).read_bytes() == (calm / file).read_bytes()


def _busy(handler: BaseHTTPRequestHandler, number: int) -> bool:
    """Every other judgment: too many requests, a gateway's page, half a body, no completion."""
    if number % 2 == 0:
        return False
    match number % 8:
        case 1:
            send(handler, 429, "{}", retry_after="0")
        case 3:
            send(handler, 502, "<html>Bad gateway</html>")
        case 5:
            send(handler, 200, '{"choices": [{"mess')
        case _:
            send(handler, 200, '{"error": {"message": "overloaded"}}')
    return True


@pytest.mark.slow
@pytest.mark.parametrize("name", JUDGED)
def test_a_busy_judge_is_asked_again(shared_data, tmp_path, judge, name):
    config = replace(settings(shared_data, tmp_path, judge, name), concurrency=1)
    calm = evaluate(replace(config, out_dir=tmp_path / "calm")).path
    judge.n_asked, judge.trouble = 0, _busy
    spoiled = evaluate(config).path
    for file in ("judgments.jsonl", "report.json"):
        assert (spoiled / file).read_bytes() == (calm / file).read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("name", JUDGED)
def test_nonsense_in_the_middle_is_kept_and_is_no_grade(shared_data, tmp_path, judge, name):
    nonsense = ["", "I cannot judge this.", "[[", "{'综合得分': 'good'}"]

    def says(text: str) -> str:
        return nonsense[judge.n_asked // 2 % 4] if judge.n_asked % 2 else _verdict(text)

    judge.says = says
    config = settings(shared_data, tmp_path, judge, name)
    path = evaluate(replace(config, concurrency=1)).path
    assert stored(config) >= 3
    assert len((path / "judgments.jsonl").read_text().splitlines()) >= 3
    scores = json.loads((path / "report.json").read_text())["scores"]
    assert scores
    assert not math.isnan(sum(row["value"] for row in scores.values()))
    judge.n_asked = 0
    evaluate(replace(config, concurrency=1, seed=1))
    assert judge.n_asked == 0 or name == "alpaca-eval"  # whose orders are drawn by the seed


def test_what_had_begun_is_given_before_the_first_exception_is_raised():
    begun = threading.Barrier(2)

    def work(item: int) -> int:
        begun.wait(5)
        if item == 0:
            raise ValueError("no")
        return item

    given = []
    results = in_threads(work, iter((0, 1)), 2)
    given.append(next(results)[1])
    with pytest.raises(ValueError, match="no"):
        next(results)
    assert given == [1]
