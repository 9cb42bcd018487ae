"""StackExchange's dumps as sources: Posts.xml, also as .gz or .zip, to questions with answers.

Input: a Posts.xml of any size. Output: threads, each a question with its accepted and its best
answers as Markdown, with score, licence and author of every post. The file is read twice as a
stream: posts are first split into buckets by their question, then each bucket is put together
in memory, so memory does not grow with the dump.

    CC BY-SA 2.5 before 8 April 2011, 3.0 before 2 May 2018, then 4.0, unless the post says so

Entities and document types are refused: dumps have none, and they can be used to fill the memory.
Not here: comments, votes, edits, and .7z archives.
"""

import gzip
import json
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any
from xml.parsers import expat

from codling.core.errors import SourceError
from codling.core.files import read_json_lines
from codling.core.foreign_files import open_regular
from codling.corpus.prose.html_markdown import to_markdown

QUESTION, ANSWER = "1", "2"
BUCKET_BYTES = 64_000_000
"""Bytes of the dump per bucket; packed dumps are taken to be five times larger than they are."""
MAX_BUCKETS = 500
"""All are open while posts are written to them."""
_BLOCK = 1 << 20
_KEPT = ("Id", "PostTypeId", "ParentId", "AcceptedAnswerId", "Score", "Title", "Body")
_ABOUT = ("CreationDate", "LastActivityDate", "ContentLicense", "OwnerUserId", "OwnerDisplayName")
_LICENSES = (("2011-04-08", "CC-BY-SA-2.5"), ("2018-05-02", "CC-BY-SA-3.0"))


@dataclass(frozen=True)
class Post:
    """A question or an answer."""

    id: int
    score: int
    license: str
    author: str
    """The author's number at the site, or name: CC BY-SA asks for it."""
    changed_at: int
    """Unix seconds of the creation or the last activity."""
    title: str
    body: str
    """As HTML."""
    is_accepted: bool = False


@dataclass(frozen=True)
class Thread:
    """A question and the answers that are kept, the accepted one first."""

    question: Post
    answers: tuple[Post, ...]

    @property
    def posts(self) -> tuple[Post, ...]:
        """All posts of the thread."""
        return (self.question, *self.answers)

    def markdown(self) -> str:
        """The thread as a page."""
        parts = [f"# {self.question.title}", to_markdown(self.question.body)]
        for answer in self.answers:
            heading = "## Accepted answer" if answer.is_accepted else "## Answer"
            parts += [heading, to_markdown(answer.body)]
        return "\n\n".join(part for part in parts if part) + "\n"


def is_posts(path: Path) -> bool:
    """Whether a file is a dump of posts, by its name.

    >>> [is_posts(Path(name)) for name in ("a/Posts.xml", "math-Posts.xml.gz", "x.xml")]
    [True, True, False]
    """
    name = path.name.lower()
    return name.endswith(("posts.xml", "posts.xml.gz", "posts.zip", "posts.xml.zip"))


def site_name(path: Path) -> str:
    """The site that a dump is of: the folder of a Posts.xml, else the file's own name."""
    stem = path.name[: path.name.lower().index("posts")].rstrip("-_.")
    return stem or path.absolute().parent.name or "stackexchange"


