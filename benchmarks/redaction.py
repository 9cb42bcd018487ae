"""How many planted secrets redaction finds, and what it takes for one in files that have none.

Input: the forms of secret_forms.py and secret_forms_foreign.py, filled with drawn secrets; a folder
of unpacked packages. Output: the share that is found, for each part of the forms; hits per MB of
every kind in the folder, with their lines to be judged by hand.

    python benchmarks/redaction.py plant [--part held-out] [--repeats 10] [--missed]
    python benchmarks/redaction.py clean FOLDER [--show key] [--limit 100]

A secret counts as found if nothing of it is left. The packages come by name: `pip download
--no-deps --no-binary :all: NAME`, `npm pack NAME`. Files of more than 1 MB or with lines over 1,000
characters are passed over, as `clean` does.
"""

import argparse
import base64
import random
import string
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from secret_forms import FORMS, Form
from secret_forms_foreign import COMMAND_FORMS, NAME_FORMS

from codling.corpus.redaction.redact import RedactConfig, find_edits, redact

ALNUM = string.ascii_letters + string.digits
CONFIG = RedactConfig()
PARTS = {
    "development": [form for form in FORMS if not form.is_held_out],
    "held-out": [form for form in FORMS if form.is_held_out],
    "commands": COMMAND_FORMS,
    "names": NAME_FORMS,
}
MAX_BYTES, MAX_LINE = 1_000_000, 1000
_ENDINGS = """
    .py .js .ts .jsx .tsx .mjs .cjs .json .yml .yaml .toml .ini .cfg .conf .md .rst .txt .sh .c .h
    .cpp .java .go .rs .rb .php .html .css .xml .sql .vue .env .properties .gradle .cs .kt .po
"""
TEXT = frozenset(_ENDINGS.split())


def main() -> None:
    """Plant or search, as asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("plant", "clean"))
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--part", choices=(*PARTS, "all"), default="all")
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--missed", action="store_true")
    parser.add_argument("--show", default="")
    parser.add_argument("--limit", type=int, default=100)
    arguments = parser.parse_args()
    if arguments.what == "plant":
        for part in PARTS:
            if arguments.part in (part, "all"):
                plant(part, arguments.repeats, arguments.missed)
    else:
        search(arguments.folder, arguments.show, arguments.limit)


def plant(part: str, repeats: int, show: bool) -> None:
    """Print the share of secrets that are found in the forms of a part, and what was missed."""
    draw = random.Random(part)
    missed: Counter[str] = Counter()
    by_shape: Counter[str] = Counter()
    examples: dict[str, str] = {}
    n = 0
    for form in PARTS[part]:
        for _ in range(repeats):
            shape, value = secret(draw, form)
            text = form.template.format(n=draw.choice(form.names), v=value)
            n += 1
            if not is_gone(redact(text, CONFIG)[0], value):
                missed[form.name] += 1
                by_shape[shape] += 1
                examples[form.name] = text
    found = n - missed.total()
    print(f"{part}: {found} of {n} found, {found / n:.3f}; missed by shape: {dict(by_shape)}")
    for name, count in missed.most_common() if show else ():
        print(f"  {count} of {repeats} missed: {name}: {examples[name]!r}")


def secret(draw: random.Random, form: Form) -> tuple[str, str]:
    """A drawn secret that fits a form, and the name of its shape."""
    shapes = {
        "alnum-16": lambda: word(draw, ALNUM, 16),
        "alnum-20": lambda: word(draw, ALNUM, 20),
        "alnum-32": lambda: word(draw, ALNUM, 32),
        "alnum-40": lambda: word(draw, ALNUM, 40),
        "hex-32": lambda: word(draw, "0123456789abcdef", 32),
        "hex-64": lambda: word(draw, "0123456789abcdef", 64),
        "base64-44": lambda: base64.b64encode(draw.randbytes(32)).decode(),
        "url-safe-43": lambda: base64.urlsafe_b64encode(draw.randbytes(32)).decode().strip("="),
        "lower-24": lambda: word(draw, string.ascii_lowercase + string.digits, 24),
        "prefixed": lambda: f"zq_live_{word(draw, ALNUM, 24)}",
        "password-12": lambda: word(draw, ALNUM, 12),
        "password-symbols": lambda: word(draw, ALNUM + "!#%*-_+=?", 16),
    }
    if form.kinds == "basic":
        made = base64.b64encode(f"app:{word(draw, ALNUM, 16)}".encode()).decode()
        return "basic", made
    if form.kinds == "base64":
        return "base64", base64.b64encode(word(draw, ALNUM, 18).encode()).decode()
    if form.kinds == "plain":
        shapes = {k: v for k, v in shapes.items() if "base64" not in k and "symbols" not in k}
    shape = draw.choice(list(shapes))
    return shape, shapes[shape]()


def word(draw: random.Random, characters: str, n: int) -> str:
    """`n` characters, drawn anew until there is a digit and a letter; the ends are alphanumeric."""
    while True:
        made = "".join(draw.choices(characters, k=n))
        kinds = {c.isdigit() for c in made if c.isalnum()}
        if len(kinds) == 2 and made[0].isalnum() and made[-1].isalnum():
            return made


def is_gone(text: str, value: str) -> bool:
    """Whether nothing of a secret is left: no piece of eight characters."""
    return not any(value[i : i + 8] in text for i in range(len(value) - 7))


def search(folder: Path, show: str, limit: int) -> None:
    """Print the hits per MB in all texts of a folder, and the lines of one kind."""
    n_bytes = n_files = 0
    kinds: Counter[str] = Counter()
    lines: list[str] = []
    for path, text in texts(folder):
        n_bytes += len(text.encode())
        n_files += 1
        edits = find_edits(text, CONFIG)
        kinds.update(edit.kind for edit in edits)
        for edit in edits:
            if show and show in edit.kind:
                line = text[max(0, edit.start - 60) : edit.end + 20].replace("\n", "\\n")
                lines.append(f"{path.relative_to(folder)}:{edit.line} {edit.kind}: {line}")
    mb = n_bytes / 1e6
    print(f"{n_files} files, {mb:.1f} MB")
    for kind, count in kinds.most_common():
        print(f"  {kind}: {count}, {count / mb:.3f} per MB")
    print("\n".join(random.Random(0).sample(lines, min(limit, len(lines)))))


def texts(folder: Path) -> Iterator[tuple[Path, str]]:
    """The text files of a folder that a corpus would take."""
    for path in sorted(folder.rglob("*")):
        if path.suffix in TEXT and path.is_file() and path.stat().st_size <= MAX_BYTES:
            text = path.read_text(encoding="utf-8", errors="replace")
            if max(map(len, text.split("\n"))) <= MAX_LINE:
                yield path, text


if __name__ == "__main__":
    main()
