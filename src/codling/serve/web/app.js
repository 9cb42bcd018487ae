// Wires the page together: tabs, theme, settings, the model's name, and suggestions at the cursor.

import { ApiError, Stopwatch, apiKey, models, setApiKey, stream, tellOutcome, whenKeyNeeded } from "./api.js";
import { Chat } from "./chat.js";
import { Editor } from "./editor.js";

const $ = (id) => document.getElementById(id);
const SAMPLE = `"""A stack and a queue, made of lists."""


class Stack:
    """Gives back what came last."""

    def __init__(self, items=()):
        self.items = list(items)

    def push(self, item):
        """Puts one item on top."""
        ^

    def pop(self):
        """Takes the top item off."""
        if not self.items:
            raise IndexError("pop from an empty stack")
        return self.items.pop()


class Queue:
    """Gives back what came first."""

    def __init__(self, items=()):
        self.items = list(items)

    def __len__(self):
        return len(self.items)
`;
const SESSION = crypto.randomUUID?.() ?? String(Math.random());
const SETTINGS = ["on-pause", "pause", "length", "heat"];
const IS_MAC = /Mac|iPhone|iPad/.test(navigator.platform);

let model = { can_insert: true };
let running = null;
let timer = 0;

const editor = new Editor({ text: $("text"), view: $("view"), gutter: $("gutter"), paper: $("paper") });
const chat = new Chat(
  {
    talk: $("talk"), empty: $("empty"), compose: $("compose"), say: $("say"), send: $("send"),
    stop: $("stop"), clear: $("clear"), state: $("chat-state"), again: $("again"),
  },
  {
    temperature: () => Number($("heat").value),
    onStats: (facts) => showStats($("chat-stats"), facts),
    onInsert: (code) => {
      $("tab-editor").click();
      editor.text.focus();
      editor.insert(code);
    },
  },
);

start();

function start() {
  restore();
  wireTabs();
  wireTheme();
  wireSettings();
  wireEditor();
  connect();
}

async function connect() {
  try {
    [model] = await models();
    $("model-name").textContent = model.id;
    $("model-context").textContent = `${model.max_model_len.toLocaleString("en")} tokens`;
    document.title = `${model.id} - codling`;
    $("send").disabled = !model.can_chat;
    if (!model.can_chat) $("empty").textContent = "This model has no chat template: it completes code.";
    $("dot").dataset.state = "up";
    setState("idle", model.can_insert ? "ready" : "ready; this model continues, it cannot insert");
  } catch (error) {
    $("dot").dataset.state = "down";
    $("model-name").textContent = error.status === 401 ? "needs a key" : "no server";
    setState("error", error.message);
  }
}

// Suggestions

/**
 * Asks at the cursor. A suggestion ends with its paragraph; if there is none, because a new paragraph
 * belongs here, `wide` asks again for more.
 */
async function ask({ quiet = false, wide = false } = {}) {
  cancel();
  editor.drop();
  const abort = new AbortController();
  running = abort;
  const ghost = editor.begin();
  const watch = new Stopwatch();
  setState("busy", "thinking");
  try {
    const options = { signal: abort.signal, headers: { "X-Codling-Session": SESSION } };
    for await (const event of stream("/v1/completions", question(ghost, wide), options)) {
      ghost.id = event.id;
      if (event.usage) watch.sawUsage(event.usage);
      const piece = event.choices[0]?.text;
      if (!piece) continue;
      watch.sawText();
      editor.extend(ghost, piece);
      if (editor.ghost !== ghost) {
        abort.abort();
        setState("idle", "ready");
        return;
      }
    }
    showStats($("editor-stats"), watch.facts());
    running = null;
    if (editor.ghost !== ghost) return;
    if (editor.finish(ghost)) announce(editor.suggestion);
    else if (!wide) await ask({ quiet, wide: true });
    else setState("idle", quiet ? "ready" : "no suggestion here");
  } catch (error) {
    if (error.name === "AbortError" || error.code === "request_superseded") return;
    running = null;
    editor.drop();
    setState("error", error.message);
    if (!(error instanceof ApiError)) throw error;
  }
}

function question({ before, after }, wide) {
  const name = $("file").value.trim();
  // A server that follows a repository puts the path and what the file depends on in front.
  const follows = name && model.follows_repository;
  const head = name && !follows ? `${editor.kind.comment} ${name}\n` : "";
  const restOfLine = after.split("\n", 1)[0];
  const body = { prompt: head + before, max_tokens: Number($("length").value), temperature: 0 };
  if (follows) body.path = name;
  if (model.can_insert) body.suffix = after;
  // Inside a line, only this line.
  if (restOfLine.trim()) body.stop = ["\n"];
  else body.stop = [wide ? "\n\n\n" : "\n\n"];
  return body;
}

function cancel() {
  clearTimeout(timer);
  if (!running) return;
  running.abort();
  running = null;
  if ($("state").dataset.state === "busy") setState("idle", "ready");
}

function askSoon() {
  cancel();
  if (!$("on-pause").checked || editor.suggestion) return;
  setState("idle", "ready");
  timer = setTimeout(() => {
    const { selectionStart, selectionEnd } = editor.text;
    if (document.activeElement === editor.text && selectionStart === selectionEnd) ask({ quiet: true });
  }, Number($("pause").value));
}

function announce(text) {
  $("heard").textContent = `Suggestion: ${text.slice(0, 200)}. Tab accepts.`;
}

