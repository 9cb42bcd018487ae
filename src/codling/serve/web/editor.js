// The editor: a textarea whose text is transparent, over a coloured copy that also shows the ghost, which is
// the suggestion at the cursor. Not here: where suggestions come from (app.js).

import { kindOf, paint } from "./highlight.js";

const INDENT = "    ";
// Control characters cannot be seen, and browsers drop some of them from a textarea.
const UNSEEN = /[\u0000-\u0008\u000b-\u001f\u007f]/g;

export class Editor extends EventTarget {
  /** Events: `edit` (the text changed by hand), `move` (the cursor moved), `ghost` (it came, went, changed). */
  constructor({ text, view, gutter, paper }) {
    super();
    Object.assign(this, { text, view, gutter, paper });
    this.kind = kindOf("");
    this.ghost = null;
    this.leaving = false;
    this.caret = 0;
    text.addEventListener("input", () => this.#onInput());
    text.addEventListener("scroll", () => this.#follow());
    text.addEventListener("keydown", (event) => this.#onKey(event));
    text.addEventListener("blur", () => (this.leaving = false));
    document.addEventListener("selectionchange", () => this.#onSelection());
  }

  set fileName(name) {
    this.kind = kindOf(name);
    this.render();
  }

  load(value, caret) {
    this.text.value = value;
    this.text.setSelectionRange(caret, caret);
    this.caret = caret;
    this.ghost = null;
    this.render();
  }

  get before() {
    return this.text.value.slice(0, this.text.selectionStart);
  }

  get after() {
    return this.text.value.slice(this.text.selectionEnd);
  }

  /** What of the suggestion is not typed yet; "" without one. */
  get suggestion() {
    return this.ghost ? this.ghost.full.slice(this.#typed().length) : "";
  }

  /** Begin an empty suggestion at the cursor, for `extend` to fill. */
  begin() {
    const { before, after } = this;
    this.ghost = { before, after, full: "", done: false };
    return this.ghost;
  }

  /** Add streamed text to a suggestion, unless it has been dropped meanwhile. */
  extend(ghost, piece) {
    if (this.ghost !== ghost) return;
    ghost.full += piece.replace(UNSEEN, "");
    if (this.#matches()) this.#changed();
    else this.drop();
  }

  /** No more text will come; false if nothing is there to accept. */
  finish(ghost) {
    if (this.ghost !== ghost) return false;
    ghost.done = true;
    ghost.full = ghost.full.replace(/\s+$/, "");
    if (!this.suggestion) {
      this.drop();
      return false;
    }
    this.#changed();
    return true;
  }

  drop() {
    if (!this.ghost) return;
    this.#tell(this.ghost, this.#taken(this.ghost) ? "taken" : "dismissed");
    this.ghost = null;
    this.#changed();
  }

  accept(part = (text) => text) {
    const piece = part(this.suggestion);
    if (!piece) return;
    const ghost = this.ghost;
    const rest = this.suggestion.length > piece.length ? ghost : null;
    ghost.taken = this.#typed() + piece;
    if (!rest) {
      this.#tell(ghost, "taken");
      this.ghost = null;
    }
    this.insert(piece);
    this.ghost = rest;
    this.#changed();
  }

  /** What was accepted of a suggestion; "" where nothing was. */
  #taken(ghost) {
    return ghost.taken ?? "";
  }

  /** Says once what became of a suggestion that was shown whole. */
  #tell(ghost, outcome) {
    if (!ghost.id || !ghost.full || ghost.told) return;
    ghost.told = true;
    const text = outcome === "taken" ? this.#taken(ghost) : undefined;
    this.dispatchEvent(new CustomEvent("outcome", { detail: { id: ghost.id, outcome, text } }));
  }

  /** Replaces the selection; undo takes it back. */
  insert(piece) {
    this.text.focus();
    // The only way to change a textarea that keeps its undo history, in all browsers.
    if (!document.execCommand("insertText", false, piece)) {
      this.text.setRangeText(piece, this.text.selectionStart, this.text.selectionEnd, "end");
      this.text.dispatchEvent(new Event("input"));
    }
  }

  render() {
    const { value } = this.text;
    const suggestion = this.suggestion;
    const at = suggestion ? this.ghost.before.length + this.#typed().length : value.length;
    this.view.replaceChildren();
    if (suggestion) {
      this.#paintAround(value, at, suggestion);
    } else {
      paint(this.view, value, this.kind);
    }
    this.view.append("\n");
    this.#number(value, at, suggestion);
    this.#follow();
  }

  /** Colours the whole text, so that a string that spans the cursor keeps its colour, then cuts the ghost in. */
  #paintAround(value, at, suggestion) {
    paint(this.view, value, this.kind);
    const ghost = ghostOf(suggestion);
    let left = at;
    for (const node of this.view.childNodes) {
      const length = node.textContent.length;
      if (left > length) {
        left -= length;
        continue;
      }
      const inner = node.nodeType === Node.TEXT_NODE ? node : node.firstChild;
      const rest = inner.splitText(left);
      if (inner === node) {
        rest.before(ghost);
      } else {
        const tail = node.cloneNode(false);
        tail.append(rest);
        node.after(ghost, tail);
      }
      return;
    }
    this.view.append(ghost);
  }

  #number(value, at, suggestion) {
    const first = value.slice(0, at).split("\n").length;
    const count = value.split("\n").length;
    const extra = suggestion.split("\n").length - 1;
    const current = this.text.value.slice(0, this.text.selectionStart).split("\n").length;
    const rows = [];
    for (let line = 1; line <= count; line += 1) {
      const row = document.createElement("span");
      row.textContent = line;
      if (line === current) row.className = "here";
      rows.push(row);
      if (line === first) {
        for (let i = 0; i < extra; i += 1) {
          const blank = document.createElement("span");
          blank.textContent = "\u00b7";
          blank.className = "new";
          rows.push(blank);
        }
      }
    }
    this.gutter.replaceChildren(...rows);
  }

  #follow() {
    this.view.style.transform = `translate(${-this.text.scrollLeft}px, ${-this.text.scrollTop}px)`;
    this.gutter.style.transform = `translateY(${-this.text.scrollTop}px)`;
  }

  /** What has been typed since the suggestion began. */
  #typed() {
    const { before, after } = this.ghost;
    return this.text.value.slice(before.length, this.text.value.length - after.length);
  }

