import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest

from codling.core.errors import ConfigError
from codling.core.flags import settings_of
from codling.core.packaged import packaged_dir
from codling.core.recipe import build, check_tables, find_recipe, name_recipe, read_recipe
from codling.posttrain.config import TuneConfig


@dataclass(frozen=True, kw_only=True)
class Inner:
    width: int = 4


@dataclass(frozen=True, kw_only=True)
class Outer:
    out_dir: Path
    rate: float = 0.5
    order: Literal["scc", "paper"] = "scc"
    minutes: float | None = None
    sources: tuple[Path, ...] = ()
    inner: Inner = field(default_factory=Inner)


def test_every_recipe_is_found_by_the_name_that_messages_give_it() -> None:
    ours = sorted(packaged_dir("recipes").glob("*.toml"))
    assert {name_recipe(each) for each in ours} >= {"tiny", "6.7b", "5.7b-mqa"}
    for each in ours:
        assert find_recipe(Path(name_recipe(each))) == each
        assert find_recipe(Path(each.name)) == each


def test_a_table_becomes_a_typed_config() -> None:
    table = {"out-dir": "runs/a", "rate": 1, "sources": ["x"], "inner": {"width": 8}}
    expected = Outer(out_dir=Path("runs/a"), rate=1.0, sources=(Path("x"),), inner=Inner(width=8))
    assert build(Outer, table, "r.toml [outer]") == expected


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"out_dri": "x"}, r"r.toml \[outer\]: unknown key out_dri; did you mean out_dir\?"),
        ({}, "out-dir is missing"),
        ({"out_dir": "x", "rate": "fast"}, "rate must be float, not 'fast'"),
        ({"out_dir": "x", "order": "alphabet"}, "choose one of scc, paper"),
        ({"out_dir": "x", "inner": {"widht": 3}}, "inner: unknown key widht; did you mean width"),
        ({"out_dir": "x", "inner": {"width": True}}, "width must be int, not True"),
        ({"out_dir": "x", "zzz": 1}, "unknown key zzz; valid keys: "),
        ({"out_dir": "x", "inner": "wide"}, "inner must be a table of settings, not 'wide'"),
        ({"out_dir": "x", "sources": 3}, "sources must be a list, not 3"),
        ({"out_dir": "x", "out-dir": "y"}, "out-dir is set twice, with - and with _ in its name"),
        (3, r"r.toml \[outer\] must be a table of settings, not 3"),
        ([{"rate": 1}], r"r.toml \[outer\] must be a table of settings, not \["),
    ],
)
def test_a_mistake_is_named_with_its_place_and_its_cure(table: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build(Outer, table, "r.toml [outer]")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("name", ["rate", "minutes"])
def test_a_number_is_finite(name: str, value: float) -> None:
    with pytest.raises(ConfigError, match="a finite number is needed"):
        build(Outer, {"out_dir": "a", name: value}, "r.toml [outer]")


@pytest.mark.parametrize("path", ["a\0b", "a\nb", "a\x1b[31mb", "\x85"])
def test_a_path_has_no_control_characters(path: str) -> None:
    with pytest.raises(ConfigError, match="control characters") as caught:
        build(Outer, {"out_dir": path}, "r.toml [outer]")
    assert "\n" not in str(caught.value)


def test_a_recipe_is_a_regular_file_in_utf_8(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ConfigError, match="it is a pipe"):
        read_recipe(tmp_path / "pipe")
    (tmp_path / "deep.toml").write_text("a = " + "[" * 5_000 + "]" * 5_000)
    with pytest.raises(ConfigError, match="not valid TOML"):
        read_recipe(tmp_path / "deep.toml")
    (tmp_path / "marked.toml").write_bytes(b"\xef\xbb\xbf[collect]\nworkers = 1\n")
    assert read_recipe(tmp_path / "marked.toml") == {"collect": {"workers": 1}}


def test_an_unknown_table_is_refused_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match="unknown key pretran; did you mean pretrain"):
        check_tables({"pretran": {}}, {"pretrain": Outer}, "r.toml")


def test_a_recipe_that_is_absent_or_broken_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no recipe at"):
        read_recipe(tmp_path / "none.toml")
    (tmp_path / "bad.toml").write_text("[a\n")
    with pytest.raises(ConfigError, match="is not valid TOML"):
        read_recipe(tmp_path / "bad.toml")


def test_what_is_not_set_inside_stays_as_the_stage_has_it() -> None:
    @dataclass(frozen=True)
    class Inner:
        name: str = "muon"
        rate: float = 3e-3

    @dataclass(frozen=True)
    class Stage:
        inner: Inner = field(default_factory=lambda: Inner(name="adamw", rate=2e-4))

    assert build(Stage, {"inner": {"rate": 5e-4}}, "stage").inner == Inner("adamw", 5e-4)
    shown = {each.path: each.default for each in settings_of(Stage)}
    assert shown == {"inner.name": "adamw", "inner.rate": 2e-4}


def test_one_flag_of_the_optimizer_leaves_tuning_with_adamw() -> None:
    given = {"model": "m", "optimizer": {"learning_rate": 5e-4}}
    assert build(TuneConfig, given, "tune").optimizer.name == "adamw"
