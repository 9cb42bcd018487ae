"""Sound files that grammars stumble over stay, broken ones go: a table with both."""

import pytest

from codling.corpus.filters.syntax import error_share, has_grammar

LIMIT, STRICT = 0.05, ("java", "javascript", "python")
"""The defaults of ScreenConfig."""
BODY = "".join(
    f"static int total_{i}(int first, int second) {{\n    return first + second * {i};\n}}\n\n"
    for i in range(12)
)
METHODS = "".join(
    f"    fun total{i}(first: Int, by: Int): Int {{\n        return first + by * {i}\n    }}\n\n"
    for i in range(12)
)
SOUND = {
    "a head for each branch of an #if": ("c", "fs.c", BODY + """
#if defined(HAVE_PREADV)
static int read_all(int file, long offset) {
  if (offset < 0) {
#else
static int read_all(int file) {
  if (file < 0) {
#endif
    return -1;
  }
  return 0;
}
""" + BODY),
    "macros before declarations": ("c", "uv.h", """#ifndef UV_H
#define UV_H
#ifdef __cplusplus
extern "C" {
#endif
""" + "".join(f"UV_EXTERN int uv_call_{i}(uv_loop_t* loop, void* data);\n" for i in range(30)) + """
#ifdef __cplusplus
}
#endif
#endif /* UV_H */
"""),
    "macros behind and between declarations": ("c", "tty.c",
        "static DWORD WINAPI run(void* data) {\n  return 0;\n}\nint hide(void *table) GS_HIDDEN;\n"
        "enum { OLD_NAME API_DEPRECATED(7.69, \"\") = 6, NEW_NAME };\n" + BODY),
    "macros over many lines": ("c", "tree.h", """#define SPLAY_HEAD(name, type) \\
struct name {                  \\
  struct type *root; /* of it */ \\
}
#define SPLAY_INIT(root) do {  \\
  (root)->first = NULL;        \\
} while (/*CONSTCOND*/ 0)
#define FIND(name, key)        \\
  if (head->name##_first == key) { \\
    head->name##_first = 0;    \\
  }
""" * 4),
    "dead prose": ("c", "a.c", BODY + "#if 0\nThis isn't code: {{{ see the notes.\n#endif\n"),
    "a header in C++": ("c", "array.h", """#pragma once
namespace shapes {
template <class T, int N>
class Array final : public Base<T> {
 public:
  explicit Array(const T& value) noexcept : value_{value} {}
  template <typename F> auto map(F&& f) const -> decltype(f(value_)) { return f(value_); }
 private:
  T value_;
};
}  // namespace shapes
"""),
    "a header in Objective-C": ("c", "Reader.h", """#import <Foundation/Foundation.h>
NS_ASSUME_NONNULL_BEGIN
@interface Reader : NSObject <NSCopying>
@property (nonatomic, copy, nullable) NSString *name;
- (instancetype)initWithName:(NSString *)name error:(NSError **)error NS_DESIGNATED_INITIALIZER;
+ (void)readAll:(NSArray<NSString *> *)names;
@end
NS_ASSUME_NONNULL_END
"""),
    "templates and tests by macro": ("cpp", "a.cpp", """TEST_CASE("sums are right", "[sum]") {
  std::map<std::string, std::vector<int>> found{{"a", {1, 2}}};
  for (auto& [name, values] : found) { CHECK(values.size() == 2); }
}
LIB_NAMESPACE_BEGIN
/* all of them */
template <typename T = void, typename = std::enable_if_t<(sizeof(T) > 1)>>
struct Holder { T value; };
LIB_NAMESPACE_END
"""),
    "a type of another module": ("typescript", "IO.d.ts", "".join(f"""
export declare const flap{i}: <A>(
  a: A
) => <E, B>(fab: import('./HKT').Kind<'IO', (a: A) => B>) => import('./HKT').Kind<'IO', B>
""" for i in range(9))),
    "call signatures without semicolons": ("typescript", "Wither.d.ts", """
export interface Wither<W extends URIS> {
  <F extends URIS3, E>(F: Applicative3C<F, E>): <A, R, B>(ta: Kind<W, A>) => Kind3<F, R, E, B>
  <F extends URIS2>(F: Applicative2<F>): <A, E, B>(ta: Kind<W, A>) => Kind2<F, E, Kind<W, B>>
  <F>(F: Applicative<F>): <A, B>(ta: Kind<W, A>) => HKT<F, Kind<W, B>>
}
"""),
    "Kotlin": ("kotlin", "a.kt", "inline fun <reified T : Any> List<*>.only(): List<T> =\n"
               "    filterIsInstance<T>()\n\nclass A(val name: String) {\n" + METHODS + "}\n"),
    "PHP between HTML": ("php", "a.php", "<ul>\n<?php foreach ($rows as $row): ?>\n"
                         "  <li class=\"<?= $row->kind ?>\"><?= h($row) ?></li>\n"
                         "<?php endforeach; ?>\n</ul>\n"),
    "JSX": ("javascript", "a.jsx", "export const List = ({rows}) => (\n  <ul>\n"
            "    {rows.map((row) => <li key={row.id} {...row}>{row.name} isn't {'<'} {1}</li>)}\n"
            "  </ul>\n);\n"),
    "a conflict in a test's string": ("javascript", "a.js", "const text = `\n<<<<<<< HEAD\na\n"
                                      "=======\nb\n>>>>>>> other\n`;\n"),
}  # fmt: skip
PYTHON = '''import os
from pathlib import Path


class Reader:
    """Reads what it's given."""

    def __init__(self, path: Path, *names: str) -> None:
        self._path, self._names = path, {n: len(n) for n in names if n}

    def read(self, limit=None):
        with self._path.open() as file:
            return [line for line in file if not line.startswith("#")][:limit]
'''
MARKS = "<<<<<<< HEAD\nint a = 1;\n=======\nint a = 2;\n>>>>>>> other\n"
GARBAGE = "((( ]] ^ %% def {{ \x01 'x }} => ;; ))\n" * 5
BROKEN = {
    "cut in a function": ("c", "a.c", BODY + "int last(int first) {\n  if (first) {\n    first"),
    "cut in a header's guard": ("c", "a.h", "#ifndef A_H\n#define A_H\nint a(void);\n"),
    "cut in a comment": ("typescript", "a.ts", "let a: number = 1;\n" * 20 + "/**\n * The next"),
    "cut in a C comment": ("c", "a.c", BODY + "/* The next one isn't"),
    "cut in a class": ("kotlin", "a.kt", "class A(val name: String) {\n" + METHODS),
    "cut in a Ruby class": ("ruby", "a.rb", "class A\n" + "  def f(a, b)\n    a + b\n  end\n" * 20),
    "cut in an Objective-C method": ("objective-c", "a.m", BODY + "void f(void) {\n  [self go"),
    "cut in a template": ("cpp", "a.cpp", BODY + "template <class T> struct A {\n  T value;\n"),
    "Python named .c": ("c", "a.c", PYTHON),
    "Python named .h": ("c", "a.h", PYTHON),
    "Python named .rs": ("rust", "a.rs", PYTHON),
    "Python named .go": ("go", "a.go", PYTHON),
    "C named .ts": ("typescript", "a.ts", BODY.replace("static int", "static unsigned int")),
    "prose": ("c", "a.c", "# Reading\n\nIt's read by hand, **all of it**: see [this](a.md).\n" * 5),
    "a conflict": ("c", "a.c", BODY + MARKS + BODY),
    "a conflict with its base": ("cpp", "a.cpp", BODY + MARKS.replace(
        "=======", "||||||| base\nint a = 0;\n=======") + BODY),
    "a conflict in a comment": ("c", "a.c", BODY + "/*\n" + MARKS + "*/\n" + BODY),
    "a conflict in TypeScript": ("typescript", "a.ts", "let b = 1;\n" * 90 + MARKS),
    "garbage in C": ("c", "a.c", GARBAGE),
    "garbage in Go": ("go", "a.go", GARBAGE),
    "garbage in PHP": ("php", "a.php", "<?php\n" + GARBAGE),
    "a missing bracket": ("javascript", "a.js", "const a = f(1;\n" + "let b = 2;\n" * 50),
}  # fmt: skip


@pytest.mark.parametrize("name", SOUND)
def test_sound_files_stay(name: str) -> None:
    language, path, text = SOUND[name]
    if not has_grammar(language):
        pytest.skip(f"no grammar for {language} (extra `grammars`)")
    share = error_share(language, path, text)
    assert share is not None
    assert share <= (0.0 if language in STRICT else LIMIT)


@pytest.mark.parametrize("name", BROKEN)
def test_broken_files_go(name: str) -> None:
    language, path, text = BROKEN[name]
    if not has_grammar(language):
        pytest.skip(f"no grammar for {language} (extra `grammars`)")
    share = error_share(language, path, text)
    assert share is not None
    assert share > (0.0 if language in STRICT else LIMIT)


def test_only_tokens_that_are_out_of_place_count_however_wide_the_error_is() -> None:
    # One `=` is out of place; the tokens of both lines have 12 and 7 bytes.
    share = error_share("c", "a.c", "int first = = 3;\nint b = 1;\n")
    assert share == pytest.approx(1 / 19)
