// Suggestions at the cursor of one editor: when they are asked for, what the server is sent, what the buttons and the
// status say. Not here: how they are shown (editor.js).

import { ApiError, Stopwatch, stream, tellOutcome } from "./api.js";
import { showFacts, showState } from "./status.js";

/** Characters before the cursor, and after it, that are sent: more than a context holds, less than a body may have. */
const MOST = 1_000_000;
const session = () => crypto.randomUUID?.() ?? String(Math.random());

export class Completions extends EventTarget {
  /**
   * `parts`: the elements ask, accept, drop, state, stats, place; `settings`: functions onPause, pause, length; `model`
   * and `path` give the model's card and the file's path. Event: `asked`, with the question and the usage of its answer.
   */
  constructor(editor, parts, { settings, model, path, say }) {
    super();
    Object.assign(this, { editor, parts, settings, model, path, say });
    this.session = session();
    this.running = null;
    this.timer = 0;
    this.#wire();
  }

  /**
   * Asks at the cursor. A suggestion ends with its paragraph; if there is none, because a new paragraph belongs here,
   * `wide` asks again for more.
   */
  async ask({ quiet = false, wide = false } = {}) {
    this.cancel();
    this.editor.drop();
    const abort = (this.running = new AbortController());
    const question = this.#question(wide);
    const ghost = this.editor.begin();
    const watch = new Stopwatch();
    this.#state("busy", "thinking");
    try {
      const isWhole = await this.#read(question, { abort, ghost, watch });
      if (this.running === abort) this.running = null;
      if (!isWhole) return;
      showFacts(this.parts.stats, watch.facts());
      this.dispatchEvent(new CustomEvent("asked", { detail: { question, cached: watch.cached, prompt: watch.prompt } }));
      if (this.editor.ghost !== ghost) return;
      if (this.editor.finish(ghost)) this.say(`Suggestion: ${this.editor.suggestion.slice(0, 200)}. Tab accepts.`);
      else if (!wide) await this.ask({ quiet, wide: true });
      else this.#state("idle", quiet ? "ready" : "no suggestion here");
    } catch (error) {
      if (error.name === "AbortError" || error.code === "request_superseded") return;
      this.running = null;
      this.editor.drop();
      this.#state("error", error.message);
      if (!(error instanceof ApiError)) throw error;
    }
  }

  /** Shows the answer as it comes; false once it is not wanted any more. */
  async #read(question, { abort, ghost, watch }) {
    const options = { signal: abort.signal, headers: { "X-Codling-Session": this.session } };
    for await (const event of stream("/v1/completions", question, options)) {
      ghost.id = event.id;
      if (event.usage) watch.sawUsage(event.usage);
      const piece = event.choices[0]?.text;
      if (!piece) continue;
      watch.sawText();
      this.editor.extend(ghost, piece);
      if (this.editor.ghost === ghost) continue;
      abort.abort();
      this.#state("idle", "ready");
      return false;
    }
    return true;
  }

  #question(wide) {
    const [before, after] = around(this.editor);
    const [name, model] = [this.path(), this.model()];
    // A server that follows a repository puts the path and what the file depends on in front.
    const follows = name && model.follows_repository;
    const head = name && !follows ? `${this.editor.kind.comment} ${name}\n` : "";
    const body = { prompt: head + before, max_tokens: this.settings.length(), temperature: 0 };
    if (follows) body.path = name;
    if (model.can_insert) body.suffix = after;
    // Inside a line, only this line.
    if (after.split("\n", 1)[0].trim()) body.stop = ["\n"];
    else body.stop = [wide ? "\n\n\n" : "\n\n"];
    return body;
  }

  cancel() {
    clearTimeout(this.timer);
    if (!this.running) return;
    this.running.abort();
    this.running = null;
    if (this.parts.state.dataset.state === "busy") this.#state("idle", "ready");
  }

  #askSoon() {
    this.cancel();
    if (!this.settings.onPause() || this.editor.suggestion) return;
    this.#state("idle", "ready");
    this.timer = setTimeout(() => {
      if (this.editor.isReady) this.ask({ quiet: true });
    }, this.settings.pause());
  }

  #wire() {
    const { editor } = this;
    const { ask, accept, drop } = this.parts;
    editor.addEventListener("edit", () => {
      this.#showPlace();
      // Typing along the suggestion needs no new one.
      if (!editor.ghost) this.#askSoon();
    });
    editor.addEventListener("move", () => {
      if (!editor.ghost) this.cancel();
      this.#showPlace();
    });
    editor.addEventListener("escape", () => {
      this.cancel();
      this.#state("idle", editor.leaving ? "Tab now leaves the editor" : "ready");
    });
    editor.addEventListener("ghost", () => this.#showGhost());
    editor.addEventListener("outcome", ({ detail }) => {
      if (this.model().logs_outcomes) tellOutcome(detail).catch(() => {});
    });
    // pointerdown, so that the editor keeps its cursor and its keyboard on phones.
    for (const button of [ask, accept, drop]) button.addEventListener("pointerdown", (event) => event.preventDefault());
    ask.addEventListener("click", () => {
      editor.focus();
      this.ask();
    });
    accept.addEventListener("click", () => editor.accept());
    drop.addEventListener("click", () => editor.drop());
  }

  #showGhost() {
    const { ask, accept, drop, state } = this.parts;
    const has = Boolean(this.editor.suggestion);
    accept.hidden = drop.hidden = !has;
    ask.hidden = has;
    if (has) this.#state("ghost", this.running ? "writing" : "Tab accepts, Esc drops");
    else if (state.dataset.state === "ghost") this.#state("idle", "ready");
  }

  #showPlace() {
    const [line, column] = this.editor.place;
    this.parts.place.textContent = `Ln ${line}, Col ${column}`;
  }

  #state(state, message) {
    showState(this.parts.state, state, message);
  }
}

/** The text before the cursor and after it, as far as it is of use; half a character, which no JSON may hold, is replaced. */
function around({ before, after }) {
  const start = before.length > MOST ? before.indexOf("\n", before.length - MOST) + 1 || before.length - MOST : 0;
  return [before.slice(start), after.slice(0, MOST)].map((text) => text.toWellFormed?.() ?? text);
}
