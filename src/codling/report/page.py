"""Self-contained HTML pages: one layout, one style sheet, nothing fetched when a page is opened.

Input: a template that fills the blocks `title` and `content` of page.html, and its values. Output:
the page. Values are escaped unless they are Markup.

Not here: what a page shows (report/run_page.py, report/card.py, report/graph.py).
"""

from importlib import resources

import jinja2
from markupsafe import Markup


def render_page(package: str, template: str, **values: object) -> str:
    """The page that `template`, a file of `package`, makes of `values`."""
    environment = jinja2.Environment(
        loader=jinja2.DictLoader(
            {"page.html": _read("codling.report", "page.html"), template: _read(package, template)}
        ),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"size": size_text, "number": number_text, "duration": duration_text}
    style = Markup(_read("codling.report", "page.css"))
    return environment.get_template(template).render(style=style, **values)


def size_text(n_bytes: int) -> str:
    """Bytes in readable units.

    >>> size_text(29_649_587), size_text(1_234)
    ('29.6 MB', '1.2 kB')
    """
    if n_bytes >= 1e9:
        return f"{n_bytes / 1e9:,.2f} GB"
    return f"{n_bytes / 1e6:,.1f} MB" if n_bytes >= 1e5 else f"{n_bytes / 1e3:,.1f} kB"


def duration_text(seconds: float) -> str:
    """Seconds in readable units.

    >>> duration_text(42.4), duration_text(1_860), duration_text(8_100)
    ('42 s', '31 min', '2 h 15 min')
    """
    minutes = round(seconds / 60)
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def number_text(value: float) -> str:
    """A number with as many digits as are useful.

    >>> number_text(12_345), number_text(2.0784125637), number_text(0.0123456)
    ('12,345', '2.078', '0.01235')
    """
    return f"{value:,}" if isinstance(value, int) else f"{value:,.4g}"


def _read(package: str, name: str) -> str:
    return resources.files(package).joinpath(name).read_text("utf-8")
