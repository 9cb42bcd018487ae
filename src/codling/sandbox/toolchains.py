"""How a program of each language is compiled, run and judged; what is installed here, and how to
get the rest.

Input: a language and a source. Output: files and steps for a box, and the rule for the verdict: the
rows of toolchains.toml. There are two rules:

- deepseek: DeepSeek-Coder's own: mostly the exit status (docs/evaluation.md);
- strict: the program must also reach its end, which is proved by a key that a runner (runners/)
  keeps from the program, or by a line that is printed last.

Not here: running (executor.py), and Python, which needs no toolchain (the box is one).
"""

import dataclasses
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from codling.core.files import cache_dir
from codling.core.packaged import packaged_table
from codling.sandbox.box import StepReply
from codling.sandbox.warm_compiler import typescript_path

CACHE_DIR = cache_dir() / "toolchains"
PCH_DIR = CACHE_DIR / "pch"
RUNNERS = Path(__file__).parent / "runners"
JAVA_CLASSES = "/usr/share/java/javatuples.jar"
_JUNIT = (
    *("junit-jupiter-api", "junit-jupiter-params", "junit-jupiter-engine", "junit-vintage-engine"),
    *("junit-platform-commons", "junit-platform-engine", "junit-platform-launcher", "junit4"),
    *("hamcrest", "opentest4j", "apiguardian-api", "univocity-parsers", "assertj-core"),
    *("easymock", "byte-buddy", "jackson-core", "jackson-annotations", "joda-convert"),
    *("joda-time", "guava", "commons-io", "commons-beanutils", "commons-logging"),
    *("jsr305", "args4j", "protobuf", "xz"),
)
"""Jars of Debian: what tests are run by, and what projects under test are built with."""
BOX_LANGUAGE = "python"
"""The one language without a toolchain: boxes are warm interpreters of it."""
_CHOICES = {"warm": ("", "java", "typescript"), "passes": ("exit", "silent", "any")}


@dataclass(frozen=True, kw_only=True)
class Toolchain:
    """One language: a row of toolchains.toml, which says what its columns mean."""

    language: str
    of: str = ""
    file: str
    suffixes: tuple[str, ...] = ()
    programs: tuple[str, ...] = ()
    run: tuple[str, ...]
    compile: tuple[str, ...] = ()
    compile_deepseek: tuple[str, ...] = ()
    warm: Literal["", "java", "typescript"] = ""
    precompiled: bool = False
    version: tuple[str, ...]
    probe: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    packages: str
    npm: str = ""
    passes: Literal["exit", "silent", "any"] = "exit"
    report: str = ""
    alarm: str = ""
    runner: str = ""
    seal: str = ""
    seal_before_brace: int = 0
    seal_replaces: str = ""
    strict_report: bool = False
    env: tuple[tuple[str, str], ...] = ()
    shown: tuple[Path, ...] = ()
    compile_seconds: float = 60.0

    def has_passed(self, step: StepReply) -> bool:
        """DeepSeek-Coder's rule, or MultiPL-E's for its other languages."""
        if self.passes == "any":
            return True
        if step.exit != 0 or (self.passes == "silent" and (step.stdout or step.stderr)):
            return False
        return not self.report or re.search(self.report, step.stdout, re.M) is not None

    def add_seal(self, source: str, nonce: str) -> str:
        """The source with the line that a strict verdict wants; as it is if it has no place."""
        line = self.seal.replace("NONCE", nonce)
        if self.seal_replaces:
            return source.replace(self.seal_replaces, line)
        if not self.seal_before_brace:
            return f"{source}\n{line}\n"
        at = len(source)
        for _ in range(self.seal_before_brace):
            at = source.rfind("}", 0, at)
        return source if at < 0 else f"{source[:at]}{line}\n{source[at:]}"


@cache
def toolchains() -> dict[str, Toolchain]:
    """All toolchains by language, installed or not."""
    rustc, rust_root = _rust()
    places = {
        "pch": str(PCH_DIR),
        "java_classes": JAVA_CLASSES,
        "rustc": rustc,
        "rust_root": rust_root,
        "junit": ":".join(f"/usr/share/java/{name}.jar" for name in _JUNIT),
    }
    table = packaged_table("codling.sandbox", "toolchains.toml")
    return {language: read_toolchain(language, row, places) for language, row in table.items()}


