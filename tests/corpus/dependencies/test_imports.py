"""Edges of small repositories that can be checked by eye."""

from collections.abc import Mapping

import pytest

from codling.corpus.dependencies.c import c_includes
from codling.corpus.dependencies.graph import SourceFile, dependency_graph
from codling.corpus.dependencies.python import PythonImport, python_imports
from codling.corpus.dependencies.web import web_specifiers

LANGUAGE = {"py": "python", "c": "c", "h": "c", "cpp": "cpp", "hpp": "cpp", "java": "java"}
LANGUAGE |= {"js": "javascript", "ts": "typescript", "tsx": "typescript", "json": "json"}


def edges(files: Mapping[str, str]) -> dict[str, list[str]]:
    """The dependencies of every file that has some."""
    sources = [SourceFile(p, LANGUAGE[p.rpartition(".")[2]], text) for p, text in files.items()]
    graph = dependency_graph(sources)
    return {sources[i].path: [sources[t].path for t in g] for i, g in enumerate(graph) if g}


def test_the_example_of_the_paper_is_a_chain() -> None:
    assert edges(
        {
            "main.py": "from utils import load_data\nfrom model import IrisClassifier as Net\n",
            "model.py": "import torch\nfrom utils import load_data\n",
            "utils.py": "import torch\n",
        }
    ) == {"main.py": ["model.py", "utils.py"], "model.py": ["utils.py"]}


def test_from_import_leads_to_the_submodule_and_else_to_the_package() -> None:
    files = {
        "pkg/__init__.py": "VALUE = 1\n",
        "pkg/sub.py": "",
        "a.py": "from pkg import sub\n",
        "b.py": "from pkg import VALUE, sub\n",
        "c.py": "from pkg import *\n",
    }
    assert edges(files) == {
        "a.py": ["pkg/sub.py"],
        "b.py": ["pkg/__init__.py", "pkg/sub.py"],
        "c.py": ["pkg/__init__.py"],
    }


def test_relative_imports_count_levels_from_the_package() -> None:
    files = {
        "pkg/__init__.py": "from . import one\n",
        "pkg/one.py": "from .inner.two import x\n",
        "pkg/inner/__init__.py": "",
        "pkg/inner/two.py": "from .. import one\nfrom ...outside import y\n",
        "outside.py": "",
    }
    assert edges(files) == {
        "pkg/__init__.py": ["pkg/one.py"],
        "pkg/one.py": ["pkg/inner/two.py"],
        "pkg/inner/two.py": ["outside.py", "pkg/one.py"],
    }


def test_namespace_packages_and_src_layout_are_found() -> None:
    files = {
        "src/acme/cloud/api.py": "",  # no __init__.py anywhere
        "src/acme/cloud/use.py": "import acme.cloud.api\n",
        "tests/test_api.py": "from acme.cloud import api\n",
    }
    assert edges(files) == {
        "src/acme/cloud/use.py": ["src/acme/cloud/api.py"],
        "tests/test_api.py": ["src/acme/cloud/api.py"],
    }


def test_namespace_packages_spread_over_folders_are_searched_one_after_the_other() -> None:
    files = {
        "one/google/a/__init__.py": "",
        "two/google/b/__init__.py": "",
        "main.py": "from google import a, b\n",
    }
    assert edges(files)["main.py"] == ["one/google/a/__init__.py", "two/google/b/__init__.py"]


def test_a_script_finds_its_neighbour_but_a_package_member_does_not() -> None:
    files = {
        "tools/run.py": "import helper\n",
        "tools/helper.py": "",
        "pkg/__init__.py": "",
        "pkg/run.py": "import other\n",
        "pkg/other.py": "",
    }
    assert edges(files) == {"tools/run.py": ["tools/helper.py"]}


def test_the_standard_library_is_not_taken_for_a_file_of_the_same_name() -> None:
    files = {"pkg/__init__.py": "", "pkg/a.py": "import json\n", "tests/data/json.py": ""}
    assert edges(files) == {}


def test_imports_in_strings_and_comments_are_none() -> None:
    text = '"""\nimport a\n"""\n# import b\nx = "import c"\nimport d  # from e import f\n'
    assert list(python_imports(text)) == [PythonImport(0, ("d",), None)]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("from a import (\n    b,  # why\n    c as d,\n)\n", [(0, ("a",), ("b", "c"))]),
        ("from a import b, \\\n    c\n", [(0, ("a",), ("b", "c"))]),
        ("import a.b as x; import d\n", [(0, ("a", "b"), None), (0, ("d",), None)]),
        ("import a as x, b\n", [(0, ("a",), None), (0, ("b",), None)]),
        ("try: import a\nexcept E: from . import b\n", [(0, ("a",), None), (1, (), ("b",))]),
        ("def f():\n    yield from g\n    from .. a import b\n", [(2, ("a",), ("b",))]),
        ("x = '''it's'''\nimport a\n", [(0, ("a",), None)]),
        ('x = """open\nimport a\n', []),
    ],
)  # fmt: skip
def test_python_statements_in_all_their_spellings(text: str, found: list[tuple]) -> None:
    assert list(python_imports(text)) == [PythonImport(*f) for f in found]