  /** Whether the text is still what the suggestion was made for, plus a beginning of the suggestion. */
  #matches() {
    const { before, after, full, done } = this.ghost;
    const { value, selectionStart, selectionEnd } = this.text;
    if (value.length < before.length + after.length) return false;
    if (!value.startsWith(before) || !value.endsWith(after)) return false;
    const typed = this.#typed();
    const atEnd = selectionStart === selectionEnd && selectionStart === before.length + typed.length;
    const left = done ? typed.length < full.length : true;
    return atEnd && left && (full.startsWith(typed) || (!done && typed.startsWith(full)));
  }

  #onInput() {
    this.leaving = false;
    this.caret = this.text.selectionStart;
    if (this.ghost && !this.#matches()) this.ghost = null;
    this.#changed();
    this.dispatchEvent(new Event("edit"));
  }

  #onSelection() {
    if (document.activeElement !== this.text || this.text.selectionStart === this.caret) return;
    this.caret = this.text.selectionStart;
    if (this.ghost && !this.#matches()) this.ghost = null;
    this.#changed();
    this.dispatchEvent(new Event("move"));
  }

  #onKey(event) {
    if (event.isComposing) return;
    const plain = !event.ctrlKey && !event.metaKey && !event.altKey;
    if (event.key === "Tab" && plain && !event.shiftKey && !this.leaving) {
      event.preventDefault();
      if (this.suggestion) this.accept();
      else this.insert(INDENT);
    } else if (event.key === "ArrowRight" && (event.ctrlKey || event.metaKey) && this.suggestion) {
      event.preventDefault();
      this.accept((text) => text.match(/^\s*(?:[\p{L}\p{N}_]+|[^\p{L}\p{N}_\s]+)/u)?.[0] ?? text);
    } else if (event.key === "Escape") {
      // A second way out for the keyboard: after Escape, Tab moves on as on any page.
      this.leaving = !this.ghost;
      this.drop();
      this.dispatchEvent(new Event("escape"));
    } else if (event.key === "Enter" && plain && !event.shiftKey) {
      this.#newLine(event);
    }
  }

  /** Keeps the indentation, and deepens it after a colon or an opening bracket. */
  #newLine(event) {
    const line = this.before.split("\n").pop();
    const indent = line.match(/^[ \t]*/)[0];
    const deeper = /[:{([]\s*$/.test(line) ? INDENT : "";
    if (!indent && !deeper) return;
    event.preventDefault();
    this.insert(`\n${indent}${deeper}`);
  }

  #changed() {
    this.render();
    this.dispatchEvent(new Event("ghost"));
  }
}

/** The suggestion as an element; each line's indentation stays without the wash of colour. */
function ghostOf(suggestion) {
  const ghost = document.createElement("span");
  ghost.className = "ghost";
  for (const [i, line] of suggestion.split("\n").entries()) {
    const code = document.createElement("span");
    const indent = i ? line.match(/^\s*/)[0] : "";
    code.textContent = line.slice(indent.length);
    ghost.append(i ? `\n${indent}` : "", code);
  }
  return ghost;
}
