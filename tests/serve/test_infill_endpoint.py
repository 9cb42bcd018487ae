"""POST /infill and /completion, as llama.vim, llama.vscode and cmp-ai send them."""

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from codling.engine.request import SamplingParams
from codling.engine.text import TextEngine
from codling.serve.adapters import open_engine
from codling.serve.backend import LocalBackend
from codling.serve.config import ServeConfig
from codling.serve.infill import context, keep_indent, select
from codling.serve.schema import ExtraFile
from codling.tokens.families import FIM_BEGIN, FIM_END, FIM_HOLE
from codling.tokens.fim import insertion_prompt, near_suffix
from serve.tiny_server import Running, Servers

BEFORE, LINE, AFTER = "def add(first, second):\n", "    re", "\n\n\nclass Stack:\n"


def post(server: Running, path: str, **body: Any) -> httpx.Response:
    return httpx.post(f"{server.url}{path}", json=body, trust_env=False, timeout=600)


def test_the_content_is_what_the_engine_inserts(server: Running, engine: TextEngine) -> None:
    asked = {"input_prefix": BEFORE, "prompt": LINE, "input_suffix": AFTER, "n_predict": 12}
    answer = post(server, "/infill", **asked).json()
    own = engine.insert([(BEFORE + LINE, AFTER)], SamplingParams(max_tokens=12))[0]
    assert answer["content"] == own.text
    assert answer["stop"] is True
    assert answer["stop_type"] == "limit"
    assert answer["tokens_predicted"] == 12
    assert answer["tokens_evaluated"] == own.n_prompt_tokens
    assert answer["truncated"] is False
    assert answer["timings"]["predicted_n"] == 12
    assert answer["timings"]["predicted_per_second"] > 0


def test_no_more_is_read_after_the_cursor_than_the_settings_say(
    servers: Servers, model_dir: Path
) -> None:
    config = ServeConfig(model=model_dir, precision="float32", suffix_tokens=8)
    backend = LocalBackend(open_engine(config))
    running = servers.start(backend, config)
    asked = {"input_prefix": BEFORE, "input_suffix": "x\n" * 200, "n_predict": 1}
    shown = near_suffix(backend.tokenizer, "x\n" * 200, 8)
    n_tokens = len(insertion_prompt(backend.tokenizer, BEFORE, shown))
    assert post(running, "/infill", **asked).json()["tokens_evaluated"] == n_tokens < 50


def test_several_completions_are_a_list_each_with_a_seed_of_its_own(
    server: Running, engine: TextEngine
) -> None:
    asked = {"input_prefix": BEFORE, "prompt": LINE, "input_suffix": AFTER, "n_predict": 6}
    more = {"n_cmpl": 3, "temperature": 1.0, "seed": 7, "response_fields": ["index", "content"]}
    params = SamplingParams(max_tokens=6, temperature=1.0, seed=7)
    ids = engine.insert_prompt(BEFORE + LINE, AFTER)
    own = [engine.submit(ids, each, mode="insert").result().text for each in params.choices(3)]
    answers = post(server, "/infill", **asked, **more).json()
    assert answers == [{"index": i, "content": text} for i, text in enumerate(own)]
    greedy = post(server, "/infill", **asked, **more | {"temperature": 0}).json()
    assert [each["index"] for each in greedy] == [0, 1, 2]
    assert len({each["content"] for each in greedy}) == 1
    # One is no list, whether it is asked for or not.
    assert post(server, "/infill", **asked, n_cmpl=1).json()["index"] == 0


@pytest.mark.parametrize("path", ["/completion", "/infill"])
def test_what_is_not_made_of_llama_cpp_is_said(server: Running, path: str) -> None:
    for field, more in (("n_cmpl", {"stream": True}), ("post_sampling_probs", {"n_probs": 1})):
        wanted = {"n_cmpl": 2} if field == "n_cmpl" else {"post_sampling_probs": True}
        answer = post(server, path, prompt=LINE, n_predict=2, **wanted, **more)
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, field)
    assert post(server, path, prompt=LINE, n_predict=2, post_sampling_probs=False).is_success


