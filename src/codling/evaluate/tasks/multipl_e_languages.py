"""The languages of MultiPL-E, by the suffix that its files are named by: rows of multipl_e.toml.

Not here: how their programs are run (sandbox/toolchains.toml).
"""

from collections.abc import Sequence
from typing import NamedTuple

from codling.core.packaged import packaged_table


class HumanEvalLanguage(NamedTuple):
    """A row of multipl_e.toml."""

    name: str
    more_stops: Sequence[str] = ()
    wants_brace: bool = False
    scopes_tests: bool = False


BY_SUFFIX = {
    suffix: HumanEvalLanguage(**row)
    for suffix, row in packaged_table("codling.evaluate.tasks", "multipl_e.toml").items()
}
