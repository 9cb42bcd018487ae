// The page of `codling watch`: asks for the runs every two seconds and draws what they say.
"use strict";

const COLOURS = ["#1f77b4", "#e07c3e", "#2ca02c", "#b455c9", "#d6424a", "#8c6d46", "#17a3b0", "#8a8f24"];
const CHARTS = [
  ["loss", "loss, nats per token"],
  ["bits_per_byte", "bits per byte"],
  ["heldout_bits_per_byte", "held-out bits per byte"],
  ["heldout_loss", "held-out loss, nats per token"],
  ["language_bits", "held-out bits per byte by language"],
  ["tokens_per_second", "tokens per second"],
  ["mfu", "share of the processor's peak (MFU)"],
  ["grad_norm", "gradient norm"],
  ["learning_rate", "learning rate"],
  ["waiting_share", "share of the step spent waiting for data"],
  ["expert_load", "tokens of the busiest expert, over an even share"],
];
const WIDTH = 440, HEIGHT = 190, LEFT = 52, BOTTOM = 20, TOP = 8, RIGHT = 8;
let runs = [];

const make = (tag, text, attributes = {}) => {
  const node = document.createElement(tag);
  if (text !== undefined) node.textContent = text;
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  return node;
};
const drawn = (tag, attributes, text) => {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  if (text !== undefined) node.textContent = text;
  return node;
};
const number = (value, digits = 4) =>
  value === null || value === undefined ? "–" : Number(value.toPrecision(digits)).toLocaleString("en");
const percent = (value) => (value === null || value === undefined ? "–" : (100 * value).toFixed(1) + "%");
const seconds = (value) => {
  if (value === null || value === undefined) return "–";
  if (value < 120) return Math.round(value) + " s";
  const minutes = Math.round(value / 60);
  return minutes < 60 ? minutes + " min" : Math.floor(minutes / 60) + " h " + (minutes % 60) + " min";
};

function showRuns() {
  const nodes = runs.map((run, index) => {
    const colour = COLOURS[index % COLOURS.length], last = run.last, box = make("div", undefined, { class: "run" });
    box.style.borderLeftColor = colour;
    box.append(make("h3", run.name));
    if (run.note) box.append(make("p", run.note, { class: "warn" }));
    const list = make("dl");
    const row = (name, value, warn) => {
      list.append(make("dt", name), make("dd", value, warn ? { class: "warn" } : {}));
    };
    row("state", run.state);
    row("step", run.n_steps ? `${number(last.step + 1, 9)} of ${number(run.n_steps, 9)}` : number(last.step + 1, 9));
    row("loss", number(last.loss));
    if (last.bits_per_byte !== undefined) row("bits per byte", number(last.bits_per_byte));
    if (run.heldout !== null) row("held-out loss", number(run.heldout));
    for (const [language, bits] of Object.entries(run.languages)) row("held out, " + language, number(bits));
    row("tokens/s", number(last.tokens_per_second));
    if (last.mfu !== undefined) row("MFU", percent(last.mfu));
    if (last.expert_load !== undefined) row("busiest expert", number(last.expert_load, 3) + " × even");
    row("gradient norm", number(last.grad_norm));
    row("waits for data", percent(last.waiting_share), last.waiting_share > 0.02);
    row("time left", run.state === "finished" ? "–" : seconds(last.seconds_left));
    box.append(list);
    if (run.n_steps) {
      const done = make("div", undefined, { class: "done" }), part = make("div");
      part.style.width = Math.min(100, (100 * (last.step + 1)) / run.n_steps) + "%";
      part.style.background = colour;
      done.append(part);
      box.append(done);
    }
    return box;
  });
  document.getElementById("runs").replaceChildren(...nodes);
}

function linesOf(key) {
  const lines = [];
  runs.forEach((run, index) => {
    const colour = COLOURS[index % COLOURS.length];
    for (const [name, points] of Object.entries(run.series[key] || {})) {
      lines.push({ label: name ? `${run.name}: ${name}` : run.name, colour, points, dash: name });
    }
  });
  return lines.filter((line) => line.points.length);
}

function smoothed(points) {
  if (!document.getElementById("smooth").checked || points.length < 20) return points;
  let mean = points[0][2], weight = 0;
  return points.map(([step, time, value]) => {
    weight = 0.9 * weight + 1;
    mean += (value - mean) / weight;
    return [step, time, mean];
  });
}

function chart(key, title) {
  const lines = linesOf(key);
  if (!lines.length) return null;
  const box = make("section"), svg = drawn("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": title });
  const at = document.getElementById("bytime").checked ? 1 : 0;
  const shown = lines.map((line) => ({ ...line, points: smoothed(line.points) }));
  const xs = shown.flatMap((l) => l.points.map((p) => p[at])), ys = shown.flatMap((l) => l.points.map((p) => p[2]));
  const low = ys.reduce((a, b) => Math.min(a, b)), high = ys.reduce((a, b) => Math.max(a, b));
  const end = Math.max(1, xs.reduce((a, b) => Math.max(a, b))), room = high - low || Math.abs(high) || 1;
  const x = (v) => LEFT + ((WIDTH - LEFT - RIGHT) * v) / end;
  const y = (v) => HEIGHT - BOTTOM - ((HEIGHT - TOP - BOTTOM) * (v - low)) / room;
  for (const part of [0, 0.5, 1]) {
    const value = low + part * room, height = y(value);
    svg.append(drawn("line", { class: "grid", x1: LEFT, x2: WIDTH - RIGHT, y1: height, y2: height }));
    svg.append(drawn("text", { x: LEFT - 5, y: height + 3, "text-anchor": "end" }, number(value, 3)));
  }
  svg.append(drawn("text", { x: WIDTH - RIGHT, y: HEIGHT - 6, "text-anchor": "end" }, at ? seconds(end) : "step " + number(end, 9)));
  const names = [...new Set(shown.map((line) => line.dash))];
  for (const line of shown) {
    const path = line.points.map((p, i) => (i ? "L" : "M") + x(p[at]).toFixed(1) + " " + y(p[2]).toFixed(1)).join("");
    const dash = ["", "5 2", "2 2", "7 2 2 2", "1 3"][names.indexOf(line.dash) % 5];
    const node = drawn("path", { d: path, stroke: line.colour, "stroke-dasharray": dash });
    node.append(drawn("title", {}, line.label));
    svg.append(node);
  }
  box.append(make("h3", title), svg);
  if (names.length > 1) box.append(make("p", names.join(", "), { class: "soft" }));
  return box;
}

function show() {
  showRuns();
  const charts = CHARTS.map(([key, title]) => chart(key, title)).filter((node) => node !== null);
  document.getElementById("charts").replaceChildren(...charts);
  const events = runs.flatMap((run) => run.events.map((text) => [run.name, text]));
  document.getElementById("events").hidden = !events.length;
  document.getElementById("log").replaceChildren(
    ...events.map(([name, text]) => {
      const row = make("tr");
      row.append(make("td", name), make("td", text));
      return row;
    }),
  );
}

async function look() {
  const state = document.getElementById("state");
  try {
    const answer = await fetch("runs.json", { cache: "no-store" });
    if (!answer.ok) throw new Error(answer.status);
    runs = (await answer.json()).runs;
    state.textContent = "live, " + new Date().toLocaleTimeString();
    show();
  } catch (error) {
    state.textContent = "codling watch does not answer any more; start it again";
  }
  setTimeout(look, 2000);
}

for (const id of ["smooth", "bytime"]) document.getElementById(id).addEventListener("change", show);
look();
