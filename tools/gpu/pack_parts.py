"""Tokens in compressed parts, to be sent to a machine one after another.

    python tools/gpu/pack_parts.py pack TOKENS TOKENIZER --out PARTS --max-mib 58
    python tools/gpu/pack_parts.py unpack PARTS --out DATA

`pack` cuts the training stream into blocks, draws their order by chance and fills parts with them:
any number of parts is a fair sample of the whole. Part 0 also holds the held-out stream, meta.json
and the tokenizer. `unpack` makes the artefacts DATA/tokens and DATA/tokenizer of the parts that are
there; what is damaged is refused. A part is a tar archive of xz streams, which know their checksum.

Not here: training (train_base.py), and the way back (weight_files.py).
"""

import argparse
import io
import json
import lzma
import shutil
import tarfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from random import Random

import numpy as np

from codling.checkpoint.store import find_tokenizer_files
from codling.core.artifact import Artifact, Draft, Input, open_artifact, produce
from codling.core.errors import ArtifactError
from codling.core.files import write_json
from codling.tokens.token_files import META, open_stream, read_meta

BLOCK_TOKENS = 1 << 21
_PRESET = 6
# Two bytes are one token: xz looks at the place within it.
_FILTERS = [{"id": lzma.FILTER_LZMA2, "preset": _PRESET, "lp": 1, "pb": 1, "lc": 3}]


