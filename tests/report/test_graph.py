"""The graph as text and as a drawing."""

import json
import subprocess
from pathlib import Path
from xml.etree import ElementTree

import pytest

from codling.core.errors import SourceError
from codling.report.drawing import Subgraph, draw, draw_file
from codling.report.graph import GraphConfig, graph


def test_files_are_listed_after_what_they_depend_on(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("import b, c\n")
    (tmp_path / "b.py").write_text("import c\n")
    (tmp_path / "c.py").write_text("")
    (tmp_path / "z.py").write_text("")
    assert graph(GraphConfig(path=tmp_path)).splitlines() == [
        "4 files, 3 dependencies (0 in cycles, 0 not before their dependants), "
        "1 subgraph, 1 file on its own",
        "A line `a <- b` says that file a depends on b, which stands before it.",
        "",
        "subgraph 1: 3 files",
        "  c.py",
        "  b.py <- c.py",
        "  a.py <- b.py, c.py",
        "",
        "on their own: z.py",
    ]


def chain(n: int, folders: int = 3) -> Subgraph:
    """Each file depends on the one before it; the first on the last."""
    paths = [f"pkg/part{i % folders}/m{i}.py" for i in range(n)]
    return Subgraph("chain", paths, [[n - 1], *([i] for i in range(n - 1))])


def test_the_drawing_of_a_few_files_holds_an_arc_per_edge_and_a_label_per_file(
    tmp_path: Path,
) -> None:
    (tmp_path / "a.py").write_text("import b\n")
    (tmp_path / "b.py").write_text("import a\n")
    graph(GraphConfig(path=tmp_path, svg=tmp_path / "g.svg"))
    root = ElementTree.parse(tmp_path / "g.svg").getroot()
    kinds = [element.tag.rpartition("}")[2] for element in root.iter()]
    assert (kinds.count("path"), kinds.count("text")) == (2, 2)
    arcs = [e.get("class") for e in root.iter() if e.tag.endswith("path")]
    assert sorted(arcs) == ["line back", "line c0"]


def test_many_files_are_a_matrix_with_a_point_per_edge() -> None:
    svg = ElementTree.fromstring(draw_file(chain(300)))
    marks = {e.get("class"): e.get("d", "") for e in svg.iter() if e.tag.endswith("path")}
    assert marks["first"].count("M") == 299
    assert marks["late"].count("M") == 1
    assert json.loads(svg.get("data-names", ""))[7] == "pkg/part1/m7.py"
    texts = [e.text for e in svg.iter() if e.tag.endswith("text")]
    assert "pkg/part0 (100)" in texts


def test_thousands_of_files_are_drawn_by_folder() -> None:
    svg = ElementTree.fromstring(draw_file(chain(3000, 80)))
    names = json.loads(svg.get("data-names", ""))
    assert len(names) == 80
    assert names[0] == "pkg/part0/ (38)"
    assert len(draw_file(chain(3000, 80))) < 50_000


def test_the_page_shows_the_largest_subgraphs_and_fetches_nothing(tmp_path: Path) -> None:
    for i in range(12):
        (tmp_path / f"a{i}.py").write_text(f"import b{i}\n")
        (tmp_path / f"b{i}.py").write_text("" if i else "import c\n")
    (tmp_path / "c.py").write_text("")
    graph(GraphConfig(path=tmp_path, html=tmp_path / "g.html"))
    page = (tmp_path / "g.html").read_text()
    assert page.count("<svg") == 8
    assert "subgraph 1: 3 files, 2 dependencies" in page
    assert "And 4 smaller subgraphs" in page
    assert "http" not in page
    assert "src=" not in page


def test_names_from_a_repository_cannot_leave_their_place() -> None:
    name = "\"><script>'&.py"
    few = draw(Subgraph("x", [name, "b.py"], [[], [0]]))
    many = draw(Subgraph("x", [f"{i}{name}" for i in range(80)], [[]] * 80))
    for svg in (few, many):
        assert "<script>" not in svg
        ElementTree.fromstring(svg)


def test_a_folder_that_git_ignores_is_read_when_it_is_asked_for(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    (tmp_path / ".gitignore").write_text("ignored/\n")
    (tmp_path / "own.py").write_text("")
    (tmp_path / "ignored").mkdir()
    (tmp_path / "ignored" / "a.py").write_text("import b\n")
    (tmp_path / "ignored" / "b.py").write_text("")
    assert graph(GraphConfig(path=tmp_path / "ignored")).startswith("2 files, 1 dependency (")
    assert graph(GraphConfig(path=tmp_path)).startswith("1 file")


def test_a_folder_without_code_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(SourceError, match="no source files"):
        graph(GraphConfig(path=tmp_path))
