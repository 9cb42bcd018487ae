"""Which of several languages a file is in, when they share an extension: marks in its content.

Input: the extension and the beginning of the file. Output: a key of the language table, or None if
the content belongs to a language outside of it. The marks are searched for in order; the first that
is found decides, otherwise the last entry (a plain name, or None) does.

Not here: extensions and file names (languages.toml, languages_more.toml).
"""

import re
from functools import cache

MARK_CHARS = 8192
"""How much of a text's beginning the marks are searched in."""

Rules = tuple[tuple[str, str | None] | str | None, ...]

_OBJECTIVE_C = r"^\s*(?:@(?:interface|implementation|protocol|class|end|property)\b|#\s*import\b)"
_CPP = (
    r"^\s*(?:template\s*<|(?:export\s+)?(?:inline\s+)?namespace\b|class\s+\w+|enum\s+class\b|"
    r"using\s+(?:namespace\s|\w+\s*=|[\w:]+;)|"
    r"(?:public|private|protected)\s*(?:slots\s*)?:|"
    r"(?:virtual|friend|constexpr|explicit|inline\s+constexpr)\b)|"
    r"\b\w+::\w|#\s*include\s*<[\w/]+>|\bnullptr\b|\b(?:static|reinterpret|const|dynamic)_cast\s*<|"
    r"\)\s*const\s*(?:override\s*|noexcept\s*)?[;{=]|\bconst\s+\w+\s*&\s*\w|\btypename\s+\w|"
    r"\boperator\s*[-=<>+*/!\[(&|^~]|=\s*(?:delete|default)\s*;|"
    r"^\s*struct\s+\w+\s*(?:final\s*)?:\s*\w"
)
_CPP_WORDS = (
    *("template", "namespace", "class", "using", "public", "private", "protected", "virtual"),
    *("friend", "constexpr", "explicit", "::", "include <", "include  <", "#include<", "nullptr"),
    *("_cast", "const", "typename", "operator", "delete", "default", "struct"),
)
"""Every mark of C++ has one of these words, which are found sooner."""
_XML = r"\A\ufeff?\s*<"
_ROFF = r"^[.']\s*(?:[A-Z][A-Za-z]\b|\\\"|[a-z]{2}\b)"
_ASSEMBLY = (
    r"^\s*%(?:i?define|i?macro|include|if\w*|endif|assign)\b|"
    r"^\s*\w+:?\s+(?i:equ|d[bwdq]|times|macro|proc)\b|"
    r"^\s*\.(?:text|data|bss|globa?l|section|align|byte|macro|equ|set|type)\b"
)
_PROLOG = r"^\s*:-|^%|^[a-z]\w*\(.*\)\s*(?::-|-->|\.\s*$)|^[a-z]\w*\s*:-"
_PERL = (
    r"^\s*(?:use\s+(?:strict|warnings|utf8|vars|lib|parent|base|v?5)\b|use\s+[A-Z]\w+(?:::|;|\s+q)|"
    r"package\s+[\w:]+\s*[;{]|require\s+[\"'\w:./]+\s*;|(?:my|our|local)\s*\(?\s*[$@%]|"
    r"sub\s+\w+\s*(?:[{(]|$))|"
    r"^=(?:pod|head1|cut|encoding)\b|\A#!.*\bperl|^eval\b.*\bperl\b"
)
_GNUPLOT = r"^\s*(?:set\s+(?:term|out|[xyz]?label|title|key|style|[xyz]range)|s?plot\s|unset\s)"
_ABL = (
    r"(?i)^\s*(?:define\s+(?:variable|temp-table|input|output|buffer|var)\b|&(?:analyze|scoped|glob)|"
    r"using\s+progress\.|routine-level|for\s+each\b|class\s+[\w.]+\s*(?:inherits\b.*)?:)"
)
_VISUAL_BASIC = (
    r"(?i)^VERSION\s+\d\.\d+(?:\s+CLASS)?\s*$|^\s*Attribute\s+VB_|^\s*Option\s+(?:Explicit|Strict)|"
    r"^\s*(?:Public|Private|Friend)\s+(?:Sub|Function|Declare|Const|Property)\b|"
    r"^\s*(?:Public|Private|Friend)\s+(?:Type|Enum|Class)\s+\w+\s*$|"
    r"^\s*Imports\s+\w|^\s*Dim\s+\w+(?:\(.*\))?\s+As\s"
)
_PASCAL = (
    r"\A\s*(?:\{[\s$%*=+-]|\(\*)|(?i:^\s*(?:\{\$\w|(?:unit|program|library|uses)\s+\w|"
    r"(?:interface|implementation|begin|const|var|type)\s*$|"
    r"(?:procedure|function|constructor|destructor)\s+[\w.]+\s*[(;:]))"
)
_GLSL = (
    r"^\s*(?:#version\b|uniform\b|varying\b|precision\b|layout\s*\(|void\s+main\b|"
    r"(?:in|out)\s+vec\d)"
)
_FORTH = r"^(?:\\ |: \S+\s|\( )"

