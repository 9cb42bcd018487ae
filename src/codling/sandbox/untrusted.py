"""The verb `run-untrusted`: one untrusted file, run in the sandbox.

Input: a file; its name or first line says the language. Output: what it wrote, its end, what
protected the machine, and the exit status that a shell would see of it.

Not here: verdicts on answers (executor.py).
"""

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated

from codling.core.errors import ConfigError
from codling.core.exit_status import TextWithStatus
from codling.core.foreign_files import read_text
from codling.core.ranges import Range, Ranged, Seconds
from codling.sandbox.box import describe
from codling.sandbox.executor import Executor, Program
from codling.sandbox.outcome import Outcome
from codling.sandbox.toolchains import BOX_LANGUAGE, toolchains


@dataclass(frozen=True, kw_only=True)
class UntrustedConfig(Ranged):
    """One untrusted file to run in the sandbox."""

    file: Path
    """Untrusted source file; its name says the language."""
    language: str = ""
    """Language if neither name nor first line says it: python, sh, js, cpp ..."""
    seconds: Seconds = 10.0
    """Real time and processor time that it may take."""
    memory_mib: Annotated[int, Range(16, 1 << 24)] = 2048
    """Memory that it may take, in MiB."""
    unsafe: bool = False
    """Run it without bubblewrap: it can then read and change whatever you can."""


def run_untrusted(config: UntrustedConfig) -> TextWithStatus:
    """Run an untrusted file in the sandbox, and say how it ended.

    Its name says the language (.py, .sh, .js, .cpp ...), without a suffix its #! line. The exit
    status is the program's own, 128 plus the signal that killed it, 124 if its time ran out, and 1
    if another limit ended it or it does not compile; the last lines say which.

    Example:
        codling run-untrusted downloaded.py
    """
    source = read_text(config.file)
    program = Program(
        language=config.language or language_of(config.file.name, source),
        source=source,
        seconds=config.seconds,
        memory_bytes=config.memory_mib << 20,
    )
    with Executor(1, unsafe=config.unsafe) as executor:
        executor.require(program.language)
        outcome = executor.run_alone(program)
    text = "".join(f"{part.rstrip()}\n" for part in (outcome.stdout, outcome.stderr) if part)
    line = f"{outcome.status} after {outcome.seconds:.2f} s {outcome.detail}".rstrip()
    shown = f"{text}{line}\n[{describe(unsafe=config.unsafe)}]"
    return TextWithStatus(shown, status=exit_status(outcome))


def exit_status(outcome: Outcome) -> int:
    """The status that a shell and coreutils' `timeout` would give for this end.

    >>> exit_status(Outcome(status="failed", exit=3)), exit_status(Outcome(status="timed out"))
    (3, 124)
    """
    if outcome.passed:
        return 0
    if outcome.status == "timed out":
        return 124
    if outcome.status == "killed" and outcome.signal is not None:
        return 128 + outcome.signal
    return outcome.exit if outcome.status == "failed" and outcome.exit else 1


def language_of(name: str, source: str) -> str:
    """The language of a source file; ConfigError with the cure if it cannot be told.

    >>> language_of("setup", "#!/usr/bin/env bash\\necho hello\\n")
    'sh'
    """
    languages = _languages()
    ending = re.search(r"(?<=.)\.\w+$", name)
    if ending is not None and ending[0].lower() in languages:
        return languages[ending[0].lower()]
    first = re.match(r"#!\s*(?:\S*/env\s+(?:-S\s+)?)?(?:\S*/)?([A-Za-z]+3?)[\d.]*\b", source)
    if first is not None and first[1] in languages:
        return languages[first[1]]
    known = ", ".join(sorted(set(languages.values())))
    raise ConfigError(f"which language is {name}? give --language, one of {known}")


@cache
def _languages() -> dict[str, str]:
    """Languages by the endings of their files, as ".rb", and by the programs that run them."""
    found = dict.fromkeys((".py", "python", "python3"), BOX_LANGUAGE)
    for chain in toolchains().values():
        found |= dict.fromkeys((*chain.suffixes, *chain.programs), chain.language)
    return found
