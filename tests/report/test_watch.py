"""The live page: which trainings it finds, what it says of them, and whom it answers."""

import http.client
import json
from collections.abc import Iterator
from http.server import ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from codling.core.errors import ArtifactError, ConfigError, StorageError
from codling.report.watch import WatchConfig, check_run, make_server, render_watch, watch
from codling.report.watched import MAX_POINTS, WatchedRuns, find_metrics, thin


def write_rows(folder: Path, *rows: dict[str, Any]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "metrics.jsonl"
    with path.open("a") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
    return path


def row(step: int, **more: Any) -> dict[str, Any]:
    return {"step": step, "loss": 5.0 - step, "seconds": float(step), **more}


def test_trainings_are_found_in_a_run_and_by_their_own_name(tmp_path: Path) -> None:
    grown = write_rows(tmp_path / "app" / "checkpoint.partial", row(0))
    tuned = write_rows(tmp_path / "tuned.partial", row(0))
    assert find_metrics(tmp_path / "app") == [grown]
    assert find_metrics(tmp_path / "tuned") == [tuned]
    assert find_metrics(tmp_path / "nothing") == []


def test_the_folder_where_one_is_has_a_name_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_rows(tmp_path / "app.partial", row(0))
    (tmp_path / "app" / "inner").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "app")
    assert find_metrics(Path()) == [tmp_path / "app.partial" / "metrics.jsonl"]
    monkeypatch.chdir(tmp_path / "app" / "inner")
    assert find_metrics(Path("..")) == [tmp_path / "app.partial" / "metrics.jsonl"]
    assert find_metrics(Path("/")) == []


def test_a_folder_without_any_training_is_refused(tmp_path: Path) -> None:
    def write(name: str) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}")
        return path

    file, other = write("a.txt"), write("other/sub/b.txt").parents[1]
    tokens, begun = write("tokens/manifest.json").parent, write("begun/raw.partial/plan.json")
    write_rows(tmp_path / "many" / "app" / "checkpoint", row(0))
    for wrong in (file, other, tokens):
        with pytest.raises(ArtifactError, match="name a folder that grow or a training writes"):
            check_run(wrong)
    with pytest.raises(ArtifactError, match=r"no run at .*/many; for example .*/many/app$"):
        check_run(tmp_path / "many")
    (tmp_path / "empty").mkdir()
    for right in (begun.parents[1], tmp_path / "empty", tmp_path / "many" / "app"):
        check_run(right)


def test_of_rows_that_others_wrote_only_numbers_are_shown(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "a.partial", row(0))
    with path.open("a") as file:
        file.write('{"step": 1, "loss": NaN, "seconds": null, "n_steps": "many", "event": 3}\n')
        file.write('{"step": "2"}\n{"step": true}\n{"step": 2, "language_bits": [1], "mfu": {}}\n')
        file.write('{"step": 3, "loss": "low", "language_bits": {"Go": "x", "C": 1.0}}\n')
        file.write("[" * 100_000 + "\n" + '{"step": 4, "loss": Infinity, "grad_norm": 1e999}\n')
    (tmp_path / "a.partial" / "manifest.json").write_text('{"counts": {"headline": [], "x": 1}}')
    (view,) = WatchedRuns([tmp_path / "a"]).view()
    assert view["last"] == {"step": 4}
    assert view["series"]["loss"] == {"": [[0, 0.0, 5.0]]}
    assert view["languages"] == {"C": 1.0}
    json.dumps(view, allow_nan=False)


def test_of_a_training_that_is_made_again_the_growing_one_is_shown(tmp_path: Path) -> None:
    write_rows(tmp_path / "app" / "adapted", row(0))
    growing = write_rows(tmp_path / "app" / "adapted.partial", row(0))
    assert find_metrics(tmp_path / "app") == [growing]