def test_other_files_come_first_as_in_the_training_data(
    server: Running, engine: TextEngine
) -> None:
    files = [{"filename": "a.py", "text": "x = 1"}, {"filename": "b.js", "text": "let y;\n"}]
    answer = post(
        server, "/infill", input_prefix=BEFORE, input_suffix=AFTER, input_extra=files, n_predict=8
    )
    prefix = f"# a.py\nx = 1\n// b.js\nlet y;\n{BEFORE}"
    own = engine.insert([(prefix, AFTER)], SamplingParams(max_tokens=8))[0]
    assert answer.json()["content"] == own.text
    assert context([ExtraFile(text="bare")]) == "bare\n"


@pytest.mark.parametrize("path", ["/completion", "/infill"])
def test_probabilities_are_those_of_the_engine_whole_and_streamed(
    server: Running, engine: TextEngine, path: str
) -> None:
    asked: dict[str, Any] = {"prompt": LINE, "n_predict": 4, "n_probs": 2}
    params = SamplingParams(max_tokens=4, logprobs=2)
    own = (
        engine.complete([LINE], params)
        if path == "/completion"
        else engine.insert([(LINE, "")], params)
    )
    found = post(server, path, **asked).json()["completion_probabilities"]
    assert [each["id"] for each in found] == [each.token_id for each in own[0].logprobs]
    assert [each["logprob"] for each in found] == pytest.approx(
        [each.logprob for each in own[0].logprobs], abs=1e-4
    )
    first, second = found[0]["top_logprobs"]
    assert (first["id"], first["logprob"]) == (found[0]["id"], found[0]["logprob"])
    assert second["logprob"] <= first["logprob"]
    assert bytes(found[0]["bytes"]) == own[0].logprobs[0].bytes
    events = post(server, path, **asked, stream=True).text.split("\n\n")
    parts = [json.loads(e.removeprefix("data: ")) for e in events if e]
    streamed = [entry for each in parts for entry in each.get("completion_probabilities", [])]
    assert streamed == found
    assert "completion_probabilities" not in post(server, path, prompt=LINE, n_predict=1).json()


@pytest.mark.long
def test_events_have_no_done_and_the_last_one_says_stop(server: Running) -> None:
    asked = {"input_prefix": BEFORE, "input_suffix": AFTER, "n_predict": 12}
    body = post(server, "/infill", **asked, stream=True).text
    events = [json.loads(e.removeprefix("data: ")) for e in body.split("\n\n") if e]
    assert [e["stop"] for e in events] == [False] * (len(events) - 1) + [True]
    assert (
        "".join(e["content"] for e in events) == post(server, "/infill", **asked).json()["content"]
    )


def test_an_insertion_of_no_stated_length_has_the_servers_default(server: Running) -> None:
    answer = post(server, "/infill", prompt=LINE).json()
    assert answer["generation_settings"]["n_predict"] == 128


def test_n_predict_0_only_warms_up(server: Running) -> None:
    long = BEFORE * 8
    answer = post(server, "/infill", input_prefix=long, input_suffix="", n_predict=0)
    assert answer.status_code == 200
    said = answer.json()
    assert (said["content"], said["tokens_predicted"], said["timings"]["predicted_n"]) == ("", 0, 0)
    assert said["stop_type"] == "limit"
    assert said["generation_settings"]["n_predict"] == 0
    again = post(server, "/infill", input_prefix=long, input_suffix="", n_predict=2).json()
    assert again["timings"]["cache_n"] > 0


@pytest.mark.parametrize("path", ["/infill", "/completion"])
def test_n_predict_0_streams_one_event_without_text(server: Running, path: str) -> None:
    body = post(server, path, prompt=BEFORE, n_predict=0, stream=True).text
    events = [json.loads(e.removeprefix("data: ")) for e in body.split("\n\n") if e]
    assert [(e["content"], e["stop"], e["tokens_predicted"]) for e in events] == [("", True, 0)]