def read_toolchain(language: str, row: Mapping[str, Any], places: Mapping[str, str]) -> Toolchain:
    """A row of toolchains.toml; ValueError says what is wrong with it."""
    fields = {field.name: field for field in dataclasses.fields(Toolchain)}
    where = f"toolchains.toml, {language}"
    if unknown := set(row) - set(fields):
        raise ValueError(f"{where}: no column is called {min(unknown)}")
    needed = {name for name, field in fields.items() if field.default is dataclasses.MISSING}
    if missing := needed - set(row) - {"language"}:
        raise ValueError(f"{where}: it has no {min(missing)}")
    for name, choices in _CHOICES.items():
        if name in row and row[name] not in choices:
            raise ValueError(f"{where}: {name} is none of {', '.join(filter(None, choices))}")
    values = {name: _fill(value, places) for name, value in row.items()}
    shown = tuple(Path(folder) for folder in values.pop("shown", ()) if folder)
    return Toolchain(language=language, shown=shown, **values)


def _fill(value: Any, places: Mapping[str, str]) -> Any:  # noqa: ANN401 -- a value of TOML
    """A column with this machine's places in it; a list becomes a tuple, a table one of pairs."""
    match value:
        case dict():
            return tuple(value.items())
        case list():
            return tuple(
                _PLACE.sub(lambda match: places.get(match[1], match[0]), each) for each in value
            )
        case _:
            return value


_PLACE = re.compile(r"\{(\w+)\}")


def _rust() -> tuple[str, str]:
    """The compiler behind rustup's proxy, and the folder it needs; plain rustc elsewhere."""
    proxy = shutil.which("rustc")
    if proxy is None or Path(proxy).is_relative_to("/usr/bin"):
        return "/usr/bin/rustc", ""
    found = _ask([proxy, "--print", "sysroot"])
    root = Path((found.stdout.strip() if found else "") or "/usr")
    return str(root / "bin" / "rustc"), str(root)


@cache
def version(language: str) -> str | None:
    """The version line of a language's tool, or None where something it needs is missing."""
    toolchain = toolchains()[language]
    if not all(Path(p).exists() for p in _required_paths(toolchain)):
        return None
    if toolchain.warm == "typescript":
        return _typescript_version()
    if toolchain.probe and _ask(toolchain.probe) is None:
        return None
    done = _ask(toolchain.version)
    if done is None:
        return None
    lines = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
    return lines[0].strip() if lines else None


def _ask(argv: Sequence[str]) -> subprocess.CompletedProcess[str] | None:
    """What a tool prints; None if it is absent, fails or hangs."""
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done if done.returncode == 0 else None


def _required_paths(toolchain: Toolchain) -> Sequence[str]:
    programs = [argv[0] for argv in (toolchain.run, toolchain.compile) if argv]
    return [*(p for p in programs if p.startswith("/")), *toolchain.needs]


def _typescript_version() -> str | None:
    from codling.core.errors import ToolMissingError

    try:
        library = typescript_path(CACHE_DIR)
    except ToolMissingError:
        return None
    found = re.search(r'"version": "([^"]+)"', (library.parents[1] / "package.json").read_text())
    return f"TypeScript {found[1]}" if found else None


def doctor() -> str:
    """A table of all languages with version or "unavailable", and the line that installs the
    rest."""
    found = {language: version(language) for language in toolchains()}
    width = max(map(len, found))
    lines = [f"{BOX_LANGUAGE:{width}}  Python {sys.version.split()[0]}"]
    lines += [f"{name:{width}}  {text or 'unavailable'}" for name, text in found.items()]
    missing = [toolchains()[name] for name, text in found.items() if text is None]
    if missing:
        packages = " ".join(each.packages for each in missing).split()
        lines += ["", f"apt-get install {' '.join(sorted(set(packages)))}"]
    lines += [f"npm install --prefix {CACHE_DIR} {each.npm}" for each in missing if each.npm]
    return "\n".join(lines)


def precompile_header() -> None:
    """Make the precompiled bits/stdc++.h, and the seal, once per compiler version; g++ then takes
    0.2 s instead of 1 s."""
    target = PCH_DIR / "bits" / "stdc++.h.gch"
    stamp = PCH_DIR / "version"
    current = f"3 {version('cpp')}"
    if target.exists() and stamp.exists() and stamp.read_text() == current:
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    header = PCH_DIR / "bits" / "stdc++.h"  # found again when a program includes it by itself
    header.write_text("#pragma GCC system_header\n#include_next <bits/stdc++.h>\n")
    temporary = target.with_name(f"{os.getpid()}.gch")
    done = subprocess.run(
        [*toolchains()["cpp"].compile[:2], "-x", "c++-header", str(header), "-o", str(temporary)],
        capture_output=True,
        check=False,
    )
    seal = ["/usr/bin/gcc", "-O1", "-c", str(RUNNERS / "seal.c"), "-o", f"{temporary}.o"]
    if (
        done.returncode == 0
        and subprocess.run(seal, capture_output=True, check=False).returncode == 0
    ):
        Path(f"{temporary}.o").replace(PCH_DIR / "seal.o")
        temporary.replace(target)
        stamp.write_text(current)
