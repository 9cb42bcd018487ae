"""corpus/prose/prose: StackExchange, Markdown and Chinese text become documents for the mixture."""

import gzip
import json
import zipfile
from pathlib import Path
from typing import Any
from xml.sax.saxutils import quoteattr

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from codling.core.artifact import Artifact
from codling.core.errors import ConfigError, SourceError
from codling.core.shards import read_rows
from codling.corpus.arrange import ArrangeConfig, arrange
from codling.corpus.licenses.notices import LicenseConfig
from codling.corpus.mixture import MixConfig, mix
from codling.corpus.prose import stackexchange
from codling.corpus.prose.html_markdown import to_markdown
from codling.corpus.prose.prose import ProseConfig, prose
from codling.corpus.prose.text import language_reason, pieces
from codling.corpus.sources.decode import decode

SHARE_ALIKE = LicenseConfig(also=("CC-BY-SA-2.5", "CC-BY-SA-3.0", "CC-BY-SA-4.0"))
CHINESE = "编译器把源代码翻译成机器代码。链接器把目标文件合并成一个程序。" * 6


def post(number: int, kind: int, body: str, **more: Any) -> str:
    values = {"Id": number, "PostTypeId": kind, "Score": 5, "Body": body} | more
    values.setdefault("CreationDate", "2019-01-01T00:00:00.000")
    return "  <row " + " ".join(f"{k}={quoteattr(str(v))}" for k, v in values.items()) + " />\n"


def dump(*rows: str) -> str:
    return '<?xml version="1.0" encoding="utf-8"?>\n<posts>\n' + "".join(rows) + "</posts>\n"


LONG = "<p>How do I reverse a list in Python? I have tried many things and none of them works.</p>"
THREAD = dump(
    post(
        7, 1, LONG, Title="Reverse a list", AcceptedAnswerId=9, CreationDate="2010-01-01T00:00:00"
    ),
    post(8, 2, "<p>Use <code>reversed</code>.</p>", ParentId=7, Score=20, OwnerUserId=3),
    post(9, 2, "<pre><code>a[::-1]\n</code></pre>", ParentId=7, Score=0),
    post(10, 2, "<p>Do not.</p>", ParentId=7, Score=-4),
    post(11, 1, LONG, Title="Nobody answers"),
    post(12, 5, "<p>a wiki</p>"),
)


def run(tmp_path: Path, *sources: Path, **settings: Any) -> Artifact:
    values = {"out_dir": tmp_path / "out", "workers": 1, "licenses": SHARE_ALIKE} | settings
    return prose(ProseConfig(sources=sources, **values))  # type: ignore[arg-type]


def documents(artifact: Artifact) -> list[dict]:
    return list(read_rows(artifact, "documents"))


def dropped(artifact: Artifact) -> dict[str, str]:
    return {row["path"]: row["rule"] for row in read_rows(artifact, "dropped")}


def test_a_question_stands_with_its_accepted_and_its_best_answers(tmp_path: Path) -> None:
    (tmp_path / "python.example").mkdir()
    path = tmp_path / "python.example" / "Posts.xml"
    path.write_text(THREAD)
    made = run(tmp_path, path)
    (row,) = documents(made)
    assert row["content"] == (
        "# Reverse a list\n\nHow do I reverse a list in Python? I have tried many things and none "
        "of them works.\n\n## Accepted answer\n\n```\na[::-1]\n```\n\n"
        "## Answer\n\nUse `reversed`.\n"
    )
    assert (row["source"], row["repo"], row["path"]) == (
        "python.example",
        "python.example/0",
        "7.md",
    )
    assert row["license"] == "CC-BY-SA-2.5 AND CC-BY-SA-4.0"
    posts = {p["post"]: (p["score"], p["license"], p["author"]) for p in read_rows(made, "posts")}
    assert posts == {
        7: (5, "CC-BY-SA-2.5", ""),
        9: (0, "CC-BY-SA-4.0", ""),
        8: (20, "CC-BY-SA-4.0", "3"),
    }