def test_rows_are_read_on_and_a_resumed_run_is_read_anew(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "a.partial", row(0), row(1))
    runs = WatchedRuns([tmp_path / "a"])
    assert runs.view()[0]["last"]["step"] == 1
    write_rows(tmp_path / "a.partial", row(2, heldout_loss=2.5, language_bits={"Go": 1.5}))
    with path.open("a") as file:
        file.write('{"step": 3, "loss')  # still being written
    (view,) = runs.view()
    assert (view["last"]["step"], view["heldout"], view["languages"]) == (2, 2.5, {"Go": 1.5})
    assert view["series"]["loss"] == {"": [[0, 0.0, 5.0], [1, 1.0, 4.0], [2, 2.0, 3.0]]}
    assert view["series"]["language_bits"] == {"Go": [[2, 2.0, 1.5]]}
    again = path.with_name("again")
    again.write_text(json.dumps(row(0)) + "\n")
    again.replace(path)
    assert runs.view()[0]["last"]["step"] == 0


@pytest.mark.parametrize(("later", "state"), [(30.0, "running"), (90.0, "stopped")])
def test_a_run_that_writes_nothing_has_stopped(tmp_path: Path, later: float, state: str) -> None:
    path = write_rows(tmp_path / "a.partial", row(0), row(1))
    runs = WatchedRuns([tmp_path / "a"], clock=lambda: path.stat().st_mtime + later)
    assert runs.view()[0]["state"].startswith(state)


def test_a_finished_run_shows_its_first_line_and_events(tmp_path: Path) -> None:
    write_rows(tmp_path / "a", row(0), row(1, event="spike"))
    manifest = {"counts": {"n_steps": 2, "headline": "Hardly trained"}}
    (tmp_path / "a" / "manifest.json").write_text(json.dumps(manifest))
    (view,) = WatchedRuns([tmp_path / "a"]).view()
    assert (view["state"], view["n_steps"], view["note"]) == ("finished", 2, "Hardly trained")
    assert view["events"] == ["step 1: spike"]


def test_a_long_line_keeps_its_last_point() -> None:
    points = thin([[i, i, i] for i in range(1001)])
    assert len(points) <= MAX_POINTS
    assert points[-1] == [1000, 1000, 1000]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ThreadingHTTPServer]:
    write_rows(tmp_path / "a.partial", row(0, waiting_share=0.5))
    server = make_server([tmp_path / "a"], 0)
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def ask(server: ThreadingHTTPServer, path: str, host: str = "127.0.0.1") -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port)
    connection.request("GET", path, headers={"Host": host})
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    return answer.status, text


def test_the_page_and_its_numbers_are_served_to_this_machine_alone(
    server: ThreadingHTTPServer,
) -> None:
    assert ask(server, "/") == (200, render_watch())
    status, text = ask(server, "/runs.json", f"localhost:{server.server_port}")
    assert status == 200
    assert json.loads(text)["runs"][0]["last"]["waiting_share"] == 0.5
    assert ask(server, "/runs.json", "evil.example")[0] == 403
    assert ask(server, "/../metrics.jsonl")[0] == 404


def test_the_page_fetches_nothing_from_elsewhere_and_knows_the_dark() -> None:
    page = render_watch()
    assert "{{" not in page
    assert "prefers-color-scheme: dark" in page
    assert [w for w in page.split('"') if w.startswith(("http:", "https:", "//"))] == [
        "http://www.w3.org/2000/svg"
    ]


def test_a_taken_port_and_a_run_that_is_not_there_are_named(
    server: ThreadingHTTPServer, tmp_path: Path
) -> None:
    with pytest.raises(StorageError, match=r"127\.0\.0\.1:\d+ .* give another --port"):
        make_server([tmp_path], server.server_port)
    with pytest.raises(ArtifactError, match=r"no run at .*/nowhere"):
        watch(WatchConfig(runs=(tmp_path / "nowhere",)))
    with pytest.raises(ConfigError, match="name the folders"):
        watch(WatchConfig())
