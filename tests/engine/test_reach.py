"""How long prompts at a cursor are."""

from pathlib import Path

from codling.corpus.context import Cursor, SnapshotContext
from codling.engine.reach import CursorReach
from codling.engine.text import TextEngine
from serve.tiny_server import save_model


def test_auto_is_short_on_cpus_and_all_that_fits_elsewhere() -> None:
    assert CursorReach.of("auto", "auto", on_cpu=True) == CursorReach(2_048, 256)
    assert CursorReach.of("auto", "auto", on_cpu=False) == CursorReach()
    assert (
        CursorReach.of(99, 0, on_cpu=True)
        == CursorReach.of(99, 0, on_cpu=False)
        == CursorReach(99, 0)
    )


def test_the_answer_has_its_room_but_not_more_than_half() -> None:
    assert CursorReach().count_room(1_000, 100) == 900
    assert CursorReach().count_room(1_000, 5_000) == CursorReach().count_room(1_000, 500) == 500
    assert CursorReach(300).count_room(1_000, 100) == 300
    assert CursorReach(300).count_room(200, 50) == 150
    assert CursorReach().count_room(1, 10) == 0


def test_prompts_with_other_files_keep_to_it(tmp_path: Path) -> None:
    files = {"a.py": "first = 1\n" * 40, "b.py": "import a\n" + "second = 2\n" * 20}
    cursor = Cursor("b.py", files["b.py"] + "x = ", "third = 3\n" * 60)
    with TextEngine.open(save_model(tmp_path / "tiny"), precision="float32") as engine:
        shown = SnapshotContext(files)
        whole = engine.repository_prompt(shown, cursor, insert=True, max_tokens=16)
        engine.reach = CursorReach(150, 20)
        short = engine.repository_prompt(shown, cursor, insert=True, max_tokens=16)
        specials = engine.tokenizer.specials
    assert len(whole) > 200
    assert len(short) <= 150
    hole, end = short.index(specials.fim_hole), short.index(specials.fim_end)
    assert 0 < end - hole - 1 <= 20
