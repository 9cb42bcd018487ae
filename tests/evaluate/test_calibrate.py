"""Thresholds of confidence, on suggestions that can be counted by hand, and the verb itself."""

import shutil
from pathlib import Path

import pytest

from codling.core.errors import ConfigError
from codling.engine.confidence import first_line_score
from codling.engine.request import TokenLogprob
from codling.engine.thresholds import find_threshold, keep_threshold
from codling.evaluate.calibrate import (
    CalibrateConfig,
    Suggestion,
    calibrate,
    describe_filter,
    judge_on_other_half,
    rows_of,
)
from codling.serve.app import _look_up_threshold, serve
from codling.serve.config import ServeConfig
from serve.tiny_server import save_model


def made(n: int) -> list[Suggestion]:
    """`n` suggestions of as many files: the surer half right, the other half wrong."""
    return [Suggestion(f"f{i}.py", -0.1 * i, i < n / 2) for i in range(n)]


def test_a_row_says_what_a_threshold_leaves() -> None:
    shows_all, _, half, quarter, _ = rows_of(made(8))
    assert (shows_all.shown, shows_all.precision, shows_all.recall) == (1.0, 0.5, 1.0)
    assert half.threshold == pytest.approx(-0.3)
    assert (half.precision, half.recall) == (1.0, 1.0)
    assert (quarter.precision, quarter.recall) == (1.0, 0.5)


def test_lines_of_no_length_are_one_line() -> None:
    with pytest.raises(ConfigError, match="min_chars is 90 and max_chars 80"):
        CalibrateConfig(model=Path("m"), repo=Path("r"), min_chars=90)


def test_the_recommendation_is_judged_on_the_other_half() -> None:
    said = describe_filter(made(80), 1.0)
    assert "--min-logprob -3.900" in said
    judged = judge_on_other_half(made(80), 1.0)
    assert judged.precision > 0.9
    assert judged.recall > 0.9


def test_what_cannot_be_had_is_said() -> None:
    wrong = [Suggestion(f"f{i}", -0.1 * i, False) for i in range(20)]
    assert "no threshold makes 50% of the shown suggestions right" in describe_filter(wrong, 0.5)


def test_confidence_is_the_mean_of_the_first_line() -> None:
    entries = [
        TokenLogprob(token_id=1, text=text, bytes=text.encode(), logprob=value)
        for text, value in (("\n", -0.3), ("re", -0.2), ("turn\n", -0.4), ("rest", -9.0))
    ]
    assert first_line_score(entries) == pytest.approx(-0.3)
    assert first_line_score([]) is None


def test_the_verb_asks_for_lines_and_ends_with_a_table(tmp_path: Path) -> None:
    model = save_model(tmp_path / "tiny")
    repo = tmp_path / "repo"
    repo.mkdir()
    (repo / "a.py").write_text("def add(first, second):\n    return first + second\n")
    said = "".join(calibrate(CalibrateConfig(model=model, repo=repo, n_lines=2, batch=2)))
    assert "asking for 2 lines" in said
    assert "2 suggestions" in said
    (repo / "a.py").write_text("# nothing\n")
    with pytest.raises(ConfigError, match="no lines of code"):
        list(calibrate(CalibrateConfig(model=model, repo=repo)))


def test_what_was_found_is_kept_for_these_weights_and_served(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CODLING_CACHE", str(tmp_path / "cache"))
    one, other = save_model(tmp_path / "one"), tmp_path / "other"
    config = ServeConfig(model=one, port=0, min_logprob="auto")
    with pytest.raises(ConfigError, match=r"no threshold is known for .*codling calibrate"):
        next(iter(serve(config)))
    keep_threshold(one, None, -0.75)
    shutil.copytree(one, other)
    assert find_threshold(other) == -0.75
    assert _look_up_threshold(config).show_from == -0.75
    (other / "model.safetensors").write_bytes(b"other weights")
    assert find_threshold(other) is None
