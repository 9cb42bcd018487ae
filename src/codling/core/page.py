"""Self-contained HTML pages: one layout, one style sheet, nothing fetched when a page is opened.

Input: a template that fills the blocks `title` and `content` of page.html, and its values. Output:
the page. Values are escaped unless they are Markup.

Not here: what a page shows (evaluate/report.py, corpus/card.py, corpus/graph.py).
"""

from importlib import resources

import jinja2
from markupsafe import Markup


def render_page(package: str, template: str, **values: object) -> str:
    """The page that `template`, a file of `package`, makes of `values`."""
    environment = jinja2.Environment(
        loader=jinja2.DictLoader(
            {"page.html": _read("codling.core", "page.html"), template: _read(package, template)}
        ),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["size"] = size_text
    style = Markup(_read("codling.core", "page.css"))
    return environment.get_template(template).render(style=style, **values)


def size_text(n_bytes: int) -> str:
    """Bytes as people read them.

    >>> size_text(29_649_587), size_text(1_234)
    ('29.6 MB', '1.2 kB')
    """
    if n_bytes >= 1e9:
        return f"{n_bytes / 1e9:,.2f} GB"
    return f"{n_bytes / 1e6:,.1f} MB" if n_bytes >= 1e5 else f"{n_bytes / 1e3:,.1f} kB"


def _read(package: str, name: str) -> str:
    return resources.files(package).joinpath(name).read_text("utf-8")
