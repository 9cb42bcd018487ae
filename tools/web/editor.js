// What the page uses of CodeMirror, and the languages that it colours. build.mjs makes one file of it.

import { cssLanguage } from "@codemirror/lang-css";
import { goLanguage } from "@codemirror/lang-go";
import { htmlLanguage } from "@codemirror/lang-html";
import { javascriptLanguage, jsxLanguage, tsxLanguage, typescriptLanguage } from "@codemirror/lang-javascript";
import { jsonLanguage } from "@codemirror/lang-json";
import { markdownLanguage } from "@codemirror/lang-markdown";
import { pythonLanguage } from "@codemirror/lang-python";
import { yamlLanguage } from "@codemirror/lang-yaml";
import { StreamLanguage } from "@codemirror/language";
import { c, clike, cpp, csharp, java, kotlin, scala } from "@codemirror/legacy-modes/mode/clike";
import { dockerFile } from "@codemirror/legacy-modes/mode/dockerfile";
import { lua } from "@codemirror/legacy-modes/mode/lua";
import { ruby } from "@codemirror/legacy-modes/mode/ruby";
import { rust } from "@codemirror/legacy-modes/mode/rust";
import { shell } from "@codemirror/legacy-modes/mode/shell";
import { standardSQL } from "@codemirror/legacy-modes/mode/sql";
import { swift } from "@codemirror/legacy-modes/mode/swift";
import { toml } from "@codemirror/legacy-modes/mode/toml";

export { closeBrackets, closeBracketsKeymap } from "@codemirror/autocomplete";
export { defaultKeymap, history, historyKeymap, indentLess, isolateHistory } from "@codemirror/commands";
export { bracketMatching, indentUnit, syntaxHighlighting } from "@codemirror/language";
export { highlightSelectionMatches, search, searchKeymap } from "@codemirror/search";
export { Compartment, EditorState, Prec, StateEffect, StateField, Transaction } from "@codemirror/state";
export {
  Decoration, EditorView, highlightActiveLine, highlightActiveLineGutter, keymap, lineNumbers, WidgetType,
} from "@codemirror/view";
export { highlightCode, tagHighlighter, tags } from "@lezer/highlight";

const words = (text) => Object.fromEntries(text.split(/\s+/).map((word) => [word, true]));

// Neither parser nor stream mode for PHP is small: keywords, strings and comments in the manner of C.
const php = clike({
  name: "php",
  keywords: words(`abstract and array as break callable case catch class clone const continue declare default do echo else elseif
    empty enum extends final finally fn for foreach function global goto if implements include include_once instanceof insteadof
    interface isset list match namespace new or print private protected public readonly require require_once return static switch
    throw trait try unset use var while xor yield`),
  blockKeywords: words("catch class do else elseif enum finally for foreach function if interface switch trait try while"),
  atoms: words("true false null TRUE FALSE NULL self parent"),
  multiLineStrings: true,
  hooks: {
    $: (stream) => (stream.eatWhile(/[\w$]/), "variableName"),
    "#": (stream) => !stream.match("[") && (stream.skipToEnd(), "comment"),
    "<": (stream) => stream.match("?php") && "meta",
    "?": (stream) => stream.match(">") && "meta",
  },
});

/** Language by name; each has a `parser`. C, Java, Rust and SQL as stream modes: a fifth of their parsers' size. */
export const languages = {
  python: pythonLanguage,
  javascript: javascriptLanguage,
  jsx: jsxLanguage,
  typescript: typescriptLanguage,
  tsx: tsxLanguage,
  go: goLanguage,
  html: htmlLanguage,
  css: cssLanguage,
  json: jsonLanguage,
  markdown: markdownLanguage,
  yaml: yamlLanguage,
};
const modes = {
  c, cpp, csharp, docker: dockerFile, java, kotlin, lua, php, ruby, rust, scala, shell, sql: standardSQL, swift, toml,
};
for (const [name, mode] of Object.entries(modes)) languages[name] = StreamLanguage.define(mode);