HINTS: dict[str, Rules] = {
    ".as": ((_ASSEMBLY, "assembly"), "actionscript"),
    ".asc": (
        (r"^-----BEGIN|^=+ |^:\w+:", None),
        (r"^\s*(?:function|import|export|struct|enum|int|String|void|#define)\b", "ags-script"),
        None,
    ),
    ".asy": ((r"^Version \d", None), "asymptote"),
    ".b": (
        (r"^implement\s+\w+;", "limbo"),
        (r"[-+<>.,\[\]]{8}", "brainfuck"),
        (r"^\s*(?:define|scale|ibase|obase|auto|print|for|while|if)\b|^\s*\w+\s*=|^/\*|^\d", "bc"),
        "brainfuck",
    ),
    ".bas": ((_VISUAL_BASIC, "visual-basic"), None),
    ".bb": (
        (r"^\s*\(", "clojure"),
        (r"^(?:inherit|require|SUMMARY|DESCRIPTION|LICENSE|SRC_URI|R?DEPENDS|do_\w+)\b", "bitbake"),
        (r"(?i)^\s*(?:function|type|local|global|graphics|include|end\s+\w+)\b", "blitzbasic"),
        "clojure",
    ),
    ".cake": ((r"^\s*#(?:tool|addin|load|l)\b|\bTask\(|^\s*//", "c-sharp"), "coffeescript"),
    ".cl": (
        (r"\A\s*(?:;|\(|#\||#[+-])", "common-lisp"),
        (r"^\s*class\s+\w+(?:\s+inherits\s+\w+)?\s*\{", None),
        "opencl",
    ),
    ".cls": (
        (_VISUAL_BASIC, "visual-basic"),
        (
            r"\\(?:Provides|Load|Needs|def\\|new(?:command|if)|documentclass|RequirePackage|input)",
            "tex",
        ),
        (_ABL, "openedge-abl"),
        None,
    ),
    ".conf": (
        (r"^\s*<(?:VirtualHost|Directory|IfModule|Location|Files\w*)\b", "apache-configuration"),
        (r"^\s*server\.[\w-]+\s*\+?=", "lighttpd-configuration-file"),
        (r"^\s*(?:server|http|events|upstream\s+\S+)\s*\{", "nginx-configuration-file"),
        None,
    ),
    ".cs": ((r"^!|\bmethodsFor:", "smalltalk"), "c-sharp"),
    ".def": ((r"^\s*(?:DEFINITION\s+)?MODULE\s+\w", "modula-2"), None),
    ".e": (
        (
            r"^\s*(?:(?:deferred|expanded|frozen)\s+)*(?:class|feature|note|indexing|inherit)\b",
            "eiffel",
        ),
        None,
    ),
    ".f": ((_FORTH, None), "fortran"),
    ".for": ((_FORTH, None), "fortran"),
    ".frm": ((r"^VERSION\s+\d|^\s*Attribute\s+VB_", "visual-basic"), None),
    ".fs": ((_GLSL, "glsl"), (_FORTH, None), "f-sharp"),
    ".ftl": ((r"<[#@]|\$\{", "freemarker"), (r"^-?[a-zA-Z][\w-]* =", None), "freemarker"),
    ".fx": ((r"\b(?:technique\d*|float[234]|sampler|Texture2D|cbuffer)\b", "hlsl"), "flux"),
    ".g": (
        (
            r"^\s*(?:(?:lexer|parser|tree)\s+)?grammar\s+\w+\s*;|^\s*class\s+\w+\s+extends\s",
            "antlr",
        ),
        (r"^#|:=|;\s*$", "gap"),
        (r"^[GM]\d+\s", "g-code"),
        "antlr",
    ),
    ".gd": (
        (r"^\s*(?:extends|func|class_name|@?tool|@?onready|signal)\b", "gdscript"),
        (r"^\s*Declare\w+\(|^\s*BindGlobal\(|:=|;\s*$|^##", "gap"),
        "gdscript",
    ),
    ".gs": (
        (_GLSL, "glsl"),
        (r"^\s*(?:uses|package)\s+[\w.]+\s*$|^\s*(?:enhancement|property\s+[gs]et)\b", "gosu"),
        (r"\bfunction\b|^\s*(?:var|let|const|//)", "javascript"),
        None,
    ),
    ".gst": ((r"<%", "gosu"), (_XML, "xml"), "gosu"),
    ".h": ((_OBJECTIVE_C, "objective-c"), (_CPP, "cpp"), "c"),  # with more care: _header
    ".i": ((r"^\s*%\w", "swig"), (r"^# \d+ \"", None), "swig"),
    ".inc": (
        (r"<\?(?:(?i:php)|=)", "php"),
        (r"^#(?:declare|macro|local|version)\b", "pov-ray"),
        (_PASCAL, "pascal"),
        (r"^\s*#pragma\s+newdecls|\bmethodmap\b|\bSharedPlugin\b", "sourcepawn"),
        (r"^\s*(?:native|stock|forward)\s+\w", "pawn"),
        (r"^(?:inherit|require|SRC_URI|R?DEPENDS|LICENSE)\b|^do_\w+\s*\(", "bitbake"),
        (_ASSEMBLY + r"|\A\s*;", "assembly"),
        (_CPP, "cpp"),
        (
            r"^\s*#\s*(?:include|ifn?def|define|if)\b|^\s*(?:static|struct|typedef|extern)\b|^/\*",
            "c",
        ),
        (r"\A\s*<(?:!|html|head|div|p|table|ul|a|h\d|span)\b", "html"),
        None,
    ),
    ".j": ((r"^\s*\.(?:class|method|super|source|limit|bytecode)\b", "jasmin"), None),
    ".l": (
        (r"^%(?:%|\{|option\b|[xs]\s|top\b)", "lex"),
        (r"\A#", None),
        (r"^\((?:defun|defmacro|in-package|defpackage|defvar|defparameter)\b", "common-lisp"),
        (_ROFF, "groff"),
        None,
    ),
    ".lsp": ((r"^\s*\((?:define|context|constant)\s", None), "common-lisp"),
    ".ly": (
        (r"\\(?:version|relative|score|new|header|include|paper|layout|clef|key)\b", "lilypond"),
        None,
    ),
    ".m": (
        (
            _OBJECTIVE_C + r"|\A\s*/[*/]|^\s*#(?:\s*include\s*[<\"]|define\b|ifn?def\b)",
            "objective-c",
        ),
        (r"^\s*:-\s", None),
        (r"^implement\s+\w+;|^\w+:\s*module\s*$", "limbo"),
        (r"\A\s*(?:%|#|function\b|classdef\b|1;)", "matlab"),
        (
            r"^\s*\(\*|^\s*(?:Begin)?Package\s*\[|:=.*\[|^\s*\w+\[[^\]]*_\]|^\s*[A-Z]\w*\[",
            "mathematica",
        ),
        (r"^\s*(?:%|function\b|end\b|classdef\b|[\w.]+\s*=)|\bzeros\(", "matlab"),
        (r"@\"", "objective-c"),
        (r"^\s*<<\s*\w|->|\]\s*;?\s*$", "mathematica"),
        None,
    ),
    ".mac": (
        (r"\A\s*/\*|:=|\$\s*$", "maxima"),
        (_ASSEMBLY + r"|\A\s*;", "assembly"),
        (r";\s*$", "maxima"),
        None,
    ),
    ".mask": ((r"!u!", "unity3d-asset"), None),
    ".mc": ((r"^(?:MessageId|LanguageNames|SeverityNames)|\bToybox\b", None), "m4"),
    ".md": ((r"^\(define_(?:insn|expand|attr|split|peephole|mode)", None), "markdown"),
    ".ml": (
        (r"^let\b|\bmatch\b[^\n]*\bwith\b", "ocaml"),
        (
            r"^\s*(?:structure|signature|functor)\s+\w|^\s*val\s+[^:\n]*=|\bfn\s[^\n]*=>|"
            r"^\s*fun\s+\w[\w', ():]*=\s|^\s*(?:infixr?|nonfix)\s|^\s*local\s*$",
            "standard-ml",
        ),
        "ocaml",
    ),
    ".mo": (
        (
            r"^\s*(?:within|partial|encapsulated|model|package|class|function|block|connector|record|"
            r"type)\b",
            "modelica",
        ),
        None,
    ),
    ".mod": (
        (_XML, "xml"),
        (r"^\s*(?:(?:IMPLEMENTATION|DEFINITION|PROGRAM)\s+)?MODULE\s+\w", "modula-2"),
        (r"^\s*(?:NEURON|PARAMETER|ASSIGNED|BREAKPOINT)\s*\{", None),
        (r"^\s*(?:param|var|set|minimize|maximize|subject\s+to|s\.t\.)\s+\w", "ampl"),
        None,
    ),
    ".moo": ((r"^:- ", None), "moocode"),
    ".ms": ((_ROFF, "groff"), (_ASSEMBLY, "gas"), None),
    ".ncl": ((_XML, "xml"), (r"^\s*let\b|=>|\bin\b\s*$", None), "ncl"),
    ".nu": ((r"^\s*[;(]", "nu"), None),
    ".p": (
        (_GNUPLOT, "gnuplot"),
        (_ABL, "openedge-abl"),
        (r"(?i)^\s*program\s+\w+", "pascal"),
        None,
    ),
    ".pc": ((r"\bEXEC\s+SQL\b", None), "pkgconfig"),
    ".pl": (
        (r"^\s*use\s+v6|^\s*(?:multi\s+(?:sub|method)|unit\s+(?:module|class))\b", "perl-6"),
        (r"\A\s*/\*", "prolog"),
        (_PERL, "perl"),
        (_PROLOG, "prolog"),
        "perl",
    ),
    ".plt": ((_GNUPLOT, "gnuplot"), "prolog"),
    ".pm": (
        (r"^\s*use\s+v6|^\s*unit\s+(?:module|class|role|grammar)\b", "perl-6"),
        (r"\A/\* XPM", None),
        "perl",
    ),
    ".pp": (
        (r"\A\s*#|^\s*(?:class|define|node)\s+['\w:]+\s*(?:inherits\s+[\w:]+\s*)?[({]", "puppet"),
        (_PASCAL, "pascal"),
        (
            r"=>|^\s*(?:include|require|contain)\s+['\w:]+\s*$|^\s*class\s*\{|^\s*\$\w+\s*=",
            "puppet",
        ),
        (r"(?i)^\s*(?:end\.|begin|uses|unit|program)\b|^\{", "pascal"),
        None,
    ),
    ".pro": (
        (r"^\s*(?:QT|TEMPLATE|SOURCES|HEADERS|CONFIG|TARGET|SUBDIRS|include)\s*[-+]?[=(]", None),
        (r"(?i)^\s*(?:pro|function)\s+[\w:]+\s*(?:,|$)|^\s*;", None),
        (r":-|^[a-z]\w*\(.*\)\.", "prolog"),
        None,
    ),
    ".r": ((r"(?i)^\s*REBOL\s*\[|^\s*resource\s+'", None), "r"),
    ".re": ((r"^\s*#\s*include\b|\bre2c\b", "cpp"), "reasonml"),
    ".releaserc": ((r"\A\s*\{", "json"), "yaml"),
    ".rpy": ((r"^(?:import|from|class|def)\s", "python"), "ren-py"),
    ".rs": ((_XML, "xml"), (r"^\s*#pragma\s+(?:rs|version)\b", "renderscript"), "rust"),
    ".sc": (
        (
            r"^(?:\+\s*[A-Z]\w*|[A-Z]\w*(?:\[\w*\])?\s*(?::\s*[A-Z]\w*)?)\s*\{|\^\s*(?:this|super)\b",
            "supercollider",
        ),
        "scala",
    ),
    ".sch": ((_XML, "xml"), (r"\A\s*[;(#]", "scheme"), None),
    ".shader": ((r"^\s*Shader\s+\"", None), "glsl"),
    ".sls": ((r"^\s*\((?:library|import|define)\b", "scheme"), None),
    ".sol": ((r"\A\s*(?:%FS|G04)", None), "solidity"),
    ".st": (
        (r"\$\w+\$|^\s*(?:group\s+\w+;|delimiters\b)|::=", None),
        (r"^!|^\s*\"|\bsubclass:|\|\s*\w+.*\|", "smalltalk"),
        None,
    ),
    ".t": (
        (r"^  \$ ", None),
        (r"^\s*use\s+v6|^\s*use\s+Test;(?!.*\n(?:.*\n){0,9}.*plan\s+tests)|^say\s", "perl-6"),
        (_PERL + r"|^\s*print\s+[\"']", "perl"),
        (r"^\s*(?:put\s+[\"\w]|var\s+\w+\s*:\s*\w|end\s+(?:for|if|loop)\b)", "turing"),
        None,
    ),
    ".tpl": ((r"\{(?:[$*/]|if |foreach|include|literal|extends|block|assign)", "smarty"), None),
    ".ts": ((_XML, "xml"), "typescript"),
    ".tst": ((r"^//|\bassert_check\w*\(", "scilab"), "gap"),
    ".tsx": ((r"\A\ufeff?\s*<\?xml", "xml"), "typescript"),
    ".v": (
        (
            r"^\s*(?:(?:From\s+\S+\s+)?Require|Theorem|Lemma|Proof|Definition|Fixpoint|CoFixpoint|Inductive|"
            r"Section|Module|Goal|Axiom|Notation|Import|Export|Check|Variable|Parameter|Instance|Ltac|"
            r"Hint|Fail|Set|Unset|Record|Class|Local|Global|Declare|Reserved)\s+[\w(\"\[]",
            None,
        ),
        (r"^\s*(?:import\s+\w+\s*$|(?:pub\s+)?fn\s+\w+)", None),
        (
            r"\b(?:end)?(?:module|primitive|task)\b|`(?:timescale|define|include|ifn?def|undef)\b|"
            r"\balways\b|\bassign\b|^\s*(?:input|output|wire|reg|parameter|localparam)\b",
            "verilog",
        ),
        None,
    ),
    ".vba": ((r"\A\" Vimball", "viml"), "visual-basic"),
    ".vh": ((r"\b(?:logic|typedef\s+enum|interface|class|package)\b", "systemverilog"), "verilog"),
    ".w": ((_ABL, "openedge-abl"), None),
    ".workflow": ((_XML, "xml"), "hcl"),
    ".x": (
        (r"^\s*(?:SECTIONS|MEMORY|OUTPUT_\w+|ENTRY|PROVIDE|PHDRS)\s*(?:\(|\{|$)", "linker-script"),
        None,
    ),
    ".y": (
        (r"^%(?:name|tokentype|monad|lexer)\b|^\s*class\s+[\w:]+\s*(?:<\s*\S+)?\s*$", None),
        (r"^%[%{]|^%(?:token|type|start|union|left|define)\b", "yacc"),
        None,
    ),
    ".yy": ((r"\A\s*\{\s*\"", "json"), "yacc"),
}  # fmt: skip
"""Per extension: (mark, language) pairs, the last entry is the language where no mark is found."""

