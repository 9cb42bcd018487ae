"""core/languages/table: every language of the README's list, recognised and commented."""

import re
import tomllib
from importlib import resources
from pathlib import Path

import pytest

from codling.core.languages.hints import hints, read_hints
from codling.core.languages.table import (
    ALIASES,
    LANGUAGES,
    detect,
    header_language,
    path_comment,
)


def test_the_table_holds_every_language_of_the_readmes_list(shared_data: Path) -> None:
    listed = (shared_data / "languages" / "deepseek-coder-89.txt").read_text().split()
    assert len(listed) == 89
    assert set(listed) <= set(LANGUAGES)


def test_every_language_can_be_recognised_and_can_carry_a_comment() -> None:
    for key, row in LANGUAGES.items():
        assert row.extensions or row.file_names or row.shebangs, key
        assert row.line_comment or row.block_comment, key
        assert path_comment(key, "a/b.c").endswith("\n")
        assert "a/b.c" in path_comment(key, "a/b.c")


def test_every_hint_names_languages_of_the_table() -> None:
    for extension, (marks, otherwise) in hints().rules.items():
        for language in [*(mark.language for mark in marks), otherwise]:
            assert language is None or language in LANGUAGES, extension


def test_every_mark_is_a_regular_expression_over_lines() -> None:
    for pattern in [m.pattern for rules in hints().rules.values() for m in rules.marks]:
        re.compile(pattern, re.MULTILINE)


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        ({"marks": [["c", "(&cobol)"]]}, "there is no pattern cobol"),
        ({"marks": [["c", "x"]], "else": "c"}, "no column is called else"),
        ({"otherwise": "c"}, "it has no marks"),
    ],
)
def test_a_bad_row_of_the_hints_is_named(row: dict[str, object], fault: str) -> None:
    with pytest.raises(ValueError, match=rf"^hints.toml, \.q: {fault}$"):
        read_hints({"patterns": {}, "cpp_words": [], ".q": row})


def test_an_extension_of_two_languages_has_a_hint() -> None:
    text = resources.files("codling.core.languages").joinpath("languages.toml").read_text("utf-8")
    owners: dict[str, int] = {}
    for row in tomllib.loads(text).values():
        for extension in row["extensions"]:
            owners[extension] = owners.get(extension, 0) + 1
    assert {e for e, n in owners.items() if n > 1} <= set(hints().rules)


@pytest.mark.parametrize(
    ("path", "content", "language"),
    [
        ("a/b/c.py", b"", "python"),
        ("A.JAVA", b"", "java"),
        ("x.C", b"", "cpp"),
        ("x.c", b"", "c"),
        ("x.h", b"int f(void);\n", "c"),
        ("x.h", b"#include <vector>\n", "cpp"),
        ("x.h", b"@interface Foo : NSObject\n", None),
        ("x.h", b"/* class A is not here\n class B */\nint f(void);\n", "c"),
        ("x.h", b"#ifdef __cplusplus\ntemplate <class T> f();\n#endif\nint f(void);\n", "c"),
        ("x.H", b"int f();\n", "cpp"),
        ("x.inc", b"<?PHP\n", "php"),
        ("x.inc", b"{$mode objfpc}\nprocedure A(b: integer);\n", "pascal"),
        ("x.inc", b"%macro a 1\n", "assembly"),
        ("x.inc", b"#include <vector>\n", "cpp"),
        ("x.cl", b"__kernel void f(__global int *a) {}\n", None),
        ("x.cl", b";; a\n(defun f ())\n", "common-lisp"),
        ("x.g", b"grammar T;\na : B ;\n", "antlr"),
        ("x.g", b"# a\nx := 1;\n", None),
        ("x.ML", b"fun f x = x\n", "standard-ml"),
        ("x.ml", b"structure S = struct end\n", "standard-ml"),
        ("x.ml", b"let f x = x\n", "ocaml"),
        ("x.pl", b"use strict; # likes(mary).\nmy $x;\n", "perl"),
        ("x.pl", b"/* a */\n:- module(a, []).\n", "prolog"),
        ("x.t", b"use v6;\nuse Test;\n", None),
        ("x.t", b"  $ hg init\n", None),
        ("x.bas", b"10 PRINT 1\n", None),
        ("x.md", b'(define_insn "a"', None),
        ("x.rkt", b"#!r6rs\n(library)", "racket"),
        ("x.m", b"% solves\nfunction y = f(x)\ny = x;\n", "matlab"),
        ("x.m", b"#import <Foundation/Foundation.h>\n", None),
        ("x.m", b"(* package *)\nf[x_] := x^2\n", "mathematica"),
        ("x.pl", b"use strict;\nmy $x = 1;\n", "perl"),
        ("x.pl", b"likes(mary, wine).\n", "prolog"),
        ("x.ts", b"export const x: number = 1\n", "typescript"),
        ("de.ts", b'<?xml version="1.0"?>\n<!DOCTYPE TS>\n<TS>', None),
        ("x.v", b"module top(input a);\nendmodule\n", "verilog"),
        ("x.v", b"Require Import List.\nTheorem t : True.\n", None),
        ("docs/x.coffee.md", b"# Text", "literate-coffeescript"),
        ("Makefile", b"all:\n", "makefile"),
        ("CMakeLists.txt", b"", "cmake"),
        ("notes.txt", b"hello", None),
        ("bin/run", b"#!/usr/bin/env -S python3.11 -u\n", "python"),
        ("bin/run", b"#! /bin/sh\n", "shell"),
        ("bin/run", b"#!/usr/bin/perl5.36\n", "perl"),
        ("bin/run", b"\x7fELF", None),
        ("tool.js", b"#!/usr/bin/env node\n", "javascript"),
        ("tool.ts", b"#!/usr/bin/env node\n", "typescript"),
        ("noext", b"", None),
        (".gitignore", b"", None),
    ],
)
def test_a_file_is_recognised(path: str, content: bytes, language: str | None) -> None:
    assert detect(path, content) == language