def test_packed_dumps_give_the_same(tmp_path: Path) -> None:
    (tmp_path / "a-Posts.xml").write_text(THREAD)
    (tmp_path / "b-Posts.xml.gz").write_bytes(gzip.compress(THREAD.encode()))
    with zipfile.ZipFile(tmp_path / "c-Posts.zip", "w") as archive:
        archive.writestr("Posts.xml", THREAD)
    names = ("a-Posts.xml", "b-Posts.xml.gz", "c-Posts.zip")
    rows = documents(run(tmp_path, *(tmp_path / name for name in names)))
    assert [row["source"] for row in rows] == ["a", "b", "c"]
    assert len({row["content"] for row in rows}) == 1


@pytest.mark.long
def test_posts_far_apart_meet_in_their_bucket(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stackexchange, "BUCKET_BYTES", 2000)
    questions = [post(i, 1, LONG, Title=f"Q {i}") for i in range(1, 41)]
    answers = [post(100 + i, 2, "<p>Yes.</p>", ParentId=i) for i in range(1, 41)]
    path = tmp_path / "Posts.xml"
    path.write_text(dump(*questions, *answers))
    one = run(tmp_path, path)
    assert len(one.files("documents-*.parquet")) > 5
    assert {row["path"] for row in documents(one)} == {f"{i}.md" for i in range(1, 41)}
    two = run(tmp_path / "2", path, workers=2)
    assert [f.sha256 for f in one.manifest.files] == [f.sha256 for f in two.manifest.files]


def test_a_dump_with_entities_or_damage_is_one_line(tmp_path: Path) -> None:
    bomb = '<!DOCTYPE x [<!ENTITY a "aaaa">]><posts><row Id="1" Body="&a;"/></posts>'
    for name, text, message in (
        (
            "bomb",
            bomb.replace('<?xml version="1.0" encoding="utf-8"?>\n', ""),
            "declares a document",
        ),
        ("cut", THREAD[:200], "is damaged or no XML"),
        ("other", "<users><row Id='1'/></users>", "holds no posts"),
        ("empty", "", "is damaged or no XML"),
    ):
        path = tmp_path / f"{name}-Posts.xml"
        path.write_text(text)
        with pytest.raises(SourceError, match=message):
            run(tmp_path / name, path)
    (tmp_path / "x.7z").write_text("x")
    with pytest.raises(SourceError, match="7z x"):
        run(tmp_path, tmp_path / "x.7z")
    with pytest.raises(SourceError, match="no file or folder at"):
        run(tmp_path, tmp_path / "missing.md")


def test_html_becomes_markdown() -> None:
    html = (
        "<h2>T</h2><p>a <b>b</b> &amp; <a href='http://x.y'>c</a></p><script>evil()</script>"
        "<blockquote><p>q</p></blockquote><ol><li>one</li><li>two</li></ol>"
        "<pre><code>x &lt; 1\n\n  y\n</code></pre><p>e<br>f</p>"
    )
    assert to_markdown(html) == (
        "## T\n\na **b** & [c](http://x.y)\n\n> q\n\n1. one\n2. two\n\n"
        "```\nx < 1\n\n  y\n```\n\ne\nf"
    )


def test_a_folder_of_markdown_has_the_licence_that_lies_in_it(tmp_path: Path) -> None:
    root = tmp_path / "docs"
    (root / "other").mkdir(parents=True)
    text = "The parser reads tokens one by one and builds a tree of them. " * 3
    (root / "a.md").write_text(text + "\n\nMail jo.do@acme.org.\n")
    (root / "code.py").write_text("x = 1\n")
    (root / "LICENSE").write_text((Path(__file__).parents[3] / "LICENSE").read_text())
    (root / "other" / "b.rst").write_text(text)
    (root / "other" / "COPYING").write_text("All rights reserved.")
    (root / "short.txt").write_text("Hello there.")
    made = run(tmp_path, root)
    (row,) = documents(made)
    assert (row["path"], row["license"], row["language"]) == ("a.md", "MIT", "text")
    assert "<EMAIL>" in row["content"]
    assert dropped(made) == {"other/b.rst": "license-unknown", "short.txt": "short"}


