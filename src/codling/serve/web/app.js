// Wires the page together: tabs, theme, settings, the model's name, the editor.

import { apiKey, models, setApiKey, whenKeyNeeded } from "./api.js";
import { Chat } from "./chat.js";
import { Completions } from "./completions.js";
import { Editor } from "./editor.js";
import { showFacts, showState } from "./status.js";

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
const SETTINGS = ["on-pause", "pause", "length", "heat"];
const IS_MAC = /Mac|iPhone|iPad/.test(navigator.platform);
const HINT = "Control Space asks for a completion, Tab accepts it, Escape drops it. After Escape, Tab leaves the editor.";
const KEEP_AFTER_MS = 300;

let model = { can_insert: true };

const settings = {
  onPause: () => $("on-pause").checked,
  pause: () => Number($("pause").value),
  length: () => Number($("length").value),
};
const say = (text) => ($("heard").textContent = text);

const editor = new Editor($("text"), { label: "Code", hint: HINT });
const completions = new Completions(
  editor,
  { ask: $("ask"), accept: $("accept"), drop: $("drop"), state: $("state"), stats: $("editor-stats"), place: $("place") },
  { settings, say, model: () => model, path: () => $("file").value.trim() },
);
const chat = new Chat(
  {
    talk: $("talk"), empty: $("empty"), compose: $("compose"), say: $("say"), send: $("send"),
    stop: $("stop"), clear: $("clear"), state: $("chat-state"), again: $("again"),
  },
  {
    temperature: () => Number($("heat").value),
    onStats: (facts) => showFacts($("chat-stats"), facts),
    onInsert: (code) => {
      $("tab-editor").click();
      editor.focus();
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
    showState($("state"), "idle", model.can_insert ? "ready" : "ready; this model continues, it cannot insert");
  } catch (error) {
    $("dot").dataset.state = "down";
    $("model-name").textContent = error.status === 401 ? "needs a key" : "no server";
    showState($("state"), "error", error.message);
  }
}

function wireEditor() {
  let timer = 0;
  editor.addEventListener("edit", () => {
    clearTimeout(timer);
    timer = setTimeout(keep, KEEP_AFTER_MS); // a long text takes a while to be written down
  });
  addEventListener("pagehide", keep);
  document.addEventListener("keydown", (event) => {
    const space = event.ctrlKey && event.code === "Space";
    const slash = event.altKey && event.code === "Backslash";
    if ((space || slash) && !$("editor").hidden) {
      event.preventDefault();
      editor.focus();
      completions.ask();
    }
  });
  $("file").addEventListener("input", () => {
    editor.fileName = $("file").value;
    keep();
  });
  if (IS_MAC) $("hint").firstElementChild.textContent = "Control";
}

// What the tab remembers

function keep() {
  sessionStorage.setItem("codling.text", editor.text);
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
