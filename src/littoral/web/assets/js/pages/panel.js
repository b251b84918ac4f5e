/** Panels, and small parts that several pages are made of. */

import { byId, complaint, make } from "../dom.js";
import { morphChildren } from "../morph.js";

/**
 * A panel with a title: the one that the page came with, or a new one. beside: elements in its head. `put(...)` brings its body up to date, `fail(…)` says what went wrong
 * where nothing was shown yet.
 */
export function panel(id, title, ...beside) {
  const element = byId(id) ?? outline(id, title);
  const [head, body] = element.children;
  head.append(...beside);
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

function outline(id, title) {
  return make("section", { id, class: "panel", "aria-labelledby": `${id}-title` }, make("header", {}, make("h2", { id: `${id}-title` }, title)), make("div", { class: "waiting" }));
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
  return refill(make("select", attributes), options, chosen);
}

const filled = new WeakMap();

/** Other options, `[[value, text]]`, of which the first is chosen unless another is; touched only where they are others. */
export function refill(select, options, chosen = select.value) {
  const wanted = JSON.stringify(options);
  if (filled.get(select) !== wanted) {
    filled.set(select, wanted);
    select.replaceChildren(...options.map(([value, text]) => make("option", { value, selected: value === chosen }, text)));
  }
  return select;
}

/** Which of a collection's vectors is meant; not seen where there is only one. `using` is its name. */
export function vectorChoice(id, changed = () => {}) {
  const select = make("select", { id, onchange: changed });
  const element = field("Vector", select);
  return {
    element,
    get using() {
      return select.value;
    },
    show(vectors) {
      const fitting = vectors.filter(({ is_multi: isMulti }) => !isMulti);
      refill(select, fitting.map(({ name }) => [name, name || "without a name"]));
      element.hidden = fitting.length < 2;
    },
  };
}

/** A place to choose or drop one file, or several; take(file) gets it, or the list of them. */
export function fileDrop(id, { action, hint, accept, take, several = false }) {
  const given = (files) => files.length && take(several ? [...files] : files[0]);
  const chosen = () => {
    given(input.files);
    input.value = ""; // the same file may come again
  };
  const input = make("input", { id, class: "unseen", type: "file", accept, multiple: several, onchange: chosen });
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
    given(event.dataTransfer.files);
  });
  return element;
}

/** Groups of names as small code words; a dash for none. */
export const words = (names) => (names.length ? names.flatMap((name, i) => [i ? " " : "", make("code", { class: "word" }, name)]) : ["–"]);
