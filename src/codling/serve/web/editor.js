// The editor: CodeMirror, and in it the ghost, which is the suggestion at the cursor. Not here: where suggestions come
// from (completions.js), languages and colours (languages.js).
//
// It lives in a shadow root, where CodeMirror's styles are constructed sheets: the page's Content-Security-Policy
// forbids style elements.

import {
  bracketMatching, closeBrackets, closeBracketsKeymap, Compartment, Decoration, defaultKeymap, EditorState, EditorView,
  highlightActiveLine, highlightActiveLineGutter, highlightSelectionMatches, history, historyKeymap, indentUnit, isolateHistory,
  keymap, lineNumbers, Prec, search, searchKeymap, StateEffect, StateField, syntaxHighlighting, WidgetType,
} from "./codemirror.js";
import { colours, kindOf } from "./languages.js";

const INDENT = "    ";
// Control characters cannot be seen, and those of writing directions show code in another order than it has.
const UNSEEN = /[\u0000-\u0008\u000b-\u001f\u007f\u202a-\u202e\u2066-\u2069]/g;
const WORD = /^\s*(?:[\p{L}\p{N}_]+|[^\p{L}\p{N}_\s]+)/u;

const setGhost = StateEffect.define();

/**
 * The suggestion, or null: `about` is what it was asked as, `at` where it begins, `tail` how much text comes after it,
 * `typed` what has been typed of it, `full` its text so far, `done` whether all has come.
 */
const ghostField = StateField.define({
  create: () => null,
  update(ghost, change) {
    for (const effect of change.effects) if (effect.is(setGhost)) return effect.value;
    return ghost && (change.docChanged || change.selection) ? follow(ghost, change) : ghost;
  },
  provide: (field) => EditorView.decorations.from(field, (ghost) => {
    const rest = ghost?.full.slice(ghost.typed.length);
    if (!rest) return Decoration.none;
    const widget = Decoration.widget({ widget: new GhostText(rest), side: 1 });
    return Decoration.set([widget.range(ghost.at + ghost.typed.length)]);
  }),
});

/** The suggestion after a change: typing along keeps its rest; anything else ends it. */
function follow(ghost, change) {
  const { at, tail, typed: before } = ghost;
  let inside = true;
  change.changes.iterChangedRanges((from, to) => {
    if (from < at || to > at + before.length) inside = false;
  });
  if (!inside) return null;
  const typed = change.newDoc.sliceString(at, change.newDoc.length - tail);
  const { main } = change.newSelection;
  return main.empty && main.head === at + typed.length && fits(typed, ghost) ? { ...ghost, typed } : null;
}

function fits(typed, { full, done }) {
  if (done) return typed.length < full.length && full.startsWith(typed);
  return full.startsWith(typed) || typed.startsWith(full);
}

class GhostText extends WidgetType {
  constructor(text) {
    super();
    this.text = text;
  }

  eq(other) {
    return other.text === this.text;
  }

  get lineBreaks() {
    return this.text.split("\n").length - 1;
  }

  /** Each line's indentation stays without the wash of colour. */
  toDOM() {
    const ghost = document.createElement("span");
    ghost.className = "ghost";
    for (const [i, line] of this.text.split("\n").entries()) {
      const code = document.createElement("span");
      const indent = i ? line.match(/^\s*/)[0] : "";
      code.textContent = line.slice(indent.length);
      ghost.append(i ? `\n${indent}` : "", code);
    }
    return ghost;
  }
}

