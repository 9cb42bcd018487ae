"""From judged samples to a report: pass@k with intervals, per group, with every failure's reason.

Input: samples, settings. Output: report.json, report.md, report.html and outcomes.jsonl, which
hold no time, so that they are the same for two runs of the same thing: times are in the manifest.

Not here: running anything (harness.py).
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from codling.core.files import write_json, write_json_lines, write_text
from codling.evaluate.harness import Sample
from codling.grading.pass_at_k import mean_with_interval
from codling.report.heatmap import heat_map
from codling.report.page import render_page

KS = (1, 10, 100)


def summarise(
    samples: Sequence[Sample],
    settings: Mapping[str, Any],
    ks: Sequence[int] = KS,
    n_asked: int = 0,
    notes: Sequence[str] = (),
) -> dict[str, Any]:
    """The report as plain values; `n_asked` problems were there to be answered, and
    `notes` is what a reader must know besides the scores."""
    judged = [s for s in samples if s.status != "not run"]
    groups = sorted({s.problem.group for s in judged if s.problem.group})
    skipped = Counter(s.detail for s in samples if s.status == "not run")
    seed = int(settings.get("seed", 0))
    return {
        "settings": dict(settings),
        "n_problems": len({s.problem.id for s in judged}),
        "n_samples": len(judged),
        "n_unanswered": max(0, n_asked - len({s.problem.id for s in samples})),
        "notes": list(notes),
        "not_run": dict(sorted(skipped.items())),
        "scores": _scores(judged, seed, ks),
        "groups": {
            g: _scores([s for s in judged if s.problem.group == g], seed, ks) for g in groups
        },
        "outcomes": dict(Counter(s.status for s in judged).most_common()),
        "failures": dict(Counter(_reason(s) for s in judged if not s.passed).most_common(20)),
    }


def outcome_rows(samples: Sequence[Sample]) -> list[dict[str, Any]]:
    """One row per sample, without times."""
    return [
        {
            "problem": s.problem.id,
            "sample": s.index,
            "status": s.status,
            "detail": s.detail,
            "finish": s.generated.finish if s.generated else "",
            "answer": s.answer,
        }
        for s in samples
    ]


def write_report(folder: Path, summary: Mapping[str, Any], samples: Sequence[Sample]) -> None:
    """Write the files of the report."""
    rows = outcome_rows(samples)
    write_json(folder / "report.json", summary)
    write_json_lines(folder / "outcomes.jsonl", rows)
    write_text(folder / "report.md", to_markdown(summary))
    write_text(folder / "report.html", to_html(summary, rows))


def to_markdown(summary: Mapping[str, Any]) -> str:
    """The report as Markdown."""
    settings = summary["settings"]
    lines = [f"# {settings.get('benchmark', 'evaluation')}: {headline(summary)}", ""]
    lines += ["| | n | " + " | ".join(summary["scores"]) + " |"]
    lines += ["|---|---|" + "---|" * len(summary["scores"])]
    for name, scores in {"all": summary["scores"], **summary["groups"]}.items():
        n = next(iter(scores.values()))["n"] if scores else 0
        lines.append(f"| {name} | {n} | " + " | ".join(_cell(v) for v in scores.values()) + " |")
    lines += ["", "## Outcomes", ""]
    lines += [f"- {name}: {n}" for name, n in summary["outcomes"].items()]
    lines += [f"- not run, {name}: {n}" for name, n in summary["not_run"].items()]
    if summary["failures"]:
        lines += ["", "## Commonest reasons of failure", ""]
        lines += [f"- {n} x {name}" for name, n in summary["failures"].items()]
    lines += ["", "## Settings", ""]
    lines += [f"- {name}: {value!r}" for name, value in settings.items()]
    return "\n".join(lines) + "\n"


def headline(summary: Mapping[str, Any]) -> str:
    """One line: the scores with their intervals, and how much of the benchmark they are about."""
    if not summary["scores"]:
        return "nothing could be judged"
    scores = ", ".join(f"{name} {_cell(score)}" for name, score in summary["scores"].items())
    missing = summary["n_unanswered"]
    rest = f"; {missing} more have no answer" if missing else ""
    notes = "".join(f"; {note}" for note in summary["notes"])
    return f"{scores} on {summary['n_problems']} problems{rest}{notes}"


def to_html(summary: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> str:
    """The report as one self-contained page, with a line per sample."""
    return render_page(
        "codling.evaluate",
        "scoreboard.html",
        title=summary["settings"].get("benchmark", "evaluation"),
        text=to_markdown(summary),
        heat_map=Markup(heat_map(summary["groups"])),
        rows=rows,
    )


def _scores(samples: Sequence[Sample], seed: int, ks: Sequence[int]) -> dict[str, dict[str, float]]:
    if not samples:
        return {}
    counts: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for sample in samples:
        counts[sample.problem.id][0] += 1
        counts[sample.problem.id][1] += sample.passed
    pairs = [(n, passed) for n, passed in counts.values()]
    scores = {}
    for k in (k for k in sorted(set(ks)) if k <= min(n for n, _ in pairs)):
        mean, low, high = mean_with_interval(pairs, k, seed=seed)
        values = {"value": mean, "low": low, "high": high}
        scores[f"pass@{k}"] = {n: round(v, 6) for n, v in values.items()} | {"n": len(pairs)}
    return scores


def _cell(score: Mapping[str, float]) -> str:
    return f"{100 * score['value']:.1f} ({100 * score['low']:.1f} to {100 * score['high']:.1f})"


def _reason(sample: Sample) -> str:
    kind = sample.detail.split(":")[0] if sample.status == "failed" else sample.status
    return kind[:80] or "failed"
