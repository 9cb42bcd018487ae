"""The command line: one verb per stage or task, in the order of the data.

Input: argv. Output: what the verb returns, printed; exit code 0, 1 (a check that failed), 2 (a
user's mistake, one line on stderr), 130 (stopped with Ctrl-C), or what the verb says with its text.
A verb is a function with one typed config, named here by its import string, so that
`codling --help` loads no stage. Flags, a recipe's table and defaults are merged by core/recipe.py;
the flags of a verb are the fields of its config.

Not here: any work.
"""

import importlib
import inspect
import io
import os
import re
import sys
import traceback
import typing
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, fields
from itertools import zip_longest
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

from cyclopts import App, CycloptsError, Parameter, UnusedCliTokensError

from codling import __version__
from codling.core import recipe as recipes
from codling.core.artifact import Artifact
from codling.core.errors import (
    CodlingError,
    ConfigError,
    RequestError,
    from_memory_error,
    from_os_error,
)
from codling.core.exit_status import TextWithStatus
from codling.core.flags import (
    Setting,
    missing_flags,
    name_flags,
    name_flags_in_error,
    settings_of,
    spell_flags,
)
from codling.core.log import say
from codling.core.plan import fresh_start
from codling.core.recipe import explain_unknown_key
from codling.core.threads import wait_passively
from codling.stations import LEARNING_TABLES, TABLES
from codling.verbs import GROUPS, VERBS, Verb

KEYWORD = inspect.Parameter.KEYWORD_ONLY
POSITIONAL = inspect.Parameter.POSITIONAL_OR_KEYWORD
ANNOTATED: Any = Annotated
EPILOGUE = (
    "Every verb has --help with an example (or: codling help VERB). Settings can also come from a "
    "TOML --recipe."
)


@dataclass(frozen=True, kw_only=True)
class CompletionConfig:
    """Settings of `codling completion`."""

    shell: Literal["bash", "zsh", "fish"]
    """The shell that reads the script."""


def join_suite(tokens: list[str]) -> list[str]:
    """The words of a command line; `suite NAME` is one, as names of benchmarks are.

    >>> join_suite(["evaluate", "suite", "coder", "--limit", "5"])
    ['evaluate', 'suite coder', '--limit', '5']
    """
    if tokens[:2] == ["evaluate", "suite"] and not "".join(tokens[2:3]).startswith("-"):
        return [tokens[0], " ".join(tokens[1:3]), *tokens[3:]]
    return tokens


