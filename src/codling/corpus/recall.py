"""Stage recall: pages of a crawl that are like some seeds, as for DeepSeek-Coder-V2 (section 2).

Input: pages (url, text) and seeds (text) in JSONL or Parquet. Each round trains a linear classifier
on n-grams of tokens, seeds against pages not recalled so far, drawn by hash, and recalls the pages
above the threshold. Domains of which more than 10% of the pages were recalled give all their pages
as seeds for the next round. Output: artefact "pages" with the table pages (url, domain, text,
score) of the last round, and domains.json with the shares of each round.

Not here: fetching pages, and the paper's annotation of paths by people.
"""

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import pyarrow as pa

from codling.core.artifact import Artifact, Draft, produce, write_json
from codling.core.errors import ConfigError, SourceError
from codling.core.recipe import aside
from codling.corpus.linear import LinearConfig, features, open_tokenizer, train
from codling.corpus.pages import as_inputs, read_texts
from codling.corpus.tables import new_table

STAGE_VERSION = 1
PAGE_SCHEMA = pa.schema(
    [
        pa.field("url", pa.string(), nullable=False),
        pa.field("domain", pa.string(), nullable=False),
        pa.field("text", pa.string(), nullable=False),
        pa.field("score", pa.float64(), nullable=False),
    ]
)


@dataclass(frozen=True, kw_only=True)
class RecallConfig:
    """Settings of `codling data recall`."""

    pages: tuple[Path, ...] = aside()
    """JSONL or Parquet files with url and text."""
    seeds: tuple[Path, ...] = aside()
    """JSONL or Parquet files with text: what is looked for."""
    out_dir: Path = aside()
    """Where the recalled pages go."""
    tokenizer_dir: Path | None = aside(None)
    """Tokenizer whose tokens are the features; none: words."""
    rounds: int = 3
    """How often the classifier is trained."""
    threshold: float = 0.5
    """A page is recalled from this probability on."""
    domain_share: float = 0.1
    """Domains with a larger share of recalled pages become seeds."""
    negatives: float = 3.0
    """Other pages per seed to train against."""
    seed: int = 0
    """Decides which other pages these are."""
    linear: LinearConfig = field(default_factory=LinearConfig)

    def __post_init__(self) -> None:
        if self.rounds < 1 or not 0 < self.threshold < 1 or self.negatives <= 0:
            raise ConfigError("recall: rounds at least 1, threshold in 0 to 1, negatives above 0")


def recall(config: RecallConfig) -> Artifact:
    """Pages of a crawl that are like the seeds, in rounds over the domains that hold many.

    Example:
        codling data recall --pages crawl.jsonl --seeds seeds.jsonl --out-dir runs/web/pages
    """
    tokenizer = open_tokenizer(config.tokenizer_dir)
    inputs = as_inputs(config.pages) + as_inputs(config.seeds)
    if config.tokenizer_dir is not None:
        folder = config.tokenizer_dir
        inputs += as_inputs([folder / "tokenizer.json" if folder.is_dir() else folder])

    def work(draft: Draft) -> None:
        pages = list(read_texts(config.pages, ("url", "text")))
        seeds = [r["text"] for r in read_texts(config.seeds, ("text",))]
        if not pages or not seeds:
            raise SourceError("recall needs at least one page and one seed")
        rows = list(features([p["text"] for p in pages], config.linear, tokenizer))
        wanted = list(features(seeds, config.linear, tokenizer))
        domains = [domain(p["url"]) for p in pages]
        order = _shuffled([p["url"] for p in pages], config.seed)
        grown: set[str] = set()
        history = []
        is_recalled = [False] * len(pages)
        for _ in range(config.rounds):
            positive = [r for r, d in zip(rows, domains, strict=True) if d in grown]
            others = [rows[i] for i in order if domains[i] not in grown and not is_recalled[i]]
            examples = wanted + positive
            against = others[: max(1, round(config.negatives * len(examples)))]
            if not against:
                break
            labels = [True] * len(examples) + [False] * len(against)
            scores = train(examples + against, labels, config.linear).score(rows)
            is_recalled = (scores >= config.threshold).tolist()
            shares = domain_shares(domains, is_recalled)
            grown |= {d for d, share in shares.items() if share > config.domain_share}
            history.append({d: round(s, 4) for d, s in sorted(shares.items())})
        write_json(draft.file("domains.json"), {"rounds": history, "seeds": sorted(grown)})
        with new_table(draft.file("pages-00000.parquet"), PAGE_SCHEMA) as table:
            for page, name, score in zip(pages, domains, scores.tolist(), strict=True):
                if score >= config.threshold:
                    row = {"url": page["url"], "domain": name, "text": page["text"]}
                    table.add({**row, "score": score}, len(page["text"]))
        draft.counts |= {"pages": len(pages), "recalled": table.n_rows, "domains": len(grown)}

    return produce(
        config.out_dir,
        kind="pages",
        version=STAGE_VERSION,
        config=config,
        inputs=inputs,
        work=work,
    )


def domain(url: str) -> str:
    """The host of an address, without "www.".

    >>> domain("https://www.example.org/a")
    'example.org'
    """
    try:
        host = urlsplit(url if "//" in url else f"//{url}").hostname
    except ValueError:
        host = None
    return (host or "").removeprefix("www.")


def domain_shares(domains: Sequence[str], recalled: Sequence[bool]) -> dict[str, float]:
    """The share of each domain's pages that were recalled."""
    total = Counter(domains)
    hits = Counter(d for d, hit in zip(domains, recalled, strict=True) if hit)
    return {d: hits[d] / n for d, n in total.items()}


def _shuffled(urls: Sequence[str], seed: int) -> list[int]:
    keys = [hashlib.sha256(f"{seed}\0{url}".encode("utf-8", "replace")).digest() for url in urls]
    return sorted(range(len(urls)), key=keys.__getitem__)
