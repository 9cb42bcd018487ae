// The Repo tab: the tree of the repository that the server follows, a file of it with completions inside, and what of the
// other files a completion was shown, and why. Nothing is written to disk. Not here: the tree itself (tree.js).

import { getJson, postJson } from "./api.js";
import { button, element } from "./elements.js";
import { showState } from "./status.js";
import { forTab } from "./storage.js";
import { Tree } from "./tree.js";

export class Repository {
  /** `parts`: the elements tree, find, relist, name, path, revert, state, summary, files, notes. */
  constructor(parts, { editor, completions }) {
    Object.assign(this, { parts, editor, completions });
    this.open = null;
    /** What was typed into files, by path, while the page is open. */
    this.edited = new Map();
    this.isLoading = false;
    this.timer = 0;
    this.tree = new Tree(parts.tree, { onOpen: (path) => this.show(path) });
    parts.find.addEventListener("input", () => this.tree.filter(parts.find.value));
    parts.find.addEventListener("keydown", (event) => {
      if (event.key !== "ArrowDown" && event.key !== "Enter") return;
      event.preventDefault();
      this.tree.focus();
    });
    parts.relist.addEventListener("click", () => this.list());
    parts.revert.addEventListener("click", () => this.#revert());
    editor.addEventListener("edit", () => this.#onEdit());
    completions.addEventListener("asked", ({ detail }) => this.#explain(detail));
    addEventListener("focus", () => this.#lookAgain());
  }

  /** Fetches the tree; the first time it also opens the file that was open before a reload. */
  async list() {
    try {
      const { name, files, n_files } = await getJson("/v1/repository");
      this.parts.name.textContent = name;
      this.tree.show(files.map(({ path }) => path));
      const more = n_files > files.length ? `; the first ${files.length.toLocaleString("en")} are shown` : "";
      this.#state("idle", `${n_files.toLocaleString("en")} files${more}`);
      const before = forTab.get("codling.repo-file");
      if (!this.open && files.some(({ path }) => path === before)) await this.show(before);
    } catch (error) {
      this.#state("error", error.message);
    }
  }

  async show(path) {
    this.completions.cancel();
    this.wanted = path;
    try {
      const file = await this.#fetch(path);
      if (this.wanted !== path) return; // another one was chosen meanwhile
      this.#settle();
      this.open = { path, text: file.text };
      forTab.set("codling.repo-file", path);
      this.parts.path.textContent = path;
      this.#load(this.edited.get(path) ?? file.text, 0);
      this.tree.choose(path);
      const n = file.redactions.length;
      const hidden = n ? `; ${n} ${n > 1 ? "secrets" : "secret"} shown as placeholders` : "";
      this.#state("idle", `ready${hidden}`);
      this.editor.focus();
      await this.#explain(null);
    } catch (error) {
      if (this.wanted !== path) return;
      await this.#failed(error, path);
    }
  }

  async #failed(error, path) {
    if (error.status === 404) await this.list(); // the tree as it is now
    this.#state("error", error.status === 404 ? `${path} is not there any more` : error.message);
  }

  async #fetch(path) {
    const file = await getJson(`/v1/repository/file?path=${encodeURIComponent(path)}`);
    return { ...file, text: file.text.replace(/\r\n?/g, "\n") }; // as the editor holds it
  }

  #load(text, at) {
    this.isLoading = true;
    this.editor.fileName = this.open.path;
    this.editor.load(text, at);
    this.isLoading = false;
    this.#showEdited();
  }

  #onEdit() {
    if (this.isLoading || !this.open) return;
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.#note(), 300);
  }

