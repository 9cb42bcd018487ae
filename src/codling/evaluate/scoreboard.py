"""From judged samples to a report: pass@k or mean marks with intervals, per group, with every
failure's reason; or the scores that a benchmark's authors make of their judgments, per model.

Input: samples, settings. Output: report.json, report.md, report.html and outcomes.jsonl, which
hold no time, so that they are the same for two runs of the same thing: times are in the manifest.
Where a judge was asked, judgments.jsonl holds its judgments in the form that the authors publish.

Not here: running anything (harness.py).
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from codling.core.files import write_json, write_json_lines, write_text
from codling.evaluate.harness import Sample
from codling.evaluate.task import Scores
from codling.grading.pass_at_k import mean_score, mean_with_interval, share_score
from codling.report.heatmap import heat_map
from codling.report.page import render_page

KS = (1, 10, 100)


def summarise(  # noqa: PLR0913 - what a report holds
    samples: Sequence[Sample],
    settings: Mapping[str, Any],
    ks: Sequence[int] = KS,
    n_asked: int = 0,
    notes: Sequence[str] = (),
    models: Mapping[str, Scores] | None = None,
) -> dict[str, Any]:
    """The report as plain values; `n_asked` problems were there to be answered, `notes` is what a
    reader must know besides the scores, and `models` are a benchmark's own scores by model."""
    judged = [s for s in samples if s.status != "not run"]
    groups = sorted({s.problem.group for s in judged if s.problem.group})
    skipped = Counter(s.detail for s in samples if s.status == "not run")
    seed = int(settings.get("seed", 0))
    by_group = {g: _scores([s for s in judged if s.problem.group == g], seed, ks) for g in groups}
    whole = _scores(judged, seed, ks)
    if settings.get("mean_of_groups") and len(groups) > 1:
        whole = _mean_over(by_group) | {f"{name}, all": score for name, score in whole.items()}
    return {
        "settings": dict(settings),
        "n_problems": len({s.problem.id for s in judged}),
        "n_samples": len(judged),
        "n_unanswered": max(0, n_asked - len({s.problem.id for s in samples})),
        "notes": list(notes),
        "not_run": dict(sorted(skipped.items())),
        "scores": whole if models is None else _only_model(models),
        **({} if models is None else {"models": {name: dict(s) for name, s in models.items()}}),
        "groups": by_group,
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
            **({} if s.mark is None else {"mark": s.mark}),
        }
        for s in samples
    ]


def write_report(folder: Path, summary: Mapping[str, Any], samples: Sequence[Sample]) -> None:
    """Write the files of the report."""
    rows = outcome_rows(samples)
    write_json(folder / "report.json", summary)
    write_json_lines(folder / "outcomes.jsonl", rows)
    judgments = [judgment for sample in samples for judgment in sample.judgments]
    if judgments:
        write_json_lines(folder / "judgments.jsonl", judgments)
    write_text(folder / "report.md", to_markdown(summary))
    write_text(folder / "report.html", to_html(summary, rows))


def to_markdown(summary: Mapping[str, Any]) -> str:
    """The report as Markdown."""
    settings = summary["settings"]
    lines = [f"# {settings.get('benchmark', 'evaluation')}: {headline(summary)}", ""]
    tables = summary.get("models") or {"all": summary["scores"], **summary["groups"]}
    names = list(dict.fromkeys(name for scores in tables.values() for name in scores))
    lines += ["| | n | " + " | ".join(names) + " |"]
    lines += ["|---|---|" + "---|" * len(names)]
    for label, scores in tables.items():
        n = next(iter(scores.values()))["n"] if scores else 0
        cells = (_cell(scores[name]) if name in scores else "" for name in names)
        lines.append(f"| {label.replace('|', '/')} | {n} | " + " | ".join(cells) + " |")
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
    missing = summary["n_unanswered"]
    rest = f"; {missing} more have no answer" if missing else ""
    rest += "".join(f"; {note}" for note in summary["notes"])
    models = summary.get("models") or {}
    if len(models) > 1:
        return _best_models(models) + rest
    scores = summary["scores"]
    if not scores:
        reasons = _count_reasons(summary["not_run"] | summary["failures"])
        return "nothing could be judged" + (f": {reasons}" if reasons else "") + rest
    told = ", ".join(f"{name} {_cell(score)}" for name, score in scores.items())
    # Of judgments made elsewhere those count that have a verdict, which the score's own n says.
    n = f", n {next(iter(scores.values()))['n']}" if models else ""
    n = n or f" on {summary['n_problems']} problems"
    not_run = sum(summary["not_run"].values())
    left_out = f"; {not_run} not run: {_count_reasons(summary['not_run'])}" if not_run else ""
    return f"{told}{n}{left_out}{rest}"


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
    if any(sample.mark is not None for sample in samples):
        return {"mark": _mean_mark(samples, seed)}
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
    if any(sample.turns for sample in samples):
        n_first = sum(bool(s.turns) and s.turns[0].passed for s in samples)
        scores["passed at once"] = share_score(n_first, len(samples))
    return scores


def _mean_over(groups: Mapping[str, Mapping[str, Mapping[str, float]]]) -> dict[str, Any]:
    """The mean over groups of each score that all have, with half-widths combined."""
    first = next(iter(groups.values()))
    found = {}
    for name in (n for n in first if all(n in scores for scores in groups.values())):
        each = [scores[name] for scores in groups.values()]
        mean = sum(score["value"] for score in each) / len(each)
        half = sum(((s["high"] - s["low"]) / 2) ** 2 for s in each) ** 0.5 / len(each)
        values = {"value": mean, "low": max(0.0, mean - half), "high": min(1.0, mean + half)}
        found[name] = {n: round(v, 6) for n, v in values.items()} | {"n": sum(s["n"] for s in each)}
    return found


def _mean_mark(samples: Sequence[Sample], seed: int) -> dict[str, float]:
    """The mean over problems of their mean marks; an answer without a mark has 0."""
    marks: dict[str, list[float]] = defaultdict(list)
    for sample in samples:
        marks[sample.problem.id].append(sample.mark or 0.0)
    return mean_score([sum(each) / len(each) for each in marks.values()], seed=seed)


def _only_model(models: Mapping[str, Scores]) -> dict[str, Any]:
    return dict(next(iter(models.values()))) if len(models) == 1 else {}


def _best_models(models: Mapping[str, Scores]) -> str:
    """The first score of the three best of several models."""
    firsts = {name: next(iter(scores.items())) for name, scores in models.items() if scores}
    best = sorted(firsts, key=lambda name: firsts[name][1]["value"], reverse=True)
    told = "; ".join(f"{name} {firsts[name][0]} {_cell(firsts[name][1])}" for name in best[:3])
    return f"{len(models)} models: {told}" + ("; ..." if len(best) > 3 else "")


def _count_reasons(reasons: Mapping[str, int]) -> str:
    """The commonest reasons with their numbers, in a few words."""
    most = sorted(reasons.items(), key=lambda each: -each[1])
    told = ", ".join(f"{reason[:100]} ({n})" for reason, n in most[:3])
    return told + (", ..." if len(most) > 3 else "")


def _cell(score: Mapping[str, float]) -> str:
    scale = score.get("scale", 100)
    digits = 1 if scale == 100 else 4 if scale == 1 else 1
    value, low, high = (f"{scale * score[name]:.{digits}f}" for name in ("value", "low", "high"))
    return f"{value} ({low} to {high})"


def _reason(sample: Sample) -> str:
    kind = sample.detail.split(":")[0] if sample.status == "failed" else sample.status
    return kind[:80] or "failed"