@pytest.mark.parametrize("path", ["/infill", "/completion"])
@pytest.mark.parametrize(
    "field",
    [
        {"grammar": 5},
        {"json_schema": "not JSON"},
        {"logit_bias": [["word", 1.0]]},
        {"response_format": {"type": "xml"}},
        {"repeat_penalty": -1},
    ],
    ids=str,
)
def test_what_cannot_bind_an_answer_is_refused_by_name(
    server: Running, path: str, field: dict[str, object]
) -> None:
    answer = post(server, path, prompt=BEFORE, n_predict=2, **field)
    name = next(iter(field))
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, name)


@pytest.mark.parametrize("field", [{"grammar": ""}, {"json_schema": None}, {"logit_bias": []}])
def test_empty_fields_of_a_form_are_no_matter(server: Running, field: dict[str, object]) -> None:
    assert post(server, "/infill", prompt=BEFORE, n_predict=2, **field).status_code == 200


def test_llama_vims_own_request_is_answered_with_flat_keys(server: Running) -> None:
    answer = post(
        server, "/infill", input_prefix=BEFORE, input_suffix=AFTER, prompt=LINE, n_predict=8,
        input_extra=[{"text": "x = 1", "time": 12.5, "filename": "a.py"}], n_indent=4, top_k=40,
        top_p=0.99, stream=False, samplers=["top_k", "top_p", "infill"], cache_prompt=True,
        t_max_prompt_ms=500, t_max_predict_ms=3000,
        response_fields=["content", "timings/prompt_n", "timings/predicted_ms", "truncated",
                         "tokens_cached", "not/there"],
    )  # fmt: skip
    assert set(answer.json()) == {
        "content", "timings/prompt_n", "timings/predicted_ms", "truncated", "tokens_cached",
    }  # fmt: skip


def test_less_indented_lines_end_an_insertion() -> None:
    assert keep_indent("x\n    y\n\n    z\nw", 4) == "x\n    y\n\n    z"
    assert keep_indent("x\n  y", 2) == "x\n  y"
    assert keep_indent("one line", 8) == "one line"


@pytest.mark.long
def test_a_time_limit_ends_after_the_first_line(server: Running) -> None:
    asked = {"input_prefix": "for name in names:", "input_suffix": "", "n_predict": 100}
    asked |= {"temperature": 1.5}
    # The random model writes a newline now and then; take a seed with which it does so early.
    for seed in range(50):
        asked["seed"] = seed
        free = post(server, "/infill", **asked).json()
        if "\n" in free["content"][: len(free["content"]) // 2]:
            break
    cut = post(server, "/infill", **asked, t_max_predict_ms=0.001).json()
    assert free["content"].startswith(cut["content"])
    assert "\n" in cut["content"]
    assert cut["tokens_predicted"] < free["tokens_predicted"]


def test_completion_reads_fim_tokens_and_cmp_ais_bos(server: Running, engine: TextEngine) -> None:
    prompt = f"{FIM_BEGIN}{BEFORE}{FIM_HOLE}{AFTER}{FIM_END}"
    own = engine.insert([(BEFORE, AFTER)], SamplingParams(max_tokens=8))[0].text
    for sent in (prompt, f"<s>{prompt}"):
        answer = post(server, "/completion", prompt=sent, n_predict=8, temperature=0)
        assert answer.json()["content"] == own


def test_a_wrong_field_is_a_400_in_openais_shape(server: Running) -> None:
    answer = post(server, "/infill", input_prefix=5)
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "input_prefix"


@pytest.mark.parametrize("path", ["/props", "/health", "/v1/health"])
def test_llama_cpps_small_addresses_answer(server: Running, path: str) -> None:
    assert httpx.get(server.url + path, trust_env=False, timeout=600).status_code == 200


def test_select_takes_paths() -> None:
    assert select({"a": {"b": 1}, "c": 2}, ["a/b", "c/d"]) == {"a/b": 1}
    assert select({"a": 1}, []) == {"a": 1}
