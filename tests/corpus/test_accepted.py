"""The stage `data accepted`: what it writes holds no secret and no address, in any file."""

import json
from pathlib import Path
from typing import Any

import pytest

from codling.core.artifact import Artifact
from codling.core.shards import read_rows
from codling.corpus.accepted import AcceptedConfig, accepted

KEY = "AKIA" + "Q3EGRTZ5YXWMN2LP"
ADDRESS = "jo.do@acme.org"
HOST = "93.184.216.34"


def made_of(
    tmp_path: Path, shown: dict[str, Any], told: dict[str, Any], **settings: Any
) -> Artifact:
    path = tmp_path / "log.jsonl"
    rows = [{"event": "shown", "id": "a", **shown}, {"event": "outcome", "id": "a", **told}]
    path.write_text("".join(json.dumps({"index": 0, **row}) + "\n" for row in rows))
    return accepted(AcceptedConfig(file=path, out_dir=tmp_path / "accepted", **settings))


def everything(made: Artifact) -> str:
    """All bytes of the folder, and the rows of its compressed tables."""
    files = [path.read_bytes().decode("latin-1") for path in made.path.rglob("*") if path.is_file()]
    return "\n".join([*files, *(repr(row) for row in read_rows(made, "samples"))])


@pytest.mark.parametrize(
    ("shown", "told"),
    [
        # In each text of a row, and in the path.
        ({"prompt": f'key = "{KEY}"\nx = ', "texts": ["total(1)"]}, {"outcome": "taken"}),
        ({"texts": [f'"{KEY}"']}, {"outcome": "taken"}),
        ({"suffix": f'\nkey = "{KEY}"\n', "texts": ["total(1)"]}, {"outcome": "taken"}),
        ({"texts": [f'"{KEY}"']}, {"outcome": "typed", "text": "total(2)"}),
        ({"texts": ["total(1)"]}, {"outcome": "typed", "text": f'mail("{ADDRESS}", "{HOST}")'}),
        ({"path": f"{ADDRESS}/a.py", "texts": ["total(1)"]}, {"outcome": "taken"}),
        # Half of it was typed, the other half was shown and taken.
        ({"prompt": f'x = "{KEY[:9]}', "texts": [f'{KEY[9:]}"\ny = 1']}, {"outcome": "taken"}),
        (
            {"prompt": f'x = "{KEY[:9]}', "texts": [f'{KEY[9:]}"']},
            {"outcome": "typed", "text": "one two"},
        ),
    ],
)
def test_no_file_holds_a_secret_or_an_address(
    tmp_path: Path, shown: dict[str, Any], told: dict[str, Any]
) -> None:
    about = {"path": "app/a.py", "prompt": "x = ", "suffix": "\n"}
    found = everything(made_of(tmp_path, about | shown, told))
    for secret in (KEY, KEY[9:], ADDRESS, HOST):
        assert secret not in found


def test_a_secret_that_the_cut_goes_through_is_found_before_the_cut(tmp_path: Path) -> None:
    shown = {"prompt": f'x = "{KEY}"', "suffix": f'; y = "{KEY}"', "texts": [" + total(1)"]}
    made = made_of(tmp_path, shown, {"outcome": "taken"}, before_chars=8, after_chars=15)
    assert KEY[-6:] not in everything(made)
    assert KEY[:6] not in everything(made)


def test_samples_and_the_file_beside_them_say_the_same(tmp_path: Path) -> None:
    shown = {"prompt": "mail = ", "suffix": "\n", "texts": [f'"{ADDRESS}"']}
    made = made_of(tmp_path, shown, {"outcome": "taken"})
    kept = json.loads((made.path / "accepted.jsonl").read_text())
    (sample,) = read_rows(made, "samples")
    assert kept["text"] == '"<EMAIL>"'
    assert sample["content"] == kept["before"] + kept["text"] + kept["after"]
