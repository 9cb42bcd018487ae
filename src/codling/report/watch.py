"""`codling watch`: what runs of training are doing, live on one local page, side by side.

Input: folders of runs, running or finished: of `grow`, or what `pretrain`, `extend`, `adapt`,
`tune`, `finetune` and `dpo` write. Output: a page at 127.0.0.1 that asks for their metrics.jsonl
every two seconds; nothing is fetched from elsewhere, and nothing is written.

Not here: what is measured (train/), and the page of a finished run (run_page.py).
"""

import json
import webbrowser
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import resources
from pathlib import Path
from threading import Lock
from typing import Annotated, Any

from codling.core.artifact import MANIFEST
from codling.core.errors import ArtifactError, ConfigError, StorageError
from codling.core.log import say
from codling.core.plan import PLAN
from codling.core.ranges import Range, Ranged
from codling.core.recipe import aside
from codling.report.watched import METRICS, WatchedRuns, find_metrics, partial_of

Pages = dict[str, tuple[str, Callable[[], bytes]]]
"""Path -> type and content."""
_LOCAL = ("127.0.0.1", "localhost")
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
        "connect-src 'self'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
}


@dataclass(frozen=True, kw_only=True)
class WatchConfig(Ranged):
    """Settings of `codling watch`."""

    runs: tuple[Path, ...] = ()
    """Folders of runs, running or finished."""
    port: Annotated[int, Range(0, 65_535)] = aside(8090)
    """Where the page is, on this machine alone; 0 takes any free one."""
    browser: bool = aside(False)
    """Open the page in a browser."""


def watch(config: WatchConfig) -> str:
    """Watch runs of training live on one local page, side by side; Ctrl-C ends it.

    Example: codling watch runs/stdlib runs/app
    """
    if not config.runs:
        raise ConfigError("watch: name the folders of one run or more, for example runs/stdlib")
    for run in config.runs:
        check_run(run)
    server = make_server(config.runs, config.port)
    address = f"http://127.0.0.1:{server.server_port}/"
    say(
        f"watching {len(config.runs)} {'run' if len(config.runs) == 1 else 'runs'} at {address} "
        "(Ctrl-C ends it)"
    )
    if config.browser:
        webbrowser.open(address)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        return "no longer watching"
    finally:
        server.server_close()
    return ""


def check_run(run: Path) -> None:
    """ArtifactError if no training will ever be seen there: a folder of something else."""
    if find_metrics(run) or partial_of(run).exists():
        return
    if run.is_dir():
        inner = [path for path in run.iterdir() if path.is_dir()]
        begun = any((each / name).is_file() for each in inner for name in (MANIFEST, PLAN))
        if (begun and not (run / MANIFEST).is_file()) or not any(run.iterdir()):
            return  # the training of `grow` is still to come
    runs = sorted({path.parents[1] for path in run.glob("*/*/" + METRICS)}) if run.is_dir() else []
    cure = f"for example {runs[0]}" if runs else "name a folder that grow or a training writes"
    raise ArtifactError(f"no run at {run}; {cure}")


def make_server(runs: Sequence[Path], port: int) -> ThreadingHTTPServer:
    """A server of the page and of what the runs say; StorageError if the port is taken."""

    watched, lock = WatchedRuns(runs), Lock()

    def read() -> bytes:
        with lock:  # two pages may ask at once
            return json.dumps({"runs": watched.view()}).encode()

    pages: Pages = {
        "/": ("text/html; charset=utf-8", lambda: render_watch().encode()),
        "/runs.json": ("application/json", read),
    }
    try:
        return ThreadingHTTPServer((_LOCAL[0], port), partial(_WatchHandler, pages))
    except OSError as error:
        raise StorageError(
            f"cannot listen at 127.0.0.1:{port} ({error.strerror}); give another --port"
        ) from None


def render_watch() -> str:
    """The page; it holds no run's data."""
    folder = resources.files("codling.report")
    page, style, script = (
        folder.joinpath(name).read_text("utf-8") for name in ("watch.html", "page.css", "watch.js")
    )
    return page.replace("{{ style }}", style).replace("{{ script }}", script)


class _WatchHandler(BaseHTTPRequestHandler):
    def __init__(self, pages: Pages, *arguments: Any) -> None:  # noqa: ANN401  as the server gives
        self.pages = pages
        super().__init__(*arguments)

    def do_GET(self) -> None:
        """Answer with one of two pages; a request by another name of this machine is refused."""
        host = self.headers.get("Host", "").partition(":")[0]
        # A page elsewhere whose name was pointed at this machine would read the runs.
        if host not in _LOCAL:
            self.send_error(HTTPStatus.FORBIDDEN)
            return
        page = self.pages.get(self.path)
        if page is None:
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        kind, make = page
        body = make()
        self.send_response(HTTPStatus.OK)
        for name, value in (_HEADERS | {"Content-Type": kind}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing: the page asks every two seconds."""
