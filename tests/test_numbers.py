"""Every number that a command takes: outside of its range it is one line, exit code 2, no work.

The table is the command line's own declarations: each numeric flag of each verb with values that
make no sense anywhere or only there.
"""

import importlib
import math
import typing
from itertools import product
from pathlib import Path
from typing import Any, get_args, get_origin

import pytest

from codling.cli import main
from codling.core.errors import ConfigError
from codling.core.flags import Setting, settings_of
from codling.core.ranges import Range, Ranged, find_ranges, ranged_fields
from codling.core.recipe import build_partial, config_class
from codling.verbs import VERBS, Verb

NUMBERS = (-1.0, -1e-9, 0.0, 1.0, math.nan, math.inf, -math.inf, 1e30, 1e300)
WORDS = ("", " ", "nan", "-inf", "1e400", "--", "x", "1_0x", "0b", "1,5", "true")
SIGNED = {"min_score", "min_logprob"} | {
    f"rewards.{grade}" for grade in ("failed", "timed_out", "not_compiled", "not_parsed")
}
"""Settings that may be negative: the score of a question, what an answer without a passed test is
worth."""


def config_of(verb: Verb) -> type:
    module, _, name = verb.target.partition(":")
    return config_class(getattr(importlib.import_module(module), name))


def is_number(hint: object) -> bool:
    if hint in (int, float):
        return True
    # The tables of readability's limits are for recipes.
    return get_origin(hint) is not dict and any(is_number(each) for each in get_args(hint))


def numbers_of(verb: Verb) -> list[Setting]:
    return [each for each in settings_of(config_of(verb)) if is_number(each.hint)]


def range_of(config: type, path: str) -> Range | None:
    """The range of the setting at `path`, found through the configs that hold it."""
    first, _, rest = path.partition(".")
    if rest:
        hint = typing.get_type_hints(config)[first]
        inner = next(each for each in (hint, *get_args(hint)) if isinstance(each, type))
        return range_of(inner, rest)
    hint = ranged_fields(config).get(first)
    return next(find_ranges(hint), None)


TABLE = [(verb, each) for verb in VERBS for each in numbers_of(verb)]


def means_nothing(value: str, setting: Setting, bounds: Range) -> bool:
    """Whether `value` cannot be meant, worked out without the command line's own parsing."""
    whole = "float" not in str(setting.hint)
    try:
        number = int(value) if whole else float(value)
    except ValueError:
        return True
    below = number < bounds.low or (bounds.above and number == bounds.low)
    beyond = number > bounds.high or (bounds.below and number == bounds.high)
    return math.isnan(number) or below or beyond


