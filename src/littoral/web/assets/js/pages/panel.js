/** Panels, and small parts that several pages are made of. */

import { complaint, make } from "../dom.js";
import { morphChildren } from "../morph.js";

/**
 * A panel with a title. beside: elements in its head. `put(...)` brings its body up to date, `fail(…)` says what went wrong
 * where nothing was shown yet.
 */
export function panel(id, title, ...beside) {
  const body = make("div", { class: "waiting" });
  const element = make(
    "section", { id, class: "panel", "aria-labelledby": `${id}-title` },
    make("header", {}, make("h2", { id: `${id}-title` }, title), ...beside),
    body,
  );
  let isFilled = false;
  const put = (...elements) => {
    isFilled = true;
    body.classList.remove("waiting");
    morphChildren(body, elements.flat().filter((one) => one !== null));
  };
  return {
    element,
    body,
    put,
    fail(path, error) {
      if (!isFilled) put(failure(`Could not read \`${path}\``, error.message));
      isFilled = false;
    },
  };
}

export const failure = (title, message) => make("div", { class: "notice failed", role: "alert" }, complaint(title, message));

/** A word with a dot: good, warn, bad, waiting. */
export const state = (kind, text) => make("span", { class: "state", "data-state": kind }, text);

export const badge = (text, kind = "") => make("span", { class: `badge ${kind}`.trim() }, text);

/** Text that is said when it changes. */
export const said = () => make("p", { class: "hint said", role: "status" });

/** A labelled control: its label is seen. */
export function field(label, control) {
  return make("label", { class: "field" }, make("span", {}, label), control);
}

export function choice(attributes, options, chosen) {
  return make("select", attributes, options.map(([value, text]) => make("option", { value, selected: value === chosen }, text)));
}

/** A place to choose or drop one file; take(file) gets it. */
export function fileDrop(id, { action, hint, accept, take }) {
  const input = make("input", { id, class: "unseen", type: "file", accept, onchange: () => input.files[0] && take(input.files[0]) });
  const element = make(
    "div", { class: "drop small" },
    input,
    make("label", { for: id }, make("span", { class: "button quiet" }, action), make("span", { class: "hint" }, hint)),
  );
  for (const kind of ["dragenter", "dragover"]) {
    element.addEventListener(kind, (event) => {
      event.preventDefault();
      element.classList.add("over");
    });
  }
  for (const kind of ["dragleave", "drop"]) element.addEventListener(kind, () => element.classList.remove("over"));
  element.addEventListener("drop", (event) => {
    event.preventDefault();
    if (event.dataTransfer.files[0]) take(event.dataTransfer.files[0]);
  });
  return element;
}

/** Groups of names as small code words; a dash for none. */
export const words = (names) => (names.length ? names.flatMap((name, i) => [i ? " " : "", make("code", { class: "word" }, name)]) : ["–"]);
