/** The search panel: what it shows while it is empty, asking, answered or failed. */

import { byId, complaint, make, prose } from "../dom.js";
import { bytes, milliseconds } from "../format.js";
import { classList } from "./classes.js";
import { neighbourItems } from "./neighbours.js";
import { caption } from "./picture.js";
import { stageBar } from "./stages.js";

const panel = byId("search");
const answerArea = panel.querySelector(".answer");

/** collection(): the one that is searched, or undefined. */
export function makeSearchView(collection) {
  return {
    asking(picture) {
      enter("asking");
      showQuery(picture);
      answerArea.scrollIntoView({ block: "nearest" });
      byId("search-error").hidden = true;
      tell("Asking the node");
    },

    /** expectsClasses: they come later; until then those of the picture before stay, dimmed. */
    answered({ result, how, time }, roundTripMs, expectsClasses) {
      enter("answered");
      const { name, distance } = collection() ?? {};
      byId("neighbours").replaceChildren(...neighbourItems(result, distance));
      byId("stages").replaceChildren(...stageBar(how.stages, 1000 * time, roundTripMs), ...searchNote(how.search));
      byId("classes").hidden = !expectsClasses;
      byId("classes").setAttribute("aria-busy", "true");
      byId("neighbours").hidden = false;
      byId("how").hidden = false;
      showBadge(how.cache ? `from the ${how.cache} cache` : SCORES[distance]);
      if (result.length === 0) tell("Nothing found", name ? `: \`${name}\` is empty` : "");
      else tell(`${result.length} most similar`, `${name ? ` from \`${name}\`` : ""}, in ${milliseconds(1000 * time)}; nearest: ${caption(result[0])}`);
      answerArea.scrollIntoView({ block: "nearest" });
    },

    classified(classes) {
      showClasses(classList(classes));
    },

    notClassified(message) {
      showClasses(make("div", { class: "notice failed" }, complaint("No classes", message)));
    },

    /** again: asks once more, or null where that would not help. */
    failed(message, again) {
      enter("failed");
      byId("neighbours").hidden = true;
      byId("how").hidden = true;
      showBadge(null);
      tell("No result");
      const button = again && make("button", { class: "button quiet", type: "button", onclick: again }, "Try again");
      complain("The search failed", message, button);
    },

    /** What was given is no picture: what is shown stays. */
    refused(message) {
      complain("Nothing to search with", message, null);
    },

    /** Says before any search that there can be none. */
    cannotSearch(message) {
      if (panel.dataset.state === "empty") tell("", message);
    },
  };
}

const SCORES = { Cosine: "score: cosine similarity", Dot: "score: dot product", Euclid: "score: Euclidean distance", Manhattan: "score: Manhattan distance" };

function enter(state) {
  panel.dataset.state = state;
  answerArea.setAttribute("aria-busy", String(state === "asking"));
}

function tell(strong, rest = "") {
  byId("search-status").replaceChildren(make("strong", {}, strong), ...prose(rest));
}

function showBadge(text) {
  byId("search-badge").hidden = !text;
  byId("search-badge").textContent = text ?? "";
}

function complain(title, message, button) {
  byId("search-error").replaceChildren(make("div", {}, complaint(title, message), button));
  byId("search-error").hidden = false;
}

function showQuery({ name, file }) {
  const image = byId("query-picture");
  const facts = byId("query-facts");
  if (image.src) URL.revokeObjectURL(image.src);
  image.alt = `Asked with: ${name}`;
  image.onload = () => (facts.textContent = `${name} · ${image.naturalWidth} × ${image.naturalHeight} · ${bytes(file.size)}`);
  image.onerror = () => (image.hidden = true);
  image.hidden = false;
  image.src = URL.createObjectURL(file);
  facts.textContent = `${name} · ${bytes(file.size)}`;
  facts.hidden = false;
  byId("picture-action").textContent = "Choose another";
}

function showClasses(element) {
  byId("classes").lastElementChild.replaceChildren(element);
  byId("classes").setAttribute("aria-busy", "false");
}

/** What a search says of itself, in a sentence; `asked` and `answered` are nodes. */
function searchNote(search) {
  if (!search) return [];
  const { asked, answered, missing, certified, expected_recall: recall } = search;
  const nodes = `${answered} of ${asked} ${asked === 1 ? "node" : "nodes"} answered`;
  const gone = missing.length ? ` · missing: ${missing.join(", ")}` : "";
  const promise = certified ? "exact: compared with every point that could matter" : recall === null ? "no promise on recall" : `expected recall ${recall.toFixed(3)}`;
  return [make("p", { class: "hint stages-note" }, `${nodes}${gone} · ${promise}`)];
}
