"""corpus/heldout: whole packages are kept from training, by a hash."""

from codling.corpus.heldout import Heldout, heldout_units, unit_of
from codling.corpus.parts import part_of


def test_units_are_top_packages_and_those_below_src() -> None:
    assert [unit_of(p) for p in ("a/b/c.py", "m.py", "src/a/b.py", "src/m.py")] == [
        "a",
        "m.py",
        "src/a",
        "src/m.py",
    ]


def test_about_the_fraction_of_the_bytes_is_held_out() -> None:
    files = [(f"p{i}/m.py", 1000) for i in range(100)]
    assert len(heldout_units("r", files, fraction=0.05, seed=0)) == 5


def test_the_core_of_a_repository_is_never_held_out() -> None:
    files = [("core/m.py", 9000), *((f"p{i}/m.py", 10) for i in range(10))]
    for seed in range(20):
        assert "core" not in heldout_units("r", files, fraction=0.05, seed=seed)


def test_a_unit_with_little_code_and_most_pages_is_not_held_out() -> None:
    files = [(f"p{i}/m.py", 100) for i in range(20)] + [("doc/conf.py", 10)]
    pages = [("doc/api.html", 90_000), ("p0/README.md", 50)]
    for seed in range(20):
        assert "doc" not in heldout_units("r", files, pages, fraction=0.05, seed=seed)


def test_one_unit_of_three_is_held_out_and_none_of_two() -> None:
    three = [("a.py", 100), ("b.py", 100), ("c.py", 90)]
    assert heldout_units("r", three, fraction=0.05, seed=0) == {"c.py"}
    assert heldout_units("r", three[:2], fraction=0.05, seed=0) == frozenset()


def test_the_choice_depends_on_seed_and_repository_alone() -> None:
    files = [(f"p{i}/m.py", 1000) for i in range(100)]
    chosen = heldout_units("r", files, fraction=0.05, seed=0)
    assert chosen == heldout_units("r", reversed(files), fraction=0.05, seed=0)
    assert chosen != heldout_units("r", files, fraction=0.05, seed=1)
    assert chosen != heldout_units("s", files, fraction=0.05, seed=0)


def test_a_large_package_gives_some_of_its_own_files() -> None:
    files = [(f"httpx/m{i}.py", 1000) for i in range(40)] + [("httpx/sub/a.py", 1000)]
    files += [(f"examples/e{i}.py", 300) for i in range(20)]
    for seed in range(10):
        taken = heldout_units("r", files, fraction=0.05, seed=seed)
        held = Heldout(taken)
        code = [p for p, _ in files if held.split(p, None) == "heldout" and p.startswith("httpx/")]
        assert 1 <= len(code) <= 3
        assert len(taken) - len(code) == 1  # of 20 examples


def test_a_test_beside_the_code_does_not_take_its_package_along() -> None:
    files = [(f"pkg/m{i}.go", 1000) for i in range(30)]
    files += [(f"pkg/m{i}_test.go", 1000) for i in range(30)]
    files += [(f"pkg/tests/t{i}.py", 1000) for i in range(30)]
    for seed in range(5):
        held = Heldout(heldout_units("r", files, fraction=0.05, seed=seed))
        assert sum(held.split(path, None) == "heldout" for path, _ in files) <= 5


def test_a_unit_is_a_whole_name_of_the_path() -> None:
    held = Heldout(frozenset({"src/app"}))
    assert [held.split(p, None) for p in ("src/app/a.py", "src/apple/a.py", "src/app")] == [
        "heldout",
        "train",
        "heldout",
    ]


def test_parts_are_told_by_names() -> None:
    paths = {
        "src/flask/testing.py": "code",
        "src/test/java/A.java": "tests",
        "lib/a.spec.ts": "tests",
        "pkg/fixtures/broken.py": "tests",
        "examples/tutorial/app.py": "examples",
        "com/example/App.java": "code",
        "docs/conf.py": "docs",
        ".devcontainer/install.sh": "scripts",
        "setup.py": "scripts",
        "app/setup.py": "code",
        "benchmarks/run.py": "scripts",
        "main.go": "code",
    }
    assert {path: part_of(path) for path in paths} == paths
