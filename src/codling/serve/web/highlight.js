// Colours code: comments, strings, numbers, keywords, names that are defined. Not a parser: what it cannot
// tell stays plain, and a very long text stays plain altogether.

const LONGEST = 80_000;

const WORDS = {
  python: `and as assert async await break class continue def del elif else except finally for from global if
    import in is lambda nonlocal not or pass raise return try while with yield match case None True False self`,
  script: `async await break case catch class const continue debugger default delete do else enum export extends
    finally for from function if implements import in instanceof interface let new of return static super switch
    this throw try type typeof var void while yield null undefined true false`,
  c: `auto bool break case catch char class const constexpr continue default delete do double else enum explicit
    extern false final float for if import inline int interface long namespace new null nullptr override package
    private protected public return short signed sizeof static struct super switch template this throw throws
    true try typedef typename union unsigned using virtual void volatile while`,
  rust: `as async await break const continue crate else enum extern false fn for if impl in let loop match mod move
    mut pub ref return self Self static struct super trait true type unsafe use where while`,
  go: `break case chan const continue default defer else fallthrough for func go goto if import interface map
    package range return select struct switch type var nil true false iota`,
  shell: `if then else elif fi for while until do done case esac in function return local export readonly set
    unset shift exit break continue`,
};

const SLASHES = /\/\/[^\n]*|\/\*[\s\S]*?(?:\*\/|$)/;
const HASH = /#[^\n]*/;
const QUOTES = /"(?:\\[\s\S]|[^"\\\n])*"?|'(?:\\[\s\S]|[^'\\\n])*'?/;
const TRIPLE = /[rbfuRBFU]{0,2}(?:"""[\s\S]*?(?:"""|$)|'''[\s\S]*?(?:'''|$)|"(?:\\[\s\S]|[^"\\\n])*"?|'(?:\\[\s\S]|[^'\\\n])*'?)/;
const TICKS = /`(?:\\[\s\S]|[^`\\])*`?|"(?:\\[\s\S]|[^"\\\n])*"?|'(?:\\[\s\S]|[^'\\\n])*'?/;
// Rust's lifetimes have a quote and no end.
const RUST_QUOTES = /"(?:\\[\s\S]|[^"\\])*"?|'(?:\\[^\n]|[^'\\\n])'/;

const KINDS = {
  python: kind(HASH, TRIPLE, "python", "#"),
  script: kind(SLASHES, TICKS, "script", "//"),
  c: kind(SLASHES, QUOTES, "c", "//"),
  rust: kind(SLASHES, RUST_QUOTES, "rust", "//"),
  go: kind(SLASHES, TICKS, "go", "//"),
  shell: kind(HASH, QUOTES, "shell", "#"),
  plain: { pattern: null, words: new Set(), comment: "#" },
};

const EXTENSIONS = {
  py: "python", pyi: "python", js: "script", mjs: "script", jsx: "script", ts: "script", tsx: "script",
  c: "c", h: "c", cc: "c", cpp: "c", hpp: "c", cs: "c", java: "c", kt: "c", swift: "c", php: "c", scala: "c",
  rs: "rust", go: "go", sh: "shell", bash: "shell", rb: "shell", yaml: "shell", yml: "shell", toml: "shell",
};

function kind(comment, string, words, mark) {
  const parts = [
    `(?<comment>${comment.source})`,
    `(?<string>${string.source})`,
    String.raw`(?<number>\b(?:0[xXbBoO][\da-fA-F_]+|\d[\d_]*(?:\.\d+)?(?:[eE][+-]?\d+)?)\b)`,
    String.raw`(?<deco>@[A-Za-z_][\w.]*)`,
    String.raw`(?<word>[\p{L}_$][\p{L}\p{N}_$]*)`,
  ];
  return {
    pattern: new RegExp(parts.join("|"), "gu"),
    words: new Set(WORDS[words].split(/\s+/)),
    comment: mark,
  };
}

const DEFINES = new Set(["def", "class", "function", "fn", "func", "struct", "interface", "enum", "trait"]);

/** How files of this name are coloured, and how a comment begins in them. */
export function kindOf(fileName) {
  const extension = fileName.includes(".") ? fileName.split(".").pop().toLowerCase() : "";
  return KINDS[EXTENSIONS[extension] ?? "plain"];
}

/** Appends `text` to `parent`, as text nodes and spans of a class per sort of token. */
export function paint(parent, text, { pattern, words }) {
  if (!pattern || text.length > LONGEST) {
    parent.append(text);
    return;
  }
  let end = 0;
  let defines = false;
  for (const match of text.matchAll(pattern)) {
    const name = sort(match, words, defines, text);
    if (match.groups.word) defines = DEFINES.has(match[0]);
    if (!name) continue;
    if (match.index > end) parent.append(text.slice(end, match.index));
    const span = document.createElement("span");
    span.className = name;
    span.textContent = match[0];
    parent.append(span);
    end = match.index + match[0].length;
  }
  parent.append(text.slice(end));
}

function sort(match, words, defines, text) {
  const groups = match.groups;
  if (groups.comment !== undefined) return "t-comment";
  if (groups.string !== undefined) return "t-string";
  if (groups.number !== undefined) return "t-number";
  if (groups.deco !== undefined) return "t-name";
  if (words.has(match[0])) return "t-word";
  if (defines) return "t-name";
  return text[match.index + match[0].length] === "(" ? "t-call" : "";
}
