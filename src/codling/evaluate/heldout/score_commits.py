"""The stage `score-commits`: does it help on what was committed after everything that was learned?

Input: a repository and a base model; a model tuned on the tree at the cut, if there is one. Output:
an artefact of kind "commit-scores": scores.json, answers.jsonl (every question with every arm's
answer) and the page before-after.html.

A memory or a tuned model whose lineage has read later commits is refused. Interrupted, it goes on
with the answers that are there.

Not here: the questions (commits.py), the arms (arms.py), the numbers (table.py), the page
(report/before_after.py).
"""

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np

from codling.checkpoint.adapter import adapter_input, check_base, is_adapter_at
from codling.checkpoint.hub import local_path
from codling.checkpoint.verify import model_input
from codling.core.artifact import Artifact, Draft, Input, open_artifact
from codling.core.errors import ConfigError
from codling.core.files import (
    escape_bytes,
    write_json,
    write_json_lines,
    write_text,
)
from codling.core.inputs import source_input
from codling.core.lineage import walk
from codling.core.log import Bar, say
from codling.core.ranges import Context, Count, CountFromZero, Range, Ranged, Seed, Share
from codling.core.recipe import aside
from codling.core.shards import read_rows
from codling.core.stage import Work, stage
from codling.corpus.config import CollectConfig
from codling.corpus.context import SnapshotContext
from codling.corpus.redaction.redact import RedactConfig, redact, redact_parts
from codling.corpus.sources.commits import Commits, Cut, open_blobs, open_commits
from codling.corpus.sources_to_documents import make_documents
from codling.engine.config import Precision
from codling.engine.memory.recall import Recall
from codling.engine.memory.repository import Memory, fingerprint
from codling.engine.remember import MemoryConfig, memory
from codling.engine.text import TextEngine
from codling.evaluate.heldout.arms import (
    Arm,
    ArmAnswer,
    TruthScore,
    answer,
    answer_memory,
    answer_ngram,
    build_prompt,
    chosen_arms,
    score_truth,
    score_truth_ngram,
)
from codling.evaluate.heldout.commit_verdict import ENOUGH_PLACES
from codling.evaluate.heldout.commits import CommitQuestion, CommitQuestions, ask
from codling.evaluate.heldout.forgetting import (
    foreign_bits,
    forgetting_text,
    read_foreign_texts,
)
from codling.evaluate.heldout.insertion import edit_similarity
from codling.evaluate.heldout.left_out import MAX_FILE_BYTES
from codling.evaluate.heldout.ngram import NgramModel
from codling.evaluate.heldout.table import commit_table, day_of
from codling.evaluate.rows import Rows
from codling.report.before_after import before_after_page

SHOWN_CHARS = 600
"""How much before and after the cursor answers.jsonl keeps for people to read."""
_NGRAM_TOKENS = 4_000_000


@dataclass(frozen=True, kw_only=True)
class ScoreCommitsConfig(Ranged):
    """Settings of `codling score-commits`."""

    repo: Path = aside()
    """Git repository whose later commits are asked about."""
    model: Path = aside()
    """The base: a checkpoint's folder or a .gguf file."""
    tuned: Path | None = aside(None)
    """A checkpoint, or an adapter of the base, that was trained on the tree at the cut."""
    memory: Path | None = aside(None)
    """Memory of the tree at the cut; by default it is made beside the output."""
    documents_dir: Path | None = aside(None)
    """Documents of the tree at the cut; by default they are made beside the output."""
    out_dir: Path = aside()
    """Folder of the scores."""
    own: bool = False
    """The code is yours: files without any licence are remembered too."""
    at: str | None = None
    """The commit whose tree was learned from; by default as for heldout_by commits."""
    arms: Literal["few", "all"] = "few"
    """All: also the memory alone, the base with memory, and the tuned model alone."""
    n_places: Count = 300
    """Places that are asked about at most; 5 of a commit, 2 of a file."""
    block_share: Share = 0.25
    """Share of the places where a block of 2 to 8 lines is asked, if one begins there."""
    max_length: Context = 1024
    """Tokens of prompt and answer together."""
    fit_tokens: CountFromZero = 8000
    """Tokens of the tree that the memory's weights are fitted on; 0 takes the default weights."""
    ngram_order: Annotated[int, Range(1, 64)] = 6
    """Longest n-gram of the baseline."""
    cutoff: str | None = None
    """Day up to which the base has read public code: older and newer places are counted apart."""
    foreign: Path | None = None
    """Folder or repository of other code, on which forgetting is measured; by default modules of
    Python's standard library."""
    foreign_tokens: CountFromZero = 8000
    """Tokens of that code that are scored; 0 leaves it out."""
    precision: Precision = "bfloat16"
    """How the models' weights are held."""
    seed: Seed = 0
    """Seed of the choice of places."""

    def __post_init__(self) -> None:
        """Raise ConfigError for a setting that cannot work."""
        super().__post_init__()
        if self.cutoff is not None:
            day_of(self.cutoff)


