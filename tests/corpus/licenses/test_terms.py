"""corpus/licenses/terms and headers: what stands beside a known licence decides, too."""

import pytest
from identify.vendor.licenses import LICENSES

from codling.corpus.licenses.headers import header_license
from codling.corpus.licenses.notices import PERMISSIVE, is_notice, read_notices
from codling.corpus.licenses.spdx import is_allowed
from codling.corpus.licenses.terms import ADDITIONAL_TERMS
from codling.corpus.licenses.texts import text_license
from codling.corpus.sources.dumps import _license

TEXTS = dict(LICENSES)
MIT, APACHE, GPL = TEXTS["MIT"], TEXTS["Apache-2.0"], TEXTS["GPL-3.0"]
MIDDLE = MIT.index("THE SOFTWARE IS")
LIMITS = [
    'The "Commons Clause" License Condition v1.0 applies to this software.',
    "The Software may be used for non-commercial purposes only.",
    "Commercial use requires a separate written agreement.",
    "The Software shall not be used in any product that trains machine learning models.",
    "You may not resell this software on its own.",
    "It is prohibited to use the program in weapons.",
    "Companies with more than 50 employees must obtain a commercial licence.",
    "The licensee may not provide the software to third parties as a hosted service.",
    "This license does not apply to the following companies: Acme, Roadrunner.",
    "For academic use only.",
    "Academic use only!",
    "Not for use in competing products.",
    "Evaluation license: 30 days.",
    "Licensees holding valid commercial licenses may use this file.",
    "No part of this software may be used by government agencies.",
    "You can use it for free as long as you do not make money with it.",
]
HARMLESS = [
    "Wordcount is maintained by Jane Roe and others; see AUTHORS for the list of names.",
    "See THIRDPARTY.md for licence information on bundled components.",
    "The logo is a trademark of Acme and may not be used without permission.",
    "Neither the name of Acme nor those of its members may be used in advertising.",
    "The tests in data/ come from the Unicode project.",
    "You may also use it in commercial products, without any fee.",
    "No animals were harmed.",
    "The grammar is not for the faint of heart.",
]


@pytest.mark.parametrize("sentence", LIMITS)
def test_a_limit_beside_a_known_text_adds_terms_wherever_it_stands(sentence: str) -> None:
    for text in (f"{sentence}\n\n{MIT}", f"{MIT[:MIDDLE]}{sentence}\n\n{MIT[MIDDLE:]}"):
        assert text_license(text) == f"MIT AND {ADDITIONAL_TERMS}"
    assert text_license(f"{APACHE}\n\n{sentence}\n") == f"Apache-2.0 AND {ADDITIONAL_TERMS}"
    assert not is_allowed(f"MIT AND {ADDITIONAL_TERMS}", PERMISSIVE)


@pytest.mark.parametrize("sentence", HARMLESS)
def test_names_thanks_and_permissions_add_nothing(sentence: str) -> None:
    assert text_license(f"{MIT}\n\n{sentence}\n") == "MIT"


def test_a_further_file_adds_terms() -> None:
    clause = b"The grant of rights will not include the right to sell the Software."
    for name in ("COMMONS-CLAUSE.md", "LICENSE-ADDENDUM", "ADDITIONAL_TERMS.txt", "EULA.txt"):
        assert is_notice(name)
        found = read_notices({"LICENSE": MIT.encode(), name: clause}).of("a.py", "x = 1")
        assert found == (f"MIT AND {ADDITIONAL_TERMS}", "file:LICENSE"), name
    noted = read_notices({"LICENSE": MIT.encode(), "COPYRIGHT": b"Jane Roe, 2020.\n"})
    assert noted.of("a.py", "")[0] == "MIT"


def test_a_readme_adds_terms_only_in_its_section_on_the_licence() -> None:
    readme = b"# A\n\n## License\n\nMIT, free for non-commercial use.\n\n## Install\n"
    found = read_notices({"LICENSE": MIT.encode(), "README.md": readme}).of("a.py", "")
    assert found[0] == f"MIT AND {ADDITIONAL_TERMS}"
    other = b"# A\n\nCounts non-commercial use only.\n\n## License\n\nMIT\n"
    assert read_notices({"LICENSE": MIT.encode(), "README.md": other}).of("a.py", "")[0] == "MIT"
    assert read_notices({"README.md": b"# A\n\n## License\nMIT\n"}).of("a.py", "")[1] == "none"