def main() -> int:
    """One of the two commands."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    verbs = parser.add_subparsers(dest="verb", required=True)
    packing = verbs.add_parser("pack")
    packing.add_argument("tokens", type=Path)
    packing.add_argument("tokenizer", type=Path)
    packing.add_argument("--out", type=Path, required=True)
    packing.add_argument("--max-mib", type=float, default=58.0)
    packing.add_argument("--block-tokens", type=int, default=BLOCK_TOKENS)
    packing.add_argument("--workers", type=int, default=2)
    unpacking = verbs.add_parser("unpack")
    unpacking.add_argument("parts", type=Path)
    unpacking.add_argument("--out", type=Path, required=True)
    unpacking.add_argument("--workers", type=int, default=16)
    options = parser.parse_args()
    if options.verb == "pack":
        size = int(options.max_mib * (1 << 20))
        sent = pack(options.tokens, options.tokenizer, options.out, size, options)
        figures = [{"part": p.name, "bytes": p.stat().st_size} for p in sent]
    else:
        tokens = unpack(options.parts, options.out, options.workers)
        figures = [{"tokens": str(tokens.path), **tokens.counts}]
    print("\n".join(json.dumps(row) for row in figures))
    return 0


def pack(
    tokens: Path, tokenizer: Path, out: Path, max_bytes: int, options: argparse.Namespace
) -> list[Path]:
    """Write the parts, each of at most `max_bytes`; gives their paths."""
    stream = open_stream(tokens, "train")
    n_blocks = -(-len(stream) // options.block_tokens)
    order = Random(0).sample(range(n_blocks), n_blocks)

    def compressed(block: int) -> tuple[str, bytes]:
        start = block * options.block_tokens
        raw = stream[start : start + options.block_tokens].tobytes()
        return f"train-{block:05d}.xz", lzma.compress(raw, filters=_FILTERS)

    out.mkdir(parents=True, exist_ok=True)
    for stale in out.glob("part-*.tar"):
        stale.unlink()
    with ThreadPoolExecutor(options.workers) as pool:
        files = [*_once(tokens, tokenizer)]
        blocks = (each for some in _batched(order, 8) for each in pool.map(compressed, some))
        return [*_written([*files], blocks, out, max_bytes)]


def unpack(parts: Path, out: Path, workers: int = 16) -> Artifact:
    """Artefacts of the parts in a folder; ArtifactError if part 0 is missing or one is damaged."""
    paths = sorted(parts.glob("part-*.tar"))
    members: dict[str, bytes] = {}
    for path in paths:
        with tarfile.open(path) as archive:
            for member in archive:
                stored = archive.extractfile(member)
                assert stored is not None
                members[Path(member.name).name] = stored.read()
    if "heldout.xz" not in members:
        raise ArtifactError(f"part 0 is not in {parts}; send it too")
    with ThreadPoolExecutor(workers) as pool:
        contents = dict(zip(members, pool.map(_restored, members, members.values()), strict=True))
    blocks = [contents.pop(name) for name in sorted(contents) if name.startswith("train-")]
    if not blocks:
        raise ArtifactError(f"no part in {parts} holds tokens to train on")
    _make_tokenizer(contents, out / "tokenizer")
    return _make_tokens(contents, blocks, [p.name for p in paths], out / "tokens")


def _once(tokens: Path, tokenizer: Path) -> Iterator[tuple[str, bytes]]:
    """What stands in part 0 beside its blocks."""
    origin = open_artifact(tokens, "tokens")
    about = {"id": origin.id, "meta": json.loads((tokens / META).read_text())}
    yield "about.json", json.dumps(about).encode()
    for path in find_tokenizer_files(tokenizer):
        yield f"tokenizer-{path.name}", path.read_bytes()
    heldout = open_stream(tokens, "heldout").tobytes()
    yield "heldout.xz", lzma.compress(heldout, filters=_FILTERS)


def _batched(numbers: list[int], n: int) -> Iterator[list[int]]:
    rest = iter(numbers)
    while some := list(islice(rest, n)):
        yield some


def _written(
    files: list[tuple[str, bytes]], blocks: Iterator[tuple[str, bytes]], out: Path, max_bytes: int
) -> Iterator[Path]:
    """Fill one part after another."""
    number = 0
    for block in blocks:
        if files and _tar_bytes([*files, block]) > max_bytes:
            yield _write_part(out / f"part-{number:03d}.tar", files, max_bytes)
            files, number = [], number + 1
        files.append(block)
    yield _write_part(out / f"part-{number:03d}.tar", files, max_bytes)


def _tar_bytes(files: list[tuple[str, bytes]]) -> int:
    """Size of the archive: a header per file, everything in units of 512 bytes, 10,240 in all."""
    inside = sum(512 + -(-len(data) // 512) * 512 for _, data in files) + 1024
    return -(-inside // tarfile.RECORDSIZE) * tarfile.RECORDSIZE


def _write_part(path: Path, files: list[tuple[str, bytes]], max_bytes: int) -> Path:
    if _tar_bytes(files) > max_bytes:
        raise ArtifactError(
            f"{path.name} is larger than {max_bytes:,} bytes although it holds as little as it "
            "can; allow more, or cut smaller blocks"
        )
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as archive:
        for name, data in files:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def _restored(name: str, data: bytes) -> bytes:
    try:
        return lzma.decompress(data) if name.endswith(".xz") else data
    except lzma.LZMAError as error:
        raise ArtifactError(f"{name} is damaged ({error}); send its part again") from None


def _make_tokenizer(contents: dict[str, bytes], folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name in [n for n in contents if n.startswith("tokenizer-")]:
        (folder / name.removeprefix("tokenizer-")).write_bytes(contents.pop(name))


def _make_tokens(
    contents: dict[str, bytes], blocks: list[bytes], parts: list[str], folder: Path
) -> Artifact:
    about = json.loads(contents["about.json"])
    meta = about["meta"]
    width = np.dtype(meta["dtype"]).itemsize
    whole = meta["splits"]["train"]
    n_tokens = sum(map(len, blocks)) // width
    share = n_tokens / whole["n_tokens"]
    # Bytes, samples and insertion tasks are counted for the whole stream only.
    parted = {key: round(value * share) for key, value in whole.items()} | {"n_tokens": n_tokens}

    def work(draft: Draft) -> None:
        with draft.file("train.bin").open("wb") as file:
            file.writelines(blocks)
        draft.file("heldout.bin").write_bytes(contents["heldout.xz"])
        splits = meta["splits"] | {"train": parted}
        write_json(draft.file(META), meta | {"splits": splits})
        draft.counts |= {"n_tokens": n_tokens, "of": whole["n_tokens"], "n_parts": len(parts)}

    origin = Input(kind="tokens", id=about["id"], path="")
    made = produce(
        folder, kind="tokens", version=1, config={"parts": parts}, inputs=[origin], work=work
    )
    read_meta(folder)
    return made


if __name__ == "__main__":
    raise SystemExit(main())
