// Which language a file is in, how a comment begins there, and its colours. Not here: the parsers (codemirror.js).

import { highlightCode, languages, tagHighlighter, tags } from "./codemirror.js";

const LONGEST = 80_000;

/** Extensions, or whole names of files, by language. */
const NAMES = {
  python: "py pyi python", javascript: "js mjs cjs javascript node", jsx: "jsx", typescript: "ts mts cts typescript", tsx: "tsx",
  go: "go golang", html: "html htm xml svg vue", css: "css scss less", json: "json jsonc json5", markdown: "md markdown",
  yaml: "yaml yml", c: "c h", cpp: "cc cpp cxx hpp hh cu cuh c++", csharp: "cs csharp c#", docker: "dockerfile", java: "java",
  kotlin: "kt kts kotlin", lua: "lua", php: "php", ruby: "rb ruby gemfile rakefile", rust: "rs rust", scala: "scala sbt",
  shell: "sh bash zsh shell console", sql: "sql", swift: "swift", toml: "toml ini cfg",
};
const COMMENTS = {
  python: "#", yaml: "#", docker: "#", ruby: "#", shell: "#", toml: "#", markdown: "#", lua: "--", sql: "--", plain: "#",
};
const BY_NAME = new Map(Object.entries(NAMES).flatMap(([language, names]) => names.split(" ").map((name) => [name, language])));

/** The language of a file's name, or of the word after a fence: { name, language, comment }. */
export function kindOf(fileName) {
  const last = fileName.split("/").pop().toLowerCase();
  const name = BY_NAME.get(last) ?? BY_NAME.get(last.split(".").pop()) ?? "plain";
  return { name, language: languages[name] ?? null, comment: COMMENTS[name] ?? "//" };
}

export const colours = tagHighlighter([
  { tag: [tags.keyword, tags.bool, tags.null, tags.atom, tags.self, tags.modifier, tags.operatorKeyword], class: "t-word" },
  { tag: [tags.string, tags.special(tags.string), tags.character, tags.regexp, tags.attributeValue], class: "t-string" },
  { tag: [tags.comment, tags.docString, tags.quote], class: "t-comment" },
  { tag: [tags.number, tags.unit, tags.color], class: "t-number" },
  {
    tag: [
      tags.definition(tags.variableName), tags.definition(tags.propertyName), tags.className, tags.typeName, tags.tagName, tags.heading,
      tags.meta, tags.annotation, tags.macroName, tags.namespace,
    ],
    class: "t-name",
  },
  { tag: [tags.function(tags.variableName), tags.function(tags.propertyName), tags.function(tags.definition(tags.variableName))], class: "t-call" },
  { tag: [tags.propertyName, tags.attributeName, tags.standard(tags.name)], class: "t-field" },
]);

/** Appends `text` to `parent`, as text nodes and spans of a class per sort of token; a very long one stays plain. */
export function paint(parent, text, { language }) {
  if (!language || text.length > LONGEST) {
    parent.append(text);
    return;
  }
  const put = (piece, classes) => {
    if (!classes) return parent.append(piece);
    const span = document.createElement("span");
    span.className = classes;
    span.textContent = piece;
    parent.append(span);
  };
  highlightCode(text, language.parser.parse(text), colours, put, () => parent.append("\n"));
}
