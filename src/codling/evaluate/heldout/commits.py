"""Questions from later commits: lines that were typed after everything that was learned.

Input: a repository and a cut. Output: questions in the state in which a line was typed: before the
cursor the file as the commit left it, after it the file as the commit found it, from the end of the
changed lines on. Single lines, and blocks of 2 to 8.

    n_places at most, 5 of a commit and 2 of a file in it, spread over the commits, by seed

Not here: what is left out and why (left_out.py), asking (arms.py), and held-out files
(insertion.py).
"""

import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from itertools import chain, zip_longest
from typing import NamedTuple

from codling.core.languages.table import LANGUAGES
from codling.corpus.sources.commits import Blobs, Change, Commit, Commits, Cut, open_blobs
from codling.corpus.sources.git import LINK
from codling.evaluate.heldout.left_out import (
    COPIES,
    MAX_FILE_BYTES,
    change_reason,
    code_language,
    commit_reason,
    line_reason,
    text_reason,
    without_blanks,
    without_numbers,
    without_style,
)

PER_COMMIT = 5
PER_FILE = 2
MAX_BLOCK = 8
MAX_COMMITS = 2000
"""The most later commits that are read, evenly spread."""
_MAX_COMPARED = 2_000_000
"""Pairs of equal lines, one before and one after: with more of them texts are not compared."""


@dataclass(frozen=True, kw_only=True)
class CommitQuestion:
    """One place where something was typed."""

    commit: str
    second: int
    """Commit time, in Unix seconds."""
    path: str
    language: str
    line_number: int
    """Of the first hidden line in the file as the commit left it, from 1."""
    n_lines: int
    prefix: str
    """The file up to the cursor, the line's indentation included."""
    truth: str
    """What was typed, without the first line's indentation and without blanks at the end."""
    suffix: str
    """The text after the changed lines before they were typed, from the line break on."""


@dataclass
class CommitQuestions:
    """The questions of a history, and what was left out."""

    cut: Cut
    questions: list[CommitQuestion] = field(default_factory=list)
    left_out: dict[str, Counter[str]] = field(
        default_factory=lambda: {"commits": Counter(), "files": Counter(), "lines": Counter()}
    )

    @property
    def n_commits(self) -> int:
        """Commits that gave a question."""
        return len({q.commit for q in self.questions})


class Hunk(NamedTuple):
    """Lines old[old_start:old_end] became new[new_start:new_end]."""

    old_start: int
    old_end: int
    new_start: int
    new_end: int


def ask(
    commits: Commits, cut: Cut, n_places: int, block_share: float, seed: int
) -> CommitQuestions:
    """Up to `n_places` questions of the commits after a cut, `block_share` of them blocks."""
    asked = CommitQuestions(cut)
    asked.left_out["commits"]["merge"] = cut.n_merges
    later = _spread(list(commits.later(cut)), asked.left_out["commits"])
    with open_blobs(commits.git, MAX_FILE_BYTES) as blobs:
        found = [list(_places_of(commit, blobs, asked)) for commit in later]
        keys = {place.key for place in chain.from_iterable(found)}
        known = _keys_in_tree(commits, cut, blobs, keys)
    rng = random.Random(seed)
    chosen = [_choose(_keep_fresh(places, known, asked.left_out["lines"]), rng) for places in found]
    rng.shuffle(chosen)
    taken: set[str] = set()
    for place in chain.from_iterable(zip_longest(*chosen)):
        if place is None or len(asked.questions) == n_places:
            continue
        if place.key in taken:
            asked.left_out["lines"]["asked-already"] += 1
            continue
        taken.add(place.key)
        is_block = rng.random() < block_share
        asked.questions.append(place.question(known if is_block else None))
    return asked


