"""How a program of each language is compiled, run and judged; what is installed here, and how to
get the rest.

Input: a language and a source. Output: files and steps for a box, and the rule for the verdict.
There are two:

- deepseek: DeepSeek-Coder's own: mostly the exit status (see FACTS in docs/evaluation.md);
- strict: the program must also reach its end, which is proved by a key that a runner (runners/)
  keeps from the program, or by a line that is printed last.

Not here: running (executor.py), and Python, which needs no toolchain (the box is one).
"""

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

from codling.sandbox.box import StepReply
from codling.sandbox.warm_compiler import typescript_path

CACHE_DIR = Path(os.environ.get("CODLING_CACHE", "~/.cache/codling")).expanduser() / "toolchains"
GXX = ("/usr/bin/g++", "-std=c++17")
PCH_DIR = CACHE_DIR / "pch"
JAVA_CLASSES = "/usr/share/java/javatuples.jar"


def _exit_status(step: StepReply) -> bool:
    return step.exit == 0


def _whatever(step: StepReply) -> bool:  # noqa: ARG001 - the shape of `ended`
    """DeepSeek-Coder's C#: only its alarm decides, not the exit status."""
    return True


def _silent(step: StepReply) -> bool:
    return step.exit == 0 and not step.stdout and not step.stderr


def _go_ok(step: StepReply) -> bool:
    return step.exit == 0 and re.search(r"^(ok|PASS)\b", step.stdout, re.M) is not None


def _ruby_ok(step: StepReply) -> bool:
    return (
        step.exit == 0
        and re.search(r"[1-9]\d* tests, .* 0 failures, 0 errors", step.stdout) is not None
    )


def _lua_ok(step: StepReply) -> bool:
    return step.exit == 0 and re.search(r"^Ran [1-9]\d* tests", step.stdout, re.M) is not None


def _append(template: str) -> Callable[[str, str], str]:
    return lambda source, nonce: source + "\n" + template.replace("NONCE", nonce) + "\n"


def _before_brace(template: str, nth: int = 1) -> Callable[[str, str], str]:
    """Put the line before the nth closing brace from the end: the end of main."""

    def seal(source: str, nonce: str) -> str:
        at = len(source)
        for _ in range(nth):
            at = source.rfind("}", 0, at)
        return (
            source
            if at < 0
            else source[:at] + template.replace("NONCE", nonce) + "\n" + source[at:]
        )

    return seal


def _in_main_of_d(source: str, nonce: str) -> str:
    line = f'void main(){{ import std.stdio; writeln("\\n{nonce}"); }}'
    return source.replace("void main(){}", line)


@dataclass(frozen=True, kw_only=True)
class Toolchain:
    """One language."""

    language: str
    file: str
    """What the source is called."""
    run: tuple[str, ...]
    compile: tuple[str, ...] = ()
    compile_deepseek: tuple[str, ...] = ()
    """DeepSeek-Coder's own command, where it differs."""
    warm: Literal["", "java", "typescript"] = ""
    """Compiled by a process that stays (warm_compiler.py) instead of by `compile`."""
    version: tuple[str, ...]
    packages: str
    """What apt or npm installs."""
    probe: tuple[str, ...] = ()
    """A command that fails where a library is missing that its tests load."""
    ended: Callable[[StepReply], bool] = _exit_status
    """DeepSeek-Coder's rule, or MultiPL-E's for its other languages."""
    reports: bool = False
    """Whether `ended` reads a report of the tests, which a strict verdict wants too."""
    alarm: str = ""
    """An expression that stderr may not match, for runners whose exit status hides failures."""
    seal: Callable[[str, str], str] | None = None
    """Adds the line that a strict verdict wants, the nonce on stdout or the step's key on
    descriptor 3; None where a runner or the test's own report is the proof."""
    env: tuple[tuple[str, str], ...] = ()
    runner: str = ""
    """For a strict verdict, in the place of a seal: a file of runners/ by which the program is run,
    or seal.o, which is linked to it; it gives back the key when the program has ended."""
    shown: tuple[Path, ...] = ()
    compile_seconds: float = 60.0


