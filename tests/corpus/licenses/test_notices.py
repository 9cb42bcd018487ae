"""corpus/licenses/notices: headers beat notices, the nearest notice wins, unknown never passes."""

import pytest
from identify.vendor.licenses import LICENSES

from codling.corpus.licenses.headers import header_license
from codling.corpus.licenses.metadata import expression, metadata_license
from codling.corpus.licenses.notices import PERMISSIVE, is_notice, read_notices
from codling.corpus.licenses.spdx import is_allowed
from codling.corpus.licenses.texts import text_license

TEXTS = dict(LICENSES)
MIT, APACHE, GPL = (TEXTS[name].encode() for name in ("MIT", "Apache-2.0", "GPL-3.0"))
GPL_HEADER = """
/* This program is free software; you can redistribute it and/or modify
 * it under the terms of the GNU General Public License as published by
 * the Free Software Foundation; either version 2 of the License, or
 * (at your option) any later version. */
"""


@pytest.mark.parametrize("name", sorted(TEXTS))
def test_every_published_text_is_recognised_in_another_layout(name: str) -> None:
    text = TEXTS[name].replace("[year]", "2019").replace("[fullname]", "Jane Doe and others")
    words = text.replace("YEAR", "2019").split()
    lines = [" ".join(words[i : i + 9]) for i in range(0, len(words), 9)]
    found = text_license("My Project\n\n" + "\n  ".join(lines))
    gnu = name + "-only" if "GPL-" in name else name
    assert found == gnu


def test_a_file_with_two_texts_has_both_licences() -> None:
    assert text_license(TEXTS["MIT"] + "\n\n" + TEXTS["Apache-2.0"]) == "Apache-2.0 AND MIT"
    assert text_license("All rights reserved. Ask us first.") is None


def test_a_text_inside_another_does_not_count_beside_it() -> None:
    sentence = "The Software shall be used for Good, not Evil."
    mit = TEXTS["MIT"]
    assert text_license(mit) == "MIT"
    start = mit.index("THE SOFTWARE IS")
    assert text_license(f"{mit[:start]}{sentence}\n\n{mit[start:]}") == "JSON"
    assert text_license(TEXTS["GPL-3.0"]) == "GPL-3.0-only"
    assert text_license(TEXTS["AGPL-3.0"]) == "AGPL-3.0-only"
    assert text_license(TEXTS["BSD-2-Clause"]) == "BSD-2-Clause"


def test_a_file_that_offers_a_choice_says_so() -> None:
    both = TEXTS["MIT"] + "\n\n" + TEXTS["Apache-2.0"]
    assert text_license("Use it at your choice under one of these:\n" + both) == "Apache-2.0 OR MIT"
    perl = "This is free software under the same terms as the Perl 5 system.\n"
    assert text_license(perl + TEXTS["MIT"] + TEXTS["ISC"]) == "ISC OR MIT"


@pytest.mark.parametrize(
    ("stated", "expected"),
    [
        ("GPL-3.0-or-later", "GPL-3.0-or-later"),
        ("MIT or GPL-2+", "MIT OR GPL-2.0-or-later"),
        ("BSD-3-clause", "BSD-3-Clause"),
        ("MIT AND (ISC OR zlib)", "MIT AND (ISC OR Zlib)"),
        ("Artistic or GPL-1+", "Artistic-1.0-Perl OR GPL-1.0-or-later"),
        ("Apache-2.0 WITH LLVM-exception", "Apache-2.0 WITH LLVM-exception"),
        ("LicenseRef-Ours", "LicenseRef-Ours"),
        ("My-Own-1.0", None),
        ("and", None),
        ("", None),
    ],
)
def test_a_stated_licence_is_written_as_spdx_does(stated: str, expected: str | None) -> None:
    assert expression(stated) == expected


