"""The graph as text and as a drawing."""

from pathlib import Path
from xml.etree import ElementTree

import pytest

from codling.core.errors import SourceError
from codling.corpus.graph import graph
from codling.corpus.graph_config import GraphConfig


def test_files_are_listed_after_what_they_depend_on(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("import b, c\n")
    (tmp_path / "b.py").write_text("import c\n")
    (tmp_path / "c.py").write_text("")
    (tmp_path / "z.py").write_text("")
    assert graph(GraphConfig(path=tmp_path)).splitlines() == [
        "4 files, 3 dependencies (0 in cycles, 0 not before their dependants), "
        "1 subgraphs, 1 files on their own",
        "",
        "subgraph 1: 3 files",
        "  c.py",
        "  b.py <- c.py",
        "  a.py <- b.py, c.py",
        "",
        "on their own: z.py",
    ]


def test_the_drawing_holds_a_line_per_edge_and_a_label_per_file(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("import b\n")
    (tmp_path / "b.py").write_text("import a\n")
    graph(GraphConfig(path=tmp_path, svg=tmp_path / "g.svg"))
    root = ElementTree.parse(tmp_path / "g.svg").getroot()
    kinds = [element.tag.rpartition("}")[2] for element in root.iter()]
    assert (kinds.count("path"), kinds.count("text")) == (2, 2)


def test_a_folder_without_code_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(SourceError, match="no source files"):
        graph(GraphConfig(path=tmp_path))