def _rust() -> tuple[str, tuple[Path, ...]]:
    """The compiler behind rustup's proxy, and the folder it needs; plain rustc elsewhere."""
    proxy = shutil.which("rustc")
    if proxy is None or Path(proxy).is_relative_to("/usr/bin"):
        return "/usr/bin/rustc", ()
    found = subprocess.run(
        [proxy, "--print", "sysroot"], capture_output=True, text=True, check=False
    )
    root = Path(found.stdout.strip() or "/usr")
    return str(root / "bin" / "rustc"), (root,)


RUNNERS = Path(__file__).parent / "runners"
_SEALED = (str(PCH_DIR / "seal.o"), "-Wl,--wrap=main")
"""Native programs are linked so for every verdict: without a key the seal does nothing."""
_JAVA = (
    "/usr/bin/java",
    "-ea",
    "-Xmx1g",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-Xshare:auto",
)
_MONO = (("MONO_TRACE_LISTENER", "Console.Error"),)
_GO_ENV = (
    ("GOCACHE", "/tmp/go"),
    ("GOPATH", "/tmp/gopath"),
    ("GO111MODULE", "off"),
    ("GOFLAGS", "-vet=off"),
)


def toolchains() -> dict[str, Toolchain]:
    """All toolchains by language, installed or not."""
    rustc, rust_shown = _rust()
    table = (
        Toolchain(
            language="cpp",
            file="main.cpp",
            compile=(
                *GXX,
                "-I",
                str(PCH_DIR),
                "-include",
                "bits/stdc++.h",
                "main.cpp",
                *_SEALED,
                "-o",
                "main",
            ),
            run=("./main",),
            version=("/usr/bin/g++", "--version"),
            packages="g++",
            runner="seal.o",
            shown=(PCH_DIR,),
        ),
        Toolchain(
            language="java",
            file="Problem.java",
            warm="java",
            run=(*_JAVA, "-cp", f".:{JAVA_CLASSES}", "Problem"),
            version=("/usr/bin/javac", "-version"),
            packages="openjdk-17-jdk-headless libjavatuples-java",
            seal=_before_brace('System.out.println("\\nNONCE");', 2),
        ),
        Toolchain(
            language="js",
            file="main.js",
            run=("/usr/bin/node", "main.js"),
            version=("/usr/bin/node", "--version"),
            packages="nodejs",
            ended=_silent,
            runner="run.js",
        ),
        Toolchain(
            language="ts",
            file="main.ts",
            warm="typescript",
            run=("/usr/bin/node", "main.js"),
            version=("/usr/bin/node", "--version"),
            packages="nodejs npm",
            runner="run.js",
        ),
        Toolchain(
            language="cs",
            file="main.cs",
            compile=(
                "/usr/bin/mcs",
                "-d:DEBUG",
                "-r:System.Numerics.dll",
                "main.cs",
                "-out:main.exe",
            ),
            compile_deepseek=("/usr/bin/mcs", "-d:DEBUG", "main.cs", "-out:main.exe"),
            run=("/usr/bin/mono", "main.exe"),
            version=("/usr/bin/mono", "--version"),
            packages="mono-mcs mono-runtime libmono-system-numerics4.0-cil",
            alarm="Fail",
            ended=_whatever,
            seal=_before_brace('Console.WriteLine("\\nNONCE");', 2),
            env=_MONO,
        ),
        Toolchain(
            language="php",
            file="main.php",
            run=("/usr/bin/php", "-f", "main.php"),
            version=("/usr/bin/php", "--version"),
            packages="php-cli",
            runner="run.php",
        ),
        Toolchain(
            language="sh",
            file="main.sh",
            run=("/bin/bash", "main.sh"),
            version=("/bin/bash", "--version"),
            packages="bash bc",
            seal=_append("cat <&4 >&3"),
        ),
        Toolchain(
            language="go",
            file="main_test.go",
            run=("/usr/bin/go", "test", "-v", "main_test.go"),
            version=("/usr/bin/go", "version"),
            packages="golang-go",
            ended=_go_ok,
            env=_GO_ENV,
        ),
        Toolchain(
            language="rs",
            file="main.rs",
            compile=(rustc, "main.rs", "-o", "main", "-A", "warnings"),
            run=("./main",),
            version=(rustc, "--version"),
            packages="rustc",
            seal=_before_brace('println!("\\nNONCE");'),
            shown=rust_shown,
        ),
        Toolchain(
            language="rb",
            file="main.rb",
            run=("/usr/bin/ruby", "main.rb"),
            version=("/usr/bin/ruby", "--version"),
            probe=("/usr/bin/ruby", "-e", "require 'test/unit/autorunner'"),
            packages="ruby ruby-test-unit",
            ended=_ruby_ok,
            reports=True,
            runner="run.rb",
        ),
        Toolchain(
            language="lua",
            file="main.lua",
            run=("/usr/bin/lua5.4", "main.lua"),
            version=("/usr/bin/lua5.4", "-v"),
            probe=("/usr/bin/lua5.4", "-e", "require('luaunit')"),
            packages="lua5.4 lua-unit",
            ended=_lua_ok,
            reports=True,
            runner="run.lua",
        ),
        Toolchain(
            language="pl",
            file="main.pl",
            run=("/usr/bin/perl", "main.pl"),
            version=("/usr/bin/perl", "--version"),
            probe=("/usr/bin/perl", "-MTest::Deep", "-e", "1"),
            packages="perl libtest-deep-perl",
            runner="run.pl",
        ),
        Toolchain(
            language="r",
            file="main.R",
            run=("/usr/bin/Rscript", "main.R"),
            version=("/usr/bin/Rscript", "--version"),
            packages="r-base-core",
            seal=_append('cat("\\nNONCE\\n")'),
        ),
        Toolchain(
            language="d",
            file="main.d",
            compile=("/usr/bin/ldc2", "-unittest", "main.d", "-of=main"),
            run=("./main", "--DRT-testmode=run-main"),
            version=("/usr/bin/ldc2", "--version"),
            packages="ldc",
            seal=_in_main_of_d,
        ),
        Toolchain(
            language="rkt",
            file="main.rkt",
            run=("/usr/bin/racket", "main.rkt"),
            version=("/usr/bin/racket", "--version"),
            probe=("/usr/bin/racket", "-l", "racket/base", "-l", "rackunit", "-e", "0"),
            packages="racket",
            alarm="FAILURE|ERROR",
            seal=_append('(display "\\nNONCE\\n")'),
        ),
        Toolchain(
            language="jl",
            file="main.jl",
            run=("/usr/bin/julia", "main.jl"),
            version=("/usr/bin/julia", "--version"),
            probe=("/usr/bin/julia", "--startup-file=no", "-e", "using Test"),
            packages="julia",
            seal=_append('println("\\nNONCE")'),
        ),
    )
    return {each.language: each for each in table}