@pytest.mark.parametrize(
    ("text", "license_name"),
    [
        ("# SPDX-License-Identifier: MIT\n", "MIT"),
        ("// SPDX-License-Identifier: Apache-2.0 OR MIT\n", "Apache-2.0 OR MIT"),
        ("/* SPDX-License-Identifier: GPL-2.0 */", "GPL-2.0-only"),
        (GPL_HEADER, "GPL-2.0-or-later"),
        ("# Licensed under the Apache License, Version 2.0 (the\n# 'License');", "Apache-2.0"),
        (
            "// Permission is hereby granted, free of charge, to any person\n// obtaining a copy",
            "MIT",
        ),
        (
            "# Redistribution and use in source and binary forms, with or without\n"
            "# modification. Neither the name of X nor the names",
            "BSD-3-Clause",
        ),
        ("Use of this source code is governed by a BSD-style\nlicense", "BSD-3-Clause"),
        ("the terms of the GNU Lesser General Public License version 2.1", "LGPL-2.1-only"),
        ("under the GNU Affero General Public License, version 3", "AGPL-3.0-only"),
        ("This Source Code is subject to the Mozilla Public License, v. 2.0.", "MPL-2.0"),
        ("Dual licensed under the MIT license and the GNU General Public License v2", None),
        ("# Released under LGPL 2.1", "LGPL-2.1-only"),
        ("// THIS CODE IS LICENSED UNDER LGPLv3\n", "LGPL-3.0-only"),
        ("# Distributed under the terms of the MPL 2.0", "MPL-2.0"),
        ("-- Released under the GPL-3.0+; see COPYING", "GPL-3.0-or-later"),
        ("/* available under the EUPL 1.2 */", "EUPL-1.2"),
        ("# Unauthorized copying of this file is strictly prohibited.", "LicenseRef-proprietary"),
        ("# This parser reads headers such as GPL and MPL; redistribution is free.", None),
        ("def licence_count(): return 1\n", None),
        ("print('hello')\n", None),
    ],
)
def test_headers_are_recognised(text: str, license_name: str | None) -> None:
    found = header_license(text)
    if text.startswith("Dual"):
        assert found is not None
        assert is_allowed(found, PERMISSIVE)
    else:
        assert found == license_name


def test_the_nearest_notice_upwards_decides_and_a_header_beats_it() -> None:
    licenses = read_notices({"LICENSE": MIT, "vendor/lib/COPYING": GPL})
    assert licenses.of("a/b.py", "x = 1") == ("MIT", "file:LICENSE")
    assert licenses.of("vendor/lib/src/c.c", "int x;") == (
        "GPL-3.0-only",
        "file:vendor/lib/COPYING",
    )
    assert licenses.of("a/c.c", GPL_HEADER) == ("GPL-2.0-or-later", "header")
    assert licenses.of("vendor/lib/m.c", "// SPDX-License-Identifier: ISC") == ("ISC", "header")


def test_a_notice_that_is_not_recognised_makes_its_folder_unknown() -> None:
    licenses = read_notices({"LICENSE": MIT, "vendor/LICENSE": b"You may look at this.\n"})
    assert licenses.of("vendor/a.py", "x = 1") == ("unknown", "file:vendor/LICENSE")
    assert read_notices({}).of("a.py", "x = 1") == ("unknown", "none")


def test_own_code_is_declared_but_foreign_notices_count_in_it() -> None:
    licenses = read_notices(
        {"LICENSE": b"Copyright Acme. All rights reserved.", "vendor/LICENSE": GPL}, own=True
    )
    assert licenses.of("a.py", "x = 1") == ("LicenseRef-own", "declared")
    assert licenses.of("vendor/a.py", "x = 1")[0] == "GPL-3.0-only"
    assert licenses.of("copied.c", GPL_HEADER)[0] == "GPL-2.0-or-later"


def test_a_declared_licence_holds_where_nothing_else_is_said() -> None:
    licenses = read_notices({"LICENSE.txt": APACHE, "lib/LICENSE": MIT}, "PSF-2.0")
    assert licenses.of("a.py", "x = 1") == ("PSF-2.0", "declared")
    assert licenses.of("lib/a.py", "x = 1") == ("MIT", "file:lib/LICENSE")


def test_licence_files_named_after_licences_are_a_choice() -> None:
    either = read_notices({"LICENSE-APACHE": APACHE, "LICENSE-MIT": MIT})
    assert either.of("a.rs", "") == ("Apache-2.0 OR MIT", "file:LICENSE-APACHE")
    both = read_notices({"COPYING": GPL, "LICENSE": MIT})
    assert both.of("a.rs", "")[0] == "GPL-3.0-only AND MIT"


