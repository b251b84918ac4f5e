/** Making elements. Text is always text: nothing here parses HTML. */

const SVG = "http://www.w3.org/2000/svg";

export const byId = (id) => document.getElementById(id);

/** An element. A function as attribute `onclick` listens to `click`; null, undefined and false leave an attribute out. */
export function make(tag, attributes = {}, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

/** As `make`, for SVG. */
export function draw(tag, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, tag), attributes, children);
}

function filled(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (typeof value === "function") element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}

/** Text with names in backticks, as nodes: the names become `<code>`. */
export function prose(text) {
  return text.split("`").map((part, i) => (i % 2 ? make("code", {}, part) : part));
}

export function swatch(tint) {
  return make("span", { class: `swatch tint-${tint}`, "aria-hidden": "true" });
}

/** A bar of `share` (0 to 1) of its width. What it shows must also stand beside it as text. */
export function meter(share) {
  const fill = make("span");
  fill.style.width = `${100 * Math.min(1, Math.max(0, share))}%`;
  return make("div", { class: "meter", "aria-hidden": "true" }, fill);
}

/** A list of [term, value] pairs; a value is text or nodes. */
export function facts(pairs) {
  return make("dl", { class: "facts" }, pairs.map(([term, value]) => make("div", {}, make("dt", {}, term), make("dd", {}, value))));
}

/** A table. columns: [{title, number?, less?}]; rows: lists of cells, the first names the row. */
export function table(caption, columns, rows, attributes = {}) {
  const kind = ({ number, less }) => [number && "number", less && "less"].filter(Boolean).join(" ") || null;
  const head = columns.map((column) => make("th", { scope: "col", class: kind(column) }, column.title));
  const body = rows.map((cells) =>
    make("tr", {}, cells.map((cell, i) => make(i ? "td" : "th", { scope: i ? null : "row", class: kind(columns[i]) }, cell))),
  );
  return make(
    "table", attributes,
    make("caption", { class: "unseen" }, caption),
    make("thead", {}, make("tr", {}, head)),
    make("tbody", {}, body),
  );
}

/** What went wrong, as the node said it: the message, and its hint on a line of its own. */
export function complaint(title, message) {
  const [what, hint] = message.split(" · hint: ");
  return [
    make("strong", {}, prose(title)),
    make("span", {}, prose(what)),
    hint === undefined ? null : make("div", { class: "hint" }, "Hint: ", prose(hint)),
  ];
}
