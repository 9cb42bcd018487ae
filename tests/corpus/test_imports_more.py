"""Edges of the languages whose names are packages, modules or paths."""

from collections.abc import Mapping

import pytest

from codling.corpus.dependencies.graph import SourceFile, dependency_graph

LANGUAGE = {"java": "java", "kt": "kotlin", "scala": "scala", "cs": "c-sharp", "php": "php"}
LANGUAGE |= {"go": "go", "rs": "rust", "rb": "ruby", "sh": "shell"}


def edges(files: Mapping[str, str]) -> dict[str, list[str]]:
    """The dependencies of every file that has some."""
    sources = [SourceFile(p, LANGUAGE[p.rpartition(".")[2]], text) for p, text in files.items()]
    graph = dependency_graph(sources)
    return {sources[i].path: [sources[t].path for t in g] for i, g in enumerate(graph) if g}


def test_kotlin_finds_functions_by_import_and_java_classes_by_name() -> None:
    files = {
        "a/Tools.kt": "package acme.tools\n\nfun <T> List<T>.second(): T = this[1]\n",
        "a/Main.kt": "package acme\n\nimport acme.tools.second\n\nval n = Old()\n",
        "b/Old.java": "package acme; class Old {}",
    }
    assert edges(files) == {"a/Main.kt": ["a/Tools.kt", "b/Old.java"]}


def test_scala_reads_braces_and_nested_packages() -> None:
    files = {
        "x.scala": "package acme\npackage core\n\ntrait Base\nobject Other\n",
        "y.scala": "package acme\n\nimport acme.core.{Base, Other => O}\n\nclass Y extends Base\n",
        "z.scala": "package acme.core.deep\n\nclass Z extends Base\n",
    }
    assert edges(files) == {"y.scala": ["x.scala"], "z.scala": ["x.scala"]}


def test_c_sharp_sees_used_and_enclosing_namespaces() -> None:
    files = {
        "Model/User.cs": "namespace Acme.Model\n{\n    public class User { class Inner {} }\n}\n",
        "Web/Page.cs": "using Acme.Model;\nnamespace Acme.Web;\n// Root\nclass Page { User u; }\n",
        "Root.cs": "namespace Acme;\npublic record struct Root(int X);\n",
        "Web/Deep.cs": "namespace Acme.Web.Deep;\nclass Deep { Root r; Page p; Inner i; }\n",
    }
    assert edges(files) == {
        "Web/Page.cs": ["Model/User.cs"],
        "Web/Deep.cs": ["Root.cs", "Web/Page.cs"],
    }


def test_php_uses_classes_and_includes_files() -> None:
    files = {
        "src/A.php": "<?php\nnamespace Acme;\nfinal class A {}\n",
        "src/B.php": "<?php\nnamespace Acme\\Sub;\nuse Acme\\{A, C as D};\nclass B {}\n",
        "src/C.php": "<?php namespace Acme;\nclass C extends A {}\n",
        "index.php": "<?php\nrequire_once __DIR__ . '/src/boot.php';\n$b = new \\Acme\\Sub\\B();\n",
        "src/boot.php": "<?php\n",
    }
    assert edges(files) == {
        "src/B.php": ["src/A.php", "src/C.php"],
        "src/C.php": ["src/A.php"],
        "index.php": ["src/B.php", "src/boot.php"],
    }


def test_go_edges_lead_to_the_files_that_declare_what_is_used() -> None:
    files = {
        "main.go": (
            'package main\n\nimport (\n\t"fmt"\n\tst "example.com/acme/internal/store"\n)\n\n'
            "func main() { fmt.Println(st.Open(), helper()) }\n"
        ),
        "help.go": "package main\n\nfunc helper() int { return 1 }\n",
        "internal/store/open.go": "package store\n\nfunc Open() Kind { return 0 }\n",
        "internal/store/kind.go": "package store\n\ntype (\n\tKind int\n)\n",
        "fmt/x.go": "package fmt\n\nfunc Println() {}\n",
    }
    assert edges(files) == {
        "main.go": ["help.go", "internal/store/open.go"],
        "internal/store/open.go": ["internal/store/kind.go"],
    }


def test_rust_follows_mod_use_and_the_crates_of_a_workspace() -> None:
    files = {
        "core-lib/src/lib.rs": "pub mod a;\nmod b;\n",
        "core-lib/src/a/mod.rs": "use super::b::B;\nmod inner;\n",
        "core-lib/src/a/inner.rs": "// use crate::b;\nfn f() { crate::b::g(); }\n",
        "core-lib/src/b.rs": "",
        "app/src/main.rs": "use core_lib::{a::{self, X}, b as c};\nuse std::io;\n",
    }
    assert edges(files) == {
        "core-lib/src/lib.rs": ["core-lib/src/a/mod.rs", "core-lib/src/b.rs"],
        "core-lib/src/a/mod.rs": ["core-lib/src/a/inner.rs", "core-lib/src/b.rs"],
        "core-lib/src/a/inner.rs": ["core-lib/src/b.rs"],
        "app/src/main.rs": ["core-lib/src/a/mod.rs", "core-lib/src/b.rs"],
    }


def test_ruby_requires_relative_files_and_the_load_path() -> None:
    files = {
        "lib/acme.rb": "require 'acme/one'\nrequire 'json'\nrequire_relative 'two'\n",
        "lib/acme/one.rb": "",
        "lib/two.rb": "",
        "spec/json.rb": 'require "acme"\n',
    }
    assert edges(files) == {
        "lib/acme.rb": ["lib/acme/one.rb", "lib/two.rb"],
        "spec/json.rb": ["lib/acme.rb"],
    }


def test_shell_scripts_are_found_behind_variables() -> None:
    files = {
        "bin/run.sh": '. "$(dirname "$0")/../lib/log.sh"\nsource ${D}/env.sh && . ./local.sh\n',
        "bin/env.sh": "",
        "bin/local.sh": "echo a . b\n",
        "lib/log.sh": "",
    }
    assert edges(files) == {"bin/run.sh": ["bin/env.sh", "bin/local.sh", "lib/log.sh"]}


@pytest.mark.parametrize(
    ("ending", "package", "imports"),
    [
        ("java", "package {};", "import b.B; import c.*; class A { C c; }"),
        ("kt", "package {};", "import b.B; import c.*; class A(val c: C)"),
        ("scala", "package {};", "import b.B; import c._; class A(c: C)"),
        ("cs", "namespace {};", "using b; using c; class A { B b; C c; }"),
        ("php", "<?php namespace {};", "use b\\B; use c\\C; class A {}"),
    ],
)
def test_imports_that_share_a_line_all_count(ending: str, package: str, imports: str) -> None:
    declared = {name: f"{package.format(name)}\nclass {name.upper()} {{}}\n" for name in "bc"}
    files = {f"{name}/{name.upper()}.{ending}": text for name, text in declared.items()}
    files[f"a/A.{ending}"] = f"{package.format('a')}\n{imports}\n"
    assert edges(files) == {f"a/A.{ending}": [f"b/B.{ending}", f"c/C.{ending}"]}
