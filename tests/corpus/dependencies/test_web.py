"""Modules of JavaScript and TypeScript: what tsc resolves, and what only looks like an import."""

import pytest

from codling.corpus.dependencies.graph import Dependencies
from codling.corpus.dependencies.javascript import code_of
from codling.corpus.dependencies.web import web_specifiers

LANGUAGES = {"ts": "typescript", "tsx": "typescript", "mts": "typescript", "js": "javascript",
             "json": "json"}  # fmt: skip


def found(path: str, files: dict[str, str]) -> list[str]:
    languages = {name: LANGUAGES[name.rpartition(".")[2]] for name in files}
    return Dependencies(languages, files.__getitem__).of(path)


def test_extends_may_be_a_list_of_which_the_later_win() -> None:
    files = {
        "a/tsconfig.json": '{"extends": ["../one.json", "../two"]}',
        "one.json": '{"compilerOptions": {"paths": {"@/*": ["old/*"]}}}',
        "two.json": '{"compilerOptions": {"paths": {"@/*": ["new/*"]}}}',
        "a/app.ts": 'import "@/x";',
        "old/x.ts": "",
        "new/x.ts": "",
    }
    assert found("a/app.ts", files) == ["new/x.ts"]


def test_paths_count_from_an_inherited_base_url() -> None:
    files = {
        "tsconfig.base.json": '{"compilerOptions": {"baseUrl": "."}}',
        "apps/web/tsconfig.json": '{"extends": "../../tsconfig.base.json", /* c */ '
        '"compilerOptions": {"paths": {"shared/*": ["lib/*"]}}}',
        "apps/web/app.ts": 'import "shared/words"; import "other/y";',
        "lib/words.ts": "",
        "other/y.ts": "",
    }
    assert found("apps/web/app.ts", files) == ["lib/words.ts", "other/y.ts"]


def test_inherited_paths_without_a_base_url_count_from_their_own_file() -> None:
    files = {
        "config/base.json": '{"compilerOptions": {"paths": {"@/*": ["./x/*"], "#c/*": '
        '["${configDir}/src/*"]}}}',
        "app/tsconfig.json": '{"extends": "../config/base.json"}',
        "app/a.ts": 'import "@/y"; import "@/z";',
        "config/x/y.ts": "",
        "app/src/z.ts": "",
    }
    assert found("app/a.ts", files) == ["config/x/y.ts"]


def test_a_config_that_only_refers_stands_for_what_it_refers_to() -> None:
    files = {
        "tsconfig.json": '{"files": [], "references": [{"path": "./tsconfig.app.json"}, '
        '{"path": "./packages/one"}]}',
        "tsconfig.app.json": '{"compilerOptions": {"paths": {"@/*": ["./src/*"]}}}',
        "packages/one/tsconfig.json": '{"compilerOptions": {"baseUrl": "."}}',
        "src/app.ts": 'import "@/lib/words"; import "inner";',
        "src/lib/words.ts": "",
        "packages/one/inner.ts": "",
    }
    assert found("src/app.ts", files) == ["src/lib/words.ts"]


def test_module_suffixes_stand_before_the_extension_in_their_order() -> None:
    files = {
        "tsconfig.json": '{"compilerOptions": {"moduleSuffixes": [".ios", ""]}}',
        "app.ts": 'import "./a"; import "./b.js"; import "./c"; import "./d.json";',
        "a.ios.ts": "",
        "a.ts": "",
        "b.ios.ts": "",
        "c/index.ios.tsx": "",
        "d.json": "{}",
    }
    assert found("app.ts", files) == ["a.ios.ts", "b.ios.ts", "c/index.ios.tsx", "d.json"]


def test_root_dirs_count_as_one_folder() -> None:
    files = {
        "tsconfig.json": '{"compilerOptions": {"rootDirs": ["src/views", "generated/views"]}}',
        "src/views/deep/a.ts": 'import "./b"; import "../c";',
        "generated/views/deep/b.ts": "",
        "src/views/c.ts": "",
    }
    assert found("src/views/deep/a.ts", files) == ["generated/views/deep/b.ts", "src/views/c.ts"]


def test_configs_that_extend_or_refer_to_one_another_end() -> None:
    names = ", ".join(f'"./{i}.json"' for i in range(40))
    circle = f'{{"extends": [{names}], "references": [{{"path": "."}}, {{"path": "./3.json"}}]}}'
    files = {f"{i}.json": circle for i in range(40)}
    files |= {"tsconfig.json": circle, "a.ts": 'import "b";'}
    assert found("a.ts", files) == []


@pytest.mark.parametrize(
    "before",
    [
        'const strip = (path) => path.replace(/[/*]+$/, "");',
        r"const isAbsolute = (path) => /^\//.test(path);",
        "const quoted = /['\"]/g;",
        "const tick = /`/g;",
        "if (text) /['`]/.exec(text);",
        "function f() { return /\"/ }",
        "let a = b / c; let d = e /f/ g;",
        "let a = (b + c) / 2; let d = '/*';",
        "let a = b++ / c, d = '`';",
        "const url = `http://${host(`a//${b}`)}/*`;",
        "const t = `${ {a: '}'}.a } it's`;",
        "const a = <a href={b} />, c = <b>it is</b>;",
        "let x = arr[0] / 2; // it's\n",
        "const s = 'it\\'s' + \"/*\";",
        "for (const a of /'/[Symbol.split](b)) {}",
    ],
)  # fmt: skip
def test_neither_patterns_nor_templates_swallow_what_follows(before: str) -> None:
    text = f'{before} const w = require("./w");\nimport "./v";'
    assert list(web_specifiers(text)) == ["./w", "./v"]


@pytest.mark.parametrize(
    "text",
    [
        'const quoted = /[\'"]/g; // require("./other")',
        'const tick = /`/g;\n// require("./other")\n/* import "./other" */',
        "const code = 'import \"./other\"';",
        'const code = `import "./other"; ${name} from "./other"`;',
        'const pattern = /import "\\.\\/other" from "a"/;',
        "const code = `\nimport './other'\n`;",
    ],
)
def test_what_only_looks_like_an_import_is_none(text: str) -> None:
    assert list(web_specifiers(text)) == []


def test_code_in_a_template_counts_and_a_plain_template_names_a_module() -> None:
    text = "const a = `x ${require('./w')} y`; import(`./v`);"
    assert list(web_specifiers(text)) == ["./w", "./v"]


def test_an_open_template_or_string_hides_nothing_after_its_line() -> None:
    assert "require('./w')" in code_of("<p>a ` b</p>;\nlet w = require('./w')")
    assert 'require("./w")' in code_of('<p>isn\'t</p>;\nlet w = require("./w")')


@pytest.mark.long
@pytest.mark.parametrize("piece", ["/[", "`\\", "`${", "a / b (", "}/", "`"])
def test_hostile_scripts_are_read_once(piece: str) -> None:
    assert len(code_of(piece * 10_001)) < 100_000
