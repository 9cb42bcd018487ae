"""Drawings of dependencies in a real browser: they answer the pointer."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from codling.report.graph import GraphConfig, graph

playwright = pytest.importorskip("playwright.sync_api", reason="needs the package playwright")
CHROMIUM = shutil.which("chromium") or "/usr/bin/chromium"
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]


@pytest.fixture(scope="module")
def browser() -> Iterator[object]:
    if not Path(CHROMIUM).exists():
        pytest.skip(f"needs Chromium at {CHROMIUM}")
    with playwright.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=CHROMIUM, args=FLAGS, timeout=600_000)
        yield opened
        opened.close()


@pytest.fixture
def page(browser) -> Iterator[object]:
    opened = browser.new_page()
    opened.set_default_timeout(600_000)
    problems: list[str] = []
    opened.on("pageerror", lambda error: problems.append(str(error)))
    opened.on("request", lambda r: None if r.url.startswith("file:") else problems.append(r.url))
    yield opened
    opened.close()
    assert problems == []


def drawn(folder: Path, n_files: int) -> str:
    """A page about a chain: m1 imports m0, and so on."""
    for i in range(n_files):
        (folder / f"m{i}.py").write_text(f"import m{i - 1}\n" if i else "")
    graph(GraphConfig(path=folder, html=folder / "g.html"))
    return (folder / "g.html").as_uri()


def test_a_file_that_is_pointed_at_shows_its_arcs(page, tmp_path: Path) -> None:
    page.goto(drawn(tmp_path, 5))
    page.locator("svg text", has_text="m2.py").hover()
    lit = page.locator(".line.lit").evaluate_all("all => all.map(l => l.dataset.a + l.dataset.b)")
    assert sorted(lit) == ["12", "23"]


@pytest.mark.long
def test_a_point_of_a_matrix_names_both_files(page, tmp_path: Path) -> None:
    page.goto(drawn(tmp_path, 90))
    marks = re.findall(r"M([\d.]+) ([\d.]+)", page.get_attribute("path.first", "d"))
    names = page.locator("svg.graph").evaluate("svg => JSON.parse(svg.dataset.names)")
    box = page.locator("svg.graph").bounding_box()
    assert len(marks) == 89
    x, y = map(float, marks[40])
    page.mouse.move(box["x"] + x + 2, box["y"] + y + 2)
    assert page.text_content(".says") == f"{names[41]} depends on {names[40]}"
    page.mouse.move(box["x"] + x + 2, box["y"] + y + 60)
    assert "depends on" not in page.text_content(".says")
