// Markdown as elements: paragraphs, headings, lists, tables, quotes, rules, code; bold, italic, code and links within
// a line. Text is text, never HTML; a link that is not http(s) stays text. Not here: pictures, footnotes, raw HTML.

const FENCE = /^(\s*)(`{3,}|~{3,})\s*([^\s`]*)[^`]*$/;
const ITEM = /^(\s*)(?:([-*+])|(\d{1,9})[.)])\s+(.*)$/;
const RULE = /^\s{0,3}(?:(?:-\s*){3,}|(?:\*\s*){3,}|(?:_\s*){3,})$/;
const HEADING = /^\s{0,3}(#{1,6})\s+(.*?)\s*#*$/;
const DIVIDER = /^\s*\|?\s*:?-+:?\s*(?:\|\s*:?-+:?\s*)*\|?\s*$/;
const INLINE = /(?<!`)(`+)(?!`)([\s\S]*?[^`])\1(?!`)|\*\*([^\n]+?)\*\*|__([^\n]+?)__|\*([^\s*][^\n*]*?)\*|\[([^\]\n]+)\]\((https?:\/\/[^\s)]+)\)/g;
const DEEPEST = 12;

/** The elements of a text; `code({ language, text })` makes those of a fence. */
export function render(text, code) {
  return blocks(text.split("\n"), code, 0);
}

function blocks(lines, code, depth) {
  const made = [];
  let i = 0;
  while (i < lines.length) {
    const [element, next] = block(lines, i, code, depth);
    if (element) made.push(element);
    i = next;
  }
  return made;
}

function block(lines, i, code, depth) {
  const line = lines[i];
  if (!line.trim()) return [null, i + 1];
  const fence = line.match(FENCE);
  if (fence) return fenced(lines, i, fence, code);
  const heading = line.match(HEADING);
  if (heading) return [filled(`h${Math.min(6, heading[1].length + 2)}`, heading[2]), i + 1];
  if (RULE.test(line)) return [document.createElement("hr"), i + 1];
  if (depth < DEEPEST && ITEM.test(line)) return list(lines, i, code, depth);
  if (depth < DEEPEST && line.trimStart().startsWith(">")) return quote(lines, i, code, depth);
  if (line.includes("|") && DIVIDER.test(lines[i + 1] ?? "")) return table(lines, i);
  return paragraph(lines, i, depth);
}

function fenced(lines, start, [, indent, mark, language], code) {
  const inside = [];
  let i = start + 1;
  for (; i < lines.length; i++) {
    const bare = lines[i].trim();
    if (bare.length >= mark.length && bare === mark[0].repeat(bare.length)) break;
    inside.push(lines[i].startsWith(indent) ? lines[i].slice(indent.length) : lines[i].trimStart());
  }
  return [code({ language, text: inside.join("\n") }), i + 1];
}

/** A list; what is indented under an item belongs to it, fences and lists too. */
function list(lines, start, code, depth) {
  const first = lines[start].match(ITEM);
  const made = document.createElement(first[3] ? "ol" : "ul");
  if (first[3]) made.start = Number(first[3]);
  let i = start;
  while (i < lines.length) {
    const item = lines[i].match(ITEM);
    if (!item || item[1].length > first[1].length + 1 || Boolean(item[3]) !== Boolean(first[3])) break;
    if (item[1].length < first[1].length) break;
    const indent = lines[i].length - item[4].length;
    const inside = [item[4]];
    i += 1;
    while (i < lines.length) {
      const deep = lines[i].length - lines[i].trimStart().length;
      const blank = !lines[i].trim();
      const goesOn = blank && (lines[i + 1] ?? "").trim() && leading(lines[i + 1]) > item[1].length;
      if (blank ? !goesOn : deep <= item[1].length) break;
      inside.push(lines[i].slice(Math.min(deep, indent)));
      i += 1;
    }
    const element = document.createElement("li");
    const parts = blocks(inside, code, depth + 1);
    // A short item is a line, not a paragraph.
    element.append(...(parts[0]?.tagName === "P" ? [...parts[0].childNodes, ...parts.slice(1)] : parts));
    made.append(element);
    while (i < lines.length && !lines[i].trim() && ITEM.test(lines[i + 1] ?? "")) i += 1;
  }
  return [made, i];
}

function quote(lines, start, code, depth) {
  let i = start;
  while (i < lines.length && lines[i].trimStart().startsWith(">")) i += 1;
  const inside = lines.slice(start, i).map((line) => line.trimStart().slice(1).replace(/^ /, ""));
  const made = document.createElement("blockquote");
  made.append(...blocks(inside, code, depth + 1));
  return [made, i];
}

function table(lines, start) {
  const sides = cells(lines[start + 1]).map((cell) =>
    cell.endsWith(":") ? (cell.startsWith(":") ? "center" : "right") : "left");
  const made = document.createElement("table");
  const add = (parent, line, kind) => {
    const row = parent.insertRow();
    for (const [at, text] of cells(line).slice(0, sides.length).entries()) {
      const cell = filled(kind, text);
      if (kind === "th") cell.scope = "col";
      cell.className = sides[at];
      row.append(cell);
    }
  };
  add(made.createTHead(), lines[start], "th");
  const body = made.createTBody();
  let i = start + 2;
  for (; i < lines.length && lines[i].includes("|") && lines[i].trim(); i++) add(body, lines[i], "td");
  const frame = document.createElement("div");
  frame.className = "table";
  frame.tabIndex = 0;
  frame.append(made);
  return [frame, i];
}

function cells(line) {
  const bare = line.trim().replace(/^\|/, "").replace(/\|$/, "");
  return bare.split(/(?<!\\)\|/).map((cell) => cell.trim().replaceAll("\\|", "|"));
}

function paragraph(lines, start, depth) {
  let i = start + 1;
  while (i < lines.length && lines[i].trim() && !begins(lines, i, depth)) i += 1;
  return [filled("p", lines.slice(start, i).join("\n").trim()), i];
}

function begins(lines, i, depth) {
  const line = lines[i];
  if (FENCE.test(line) || HEADING.test(line) || RULE.test(line)) return true;
  if (depth < DEEPEST && (ITEM.test(line) || line.trimStart().startsWith(">"))) return true;
  return line.includes("|") && DIVIDER.test(lines[i + 1] ?? "");
}

function filled(tag, text) {
  const element = document.createElement(tag);
  element.append(...inline(text));
  return element;
}

function inline(text) {
  const made = [];
  let at = 0;
  for (const match of text.matchAll(INLINE)) {
    if (match.index > at) made.push(text.slice(at, match.index));
    made.push(marked(match));
    at = match.index + match[0].length;
  }
  made.push(text.slice(at));
  return made.filter((part) => part !== "");
}

function marked([, ticks, code, bold, bold2, italic, label, address]) {
  const element = document.createElement(ticks ? "code" : bold || bold2 ? "strong" : italic ? "em" : "a");
  if (ticks) element.textContent = code.trim();
  else if (bold || bold2) element.append(...inline(bold || bold2));
  else element.textContent = italic || label;
  if (address) Object.assign(element, { href: address, rel: "noreferrer noopener", target: "_blank" });
  return element;
}

function leading(line) {
  return line.length - line.trimStart().length;
}