@stage("commit-scores", version=3)
def score_commits(config: ScoreCommitsConfig) -> Work:
    """Ask about lines that later commits added: base, with context, memory and tuning, one table.

    Example:
        codling score-commits ~/src/app --own --model base.gguf --out-dir runs/app/commit-scores
    """
    with open_commits(config.repo) as commits:
        cut = commits.cut(config.at)
        given = list(_check_inputs(config, commits, cut))
        identity = hashlib.sha256(f"{cut.commit} {cut.head}".encode()).hexdigest()[:16]
        draft = yield [source_input(config.repo, identity), *given]
        asked = _ask_questions(commits, cut, config)
        _work(draft, config, asked, SnapshotContext(_tree(commits, cut)))


def foresee_questions(config: ScoreCommitsConfig) -> str:
    """What will be asked, in words, before anything is trained.

    Raises ConfigError if nothing can be; SourceError for a history that cannot be cut.
    """
    with open_commits(config.repo) as commits:
        asked = _ask_questions(commits, commits.cut(config.at), config)
    few = "" if len(asked.questions) >= ENOUGH_PLACES else f" ({ENOUGH_PLACES} would tell more)"
    return (
        f"{config.repo}: {len(asked.questions)} places of {asked.n_commits} later commits will be "
        f"asked{few}"
    )


def _ask_questions(commits: Commits, cut: Cut, config: ScoreCommitsConfig) -> CommitQuestions:
    asked = ask(commits, cut, config.n_places, config.block_share, config.seed)
    if not asked.questions:
        raise ConfigError(
            f"the {cut.n_later} later commits of {config.repo} added no line of code that can be "
            "asked about; name an earlier cut with --at"
        )
    return asked


def _work(
    draft: Draft, config: ScoreCommitsConfig, asked: CommitQuestions, context: SnapshotContext
) -> None:
    arms = chosen_arms(config.arms, has_tuned=config.tuned is not None)
    done = Rows(draft.inner("answers").path / "by-key.jsonl")
    documents, remembered = _documents(config, asked.cut), config.memory
    forgetting: dict[str, float] = {}
    can_insert = {}
    for who, path in (("base", config.model), ("tuned", config.tuned)):
        own = [a for a in arms if a.who == who or (who == "base" and a.who in ("ngram", "nobody"))]
        if path is None or not own:
            continue
        with closing(_open_engine(path, config)) as engine:
            can_insert[who] = engine.can_insert
            remembered = _memory(config, who, documents, engine, remembered)
            known = Memory.open(remembered, engine.tokenizer)
            _Examiner(config, engine, known, documents, context).run(own, asked, done)
            if config.foreign_tokens and config.tuned is not None:
                texts = read_foreign_texts(config.foreign, _foreign_path(config))
                forgetting[who] = foreign_bits(engine, texts, config.foreign_tokens)
    found = {
        (arm.name, i): done[_key(arm, i, "answer")] | done[_key(arm, i, "bits")]
        for arm in arms
        for i in range(len(asked.questions))
    }
    scores = commit_table(asked, arms, found, config.seed, config.cutoff)
    scores |= {"asked_with": "fim" if can_insert["base"] else "prefix only"}
    scores |= {"forgetting": forgetting or None, "model": config.model.name}
    if forgetting:
        scores["verdict"]["text"] += f" {forgetting_text(forgetting)}"
    rows = [_row(q, i, arms, found) for i, q in enumerate(asked.questions)]
    write_json(draft.file("scores.json"), scores)
    write_json_lines(draft.file("answers.jsonl"), rows)
    write_text(draft.file("before-after.html"), before_after_page(scores, rows))
    draft.counts |= {"places": len(rows), "commits": asked.n_commits}
    draft.counts |= {"learned_at": asked.cut.commit, "headline": scores["verdict"]["text"]}