def test_terms_that_no_known_text_goes_with_leave_the_folder_unknown() -> None:
    terms = b"You may not sell this program.\n"
    assert read_notices({"LICENSE": terms}).of("a.py", "") == ("unknown", "file:LICENSE")
    declared = {"LICENSE": terms, "package.json": b'{"license": "MIT"}'}
    assert read_notices(declared).of("a.js", "")[0] == f"MIT AND {ADDITIONAL_TERMS}"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("// a - licensed under MIT & GPL\n", "MIT AND GPL-2.0-or-later"),
        ("# Licensed under the MIT and Apache 2.0 licenses\n", "MIT AND Apache-2.0"),
        ("/* licensed under MIT or GPLv3 */", "MIT OR GPL-3.0-only"),
        ("/* Dual licensed under the MIT and GPL licenses. */", "MIT OR GPL-2.0-or-later"),
        (
            "/* SPDX-License-Identifier: MIT\n * SPDX-License-Identifier: GPL-2.0-only */",
            "MIT AND GPL-2.0-only",
        ),
        (
            "# SPDX-License-Identifier: MIT OR ISC\n# SPDX-License-Identifier: Zlib\n",
            "(MIT OR ISC) AND Zlib",
        ),
        ("/* SPDX-License-Identifier: MIT\n * SPDX-License-Identifier: MIT */", "MIT"),
        ("/**\n * @license GPL-3.0-only\n */", "GPL-3.0-only"),
        (" * License: GPLv2 or later\n", "GPL-2.0-or-later"),
        ("// Licensed under MIT, for non-commercial use only.", f"MIT AND {ADDITIONAL_TERMS}"),
        ('"""Words.\n\nSPDX-License-Identifier: ISC\n"""\n', "ISC"),
    ],
)
def test_everything_that_a_header_states_counts(text: str, expected: str) -> None:
    assert header_license(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        'print("# SPDX-License-Identifier: GPL-3.0-only", file=dest)\n',
        "const header = `\n// SPDX-License-Identifier: GPL-3.0-only\n`;\n",
        'HEADER = """\n# SPDX-License-Identifier: GPL-3.0-only\n"""\n',
        "cat > a.c <<'EOF'\n// SPDX-License-Identifier: GPL-3.0-only\nEOF\n",
        'MARKS = {\n    "gpl": "under the terms of the GNU General Public License version 2",\n}\n',
        'puts("Permission is hereby granted, free of charge, to any person obtaining a copy"\n'
        '     " of this software");\n',
        '{"Engines": [{"LicenseModel": "postgresql-license", "Engine": "postgres"}]}',
        "LicenseModel: postgresql-license\nEngine: postgres\n",
        "elastic_license_type = server side public license\n",
    ],
)
def test_what_a_program_only_holds_as_data_is_no_header(text: str) -> None:
    assert header_license(text) is None


def test_the_files_own_tag_says_how_its_texts_go_together() -> None:
    both = f"{MIT}\n\n{APACHE}"
    assert text_license(both) == "Apache-2.0 AND MIT"
    assert text_license(f"SPDX-License-Identifier: MIT OR Apache-2.0\n\n{both}") == (
        "MIT OR Apache-2.0"
    )
    assert text_license(f"Use it under either of two licenses.\n\n{both}") == "Apache-2.0 OR MIT"
    assert text_license(f"You may choose\neither license.\n\n{both}") == "Apache-2.0 OR MIT"
    assert text_license(f"You may choose any version.\n\n{both}") == "Apache-2.0 AND MIT"
    assert text_license(f"SPDX-License-Identifier: ISC\n\n{both}") == "Apache-2.0 AND MIT"


def test_licences_that_were_detected_in_a_repository_all_hold() -> None:
    assert _license(["MIT", "GPL-3.0-only"]) == "MIT AND GPL-3.0-only"
    assert _license(["MIT"]) == "MIT"
    assert _license(["MIT", "see file"]) == ""