def test_a_repository_that_is_itself_a_package_resolves_its_own_name() -> None:
    files = {"__init__.py": "", "core.py": "", "use.py": "from acme.core import x\nimport os\n"}
    assert edges(files) == {"use.py": ["core.py"]}


def test_c_includes_are_looked_for_beside_the_file_first() -> None:
    files = {
        "src/a.c": '#include "util.h"\n#include <string.h>\n#include <proj/api.h>\n',
        "src/util.h": "",
        "lib/util.h": "",
        "include/proj/api.h": '#include "../../src/util.h"\n',
        "compat/string.h": "",
    }
    assert edges(files) == {
        "src/a.c": ["include/proj/api.h", "src/util.h"],
        "include/proj/api.h": ["src/util.h"],
    }


def test_c_includes_skip_comments_and_dead_branches() -> None:
    text = (
        '/* #include "a.h" */\n#if 0\n# include "b.h"\n#else\n#  include "c.h"\n#endif\n'
        'char *s = "/*";\n#include "d.h"\n'
    )
    assert [name for name, _ in c_includes(text)] == ["c.h", "d.h"]


def test_java_classes_are_found_by_import_and_in_their_own_package() -> None:
    files = {
        "src/main/java/p/A.java": "package p;\nimport q.B;\nclass A extends Near { B b; }\n",
        "src/main/java/p/Near.java": "package p; class Near { q.C c; }",
        "src/main/java/p/Far.java": "package p; // Near\nclass Far {}",
        "src/main/java/q/B.java": "package q; public class B { static class In {} }",
        "src/main/java/q/C.java": "package q; public class C {}",
        "src/test/java/p/T.java": "package p; import q.B.In; import static q.C.*; class T { A a; }",
        "src/main/java/r/Star.java": "package r; import q.*; class Star { C c; }",
    }
    main, test = "src/main/java", "src/test/java"
    assert edges(files) == {
        f"{main}/p/A.java": [f"{main}/p/Near.java", f"{main}/q/B.java"],
        f"{main}/p/Near.java": [f"{main}/q/C.java"],
        f"{main}/r/Star.java": [f"{main}/q/C.java"],
        f"{test}/p/T.java": [f"{main}/p/A.java", f"{main}/q/B.java", f"{main}/q/C.java"],
    }


def test_javascript_modules_resolve_with_extensions_and_index_files() -> None:
    files = {
        "src/main.ts": (
            "import type { A } from './a';\nexport * from \"./lib\";\nimport './side.js';\n"
            "const d = await import(`./dyn`);\nconst e = require('../e.json');\n"
            "import React from 'react';\n"
        ),
        "src/a.ts": "",
        "src/lib/index.tsx": "",
        "src/side.ts": "",
        "src/dyn.js": "",
        "e.json": "{}",
    }
    assert edges(files)["src/main.ts"] == [
        "e.json", "src/a.ts", "src/dyn.js", "src/lib/index.tsx", "src/side.ts",
    ]  # fmt: skip


def test_javascript_comments_are_not_looked_into() -> None:
    text = "// import './a'\n/* require('./b') */ const u = 'http://x'; import c from './c'\n"
    assert list(web_specifiers(text)) == ["./c"]


def test_typescript_paths_and_base_url_come_from_the_nearest_tsconfig() -> None:
    files = {
        "tsconfig.json": """{"compilerOptions": {  // the comma below is allowed
            "baseUrl": ".", "paths": {"@/*": ["src/*"],},}}""",
        "app/tsconfig.json": '{"extends": "../tsconfig.json"}',
        "app/page.ts": "import a from '@/a'; import b from 'shared/b';",
        "src/a.ts": "",
        "shared/b.ts": "",
    }
    assert edges(files) == {"app/page.ts": ["shared/b.ts", "src/a.ts"]}


def test_packages_of_a_monorepo_resolve_through_exports_to_their_sources() -> None:
    files = {
        "packages/ui/package.json": (
            '{"name": "@acme/ui", "imports": {"#in": "./src/in.ts"},'
            ' "exports": {".": {"import": "./dist/index.mjs"}, "./parts/*": "./dist/parts/*.js"}}'
        ),
        "packages/ui/src/index.ts": "import '#in'",
        "packages/ui/src/in.ts": "",
        "packages/ui/src/parts/button.tsx": "",
        "apps/web/main.ts": "import u from '@acme/ui'; import b from '@acme/ui/parts/button';",
    }
    assert edges(files) == {
        "packages/ui/src/index.ts": ["packages/ui/src/in.ts"],
        "apps/web/main.ts": ["packages/ui/src/index.ts", "packages/ui/src/parts/button.tsx"],
    }


def test_files_of_unrelated_languages_have_no_edges() -> None:
    assert edges({"a.py": "import b\n", "b.json": "{}", "a.c": '#include "b.json"\n'}) == {}