def n_buckets(path: Path) -> int:
    """Into how many buckets a dump is split."""
    packed = 1 if path.name.lower().endswith(".xml") else 5
    return min(MAX_BUCKETS, 1 + path.stat().st_size * packed // BUCKET_BYTES)


def split_into_buckets(path: Path, folder: Path) -> list[Path]:
    """Write the posts of a dump to files in `folder`, by question; returns the files.

    Raises SourceError for a file that is damaged, is no dump of posts, or declares entities.
    """
    paths = [folder / f"bucket-{i:05d}.jsonl" for i in range(n_buckets(path))]
    n_posts = 0
    with ExitStack() as stack:
        files = [stack.enter_context(p.open("w", encoding="utf-8")) for p in paths]
        for row in _rows(path):
            if row.get("PostTypeId") in (QUESTION, ANSWER) and row.get("Id", "").isdigit():
                question = row["Id"] if row["PostTypeId"] == QUESTION else row.get("ParentId", "")
                kept = {name: row[name] for name in (*_KEPT, *_ABOUT) if name in row}
                files[int(question or 0) % len(files)].write(json.dumps(kept) + "\n")
                n_posts += 1
    if n_posts == 0:
        raise SourceError(f"{path} holds no posts; give the Posts.xml of a StackExchange dump")
    return paths


def threads(bucket: Path, min_score: int, max_answers: int) -> Iterator[Thread]:
    """The threads of a bucket, by the number of their question.

    A question needs `min_score`, and an answer that is accepted or has `min_score` and more than 0.
    """
    questions: dict[int, dict[str, Any]] = {}
    answers: dict[int, list[Post]] = {}
    for row in read_json_lines(bucket):
        if row["PostTypeId"] == QUESTION:
            questions[int(row["Id"])] = row
        else:
            answers.setdefault(int(row.get("ParentId") or 0), []).append(_post(row, False))
    for number in sorted(questions):
        row = questions[number]
        question = _post(row, False)
        accepted = int(row.get("AcceptedAnswerId") or 0)
        kept = _best(answers.get(number, []), accepted, max(1, min_score), max_answers)
        if kept and question.score >= min_score:
            yield Thread(question, tuple(kept))


def _best(answers: Sequence[Post], accepted: int, min_score: int, limit: int) -> list[Post]:
    marked = [Post(**(vars(a) | {"is_accepted": a.id == accepted})) for a in answers]
    good = [a for a in marked if a.is_accepted or a.score >= min_score]
    return sorted(good, key=lambda a: (not a.is_accepted, -a.score, a.id))[:limit]


def _post(row: dict[str, str], is_accepted: bool) -> Post:
    created = row.get("CreationDate", "")
    stated = row.get("ContentLicense", "").replace(" ", "-")
    by_date = next((name for until, name in _LICENSES if created < until), "CC-BY-SA-4.0")
    return Post(
        id=int(row["Id"]),
        score=int(row.get("Score") or 0),
        license=stated or by_date,
        author=row.get("OwnerUserId") or row.get("OwnerDisplayName") or "",
        changed_at=_parse_date(row.get("LastActivityDate") or created),
        title=row.get("Title", ""),
        body=row.get("Body", ""),
        is_accepted=is_accepted,
    )


def _parse_date(date: str) -> int:
    try:
        return int(datetime.fromisoformat(date).replace(tzinfo=UTC).timestamp())
    except ValueError:
        return 0


def _rows(path: Path) -> Iterator[dict[str, str]]:
    """The attributes of the elements "row", read block by block."""
    found: list[dict[str, str]] = []
    parser = expat.ParserCreate()
    parser.StartElementHandler = lambda name, row: found.append(row) if name == "row" else None
    parser.StartDoctypeDeclHandler = lambda *_: _refuse(path)
    parser.EntityDeclHandler = lambda *_: _refuse(path)
    try:
        with _unpack(path) as file:
            while block := file.read(_BLOCK):
                parser.Parse(block)
                yield from found
                found.clear()
            parser.Parse(b"", True)
    except (expat.ExpatError, EOFError, gzip.BadGzipFile, zipfile.BadZipFile) as error:
        raise SourceError(f"{path} is damaged or no XML: {error}") from None
    yield from found


def _refuse(path: Path) -> None:
    raise SourceError(f"{path} declares a document type or entities, which no dump does; not read")


@contextmanager
def _unpack(path: Path) -> Iterator[IO[bytes]]:
    if path.suffix == ".gz":
        with open_regular(path) as packed:
            yield gzip.GzipFile(fileobj=packed)  # type: ignore[misc]
    elif path.suffix == ".zip":
        with open_regular(path) as packed, zipfile.ZipFile(packed) as archive:
            name = next((n for n in archive.namelist() if n.lower().endswith("posts.xml")), None)
            if name is None:
                raise SourceError(f"{path} holds no Posts.xml")
            with archive.open(name) as file:
                yield file
    else:
        with open_regular(path) as file:
            yield file
