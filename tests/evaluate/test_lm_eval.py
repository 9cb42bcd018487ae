"""Log-likelihoods and answers are lm-evaluation-harness's, to the row (extra peers).

Needs a folder of SmolLM2-135M in transformers' form: CODLING_SMOLLM, or `weights/smollm2-135m`
beside the checkout. benchmarks/likelihood.py does the same on more rows, and measures both.
"""

import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def benchmark() -> ModuleType:
    pytest.importorskip("lm_eval", reason="needs lm_eval (extra peers)")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "benchmarks"))
        spec = importlib.util.spec_from_file_location(
            "likelihood_benchmark", ROOT / "benchmarks" / "likelihood.py"
        )
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        patch.setitem(sys.modules, spec.name, module)
        spec.loader.exec_module(module)
        return module


@pytest.mark.parametrize(
    ("name", "n_rows"), [("arc-easy", 12), ("arc-challenge", 12), ("mmlu", 4), ("triviaqa", 12)]
)
def test_rows_are_lm_evals(benchmark, shared_data, tmp_path, name, n_rows):
    model = Path(os.environ.get("CODLING_SMOLLM", ROOT.parent / "weights" / "smollm2-135m"))
    if not (model / "config.json").is_file():
        pytest.skip(f"needs SmolLM2-135M in transformers' form in {model} (CODLING_SMOLLM)")
    benchmark.write_rows(shared_data / "benchmarks", tmp_path / "data", name, n_rows)
    with benchmark.Sides(model, tmp_path) as sides:
        found = benchmark.compare(
            sides.ours(name, tmp_path / "data"), sides.theirs(name, tmp_path / "data")
        )
    assert found["rows"] == n_rows
    assert found["verdicts_differ"] == []
    assert found["texts_differ"] == []
    assert found["largest_gap"] < 1e-3