  /** Notes at once what was typed last. */
  #settle() {
    if (this.timer) this.#note();
  }

  #note() {
    clearTimeout(this.timer);
    this.timer = 0;
    const { path, text } = this.open;
    const now = this.editor.text;
    if (now === text) this.edited.delete(path);
    else this.edited.set(path, now);
    this.#showEdited();
  }

  #showEdited() {
    const isEdited = this.edited.has(this.open.path);
    this.parts.revert.hidden = !isEdited;
    this.parts.path.dataset.edited = String(isEdited);
    this.tree.mark(new Set(this.edited.keys()));
  }

  #revert() {
    this.#settle();
    this.edited.delete(this.open.path);
    this.show(this.open.path);
  }

  /** Back from another window: a file that was changed there, and not here, is shown as it is now. */
  async #lookAgain() {
    this.#settle();
    if (!this.open || this.edited.has(this.open.path) || this.parts.tree.offsetParent === null) return;
    const { path, text } = this.open;
    try {
      const file = await this.#fetch(path);
      this.#settle();
      if (this.open.path !== path || file.text === text || this.edited.has(path)) return;
      this.open.text = file.text;
      this.#load(file.text, this.editor.cursor);
      this.#state("idle", "read again: it changed on disk");
    } catch (error) {
      if (this.open.path === path) await this.#failed(error, path);
    }
  }

  /** `asked`: the question of a completion and the tokens of its prompt, or null for what one at the cursor would see. */
  async #explain(asked) {
    if (!this.open) return;
    const { path } = this.open;
    const question = asked?.question ?? { path, prompt: this.editor.before, suffix: this.editor.after };
    const { prompt, suffix, max_tokens } = question;
    try {
      const told = await postJson("/v1/repository/context", { path, prompt, suffix, max_tokens });
      if (this.open.path === path) this.#showContext(told, asked);
    } catch (error) {
      this.#state("error", error.message);
    }
  }

  #showContext(told, asked) {
    const { summary, files, notes } = this.parts;
    const rows = shares(told, asked?.cached ?? 0);
    summary.textContent = asked
      ? `${count(asked.prompt, "token")} in the prompt, ${asked.cached.toLocaleString("en")} of them cached`
      : `What a completion here would be shown: ${count(told.n_tokens, "token")} of ${told.room.toLocaleString("en")}`;
    files.replaceChildren(...rows.map((row) => this.#row(row, told.path)));
    const left = told.left_out.map((file) => element("li", "", {}, this.#link(file.path), ` (${reason(file, told.path)})`));
    notes.replaceChildren();
    if (!told.files.length) notes.append(element("p", "", {}, "No other file: this one imports nothing of the repository."));
    if (left.length) {
      const title = `No room for ${count(left.length, "file")} that it depends on`;
      notes.append(element("details", "", {}, element("summary", "", {}, title), element("ul", "", {}, ...left)));
    }
  }

  #row(row, path) {
    const title = row.path ? this.#link(row.path) : element("b", "", {}, row.title);
    const why = row.path ? reason(row, path) : row.why;
    const cut = row.is_cut ? ", its beginning left out" : "";
    const cached = row.n_cached ? `, ${row.n_cached === row.n_tokens ? "all" : row.n_cached.toLocaleString("en")} cached` : "";
    const filled = element("i");
    filled.style.width = `${(100 * row.n_cached) / Math.max(1, row.n_tokens)}%`;
    const bar = element("span", "share", { "aria-hidden": "true" }, filled);
    return element(
      "li", "part", { "data-rule": row.rule ?? row.kind }, title, element("span", "why", {}, why + cut),
      element("span", "count", {}, `${count(row.n_tokens, "token")}${cached}`), bar,
    );
  }

  #link(path) {
    return button(path, () => this.show(path), { className: "entry", name: `Open ${path}` });
  }

  #state(state, message) {
    showState(this.parts.state, state, message);
  }
}

/** The parts of the prompt in their order, with how many tokens of each were cached: the cache holds its beginning. */
function shares(told, cached) {
  const own = {
    here: { kind: "here", title: "This file", why: "up to the cursor", n_tokens: told.here.n_tokens },
    suffix: { kind: "suffix", title: "This file", why: "after the cursor", n_tokens: told.suffix.n_tokens },
  };
  const rows = told.order.flatMap((name) => (name === "files" ? told.files : [own[name]]));
  let left = cached;
  for (const row of rows) {
    row.n_cached = Math.min(left, row.n_tokens);
    left -= row.n_cached;
  }
  return rows;
}

function reason({ rule, via, distance }, path) {
  if (via === path) return `${rule}ed by this file`;
  return `${rule}ed by ${via}, ${distance} imports away`;
}

function count(n, word) {
  return `${n.toLocaleString("en")} ${word}${n === 1 ? "" : "s"}`;
}
