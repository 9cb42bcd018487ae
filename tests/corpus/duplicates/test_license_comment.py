"""Where a file's licence comment ends, held to plain Python, and what that does to duplicates."""

import random

import numpy as np
import pytest

from codling.corpus.duplicates import minhash
from codling.corpus.duplicates.license_comment import license_end, license_end_reference

C = """/* Copyright the project contributors. All rights reserved.
 *
 * Permission is hereby granted, free of charge, to any person obtaining a copy of this software and
 * associated documentation files, to deal in the Software without restriction, including without
 * limitation the rights to use, copy, modify, merge, publish, distribute, sublicense, and/or sell
 * copies of the Software, subject to the conditions that stand in the file LICENSE beside it.
 */
"""
LINES = "".join(f"{{}} {line[3:]}\n" for line in C.splitlines()[:-1])


def found_end(text: str) -> int:
    data = text.encode()
    end = license_end(np.frombuffer(data, np.uint8), 0, len(data))
    assert end == license_end_reference(data)
    return len(data[:end].decode())


@pytest.mark.long
@pytest.mark.parametrize(
    ("before", "header"),
    [
        ("", C),
        ("\ufeff", C),
        ("", C + "\n/* What the file is. Licence: see above. */\n"),
        ("", "/* What the file is. */\n" + C),
        ("", LINES.replace("{}", "//")),
        ("", LINES.replace("{}", "#")),
        ("", LINES.replace("{}", "--")),
        ("", LINES.replace("{}", ";;")),
        ("", LINES.replace("{}", "%")),
        ("#!/usr/bin/env python3\n", "# -*- coding: utf-8 -*-\n#\n" + LINES.replace("{}", "#")),
        ("<?php\n\n", C),
        ('<?xml version="1.0"?>\n', "<!--\n" + C[3:-4] + "\n-->\n"),
        ("", '"""' + C[3:-4] + '"""\n'),
        ("", "(*" + C[3:-4] + "*)\n"),
        ("", "{-" + C[3:-4] + "-}\n"),
        ("", "// SPDX-License-Identifier: MIT\n"),
        ("", "#Copyright 2020 A. Writer\n#Licensed to you.\n"),
    ],
)
def test_the_comment_that_holds_a_licence_ends_where_the_code_begins(
    before: str, header: str
) -> None:
    text = before + header + "\nint value = 1;\n"
    assert text[found_end(text) :].strip() == "int value = 1;"


@pytest.mark.long
@pytest.mark.parametrize(
    "text",
    [
        "",
        "int a;\n" + C,
        "/* What the file is. */\nint a;\n",
        "#include <license.h>\n#define COPYRIGHT 1\nint a;\n",
        "#![doc = \"license\"]\nfn main() {}\n",
        "#[license]\nstruct A;\n",
        "/* licence without an end\nint a;\n",
        'LICENSE = """\nCopyright\n"""\n',
        C,
        LINES.replace("{}", "#"),
    ],
)  # fmt: skip
def test_code_and_what_has_no_licence_stay_and_so_does_a_file_that_is_all_header(text: str) -> None:
    assert found_end(text) == 0


def test_the_kernel_equals_plain_python_on_texts_put_together_by_chance() -> None:
    pieces = ["/*", "*/", "//", "#", "#!", "#i", "--", "--[[", "]]", ";", "%", '"""', "'''", "<!--",
              "-->", "<?php", "<?XML", "?>", "\n", "\n", " ", "\t", "a", "B1", "Licen", "COPYRIGHT",
              "\ufeff", "{-", "-}", "=begin", "=end", "dnl ", "-- a\n", "#A\n", "\u00e9",
              "\u00a0", "["]  # fmt: skip
    generator = random.Random(0)
    for _ in range(6000):
        found_end("".join(generator.choices(pieces, k=generator.randrange(14))))


def similarity(left: str, right: str) -> float:
    sets = [minhash.shingles(text.encode()).tolist() for text in (left, right)]
    for text, found in zip((left, right), sets, strict=True):
        assert found == sorted(set(minhash.shingles_reference(text.encode())))
    return minhash.jaccard_reference(*sets)


def test_small_files_under_the_same_header_are_not_the_same_file() -> None:
    one = "int uv_barrier_wait(uv_barrier_t* barrier) {\n  return wait_for(barrier, all);\n}\n"
    two = "void uv_sleep(unsigned int milliseconds) {\n  Sleep(milliseconds);\n}\n"
    assert similarity(C + one, C + two) < 0.1
    lines = LINES.replace("{}", "#")
    assert similarity(lines + "import first\n", lines + "import second\n") == 0


def test_files_that_differ_in_their_header_alone_are_near_duplicates() -> None:
    body = "int total(int first, int second) {\n  return first + second;\n}\n"
    other = "// SPDX-License-Identifier: Apache-2.0\n// Copyright 2021 Somebody Else\n"
    assert similarity(C + body, body) == 1
    assert similarity(C + body, other + body) == 1


def test_files_that_are_all_header_are_compared_by_it() -> None:
    assert similarity(C, C.replace("beside it", "above it")) > 0.8
