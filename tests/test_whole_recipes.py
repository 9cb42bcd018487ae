"""Every recipe in the repository is one that `codling grow` accepts."""

from pathlib import Path

import pytest

from codling.core.errors import ConfigError
from codling.pipeline import LEARNING, PATH, GrowConfig, prepare
from codling.posttrain.config import GrpoConfig
from codling.posttrain.score_tasks import ScoreTasksConfig
from codling.train.pretrain import PretrainConfig

OF_OTHER_VERBS = ("sft.toml",)
"""For the verbs whose tables they hold; their own tests read them."""
LEARNS_FROM_TESTS = Path("coder-v2-tiny")
RECIPES = sorted(
    path
    for path in (Path(__file__).parents[1] / "recipes").glob("*.toml")
    if path.name not in OF_OTHER_VERBS and path.stem != LEARNS_FROM_TESTS.name
)


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda p: p.name)
def test_a_recipe_has_only_known_tables_and_keys(recipe: Path) -> None:
    assert len(prepare(GrowConfig(recipe=recipe), Path("runs/x"))) == len(PATH)


def test_the_tiny_recipe_is_what_grow_does_without_one() -> None:
    tiny = prepare(GrowConfig(recipe=RECIPES[0].with_name("tiny.toml")), Path("runs/x"))
    plain = prepare(GrowConfig(), Path("runs/x"))
    assert [step.config for step in tiny] == [step.config for step in plain]
    assert any(isinstance(step.config, PretrainConfig) for step in plain)


def test_the_chain_of_coder_v2_starts_every_run_of_grpo_from_the_tuned_model(
    tmp_path: Path,
) -> None:
    run = Path("runs/x")
    steps = prepare(GrowConfig(recipe=LEARNS_FROM_TESTS, base=str(tmp_path)), run)
    assert len(steps) == len(LEARNING)
    runs = [step.config for step in steps if isinstance(step.config, GrpoConfig)]
    assert [each.reward for each in runs] == ["verdicts", "model", "both"]
    assert {each.model for each in runs} == {run / "sft"}
    assert runs[1].reward_model_dir == run / "reward-model"
    (asked,) = (step.config for step in steps if isinstance(step.config, ScoreTasksConfig))
    assert asked.model == tmp_path
    for name in ("heldout_share", "max_heldout", "n_heldout_answers", "temperature", "seed"):
        assert getattr(asked, name) == getattr(runs[0], name)


def test_what_the_chain_of_coder_v2_cannot_use_is_refused(tmp_path: Path) -> None:
    recipe, base = LEARNS_FROM_TESTS, str(tmp_path)
    with pytest.raises(ConfigError, match="add --base MODEL"):
        prepare(GrowConfig(recipe=recipe), Path("runs/x"))
    with pytest.raises(ConfigError, match="skip is not for recipes"):
        prepare(GrowConfig(recipe=recipe, base=base, skip=("screen",)), Path("runs/x"))
    with pytest.raises(ConfigError, match="pretrain"):
        prepare(GrowConfig(recipe=recipe, base=base, set=("pretrain.seed=1",)), Path("runs/x"))