def test_a_folder_of_licence_texts_does_not_overrule_the_licence_file() -> None:
    licenses = read_notices({"COPYING": GPL, "licenses/MIT.txt": MIT, "licenses/LICENSE-MIT": MIT})
    assert licenses.of("a.py", "")[0] == "GPL-3.0-only"
    assert read_notices({"LICENSES/LICENSE-MIT.txt": MIT}).of("a.py", "")[0] == "MIT"


def test_the_metadata_of_a_wheel_speaks_for_the_wheel() -> None:
    licenses = read_notices({"pkg-1.0.dist-info/METADATA": b"Name: pkg\nLicense: MIT\n\ntext"})
    assert licenses.of("pkg/a.py", "") == ("MIT", "file:pkg-1.0.dist-info/METADATA")
    licenses = read_notices({"pkg-1.0.dist-info/licenses/LICENSE": APACHE})
    assert licenses.of("pkg/a.py", "")[0] == "Apache-2.0"


@pytest.mark.parametrize(
    ("name", "text", "license_name"),
    [
        ("pyproject.toml", '[project]\nlicense = "MIT"', "MIT"),
        ("pyproject.toml", '[project]\nlicense = {text = "BSD 3-Clause"}', "BSD-3-Clause"),
        (
            "pyproject.toml",
            '[project]\nclassifiers = ["License :: OSI Approved :: Apache Software License"]',
            "Apache-2.0",
        ),
        ("pyproject.toml", '[tool.poetry]\nlicense = "GPL-3.0+"', "GPL-3.0-or-later"),
        ("pyproject.toml", "not toml [", None),
        ("package.json", '{"license": "ISC"}', "ISC"),
        (
            "package.json",
            '{"licenses": [{"type": "MIT"}, {"type": "Apache-2.0"}]}',
            "MIT OR Apache-2.0",
        ),
        ("package.json", '{"license": "SEE LICENSE IN LICENSE"}', None),
        ("Cargo.toml", '[package]\nlicense = "MIT/Apache-2.0"', "MIT OR Apache-2.0"),
        ("setup.cfg", "[metadata]\nlicense = BSD\n", "BSD-3-Clause"),
        ("DESCRIPTION", "Package: a\nLicense: MIT + file LICENSE\n", "MIT"),
        ("DESCRIPTION", "Package: a\nLicense: GPL-2 | GPL-3\n", "GPL-2.0-only OR GPL-3.0-only"),
        ("DESCRIPTION", "License: MIT is what we like\n", None),
        ("copyright", "Format: x\n\nFiles: *\nLicense: GPL-2+\n text\n", "GPL-2.0-or-later"),
    ],
)
def test_package_metadata_states_a_licence(name: str, text: str, license_name: str | None) -> None:
    assert metadata_license(name, text) == license_name


def test_only_notices_are_notices() -> None:
    names = [
        "LICENSE",
        "LICENCE.txt",
        "COPYING.LESSER",
        "a/LICENSE-MIT",
        "MIT-LICENSE.md",
        "UNLICENSE",
    ]
    assert all(is_notice(name) for name in [*names, "package.json", "debian/copyright"])
    assert not any(is_notice(n) for n in ["license.py", "a/copying.c", "notes.md", "LICENSE.docs"])
    # What these say can only add to a licence (test_license_terms.py).
    assert all(is_notice(n) for n in ["README.md", "COMMONS-CLAUSE.txt", "ADDITIONAL_TERMS"])


def test_expressions_are_judged_by_what_can_be_fulfilled() -> None:
    assert is_allowed("(MIT OR GPL-2.0-only) AND Apache-2.0", PERMISSIVE)
    assert not is_allowed("MIT AND (GPL-2.0-only OR LGPL-2.1-only)", PERMISSIVE)
    assert is_allowed("Apache-2.0 WITH LLVM-exception", PERMISSIVE)
    assert not is_allowed("Apache-2.0 WITH Commons-Clause", PERMISSIVE)
    assert not is_allowed("MIT WITH", PERMISSIVE)
    assert not is_allowed("MIT AND (ISC", PERMISSIVE)
    assert not is_allowed("MIT OR", PERMISSIVE)
    assert not is_allowed("MIT ISC", PERMISSIVE)
    assert not is_allowed("( )", PERMISSIVE)
    assert not is_allowed("", PERMISSIVE)
    assert expression("MIT or whatever we like") is None