def test_chinese_is_read_in_both_encodings_and_tested_for_han(tmp_path: Path) -> None:
    assert decode(CHINESE.encode("gb18030")) == CHINESE
    assert decode(CHINESE.encode("utf-8-sig")) == CHINESE
    assert decode("Größe, déjà vu, señor, naïve façade".encode("latin-1")) is None
    assert language_reason(
        "chinese", "コンパイラはソースコードを機械語に翻訳するプログラムである。" * 4
    )
    assert language_reason("english", CHINESE)
    (tmp_path / "a.txt").write_bytes(CHINESE.encode("gb18030"))
    lines = [json.dumps({"text": t}, ensure_ascii=False) for t in (CHINESE, "English. " * 40)]
    (tmp_path / "b.jsonl").write_bytes("\n".join(lines).encode("gb18030"))
    table = pa.table({"body": [CHINESE], "license": ["CC0-1.0"]})
    pq.write_table(table, tmp_path / "c.parquet")
    paths = [tmp_path / name for name in ("a.txt", "b.jsonl", "c.parquet")]
    settings = {"kind": "chinese", "license": "CC0-1.0", "columns": ("content=body",)}
    made = run(tmp_path, *paths, **settings)
    assert [row["content"].strip() for row in documents(made)] == [CHINESE] * 3
    assert dropped(made) == {"1.txt": "not-chinese"}


def test_paragraphs_stay_whole() -> None:
    text = "\n\n".join(f"{i} " + "词" * 40 for i in range(10))
    found = list(pieces(text, 100))
    assert "".join(piece.replace("\n", "") for piece in found) == text.replace("\n", "")
    assert all(len(piece) <= 100 for piece in found)
    assert list(pieces("x" * 500, 100)) == ["x" * 500 + "\n"]


def test_a_corpus_named_like_a_bucket_of_posts_is_a_corpus(tmp_path: Path) -> None:
    path = tmp_path / "bucket-1.jsonl"
    path.write_text(json.dumps({"content": "Plain words of English text. " * 9}) + "\n")
    config = ProseConfig(sources=(path,), license="CC0-1.0", out_dir=tmp_path / "out")
    assert prose(config).counts["documents"] == 1


def test_nothing_left_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "Posts.xml"
    path.write_text(THREAD)
    with pytest.raises(SourceError, match="rule license-not-permissive; allow their licence"):
        run(tmp_path, path, licenses=LicenseConfig())
    with pytest.raises(ConfigError, match="is not WHAT=NAME"):
        run(tmp_path / "2", path, columns=("text",))
    (tmp_path / "folder").mkdir()
    with pytest.raises(SourceError, match=r"holds no \.md"):
        run(tmp_path, tmp_path / "folder")


@pytest.mark.long
def test_code_english_and_chinese_mix_to_87_10_and_3(tmp_path: Path) -> None:
    paths = {}
    words = "The linker joins object files into one program and reports what is missing. "
    for kind, text, n in (("code", words, 600), ("english", words, 90), ("chinese", CHINESE, 30)):
        path = tmp_path / f"{kind}.jsonl"
        rows = [json.dumps({"text": f"{text * 9}\n\n{i}\n", "license": "MIT"}) for i in range(n)]
        path.write_text("\n".join(rows))
        language = "chinese" if kind == "chinese" else "english"
        out = tmp_path / kind
        made = run(out, path, out_dir=out / "documents", kind=language)
        config = ArrangeConfig(documents_dir=made.path, out_dir=out / "samples", workers=1)
        paths[kind] = arrange(config).path
    shares = {"code": 87, "english": 10, "chinese": 3}
    parts = tuple(f"{paths[kind]}={share}" for kind, share in shares.items())
    mixed = mix(MixConfig(parts=parts, out_dir=tmp_path / "mixed"))
    sizes = dict.fromkeys(shares, 0)
    for row in read_rows(mixed, "samples"):
        if row["split"] == "train":
            sizes[row["source"]] += len(row["content"].encode())
            assert not row["content"].startswith("#")
    total = sum(sizes.values())
    for kind, share in shares.items():
        assert abs(100 * sizes[kind] / total - share) < 1