class _Examiner:
    """Asks all questions of some arms of one model."""

    def __init__(
        self,
        config: ScoreCommitsConfig,
        engine: TextEngine,
        known: Memory,
        documents: Artifact,
        context: SnapshotContext,
    ) -> None:
        self._engine, self._known, self._context = engine, known, context
        self._alone = SnapshotContext({})
        self._documents, self._order = documents, config.ngram_order
        self._ngram: NgramModel | None = None

    def run(self, arms: list[Arm], asked: CommitQuestions, done: Rows) -> None:
        """Answers arm by arm, so that no arm benefits from prompts that another left in the cache;
        then the scores of the truths, one pass of the model for all arms of one prompt."""
        total = len(arms) * len(asked.questions)
        with Bar("answers", total, unit="questions") as bar:
            for arm in arms:
                for number, question in enumerate(asked.questions):
                    if (key := _key(arm, number, "answer")) not in done:
                        said = self._answer(arm, question)
                        sure = round(said.mean_logprob, 4)
                        done.add(key, answer=said.text, ms=round(said.ms, 2), sure=sure)
                    bar.advance(1)
        with Bar("bits", len(asked.questions), unit="questions") as bar:
            for number, question in enumerate(asked.questions):
                missing = [a for a in arms if _key(a, number, "bits") not in done]
                for arm, scored in self._score_truths(missing, question):
                    done.add(_key(arm, number, "bits"), **asdict(scored))
                bar.advance(1)

    def _answer(self, arm: Arm, question: CommitQuestion) -> ArmAnswer:
        engine = self._engine
        prompt = build_prompt(engine, self._context if arm.context else self._alone, question)
        if arm.who == "ngram":
            return answer_ngram(self._ngram_model(), engine.tokenizer, prompt, question)
        if arm.who == "nobody":
            return answer_memory(self._known, engine, prompt, question)
        return answer(engine, self._known if arm.memory else None, prompt, question)

    def _score_truths(
        self, arms: list[Arm], question: CommitQuestion
    ) -> Iterator[tuple[Arm, TruthScore]]:
        engine, tokenizer = self._engine, self._engine.tokenizer
        for with_context in (False, True):
            same = [arm for arm in arms if arm.context == with_context]
            if not same:
                continue
            prompt = build_prompt(engine, self._context if with_context else self._alone, question)
            n = len(prompt.truth_ids)
            nothing_NV = np.zeros((n, engine.config.vocab_size), np.float32)
            rows_NV = nothing_NV
            if any(arm.who in ("base", "tuned") for arm in same):
                rows_NV = engine.logits([*prompt.ids, *prompt.truth_ids], len(prompt.ids)).numpy()
            for arm in same:
                if arm.who == "ngram":
                    yield arm, score_truth_ngram(self._ngram_model(), tokenizer, prompt, question)
                    continue
                recall = Recall(self._known, prompt.ids, n) if arm.memory else None
                rows = nothing_NV if arm.who == "nobody" else rows_NV
                yield arm, score_truth(rows, engine, prompt, recall)

    def _ngram_model(self) -> NgramModel:
        if self._ngram is None:
            tokenizer = self._engine.tokenizer
            texts = (r["content"] for r in read_rows(self._documents, "documents", ["content"]))
            ids = [i for text in texts for i in tokenizer.encode(text)][:_NGRAM_TOKENS]
            self._ngram = NgramModel(np.array(ids), tokenizer.vocab_size, self._order)
        return self._ngram


def _key(arm: Arm, number: int, what: Literal["answer", "bits"]) -> str:
    """The key of a result for one arm and question in the file of answers."""
    return f"{arm.name} {number} {what}"


def _open_engine(path: Path, config: ScoreCommitsConfig) -> TextEngine:
    """The engine of the base or of the tuned model, which may be an adapter of the base."""
    is_adapter = path == config.tuned and is_adapter_at(path)
    return TextEngine.open(
        config.model if is_adapter else path,
        precision=config.precision,
        max_streams=1,
        max_length=config.max_length,
        adapter=path if is_adapter else None,
    )


def _check_inputs(
    config: ScoreCommitsConfig, commits: Commits, cut: Cut
) -> Iterator[Artifact | Input]:
    """The models and the memory as inputs, checked for what they have read."""
    if config.tuned is not None and is_adapter_at(config.tuned):
        check_base(config.tuned, local_path(config.model))
    for path in (config.model, config.tuned):
        if path is None:
            continue
        given = adapter_input(path) if is_adapter_at(path) else model_input(local_path(path))
        if isinstance(given, Artifact):
            _refuse_later(given, commits, cut)
        yield given
    for folder, kind in ((config.memory, "memory"), (config.documents_dir, "documents")):
        if folder is not None:
            artifact = open_artifact(folder, kind)
            _refuse_later(artifact, commits, cut)
            yield artifact