@cache
def version(language: str) -> str | None:
    """The version line of a language's tool, or None where something it needs is missing."""
    toolchain = toolchains()[language]
    if not all(Path(p).exists() for p in _needed(toolchain)):
        return None
    if language == "ts":
        return _typescript_version()
    if toolchain.probe and _ask(toolchain.probe) is None:
        return None
    done = _ask(toolchain.version)
    if done is None:
        return None
    lines = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
    return lines[0].strip() if lines else None


def _ask(argv: Sequence[str]) -> subprocess.CompletedProcess[str] | None:
    """What a tool answers; None if it is not there, fails or hangs."""
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done if done.returncode == 0 else None


def _needed(toolchain: Toolchain) -> Sequence[str]:
    programs = [argv[0] for argv in (toolchain.run, toolchain.compile) if argv]
    extra = {"java": [JAVA_CLASSES, "/usr/bin/javac"], "sh": ["/usr/bin/bc"]}
    extra["cs"] = ["/usr/lib/mono/4.5/System.Numerics.dll"]
    found = [p for p in programs if p.startswith("/")]
    return found + extra.get(toolchain.language, [])


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
    import sys

    lines = [f"{'python':{width}}  Python {sys.version.split()[0]}"]
    lines += [f"{name:{width}}  {text or 'unavailable'}" for name, text in found.items()]
    missing = [toolchains()[name].packages for name, text in found.items() if text is None]
    if missing:
        lines += ["", f"apt-get install {' '.join(sorted(set(' '.join(missing).split())))}"]
    if found["ts"] is None:
        lines.append(f"npm install --prefix {CACHE_DIR} typescript@5")
    return "\n".join(lines)


def precompiled_header() -> None:
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
        [*GXX, "-x", "c++-header", str(header), "-o", str(temporary)],
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
