"""Every link of README and docs leads somewhere, and the site of the pages needs no network."""

import re
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [
    *(
        ROOT / name
        for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "editors/README.md")
    ),
    *sorted((ROOT / "docs").rglob("*.md")),
]
_FENCED = re.compile(r"^ *```.*?^ *```$|^(?: {4}[^\n]*\n)+", re.S | re.M)
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_FETCHED = re.compile(
    r"<(?:script|img|iframe|source)\b[^>]*\ssrc=\"(?:https?:)?//[^\"]*"
    r"|<link\b[^>]*\shref=\"(?:https?:)?//[^\"]*|url\((?:https?:)?//[^)]*|@import[^;]*//[^;]*"
)


def links(page: Path) -> list[str]:
    """Where the links and pictures of a page lead; code is none of them."""
    text = re.sub(r"`[^`\n]*`", "", _FENCED.sub("", page.read_text(encoding="utf-8")))
    return _LINK.findall(text)


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    titles = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.M)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def fault(page: Path, link: str) -> str:
    """What is wrong with a link, or nothing."""
    if urlsplit(link).scheme:
        return "" if re.match(r"https://[\w.-]+\.\w+(/|$)", link) else "no https address"
    path, _, anchor = link.partition("#")
    target = (page.parent / path).resolve() if path else page
    if not target.is_relative_to(ROOT) or not target.exists():
        return "no such file"
    if anchor and anchor not in anchors(target):
        return "no such heading"
    return ""


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_every_link_leads_somewhere(page: Path) -> None:
    assert {link: why for link in links(page) if (why := fault(page, link))} == {}


def test_the_search_for_links_finds_what_is_wrong(tmp_path: Path) -> None:
    page = ROOT / "README.md"
    assert fault(page, "docs/map.md#map") == ""
    assert fault(page, "docs/map.md#nowhere") == "no such heading"
    assert fault(page, "docs/nowhere.md") == "no such file"
    assert fault(page, "../outside") == "no such file"
    assert fault(page, "http://plain.example/") == "no https address"
    sample = tmp_path / "a.md"
    sample.write_text(
        "[a](b.md) `[c](d.md)`\n\n    [e](f.md)\n\n```\n[g](h.md)\n```\n![i](j.png)\n"
    )
    assert links(sample) == ["b.md", "j.png"]


@pytest.mark.long
def test_the_site_builds_strictly_and_fetches_nothing(tmp_path: Path) -> None:
    pytest.importorskip("zensical", reason="needs zensical (extra docs)")
    for name in ("docs", "editors", "examples", "tools"):
        shutil.copytree(ROOT / name, tmp_path / name)
    for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "mkdocs.yml"):
        shutil.copy(ROOT / name, tmp_path / name)
    for command in (
        ["tools/site_pages.py", "build/pages"],
        ["-m", "zensical", "build", "--strict", "--config-file", "mkdocs.yml"],
    ):
        subprocess.run([sys.executable, *command], cwd=tmp_path, check=True, capture_output=True)
    site = tmp_path / "build/site"
    pages = {p.relative_to(site).as_posix(): p.read_text("utf-8") for p in site.rglob("*.html")}
    assert {"index.html", "contributing.html", "changelog.html", "examples.html"} <= set(pages)
    assert "decisions/001-flags-from-configs.html" in pages
    styles = [p.read_text("utf-8") for p in site.rglob("*.css")]
    assert [f for text in [*pages.values(), *styles] for f in _FETCHED.findall(text)] == []