def changed_lines(old: Sequence[str], new: Sequence[str]) -> list[Hunk] | None:
    """Where `new` has other lines than `old`, in order; None where it would take too long.

    >>> changed_lines(["a", "b", "c"], ["a", "x", "y", "c"])
    [Hunk(old_start=1, old_end=2, new_start=1, new_end=3)]
    """
    shorter = min(len(old), len(new))
    start = next((i for i in range(shorter) if old[i] != new[i]), shorter)
    rest = shorter - start
    end = next((i for i in range(rest) if old[-1 - i] != new[-1 - i]), rest)
    before, after = old[start : len(old) - end], new[start : len(new) - end]
    n_before, n_after = Counter(before), Counter(after)
    if sum(n * n_after[line] for line, n in n_before.items()) > _MAX_COMPARED:
        return None
    codes = SequenceMatcher(None, before, after, autojunk=False).get_opcodes()
    return [Hunk(*(start + i for i in places)) for kind, *places in codes if kind != "equal"]


def _spread(later: list[Commit], left_out: Counter[str]) -> list[Commit]:
    """At most MAX_COMMITS of the commits that are fair."""
    fair = []
    for commit in later:
        if reason := commit_reason(commit):
            left_out[reason] += 1
        else:
            fair.append(commit)
    if len(fair) > MAX_COMMITS:
        left_out["not-read"] = len(fair) - MAX_COMMITS
        fair = [fair[i * len(fair) // MAX_COMMITS] for i in range(MAX_COMMITS)]
    return fair


def _places_of(commit: Commit, blobs: Blobs, asked: CommitQuestions) -> Iterator["_AskableLine"]:
    """All lines of a commit that are fair as far as the commit itself shows."""
    edits = list(_edits(commit, blobs, asked.left_out["files"]))
    removed: set[str] = set()
    for edit in edits:
        for hunk in edit.hunks:
            removed.update(map(without_blanks, edit.old[hunk.old_start : hunk.old_end]))
    for edit in edits:
        yield from edit.places(commit, removed, asked.left_out["lines"])


def _edits(commit: Commit, blobs: Blobs, left_out: Counter[str]) -> Iterator["_LineEdit"]:
    for change in commit.changes:
        found = _edit(change, blobs)
        if isinstance(found, str):
            left_out[found] += 1
        else:
            yield found


def _edit(change: Change, blobs: Blobs) -> "_LineEdit | str":
    """A changed file before and after, or why it is left out."""
    if reason := change_reason(change):
        return reason
    is_new = change.status == "A"
    before = b"" if is_new else blobs.read(change.old_id)
    after = blobs.read(change.new_id)
    if before is None or after is None:
        return "unreadable"
    old, new = _decode(before), _decode(after)
    if old is None or new is None:
        return "not-text"
    if reason := text_reason(change.path, old, new):
        return reason
    old_lines, new_lines = old.split("\n"), new.split("\n")
    hunks = changed_lines([] if is_new else old_lines, new_lines)
    if hunks is None:
        return "too-large"
    return _LineEdit(
        change.path, code_language(change.path, new) or "", old_lines, new_lines, hunks
    )


@dataclass(frozen=True)
class _LineEdit:
    """A file that a commit changed, in lines."""

    path: str
    language: str
    old: list[str]
    new: list[str]
    hunks: list[Hunk]
    copies: set[int] = field(default_factory=set)
    """Indices of new lines that were elsewhere before: no block continues over one."""

    def places(
        self, commit: Commit, removed: set[str], left_out: Counter[str]
    ) -> Iterator["_AskableLine"]:
        """The lines that are fair; `removed`: the keys of all that the commit took away."""
        keys = [without_blanks(line) for line in self.new]
        first = {key: at for at, key in reversed(list(enumerate(keys)))}
        numbered = set(map(without_numbers, removed))
        added = Counter(k for h in self.hunks for k in keys[h.new_start : h.new_end])
        kept = {k for k, n in Counter(keys).items() if n > added[k]}
        kept.update(map(without_blanks, self.old))
        for hunk in self.hunks:
            was = without_style("".join(self.old[hunk.old_start : hunk.old_end]))
            for at in range(hunk.new_start, hunk.new_end):
                reason = line_reason(self.new[at].strip(), LANGUAGES[self.language].line_comment)
                if reason is None and without_style(self.new[at]) in was:
                    reason = "reformatted"
                elif reason is None and keys[at] in removed:
                    reason = "moved"
                elif reason is None and without_numbers(keys[at]) in numbered:
                    reason = "renumbered"
                elif reason is None and (keys[at] in kept or first[keys[at]] < at):
                    reason = "in-file"
                if reason:
                    left_out[reason] += 1
                    if reason in COPIES:
                        self.copies.add(at)
                else:
                    yield _AskableLine(commit, self, hunk, at, keys[at])


@dataclass(frozen=True)
class _AskableLine:
    """A line that could be asked."""

    commit: Commit
    edit: _LineEdit
    hunk: Hunk
    at: int
    key: str

    def question(self, known: set[str] | None) -> CommitQuestion:
        """The question about the line or, given the keys in the tree, about the block it begins."""
        new, old = self.edit.new, self.edit.old
        line = new[self.at]
        width = len(line) - len(line.lstrip())
        n = 1 if known is None else block_length(new[self.at : self._end_of_new_lines(known)])
        return CommitQuestion(
            commit=self.commit.id,
            second=self.commit.second,
            path=self.edit.path,
            language=self.edit.language,
            line_number=self.at + 1,
            n_lines=n,
            prefix="".join(f"{each}\n" for each in new[: self.at]) + line[:width],
            truth="\n".join(new[self.at : self.at + n])[width:].rstrip(),
            suffix="".join(f"\n{each}" for each in old[self.hunk.old_end :]),
        )

    def _end_of_new_lines(self, known: set[str]) -> int:
        """The first line after this one that existed before, or the end of the hunk."""
        for at in range(self.at + 1, min(self.hunk.new_end, self.at + MAX_BLOCK)):
            if at in self.edit.copies or without_blanks(self.edit.new[at]) in known:
                return at
        return self.hunk.new_end


def block_length(lines: Sequence[str]) -> int:
    """How many of the lines belong to the first: no blank one, none indented less, at most 8.

    >>> block_length(["  if a:", "    b()", "  c()", "d()"])
    3
    """
    width = len(lines[0]) - len(lines[0].lstrip())
    for n, line in enumerate(lines[:MAX_BLOCK]):
        if not line.strip() or len(line) - len(line.lstrip()) < width:
            return n
    return min(len(lines), MAX_BLOCK)


def _decode(data: bytes) -> str | None:
    try:
        return None if b"\0" in data else data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return None


def _keys_in_tree(commits: Commits, cut: Cut, blobs: Blobs, keys: set[str]) -> set[str]:
    """Those of the keys that some line of the tree at the cut has."""
    found: set[str] = set()
    for each in commits.git.list_commit(cut.commit, sizes=False).values():
        data = None if each.mode == LINK else blobs.read(each.object_id)
        text = _decode(data) if data else None
        if text:
            found |= keys.intersection(map(without_blanks, text.split("\n")))
    return found


def _keep_fresh(
    places: Iterable[_AskableLine], known: set[str], left_out: Counter[str]
) -> list[_AskableLine]:
    fresh = [place for place in places if place.key not in known]
    left_out["in-tree"] += sum(1 for place in places if place.key in known)
    return fresh


def _choose(places: Sequence[_AskableLine], rng: random.Random) -> list[_AskableLine]:
    """PER_COMMIT places of one commit, PER_FILE of each of its files."""
    files: dict[str, list[_AskableLine]] = defaultdict(list)
    for place in places:
        files[place.edit.path].append(place)
    pools = [rng.sample(pool, min(PER_FILE, len(pool))) for pool in files.values()]
    rng.shuffle(pools)
    rounds = (place for each in zip_longest(*pools) for place in each if place is not None)
    return list(rounds)[:PER_COMMIT]
