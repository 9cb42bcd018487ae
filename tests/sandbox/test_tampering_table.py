"""sandbox/tampering.toml: a bad row is named, and every language of the sandbox has its signs."""

import copy

import pytest

from codling.core.packaged import packaged_table
from codling.sandbox.tampering import read_signs, signs
from codling.sandbox.toolchains import toolchains


def test_every_language_of_the_sandbox_has_its_signs() -> None:
    assert set(signs().patterns) == set(toolchains())


@pytest.mark.parametrize(
    ("part", "row", "fault"),
    [
        ("like", {"ts": "cobol"}, "tampering.toml, ts: there is no language cobol"),
        ("patterns", {"js": "("}, "tampering.toml: no regular expression"),
    ],
)
def test_a_bad_row_of_the_signs_is_named(part: str, row: dict[str, str], fault: str) -> None:
    table = copy.deepcopy(packaged_table("codling.sandbox", "tampering.toml"))
    table[part] |= row
    with pytest.raises(ValueError, match=fault):
        read_signs(table)
