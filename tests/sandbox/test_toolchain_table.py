"""toolchains.toml: its rows are checked, and say how a program is sealed and judged."""

from dataclasses import replace
from typing import Any

import pytest

from codling.sandbox.box import StepReply
from codling.sandbox.toolchains import RUNNERS, Toolchain, read_toolchain, toolchains

ENDED = StepReply(
    exit=0,
    signal=None,
    timed_out=False,
    flooded=False,
    proved=False,
    tampered=False,
    stdout="",
    stderr="",
    seconds=0.0,
    cpu=0.0,
)
ROW = {"file": "main.x", "run": ["/usr/bin/x", "{pch}"], "version": ["x"], "packages": "x"}


def chain(**more: Any) -> Toolchain:
    return read_toolchain("x", ROW | more, {"pch": "/cache", "rust_root": ""})


def test_places_of_this_machine_are_filled_in_and_absent_ones_left_out() -> None:
    made = chain(shown=["{pch}", "{rust_root}"], env={"A": "1"})
    assert made.run == ("/usr/bin/x", "/cache")
    assert [str(p) for p in made.shown] == ["/cache"]
    assert made.env == (("A", "1"),)


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        (ROW | {"compiled": ["x"]}, "no column is called compiled"),
        ({k: v for k, v in ROW.items() if k != "run"}, "it has no run"),
        (ROW | {"passes": "loudly"}, "passes is none of exit, silent, any"),
    ],
)
def test_a_bad_row_of_the_toolchains_is_named(row: dict[str, Any], fault: str) -> None:
    with pytest.raises(ValueError, match=f"^toolchains.toml, x: {fault}$"):
        read_toolchain("x", row, {})


def test_a_seal_stands_at_the_end_or_before_a_brace_or_in_place_of_a_text() -> None:
    assert chain(seal="say NONCE").add_seal("a", "k") == "a\nsay k\n"
    inner = chain(seal="say NONCE", seal_before_brace=2)
    assert inner.add_seal("c { m { } }", "k") == "c { m { say k\n} }"
    assert inner.add_seal("}", "k") == "}"
    assert chain(seal="NONCE", seal_replaces="main()").add_seal("main();", "k") == "k;"


def test_a_report_must_stand_in_what_a_passing_program_prints() -> None:
    def reply(exit_status: int, stdout: str) -> StepReply:
        return replace(ENDED, exit=exit_status, stdout=stdout)

    assert chain(report="^PASS$").has_passed(reply(0, "one\nPASS\n"))
    assert not chain(report="^PASS$").has_passed(reply(0, "ok"))
    assert not chain(passes="silent").has_passed(reply(0, "ok"))
    assert chain(passes="any").has_passed(reply(1, "ok"))


def test_every_strict_verdict_has_a_proof() -> None:
    for language, each in toolchains().items():
        assert each.seal or each.runner or each.report, language
        if each.runner.startswith("run."):
            assert (RUNNERS / each.runner).is_file()