ROFF_SECTIONS = re.compile(r"\.(?:[1-9][a-z]{0,9}|man|mdoc|me|n|nr|rno|tmac)")
"""Extensions of manual pages, which version numbers look like: the content must be roff."""

_NOT_CODE = re.compile(r"/\*[\s\S]*?(?:\*/|\Z)|//[^\n]*|\"(?:\\.|[^\"\\\n])*\"")
_FOR_CPP_ONLY = re.compile(r"^\s*#\s*if[^\n]*\b__cplusplus\b[\s\S]*?^\s*#\s*(?:endif|else)", re.M)
"""What a C header says to C++ compilers alone."""


def is_shared(extension: str) -> bool:
    """Whether the content decides on the language of files with this extension."""
    return extension in HINTS or ROFF_SECTIONS.fullmatch(extension) is not None


def choose(extension: str, text: str, header: str = "c") -> str | None:
    """The language of `text`, a key of the table or None.

    `header` is the language of a C or C++ file to be included that could be either.

    >>> choose(".pl", "parent(X, Y) :- father(X, Y).")
    'prolog'
    """
    if extension == ".h":
        return _header(text, header)
    if extension not in HINTS:
        return "groff" if _compiled(_ROFF).search(text[:MARK_CHARS]) else None
    *marks, otherwise = HINTS[extension]
    for mark in marks:
        assert isinstance(mark, tuple)
        if _compiled(mark[0]).search(text[:MARK_CHARS]):
            return header if mark[1] == "c" else mark[1]
    assert not isinstance(otherwise, tuple)
    return otherwise


def _header(text: str, header: str) -> str:
    """Objective-C, C++ or C, by the code of a header alone: comments talk of classes, too."""
    code = _NOT_CODE.sub("", text[:MARK_CHARS])
    if len(code) < MARK_CHARS // 4:
        code = _NOT_CODE.sub("", text)[:MARK_CHARS]
    if ("@" in code or "import" in code) and _compiled(_OBJECTIVE_C).search(code):
        return "objective-c"
    if "__cplusplus" in code:
        code = _FOR_CPP_ONLY.sub("", code)
    is_possible = any(word in code for word in _CPP_WORDS)
    return "cpp" if is_possible and _compiled(_CPP).search(code) else header


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    # Within the line: white space from every empty line on is the same question again, and slow.
    return re.compile(pattern.replace(r"^\s*", r"^[ \t]*"), re.MULTILINE)