def test_a_header_that_could_be_either_is_what_its_neighbours_are() -> None:
    header = header_language(["a.cpp", "b.cc", "c.c", "d.h"])
    assert header == "cpp"
    assert detect("d.h", b"#define D 1\n", header=header) == "cpp"
    assert detect("d.h", b"@interface D : NSObject\n", header=header) is None


def test_a_header_with_a_long_comment_is_read_behind_it() -> None:
    comment = b"/*" + b" Copyright of many people.\n" * 400 + b"*/\n"
    assert detect("x.h", comment + b"namespace a {}\n") == "cpp"


def test_a_path_that_would_end_the_comment_is_made_harmless() -> None:
    assert path_comment("css", "a*/b.css") == "/* a?b.css */\n"
    assert path_comment("python", "a\nb.py") == "# a?b.py\n"


def test_the_table_knows_every_language_of_coder_v2(shared_data: Path) -> None:
    listed = (shared_data / "languages" / "deepseek-coder-v2-338.txt").read_text().splitlines()
    names = {row.name.lower() for row in LANGUAGES.values()} | set(LANGUAGES)
    assert len(listed) == 338
    for name in listed:
        assert ALIASES.get(name, name).lower() in names, name
    assert set(ALIASES.values()) <= set(LANGUAGES)


def test_no_extension_has_two_owners_among_the_extended_languages() -> None:
    owners: dict[str, str] = {}
    for key, row in LANGUAGES.items():
        for extension in row.extensions if row.is_extended else ():
            assert owners.setdefault(extension, key) == key
            assert not any(
                extension in r.extensions and not r.is_extended for r in LANGUAGES.values()
            )


@pytest.mark.parametrize(
    ("path", "content", "language"),
    [
        ("a.swift", b"", "swift"),
        ("View.m", b"#import <Foundation/Foundation.h>\n", "objective-c"),
        ("x.m", b"% solves\nfunction y = f(x)\ny = x;\n", "matlab"),
        ("a.nim", b"", "nimrod"),
        ("x.cl", b"__kernel void f(__global int *a) {}\n", "opencl"),
        ("x.g", b"# a\nx := 1;\n", "gap"),
        ("x.l", b"%%\n[a-z] ;\n", "lex"),
        ("x.l", b"(de f (X) X)\n", None),
        ("x.mod", b"param n;\nvar x;\n", "ampl"),
        ("x.mod", b"MODULE A;\nEND A.\n", "modula-2"),
        ("ls.1", b".TH LS 1\n", "groff"),
        ("notes-1.2", b"Version 1.2\n", None),
        ("a.sc", b"Foo : Bar {\n", "supercollider"),
        ("a.sc", b"object Foo\n", "scala"),
        ("x.t", b"use v6;\nuse Test;\n", "perl-6"),
        ("a.ui", b"not xml", None),
        ("nginx-site.conf", b"server {\n}\n", "nginx-configuration-file"),
        ("any.conf", b"a = 1\n", None),
        ("pom.xml", b"<project/>", "xml"),
        ("a.vue", b"", "vue"),
        ("control", b"", "debian-control-file"),
        ("a.py", b"", "python"),
        ("photo.png", b"", None),
    ],
)
def test_extended_languages_are_known_where_they_are_asked_for(
    path: str, content: bytes, language: str | None
) -> None:
    assert detect(path, content, extended=True) == language
    if language and LANGUAGES[language].is_extended:
        assert detect(path, content) is None
