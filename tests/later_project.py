"""A small history with a line, the canary, that only a later commit has."""

from pathlib import Path

from git_repositories import history

CANARY = "canary_zyx = quetzal(lapwing)"
CANARY_WORDS = ("canary_zyx", "quetzal", "lapwing", "step_30")
"""What nothing may hold that learned from the tree at the cut; the last of it is step_29."""
NOTICE = (Path(__file__).parents[1] / "LICENSE").read_text()


def project(root: Path) -> Path:
    """60 commits that add functions to three modules; the canary comes 10 before the last."""
    files = {"LICENSE": NOTICE, **{f"app/{n}.py": "from app import b\n" for n in "abc"}}
    states = []
    for number in range(60):
        name = f"app/{'abc'[number % 3]}.py"
        files[name] += f"\n\ndef step_{number}(values):\n    return sum(values) + {number}\n"
        if number == 50:
            files[name] += f"    {CANARY}\n"
        states.append(dict(files))
    history(root, states)
    return root