def _refuse_later(artifact: Artifact, commits: Commits, cut: Cut) -> None:
    """ConfigError where the artefact was made from more than the tree at the cut."""
    for ancestor in walk(artifact):
        if ancestor.artifact is None or ancestor.artifact.kind != "raw":
            continue
        raw = ancestor.artifact
        where = str(commits.git.where.absolute())
        learned = [c for c in raw.counts.get("learned_at", {}).values() if commits.has(c)]
        sources = [e.path for e in raw.manifest.inputs if e.kind == "source"]
        if any(not commits.is_before(c, cut) for c in learned) or (
            not learned and any(Path(each).resolve() == Path(where).resolve() for each in sources)
        ):
            raise ConfigError(
                f"{artifact.path} has read later commits than {cut.commit[:12]}, the answers "
                "to the questions; make it from documents of --heldout-by commits"
            )


def _documents(config: ScoreCommitsConfig, cut: Cut) -> Artifact:
    """The documents of the tree at the cut."""
    if config.documents_dir is not None:
        return open_artifact(config.documents_dir, "documents")
    beside = _memory_path(config)
    return make_documents(
        CollectConfig(
            sources=(config.repo,),
            out_dir=beside / "raw",
            own=config.own,
            heldout_by="commits",
            at=cut.commit,
            heldout_fraction=0.0,
        )
    )


def _memory(
    config: ScoreCommitsConfig,
    who: str,
    documents: Artifact,
    engine: TextEngine,
    at_hand: Path | None,
) -> Path:
    """The memory of the documents in the model's tokens: the given one, or its own."""
    if at_hand is not None:
        if open_artifact(at_hand, "memory").counts["tokenizer"] == fingerprint(engine.tokenizer):
            return at_hand
        say(f"{at_hand} is in other tokens than those of {engine.name}, which gets its own")
    own = config.model if who == "base" or config.tuned is None else config.tuned
    name = "memory" if who == "base" else "memory-tuned"
    made = memory(
        MemoryConfig(
            path=documents.path,
            own=config.own,
            model=own,
            out_dir=_memory_path(config) / name,
            fit_tokens=config.fit_tokens,
            precision=config.precision,
            seed=config.seed,
        )
    )
    return made.path


def _memory_path(config: ScoreCommitsConfig) -> Path:
    return config.out_dir.absolute().with_name(config.out_dir.name + ".at-cut")


def _foreign_path(config: ScoreCommitsConfig) -> Path:
    return config.out_dir.absolute().with_name(config.out_dir.name + ".foreign")


def _tree(commits: Commits, cut: Cut) -> Mapping[str, str]:
    """The texts of the tree at the cut."""
    texts = {}
    with open_blobs(commits.git, MAX_FILE_BYTES) as blobs:
        for path, each in commits.git.list_commit(cut.commit, sizes=False).items():
            data = blobs.read(each.object_id) if each.mode.startswith("100") else None
            if data:
                texts[escape_bytes(path)] = data.decode("utf-8", "replace")
    return texts


def _row(
    question: CommitQuestion, number: int, arms: list[Arm], found: Mapping[Any, Mapping[str, Any]]
) -> dict[str, Any]:
    """A question and its answers for people to read, without secrets and addresses; the model was
    asked with the text as it is."""
    said = [(arm.name, found[arm.name, number]["answer"]) for arm in arms]
    prefix, truth, suffix = _redact_inside(question, question.truth)
    return {
        "commit": question.commit,
        "second": question.second,
        "path": redact(question.path, RedactConfig())[0],
        "language": question.language,
        "line_number": question.line_number,
        "n_lines": question.n_lines,
        "prefix": prefix[-SHOWN_CHARS:],
        "truth": truth,
        "suffix": suffix[:SHOWN_CHARS],
        "answers": {name: _redact_inside(question, text)[1] for name, text in said},
        "similarity": {name: round(edit_similarity(question.truth, t), 4) for name, t in said},
        "bits": {arm.name: round(found[arm.name, number]["bits"], 3) for arm in arms},
    }


def _redact_inside(question: CommitQuestion, text: str) -> list[str]:
    """What stands before the question, `text`, and what stands after it."""
    return redact_parts((question.prefix, text, question.suffix), RedactConfig())[0]