export class Editor extends EventTarget {
  /**
   * Fills `host`. Events: `edit` (the text changed by hand), `move` (the cursor moved), `ghost` (it came, went, changed),
   * `escape`, `outcome` (what became of a suggestion).
   */
  constructor(host, { label, hint }) {
    super();
    this.kind = kindOf("");
    this.leaving = false;
    this.language = new Compartment();
    const root = host.attachShadow({ mode: "open", delegatesFocus: true });
    const help = document.createElement("p");
    help.id = "help";
    help.hidden = true;
    help.textContent = hint;
    root.append(help);
    this.attributes = { "aria-label": label, "aria-describedby": "help", spellcheck: "false", autocapitalize: "off", autocorrect: "off" };
    this.view = new EditorView({ root, parent: root, state: this.#stateOf("", 0) });
    this.view.contentDOM.addEventListener("blur", () => (this.leaving = false));
  }

  #stateOf(doc, at) {
    return EditorState.create({
      doc,
      selection: { anchor: Math.min(at, doc.length) },
      extensions: [
        ghostField,
        Prec.highest(keymap.of(this.#keys())),
        lineNumbers(), highlightActiveLine(), highlightActiveLineGutter(), highlightSelectionMatches(),
        history(), bracketMatching(), closeBrackets(), search({ top: true }), indentUnit.of(INDENT),
        keymap.of([...closeBracketsKeymap, ...defaultKeymap, ...historyKeymap, ...searchKeymap]),
        EditorState.tabSize.of(4),
        this.language.of(this.kind.language ?? []),
        syntaxHighlighting(colours), THEME,
        EditorView.contentAttributes.of(this.attributes),
        EditorView.updateListener.of((update) => this.#onUpdate(update)),
      ],
    });
  }

  set fileName(name) {
    this.kind = kindOf(name);
    this.view.dispatch({ effects: this.language.reconfigure(this.kind.language ?? []) });
  }

  /** Another text; what was done to the last one cannot be undone. */
  load(text, at = 0) {
    this.view.setState(this.#stateOf(text.replace(/\r\n?/g, "\n"), at));
    this.view.dispatch({ selection: this.view.state.selection, scrollIntoView: true });
  }

  get text() {
    return this.view.state.doc.toString();
  }

  get cursor() {
    return this.view.state.selection.main.head;
  }

  get before() {
    return this.view.state.sliceDoc(0, this.view.state.selection.main.from);
  }

  get after() {
    return this.view.state.sliceDoc(this.view.state.selection.main.to);
  }

  /** Line and column of the cursor, both from 1. */
  get place() {
    const line = this.view.state.doc.lineAt(this.cursor);
    return [line.number, this.cursor - line.from + 1];
  }

  get isReady() {
    return this.view.hasFocus && this.view.state.selection.main.empty;
  }

  focus() {
    this.view.focus();
  }

  get #ghost() {
    return this.view.state.field(ghostField);
  }

  /** What the shown suggestion was begun as; null without one. */
  get ghost() {
    return this.#ghost?.about ?? null;
  }

  /** What of the suggestion is not typed yet; "" without one. */
  get suggestion() {
    return this.#ghost ? this.#ghost.full.slice(this.#ghost.typed.length) : "";
  }

  /** Begin an empty suggestion at the cursor, for `extend` to fill. */
  begin() {
    const about = {};
    const { head } = this.view.state.selection.main;
    const ghost = { about, at: head, tail: this.view.state.doc.length - head, typed: "", full: "", done: false };
    this.view.dispatch({ selection: { anchor: head }, effects: setGhost.of(ghost) });
    return about;
  }

  /** Add streamed text to a suggestion, unless it has been dropped meanwhile. */
  extend(about, piece) {
    if (this.ghost !== about) return;
    const next = { ...this.#ghost, full: this.#ghost.full + piece.replace(UNSEEN, "") };
    if (fits(next.typed, next)) this.view.dispatch({ effects: setGhost.of(next) });
    else this.drop();
  }

  /** No more text will come; false if nothing is there to accept. */
  finish(about) {
    if (this.ghost !== about) return false;
    const next = { ...this.#ghost, full: this.#ghost.full.replace(/\s+$/, ""), done: true };
    if (!fits(next.typed, next)) {
      this.drop();
      return false;
    }
    about.full = next.full;
    this.view.dispatch({ effects: setGhost.of(next) });
    return true;
  }

  drop() {
    const ghost = this.#ghost;
    if (!ghost) return;
    this.#tell(ghost, ghost.about.taken ? "taken" : "dismissed");
    this.view.dispatch({ effects: setGhost.of(null) });
  }

  accept(part = (text) => text) {
    const ghost = this.#ghost;
    const piece = part(this.suggestion);
    if (!piece) return;
    const typed = ghost.typed + piece;
    ghost.about.taken = typed;
    const isAll = typed.length === ghost.full.length;
    if (isAll) this.#tell(ghost, "taken");
    this.insert(piece, { effects: setGhost.of(isAll ? null : { ...ghost, typed }) });
  }

  /** Says once what became of a suggestion that was shown. */
  #tell({ about, full }, outcome) {
    if (!about.id || !full || about.told) return;
    about.told = true;
    const text = outcome === "taken" ? about.taken : undefined;
    this.dispatchEvent(new CustomEvent("outcome", { detail: { id: about.id, outcome, text } }));
  }

  /** Replaces the selection; undo takes it back as one step. */
  insert(piece, more = {}) {
    const { from, to } = this.view.state.selection.main;
    this.view.dispatch({
      changes: { from, to, insert: piece },
      selection: { anchor: from + piece.length },
      annotations: isolateHistory.of("full"),
      userEvent: "input.complete",
      scrollIntoView: true,
      ...more,
    });
  }

  #onUpdate(update) {
    const [before, now] = [update.startState.field(ghostField), update.state.field(ghostField)];
    if (before !== now) this.dispatchEvent(new Event("ghost"));
    if (update.docChanged) {
      this.leaving = false;
      this.dispatchEvent(new Event("edit"));
    } else if (update.selectionSet) {
      this.dispatchEvent(new Event("move"));
    }
  }

  #keys() {
    const takeWord = () => Boolean(this.suggestion) && (this.accept((text) => text.match(WORD)?.[0] ?? text), true);
    return [
      { key: "Tab", run: () => this.#onTab() },
      { key: "Ctrl-ArrowRight", run: takeWord },
      { key: "Meta-ArrowRight", run: takeWord },
      { key: "Escape", run: () => this.#onEscape() },
    ];
  }

  #onTab() {
    if (this.leaving) return false;
    if (this.suggestion) this.accept();
    else this.insert(INDENT);
    return true;
  }

  /** A second way out for the keyboard: after Escape, Tab moves on as on any page. */
  #onEscape() {
    this.leaving = !this.#ghost;
    this.drop();
    this.dispatchEvent(new Event("escape"));
    return false;
  }
}

const THEME = EditorView.theme({
  "&": { height: "100%", color: "var(--ink)", background: "none" },
  "&.cm-focused": { outline: "none", boxShadow: "inset 2px 0 var(--accent)" },
  ".cm-scroller": { font: "inherit", lineHeight: "inherit", overflow: "auto" },
  ".cm-content": { padding: ".9rem 1.5rem 40vh 0", caretColor: "var(--accent)", fontVariantLigatures: "none" },
  ".cm-line": { padding: "0 0 0 .5rem" },
  ".cm-gutters": { background: "var(--card)", border: "0", color: "var(--faint)", fontVariantNumeric: "tabular-nums" },
  ".cm-lineNumbers .cm-gutterElement": { minWidth: "3rem", padding: "0 .6rem 0 .4rem" },
  ".cm-activeLine": { background: "color-mix(in srgb, var(--raised) 70%, transparent)" },
  ".cm-activeLineGutter": { background: "none", color: "var(--ink)" },
  ".cm-selectionMatch, .cm-searchMatch, &.cm-focused .cm-matchingBracket": { background: "var(--wash)" },
  ".cm-content ::selection, .cm-line::selection": { background: "var(--chosen)" },
  ".cm-panels": { background: "var(--raised)", color: "var(--ink)", borderColor: "var(--line)", font: ".9rem var(--sans)" },
  ".cm-panels input, .cm-panels button": { font: "inherit", background: "var(--card)", color: "inherit", border: "1px solid var(--line)", borderRadius: "6px" },
  ".ghost": { color: "var(--ghost)", whiteSpace: "pre" },
  ".ghost span": { background: "var(--wash)", borderRadius: "4px", boxShadow: "0 0 0 2px var(--wash)" },
  ".t-word": { color: "var(--t-word)" }, ".t-string": { color: "var(--t-string)" }, ".t-comment": { color: "var(--t-comment)" },
  ".t-number": { color: "var(--t-number)" }, ".t-name": { color: "var(--t-name)" }, ".t-call": { color: "var(--t-call)" },
});
