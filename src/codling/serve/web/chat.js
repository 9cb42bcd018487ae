// The chat tab: a dialogue, streamed. Text from the model is shown as text, never as HTML.

import { Stopwatch, stream } from "./api.js";
import { kindOf, paint } from "./highlight.js";

const FENCE = /^```(\S*)[^\n]*$/;
const NAMES = { python: "py", py: "py", javascript: "js", typescript: "ts", rust: "rs", bash: "sh", shell: "sh" };

export class Chat {
  constructor(parts, { temperature, onStats }) {
    Object.assign(this, parts, { temperature, onStats });
    this.messages = [];
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
  }

  reset() {
    this.abort?.abort();
    this.messages = [];
    this.talk.replaceChildren(this.empty);
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
    const box = this.#bubble("assistant", "");
    box.classList.add("writing");
    await this.#answer(box);
    box.classList.remove("writing");
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
    box.replaceChildren(...blocks(text));
    if (near) this.talk.scrollTop = this.talk.scrollHeight;
  }
}

/** Paragraphs and fenced code, as elements. */
function blocks(text) {
  const made = [];
  let prose = [];
  let code = null;
  const flush = () => {
    if (prose.join("").trim()) made.push(paragraph(prose.join("\n").trim()));
    prose = [];
  };
  for (const line of text.split("\n")) {
    const fence = line.match(FENCE);
    if (fence && code === null) {
      flush();
      code = { language: fence[1], lines: [] };
    } else if (fence) {
      made.push(codeBlock(code));
      code = null;
    } else if (code) {
      code.lines.push(line);
    } else {
      prose.push(line);
    }
  }
  flush();
  if (code) made.push(codeBlock(code));
  return made;
}

function paragraph(text) {
  const p = document.createElement("p");
  for (const [i, part] of text.split(/`([^`\n]+)`/).entries()) {
    if (i % 2 === 0) {
      p.append(part);
    } else {
      const code = document.createElement("code");
      code.textContent = part;
      p.append(code);
    }
  }
  return p;
}

function codeBlock({ language, lines }) {
  const figure = document.createElement("figure");
  const caption = document.createElement("figcaption");
  caption.textContent = language || "code";
  const copy = document.createElement("button");
  copy.type = "button";
  copy.className = "plain";
  copy.textContent = "Copy";
  copy.addEventListener("click", async () => {
    await navigator.clipboard.writeText(lines.join("\n"));
    copy.textContent = "Copied";
  });
  caption.append(copy);
  const pre = document.createElement("pre");
  pre.tabIndex = 0;
  paint(pre, lines.join("\n"), kindOf(`x.${NAMES[language.toLowerCase()] ?? language}`));
  figure.append(caption, pre);
  return figure;
}