def main(argv: Sequence[str] | None = None) -> None:
    """Run one command line and exit with its code."""
    wait_passively()
    _prepare_streams()
    tokens = join_dashes(sys.argv[1:] if argv is None else argv)
    tokens, debug = _take_debug(tokens)
    if tokens[:1] == ["help"]:
        tokens = [*tokens[1:], "--help"]
    tokens = join_suite(tokens)
    try:
        code = _run(tokens)
        # Here and not at Python's end, which could only complain of a reader that has left.
        sys.stdout.flush()
        sys.exit(code)
    except BrokenPipeError:
        # `codling trace RUN | head`: the reader has seen enough. Python would complain at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except (CodlingError, CycloptsError, OSError) as error:
        shown = from_os_error(error) if isinstance(error, OSError) else error
        if debug or shown is None:
            traceback.print_exc()
        line = _one_line(shown or error)
        print(line if line.startswith("codling") else f"codling: {line}", file=sys.stderr)
        sys.exit(2 if shown is not None else 1)
    except (RuntimeError, MemoryError) as error:
        shown = from_memory_error(error)
        if shown is None:
            raise
        if debug:
            traceback.print_exc()
        print(f"codling: {shown}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("codling: stopped; the same command goes on from here", file=sys.stderr)
        sys.exit(130)


def join_dashes(tokens: Sequence[str]) -> list[str]:
    """The words of a command line; a value that begins with a hyphen and cannot be a flag (- alone,
    or one with a blank) is joined to its flag, which would be taken for one without a value.

    >>> join_dashes(["chat", "m", "--message", "- one", "--stop", "-", "--cache", "int8"])
    ['chat', 'm', '--message=- one', '--stop=-', '--cache', 'int8']
    """
    joined: list[str] = []
    for token in tokens:
        is_value = token == "-" or (token.startswith("-") and " " in token.partition("=")[0])
        before = joined[-1] if joined else ""
        if is_value and before.startswith("--") and "=" not in before:
            joined[-1] = f"{before}={token}"
        else:
            joined.append(token)
    return joined


def _prepare_streams() -> None:
    """Standard streams that are closed read and write nothing, and what an encoding lacks is
    written as an escape: text of a model may be anything."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_RDWR), mode, encoding="utf-8"))
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def _take_debug(tokens: Sequence[str]) -> tuple[list[str], bool]:
    """The words without --debug, and whether it was among them.

    A verb that reads foreign flags may have one of that name, which has a value.
    """
    foreign = any(verb.takes_words and tokens[:1] == [verb.name] for verb in VERBS)
    ours = [
        token == "--debug" and not (foreign and after is not None and not after.startswith("--"))
        for token, after in zip_longest(tokens, tokens[1:])
    ]
    return [t for t, is_ours in zip(tokens, ours, strict=True) if not is_ours], any(ours)


def _run(tokens: Sequence[str]) -> int:
    result = _app(tokens)(
        tokens,
        print_error=False,
        exit_on_error=False,
        result_action="return_value",
    )
    _show(result)
    if isinstance(result, TextWithStatus):
        return result.status
    return result if isinstance(result, int) else 0


def completion(config: CompletionConfig) -> str:
    """A script with which the shell completes verbs and flags.

    Make it again after an update. For zsh it goes into a folder of fpath as _codling, for fish into
    ~/.config/fish/completions/codling.fish.

    Example: codling completion bash > ~/.local/share/bash-completion/completions/codling
    """
    app = _app(())
    for verb in VERBS:
        group, _, name = verb.name.rpartition(" ")
        owner = app[group] if group else app
        del owner[name]
        owner.command(_command(verb), name=name, help=verb.help)
    return app.generate_completion(prog_name="codling", shell=config.shell)


def _refuse_ranks(verb: Verb) -> None:
    """ConfigError if torchrun started several processes of a verb that runs in one."""
    n_ranks = os.environ.get("WORLD_SIZE", "1") if "LOCAL_RANK" in os.environ else "1"
    if n_ranks != "1" and not verb.takes_ranks:
        together = ", ".join(each.name for each in VERBS if each.takes_ranks)
        raise ConfigError(
            f"codling {verb.name} runs in one process, and torchrun started {n_ranks}; run it "
            f"without torchrun (with it: {together})"
        )


def _app(tokens: Sequence[str]) -> App:
    """The app with every verb listed, of which only the one in `tokens` is imported."""
    app = _group("codling", "A private code model from your own repositories.", epilogue=EPILOGUE)
    groups = {name: _group(name, text) for name, text in GROUPS.items()}
    words = [t for t in tokens if not t.startswith("-")]
    _check_verb(words)
    for order, verb in enumerate(VERBS):
        group, _, name = verb.name.rpartition(" ")
        if group and group not in app:
            groups[group].sort_key = order
            app.command(groups[group])
        owner = groups[group] if group else app
        if words[: 2 if group else 1] == verb.name.split():
            _refuse_ranks(verb)
            command = _command(verb)
            _refuse_former_flags(verb, tokens)
            text, example = _help_texts(command.__doc__ or verb.help)
            owner.command(command, name=name, help=text, help_epilogue=example, sort_key=order)
        else:
            owner.command(verb.target, name=name, help=verb.help, sort_key=order)
    return app


def _help_texts(docstring: str) -> tuple[str, str]:
    """A stage's docstring as a verb's help and the example below it.

    A paragraph is one line of help, which the terminal wraps; what the function raises is for its
    callers, and a user meets it as a sentence.
    """
    text, _, example = inspect.cleandoc(docstring).partition("Example:")
    text = re.sub(r"(?<!\n)\n(?=\S)", " ", text)
    text = re.sub(r"(^|\s)Raises [A-Z].*", "", text, flags=re.M)
    example = " ".join(example.split())
    return text.strip(), f"Example: {example}" if example else EPILOGUE


def _refuse_former_flags(verb: Verb, tokens: Sequence[str]) -> None:
    """Name the new spelling of a flag that had another."""
    module, _, name = verb.target.partition(":")
    config_class = recipes.config_class(getattr(importlib.import_module(module), name))
    for token in tokens:
        flag = token.partition("=")[0]
        if flag.startswith("--") and (
            line := recipes.explain_former_name(config_class, flag, f"codling {verb.name}")
        ):
            raise ConfigError(line)


def _check_verb(words: Sequence[str]) -> None:
    """Refuse an unknown verb with the nearest one (the library would import every stage first)."""
    names = {v.name for v in VERBS}
    if words and words[0] in GROUPS:
        inner = {n.split()[1] for n in names if n.startswith(words[0] + " ")}
        if len(words) > 1 and words[1] not in inner:
            raise ConfigError(
                explain_unknown_key(words[1], inner, f"codling {words[0]}", what="verb")
            )
    elif words and words[0] not in names:
        raise ConfigError(
            explain_unknown_key(words[0], names | set(GROUPS), "codling", what="verb")
        )


def _group(name: str, text: str, epilogue: str | None = None) -> App:
    return App(
        name=name,
        help=text,
        help_epilogue=epilogue,
        help_format="plaintext",
        version=__version__,
        version_flags=("--version", "-V"),
        suppress_keyboard_interrupt=False,
    )


def _command(verb: Verb) -> Callable[..., object]:
    """A function whose signature holds the fields of the verb's config, all optional."""
    module, _, name = verb.target.partition(":")
    stage = getattr(importlib.import_module(module), name)
    config_class = recipes.config_class(stage)

    def command(
        *positional: object, recipe: Path | None = None, fresh: bool = False, **flags: object
    ) -> object:
        if verb.positional and positional:
            flags[verb.positional] = (
                positional if _takes_many(config_class, verb.positional) else positional[0]
            )
        given = _nest_flags({k: v for k, v in flags.items() if v is not None and v != ()})
        values = _read_table(config_class, verb, recipe)
        if recipe is not None and "recipe" in {f.name for f in fields(config_class)}:
            given["recipe"] = recipe
        names = spell_flags(settings_of(config_class), verb.positional)
        with _naming_flags(names), fresh_start() if fresh else nullcontext():
            result = stage(_merge(config_class, verb, values, given))
        return _name_flags_late(result, names) if isinstance(result, Iterator) else result

    parameters = list(_parameters(config_class, verb))
    parameters.append(
        inspect.Parameter(
            "recipe",
            KEYWORD,
            default=None,
            annotation=Annotated[
                Path | None,
                Parameter(
                    help="TOML file with a table of settings per stage, or one of ours: tiny."
                ),
            ],
        )
    )
    if verb.takes_words or {"out_dir", "run_dir"} & {f.name for f in fields(config_class)}:
        note = Parameter(
            help="Drop unfinished work of the output folder and start again.",
            negative=(),
            show_default=False,
        )
        annotation = ANNOTATED[bool, note]
        parameters.append(inspect.Parameter("fresh", KEYWORD, default=False, annotation=annotation))
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {p.name: p.annotation for p in parameters}
    command.__doc__ = stage.__doc__
    return command


@contextmanager
def _naming_flags(names: dict[str, str]) -> Iterator[None]:
    """Stages speak of settings by their names in a recipe; here an error names their flags."""
    try:
        yield
    except (ConfigError, RequestError) as error:
        raise type(error)(name_flags_in_error(str(error), names)) from error


def _name_flags_late(pieces: Iterator[object], names: dict[str, str]) -> Iterator[object]:
    with _naming_flags(names):
        yield from pieces


def _read_table(config_class: type[Any], verb: Verb, recipe: Path | None) -> dict[str, Any]:
    """The verb's table of a recipe, checked alone: a message about it names the file, not flags."""
    if recipe is None:
        return {}
    where, tables = f"{recipe} [{verb.table}]", recipes.read_recipe(recipe)
    # One of another verb is for that; one of none is a slip, whose settings would not count.
    recipes.check_tables(
        tables, {*TABLES, *LEARNING_TABLES, *(v.table for v in VERBS)}, str(recipe)
    )
    read: dict[str, Any] = tables.get(verb.table, {})
    recipes.build_partial(config_class, read, where)
    if verb.table not in tables and "recipe" not in {f.name for f in fields(config_class)}:
        say(f"{recipe} has no table [{verb.table}]: of it nothing counts here")
    return read


def _merge(
    config_class: type[Any], verb: Verb, values: dict[str, Any], given: dict[str, Any]
) -> object:
    where = f"codling {verb.name}"
    merged = _deep_merge(values, given)
    if missing := missing_flags(config_class, merged, verb.positional):
        raise ConfigError(f"{where}: {missing}; see codling {verb.name} --help")
    return recipes.build(config_class, merged, where)


def _parameters(config_class: type, verb: Verb) -> Iterator[inspect.Parameter]:
    """The config's settings as parameters of a function, the positional one first."""
    positional = verb.positional
    settings = [each for each in settings_of(config_class) if each.path != "recipe"]
    for each in sorted(settings, key=lambda setting: setting.path != positional):
        note = Parameter(
            name=None if each.path == positional else each.flag,
            help=_help_line(each, settings, positional),
            show_default=False,
            negative_iterable=(),
            # `--benchmarks *.jsonl`; only where no argument without a flag could be swallowed.
            consume_multiple=positional is None,
            allow_leading_hyphen=verb.takes_words and each.path == positional,
        )
        name = each.path.replace(".", "__")
        if each.path != positional:
            annotation = ANNOTATED[each.hint | None, note]
            yield inspect.Parameter(name, KEYWORD, default=None, annotation=annotation)
        elif _is_tuple(each.hint):
            annotation = ANNOTATED[get_args(each.hint)[0], note]
            yield inspect.Parameter(name, inspect.Parameter.VAR_POSITIONAL, annotation=annotation)
        else:
            annotation = ANNOTATED[each.hint | None, note]
            yield inspect.Parameter(name, POSITIONAL, default=None, annotation=annotation)


def _help_line(setting: Setting, settings: Sequence[Setting], positional: str | None) -> str:
    """What help says of a setting; its neighbours are named as the flags that they are."""
    parent = setting.path.rpartition(".")[0]
    beside = [each for each in settings if each.path.rpartition(".")[0] == parent]
    flags = spell_flags(settings, positional) | spell_flags(beside, positional)
    shown = setting.default_text
    return (
        name_flags(setting.documentation, flags)
        + (" [required]" if setting.required else "")
        + (f" [default: {shown}]" if shown else "")
    )


def _is_tuple(hint: object) -> bool:
    return get_origin(hint) is tuple


def _takes_many(config_class: type, name: str) -> bool:
    return _is_tuple(typing.get_type_hints(config_class)[name])


def _nest_flags(flags: dict[str, object]) -> dict[str, Any]:
    """`{"model__width": 3}` as `{"model": {"width": 3}}`."""
    nested: dict[str, Any] = {}
    for name, value in flags.items():
        *parents, last = name.split("__")
        place = nested
        for parent in parents:
            place = place.setdefault(parent, {})
        place[last] = value
    return nested


def _deep_merge(under: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    merged = {k.replace("-", "_"): v for k, v in under.items()}
    for key, value in over.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = _deep_merge(merged[key], value) if both else value
    return merged


def _show(result: object) -> None:
    if isinstance(result, Artifact) and os.environ.get("RANK", "0") != "0":
        return  # under torchrun the first process tells
    if isinstance(result, str | TextWithStatus):
        print(result)
    elif isinstance(result, Artifact):
        counts = ", ".join(f"{k} {v:,}" for k, v in result.counts.items() if type(v) is int)
        if headline := result.counts.get("headline"):
            print(headline)
        print(f"{result.kind}: {result.path} ({counts})" if counts else str(result.path))
    elif isinstance(result, Iterator):
        for piece in result:
            print(piece, end="", flush=True)
        print()


def _one_line(error: BaseException) -> str:
    if isinstance(error, UnusedCliTokensError):
        left = " ".join(error.unused_tokens or ())
        return (
            f"nothing takes {left}; a flag that takes many is repeated: --flag A --flag B, and "
            "other values need their flag in front (see --help)"
        )
    return " ".join(str(error).split()) or type(error).__name__


if __name__ == "__main__":
    main()
