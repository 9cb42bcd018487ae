"""The pages of the site in one folder: python tools/site_pages.py build/pages, then make docs.

Input: docs/, README.md, CONTRIBUTING.md, CHANGELOG.md, editors/README.md and examples/. Output: a
folder of Markdown, in which a link to one of these files leads to its page, and one to another file
of the checkout is plain text.

Not here: how the site looks (mkdocs.yml), and whether links lead anywhere (tests/test_links.py).
"""

import os
import posixpath
import re
import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGES = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "editors/README.md": "editors.md",
}
EXAMPLES = ("data", "train", "complete", "insert", "evaluate")
_LINK = re.compile(r"(?<!!)\[([^\]]+)\]\((?!\w+:)([^)#]*)(#[^)]*)?\)")
_PICTURE = re.compile(r"!\[([^\]]*)\]\(docs/")


def write_pages(out_dir: Path) -> None:
    """Everything that the site is made of, anew."""
    shutil.rmtree(out_dir, ignore_errors=True)
    shutil.copytree(ROOT / "docs", out_dir)
    for path in out_dir.rglob("*.md"):
        name = f"docs/{path.relative_to(out_dir).as_posix()}"
        path.write_text(fit_links(path.read_text(encoding="utf-8"), name), encoding="utf-8")
    for name, page in PAGES.items():
        text = _PICTURE.sub(r"![\1](", (ROOT / name).read_text(encoding="utf-8"))
        (out_dir / page).write_text(fit_links(text, name), encoding="utf-8")
    (out_dir / "decisions.md").write_text(decisions_page(), encoding="utf-8")
    (out_dir / "examples.md").write_text(examples_page(), encoding="utf-8")


def fit_links(text: str, name: str) -> str:
    """The text of the file `name` of the checkout, with links between pages of the site."""
    folder = posixpath.dirname(name)
    inside = posixpath.dirname(name.removeprefix("docs/")) if name.startswith("docs/") else ""

    def fit(link: re.Match[str]) -> str:
        if not link[2]:
            return link[0]
        target = page_of(posixpath.normpath(posixpath.join(folder, link[2])))
        if target is None:
            return link[1]
        return f"[{link[1]}]({os.path.relpath(target, inside or '.')}{link[3] or ''})"

    return _LINK.sub(fit, text)


def page_of(path: str) -> str | None:
    """The page of the site that shows a file of the checkout, None if there is none."""
    if path in PAGES:
        return PAGES[path]
    if path == "examples" or path.startswith("examples/"):
        return "examples.md"
    return path.removeprefix("docs/") if path.startswith("docs/") else None


def decisions_page() -> str:
    """A list of the decisions by their titles."""
    links = []
    for path in sorted((ROOT / "docs/decisions").glob("*.md")):
        title = path.read_text(encoding="utf-8").partition("\n")[0].removeprefix("# ")
        links.append(f"- [{path.stem[:3]}: {title}](decisions/{path.name})\n")
    return "# Decisions\n\nWhy things are as they are.\n\n" + "".join(links)


def examples_page() -> str:
    """All example programs on one page."""
    shown = ["# Examples", "Short programs of the Python API; the tests run each of them."]
    for name in EXAMPLES:
        code = (ROOT / "examples" / f"{name}.py").read_text(encoding="utf-8")
        shown.append(f"## {name}.py\n\n```python\n{code}```")
    return "\n\n".join(shown) + "\n"


if __name__ == "__main__":
    write_pages(Path(sys.argv[1]))
