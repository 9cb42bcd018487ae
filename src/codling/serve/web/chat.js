// The chat tab: a dialogue, streamed. Text from the model is shown as text, never as HTML.

import { Stopwatch, stream } from "./api.js";
import { kindOf, paint } from "./languages.js";
import { render } from "./markdown.js";

const KEPT = "codling.dialogue";

export class Chat {
  constructor(parts, { temperature, onStats, onInsert }) {
    Object.assign(this, parts, { temperature, onStats, onInsert });
    this.messages = kept();
    this.abort = null;
    this.compose.addEventListener("submit", (event) => {
      event.preventDefault();
      this.ask();
    });
    this.say.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
        event.preventDefault();
        this.ask();
      }
    });
    this.stop.addEventListener("click", () => this.abort?.abort());
    this.clear.addEventListener("click", () => this.reset());
    this.again.addEventListener("click", () => this.regenerate());
    this.#showAll();
  }

  /** Answers the last question anew. */
  async regenerate() {
    if (this.abort || this.messages.at(-1)?.role !== "assistant") return;
    this.messages.pop();
    this.#showAll();
    await this.#answerIn(this.#bubble("assistant", ""));
  }

  reset() {
    this.abort?.abort();
    this.messages = [];
    this.#showAll();
    this.#state("idle", "ready");
    this.onStats([]);
    this.say.focus();
  }

  async ask() {
    const content = this.say.value.trim();
    if (!content || this.abort || this.send.disabled) return;
    this.say.value = "";
    this.messages.push({ role: "user", content });
    this.empty.remove();
    this.#bubble("user", content);
    await this.#answerIn(this.#bubble("assistant", ""));
  }

  async #answerIn(box) {
    box.classList.add("writing");
    await this.#answer(box);
    box.classList.remove("writing");
    this.#keep();
  }

  #showAll() {
    this.talk.replaceChildren(...(this.messages.length ? [] : [this.empty]));
    for (const { role, content } of this.messages) this.#bubble(role, content);
    this.#keep();
  }

  /** A reload keeps the dialogue, in this tab only. */
  #keep() {
    this.again.hidden = Boolean(this.abort) || this.messages.at(-1)?.role !== "assistant";
    sessionStorage.setItem(KEPT, JSON.stringify(this.messages));
  }

  async #answer(box) {
    const watch = new Stopwatch();
    const body = { messages: this.messages, temperature: this.temperature() };
    let text = "";
    let frame = 0;
    const show = () => {
      cancelAnimationFrame(frame);
      frame = 0;
      if (text) this.#show(box, text);
    };
    this.abort = new AbortController();
    this.#busy(true);
    this.#state("busy", "writing");
    try {
      for await (const event of stream("/v1/chat/completions", body, { signal: this.abort.signal })) {
        const piece = event.choices[0]?.delta?.content;
        if (event.usage) watch.sawUsage(event.usage);
        if (!piece) continue;
        watch.sawText();
        text += piece;
        frame ||= requestAnimationFrame(show); // pieces come faster than a long answer is laid out
      }
      show();
      this.#state("idle", "done");
      this.onStats(watch.facts());
    } catch (error) {
      show();
      if (error.name === "AbortError") this.#state("idle", "stopped");
      else this.#failed(box, error.message, text);
    } finally {
      this.abort = null;
      this.#busy(false);
    }
    if (text) this.messages.push({ role: "assistant", content: text });
    else this.messages.pop();
  }

  #failed(box, message, text) {
    this.#state("error", message);
    if (!text) box.textContent = message;
    box.classList.add("failed");
  }

  #busy(on) {
    this.stop.hidden = !on;
    this.send.hidden = on;
    this.again.hidden = true;
  }

  #state(state, message) {
    this.state.dataset.state = state;
    this.state.textContent = message;
  }

  #bubble(role, text) {
    const row = document.createElement("div");
    row.className = `turn ${role}`;
    const who = document.createElement("p");
    who.className = "who";
    who.textContent = role === "user" ? "You" : "codling";
    const box = document.createElement("div");
    box.className = "said";
    row.append(who, box);
    this.talk.append(row);
    this.#show(box, text);
    return box;
  }

  #show(box, text) {
    const near = this.talk.scrollHeight - this.talk.scrollTop - this.talk.clientHeight < 120;
    box.replaceChildren(...render(text, (fence) => codeBlock(fence, this.onInsert)));
    if (near) this.talk.scrollTop = this.talk.scrollHeight;
  }
}

function kept() {
  try {
    const found = JSON.parse(sessionStorage.getItem(KEPT) ?? "[]");
    return Array.isArray(found) ? found.filter(({ role, content }) => role && typeof content === "string") : [];
  } catch {
    return [];
  }
}

function codeBlock({ language, text }, onInsert) {
  const figure = document.createElement("figure");
  const caption = document.createElement("figcaption");
  caption.textContent = language || "code";
  const copy = button("Copy", async () => {
    await navigator.clipboard.writeText(text);
    copy.textContent = "Copied";
  });
  const actions = document.createElement("span");
  actions.append(copy, button("Insert into editor", () => onInsert(text)));
  caption.append(actions);
  const pre = document.createElement("pre");
  pre.tabIndex = 0;
  paint(pre, text, kindOf(language));
  figure.append(caption, pre);
  return figure;
}

function button(label, onClick) {
  const made = document.createElement("button");
  made.type = "button";
  made.className = "plain";
  made.textContent = label;
  made.addEventListener("click", onClick);
  return made;
}
