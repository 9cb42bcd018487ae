"""Every recipe in the repository is one that `codling grow` accepts."""

from pathlib import Path

import pytest

from codling.pipeline import PATH, GrowConfig, prepare
from codling.train.pretrain import PretrainConfig

OF_OTHER_VERBS = ("sft.toml",)
"""For the verbs whose tables they hold; their own tests read them."""
RECIPES = sorted(
    path
    for path in (Path(__file__).parents[1] / "recipes").glob("*.toml")
    if path.name not in OF_OTHER_VERBS
)


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda p: p.name)
def test_a_recipe_has_only_known_tables_and_keys(recipe: Path) -> None:
    assert len(prepare(GrowConfig(recipe=recipe), Path("runs/x"))) == len(PATH)


def test_the_tiny_recipe_is_what_grow_does_without_one() -> None:
    tiny = prepare(GrowConfig(recipe=RECIPES[0].with_name("tiny.toml")), Path("runs/x"))
    plain = prepare(GrowConfig(), Path("runs/x"))
    assert [step.config for step in tiny] == [step.config for step in plain]
    assert any(isinstance(step.config, PretrainConfig) for step in plain)