function wireEditor() {
  editor.addEventListener("edit", () => {
    keep();
    // Typing along the suggestion needs no new one.
    if (!editor.ghost) askSoon();
  });
  editor.addEventListener("move", () => {
    if (!editor.ghost) cancel();
    showPlace();
  });
  editor.addEventListener("escape", () => {
    cancel();
    setState("idle", editor.leaving ? "Tab now leaves the editor" : "ready");
  });
  editor.addEventListener("ghost", showGhost);
  editor.addEventListener("outcome", ({ detail }) => {
    if (model.logs_outcomes) tellOutcome(detail).catch(() => {});
  });
  document.addEventListener("keydown", (event) => {
    const space = event.ctrlKey && event.code === "Space";
    const slash = event.altKey && event.code === "Backslash";
    if ((space || slash) && !$("editor").hidden) {
      event.preventDefault();
      editor.text.focus();
      ask();
    }
  });
  $("ask").addEventListener("click", () => {
    editor.text.focus();
    ask();
  });
  // pointerdown, so that the textarea keeps its cursor and its keyboard on phones.
  for (const id of ["ask", "accept", "drop"]) $(id).addEventListener("pointerdown", (e) => e.preventDefault());
  $("accept").addEventListener("click", () => editor.accept());
  $("drop").addEventListener("click", () => editor.drop());
  $("file").addEventListener("input", () => {
    editor.fileName = $("file").value;
    keep();
  });
  if (IS_MAC) $("hint").firstElementChild.textContent = "Control";
}

function showGhost() {
  const has = Boolean(editor.suggestion);
  $("accept").hidden = $("drop").hidden = !has;
  $("ask").hidden = has;
  if (has) setState("ghost", running ? "writing" : "Tab accepts, Esc drops");
  else if ($("state").dataset.state === "ghost") setState("idle", "ready");
  showPlace();
}

function showPlace() {
  const lines = editor.before.split("\n");
  $("place").textContent = `Ln ${lines.length}, Col ${lines.at(-1).length + 1}`;
}

function setState(state, message) {
  $("state").dataset.state = state;
  $("state").textContent = message;
}

function showStats(place, facts) {
  place.replaceChildren(
    ...facts.map(([label, value]) => {
      const item = document.createElement("span");
      const strong = document.createElement("b");
      strong.textContent = value;
      item.append(`${label} `, strong);
      item.dataset.fact = label;
      return item;
    }),
  );
}

// What the tab remembers

function keep() {
  sessionStorage.setItem("codling.text", editor.text.value);
  sessionStorage.setItem("codling.file", $("file").value);
}

function restore() {
  const value = sessionStorage.getItem("codling.text");
  $("file").value = sessionStorage.getItem("codling.file") ?? $("file").value;
  editor.fileName = $("file").value;
  if (value === null) editor.load(SAMPLE.replace("^", ""), SAMPLE.indexOf("^"));
  else editor.load(value, value.length);
  for (const id of SETTINGS) {
    const saved = localStorage.getItem(`codling.${id}`);
    if (saved === null) continue;
    if ($(id).type === "checkbox") $(id).checked = saved === "true";
    else $(id).value = saved;
  }
  showPlace();
}

// Tabs, theme, settings

function wireTabs() {
  const tabs = [$("tab-editor"), $("tab-chat")];
  const open = (tab) => {
    for (const each of tabs) {
      const chosen = each === tab;
      each.setAttribute("aria-selected", String(chosen));
      each.tabIndex = chosen ? 0 : -1;
      $(each.getAttribute("aria-controls")).hidden = !chosen;
    }
    // Not location.hash: that would take the focus from the tab.
    history.replaceState(null, "", `#${tab.getAttribute("aria-controls")}`);
  };
  for (const [i, tab] of tabs.entries()) {
    tab.addEventListener("click", () => open(tab));
    tab.addEventListener("keydown", (event) => {
      if (event.key !== "ArrowRight" && event.key !== "ArrowLeft") return;
      const next = tabs[(i + 1) % tabs.length];
      next.focus();
      open(next);
    });
  }
  if (location.hash === "#chat") open($("tab-chat"));
}

function wireTheme() {
  const root = document.documentElement;
  root.dataset.theme = localStorage.getItem("codling.theme") ?? "auto";
  $("theme").addEventListener("click", () => {
    const system = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
    const shown = root.dataset.theme === "auto" ? system : root.dataset.theme;
    root.dataset.theme = shown === "dark" ? "light" : "dark";
    localStorage.setItem("codling.theme", root.dataset.theme);
  });
}

function wireSettings() {
  const show = () => {
    $("pause-out").textContent = `${(Number($("pause").value) / 1000).toFixed(2)} s`;
    $("length-out").textContent = `${$("length").value} tokens`;
    $("heat-out").textContent = Number($("heat").value).toFixed(1);
  };
  for (const id of SETTINGS) {
    $(id).addEventListener("input", () => {
      const value = $(id).type === "checkbox" ? $(id).checked : $(id).value;
      localStorage.setItem(`codling.${id}`, String(value));
      show();
    });
  }
  show();
  $("key").value = apiKey();
  $("open-settings").addEventListener("click", () => $("settings").showModal());
  $("settings").addEventListener("close", () => {
    if ($("key").value === apiKey()) return;
    setApiKey($("key").value);
    connect();
  });
  whenKeyNeeded(() => {
    $("key-note").textContent = "This server needs its API key. It is kept in this tab only.";
    $("key").placeholder = "the server's key";
    if (!$("settings").open) $("settings").showModal();
    $("key").focus();
  });
}
