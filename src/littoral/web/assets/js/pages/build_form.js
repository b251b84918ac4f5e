/** How a model is to be compiled: name, open dimensions, whole numbers and the files that these are fitted to. */

import { postFile } from "../api.js";
import { make } from "../dom.js";
import { bytes } from "../format.js";
import { choice, field, fileDrop, refill } from "./panel.js";

const FLOAT = "float32";
const NUMBERS = [[FLOAT, "float32, as it is"], ["8", "int8, weights of 8 bits"], ["7", "int8, weights of 7 bits, faster"], ["auto", "int8, bits by layer"]];

/** `start(order, feeds, upload)` when everything is said. models, throughs: names that can be chosen, when asked; nothing is asked where there are none. */
export function buildForm({ models, throughs, start, action = "Compile", isForSite = true }) {
  const like = make("select");
  const name = make("input", { type: "text", autocomplete: "off", spellcheck: "false", placeholder: "as in the file" });
  const version = make("input", { type: "text", autocomplete: "off", spellcheck: "false", placeholder: "1.0.0" });
  const numbers = choice({ onchange: prepare }, NUMBERS, FLOAT);
  const through = make("select", { onchange: tellFeeds });
  const shapes = make("div", { class: "controls shapes" });
  const told = make("p", { class: "hint", role: "status" });
  const drop = fileDrop(`feeds-${Math.random().toString(36).slice(2)}`, { action: "Choose files", hint: `or drop them: at least five inputs as they really come, .npz or .npy${isForSite ? ", or pictures and texts for a pipeline's agents" : ""}`, accept: null, several: true, take });
  const quantised = make("div", { class: "quantised", hidden: true }, isForSite ? make("div", { class: "controls" }, field("Inputs made by", through)) : null, drop, told);
  const run = make("button", { class: "button", type: "submit" }, action);
  const element = make("form", { class: "build-form", onsubmit }, make("div", { class: "controls" }, isForSite ? field("Labels and inputs as", like) : null, field("Name", name), field("Version", version), field("Numbers", numbers)), shapes, quantised, make("div", { class: "actions" }, run));
  let feeds = [];
  let open = null;

  function show({ examined, feeds: sent }) {
    refill(like, [["", "a model of its own"], ...models().map((one) => [one, one])]);
    refill(through, [["", "the files themselves"], ...throughs().map((one) => [one, `agents of ${one}`])]);
    const wanted = JSON.stringify(examined.tried_with ?? {});
    if (wanted !== open) {
      open = wanted;
      shapes.replaceChildren(...Object.entries(examined.tried_with ?? {}).map(([input, shape]) => field(`Sizes of ${input}`, make("input", { type: "text", "data-input": input, value: shape.join(", "), inputmode: "numeric" }))));
    }
    if (!feeds.length && sent) told.textContent = `${sent} files are there`;
  }

  function prepare() {
    quantised.hidden = numbers.value === FLOAT;
    tellFeeds();
  }

  function take(files) {
    feeds = files;
    tellFeeds();
  }

  function tellFeeds() {
    if (feeds.length) told.textContent = `${feeds.length} files, ${bytes(feeds.reduce((sum, { size }) => sum + size, 0))}: four of five are calibrated with, the fifth is compared on`;
  }

  function onsubmit(event) {
    event.preventDefault();
    const sizes = [...shapes.querySelectorAll("input")].map((input) => [input.dataset.input, input.value.split(/[\s,x×]+/).filter(Boolean).map(Number)]);
    const order = { shapes: Object.fromEntries(sizes) };
    if (like.value) order.like = like.value;
    if (name.value.trim()) order.name = name.value.trim();
    if (version.value.trim()) order.version = version.value.trim();
    if (numbers.value !== FLOAT) order.int8 = { bits: numbers.value === "auto" ? "auto" : Number(numbers.value), through: through.value || null };
    start(order, order.int8 ? feeds : [], postFile);
  }

  return { element, show };
}