@pytest.fixture
def stages(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Instead of its work every verb notes the settings that reached it."""
    reached: list[object] = []
    for verb in VERBS:
        module, _, name = verb.target.partition(":")
        taken = config_of(verb)

        def note(config: Any) -> str:
            reached.append(config)
            return ""

        note.__annotations__ = {"config": taken, "return": str}
        note.__doc__ = "Note.\n\nExample: codling"
        monkeypatch.setattr(importlib.import_module(module), name, note)
    return reached


def required(verb: Verb, but: str) -> list[str]:
    """Words for the settings that must be there, all places that do not exist."""
    given: list[str] = []
    for each in settings_of(config_of(verb)):
        if each.required and each.path != but:
            word = "bash" if each.path == "shell" else "nowhere"
            given += [word] if each.path == verb.positional else [each.flag, word]
    # complete and insert want one of two places.
    return given + {"complete": ["--prompt", "x"], "insert": ["--prefix", "x"]}.get(verb.name, [])


def test_every_number_of_every_verb_says_where_it_must_lie() -> None:
    without = [(v.name, s.path) for v, s in TABLE if range_of(config_of(v), s.path) is None]
    assert without == []


def test_no_range_is_endless_and_few_are_negative() -> None:
    for verb, setting in TABLE:
        bounds = range_of(config_of(verb), setting.path)
        assert bounds is not None
        assert math.isfinite(bounds.low + bounds.high), (verb.name, setting.path)
        assert bounds.low >= 0 or setting.path in SIGNED, (verb.name, setting.path)


def test_every_default_lies_in_its_range() -> None:
    for verb, setting in TABLE:
        bounds = range_of(config_of(verb), setting.path)
        values = setting.default if isinstance(setting.default, tuple) else (setting.default,)
        assert bounds is not None
        assert all(v in bounds for v in values if isinstance(v, int | float)), setting.path


@pytest.mark.parametrize("verb", [v for v in VERBS if numbers_of(v)], ids=lambda v: v.name)
def test_a_number_out_of_its_range_is_refused_before_anything_is_made(verb: Verb) -> None:
    for setting, value in product(numbers_of(verb), NUMBERS):
        bounds = range_of(config_of(verb), setting.path)
        assert bounds is not None
        whole = "float" not in str(setting.hint)
        if whole and not math.isfinite(value):
            continue
        number = int(value) if whole else value
        given: Any = [number, 0.5][: many(setting)] if many(setting) else number
        for part in reversed(setting.path.split(".")):
            given = {part: given}
        said = refusal(config_of(verb), given)
        if means_nothing(str(number), setting, bounds):
            assert said.startswith(f"here: {setting.path} is "), said
            assert str(bounds) in said or "finite" in said
        else:
            # What one setting asks of another is another matter.
            assert "choose a number" not in said, (setting.path, value)


def many(setting: Setting) -> int:
    """How many numbers a test gives to a setting that takes several, else 0."""
    if get_origin(setting.hint) is not tuple:
        return 0
    return 1 if get_args(setting.hint)[-1] is Ellipsis else 2


def refusal(config: type, given: dict[str, Any]) -> str:
    try:
        build_partial(config, given, "here")
    except ConfigError as error:
        return str(error)
    return ""


@pytest.mark.slow
@pytest.mark.parametrize("value", ["-1", "1e400", "9" * 30])
@pytest.mark.parametrize("verb", [v for v in VERBS if numbers_of(v)], ids=lambda v: v.name)
def test_a_number_that_makes_no_sense_is_one_line_that_names_the_flag(
    verb: Verb, value: str, stages: list[object], capsys: pytest.CaptureFixture[str]
) -> None:
    for setting in numbers_of(verb):
        check_flag(verb, setting, value, stages, capsys)


@pytest.mark.long
@pytest.mark.parametrize("verb", [v for v in VERBS if numbers_of(v)], ids=lambda v: v.name)
def test_each_third_number_of_a_verb_is_refused_in_one_line_that_names_the_flag(
    verb: Verb, stages: list[object], capsys: pytest.CaptureFixture[str]
) -> None:
    """Parsing takes a tenth of a second; that every flag has its range is shown above without."""
    for i, setting in enumerate(numbers_of(verb)[::3]):
        check_flag(verb, setting, ("-1", "9" * 30)[i % 2], stages, capsys)


@pytest.mark.parametrize("value", WORDS)
@pytest.mark.parametrize(("name", "path"), [("complete", "top_p"), ("complete", "top_k")])
def test_what_is_no_number_is_one_line_that_names_the_flag(
    name: str, path: str, value: str, stages: list[object], capsys: pytest.CaptureFixture[str]
) -> None:
    ((verb, setting),) = [(v, s) for v, s in TABLE if (v.name, s.path) == (name, path)]
    check_flag(verb, setting, value, stages, capsys)


def check_flag(
    verb: Verb,
    setting: Setting,
    value: str,
    stages: list[object],
    capsys: pytest.CaptureFixture[str],
) -> None:
    bounds = range_of(config_of(verb), setting.path)
    assert bounds is not None
    values = [value, "0.5"][: max(1, many(setting))]
    words = [*verb.name.split(), *required(verb, setting.path), setting.flag, *values]
    before = len(stages)
    with pytest.raises(SystemExit) as stopped:
        main(words)
    said = capsys.readouterr().err
    if means_nothing(value, setting, bounds):
        assert stopped.value.code == 2, words
        assert said.count("\n") == 1, (words, said)
        assert setting.flag in said, (words, said)
        assert len(stages) == before, words
    else:
        assert (stopped.value.code, len(stages)) == (0, before + 1), (words, said)


def test_a_config_made_in_python_is_held_to_the_same_ranges() -> None:
    for verb in VERBS:
        assert not numbers_of(verb) or issubclass(config_of(verb), Ranged), verb.name


@pytest.mark.parametrize(
    ("table", "line", "said"),
    [
        ("pretrain", "minutes = -1\nmax-steps = 1", "r.toml [pretrain]: minutes is -1; choose"),
        ("pretrain", "max-steps = 0", "r.toml [pretrain]: max-steps is 0; choose a number from 1"),
        ("pretrain", "[pretrain.optimizer]\neps = nan", "[pretrain]: optimizer.eps is nan"),
        ("pretrain", "[pretrain.optimizer]\nbetas = [0.9, 1.0]", "optimizer.betas is 1; choose"),
        ("pretrain", "[pretrain.model.rope]\nfactor = 0.5", "model.rope.factor is 0.5; choose"),
        (
            "screen",
            "[screen.readability.by-language.python]\nmax-name = -3",
            "readability.by-language.python.max-name is -3; choose",
        ),
    ],
)
def test_a_recipe_s_number_is_named_as_the_file_spells_it(
    table: str, line: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = tmp_path / "r.toml"
    recipe.write_text(f"[{table}]\n{line}\n")
    with pytest.raises(SystemExit) as stopped:
        main([*(["data"] if table == "screen" else []), table, "--recipe", str(recipe)])
    shown = capsys.readouterr().err
    assert stopped.value.code == 2
    assert said in shown
    assert shown.count("\n") == 1
