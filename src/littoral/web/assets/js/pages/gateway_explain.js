/** What a question would be told now, and why; no service is asked. */

import { NodeError, postJson } from "../api.js";
import { facts, make, prose, table } from "../dom.js";
import { count } from "../format.js";
import { OUTCOMES, fine, similar } from "./gateway_words.js";
import { badge, failure, field, panel, said } from "./panel.js";

const PATH = "/api/gateway/explain";
const REACHES = { nothing: "to nobody", exact: "only to the same request", semantic: "to similar questions too" };

export function explainPanel() {
  const status = said();
  const shown = panel("explain", "Try a question", status);
  const question = make("textarea", { id: "question", rows: 2, required: true, maxlength: 32768 });
  const model = make("input", { id: "question-model", type: "text", autocomplete: "off", spellcheck: "false", required: true, maxlength: 256, list: "question-models" });
  const models = make("datalist", { id: "question-models" });
  const run = make("button", { id: "explain-run", class: "button", type: "submit" }, "Explain");
  const result = make("div", { id: "explained", class: "stack", "aria-live": "polite" });

  async function ask(event) {
    event.preventDefault();
    status.textContent = "Looking…";
    run.disabled = true;
    try {
      const told = await postJson(PATH, { question: question.value, model: model.value.trim() });
      result.replaceChildren(...view(told));
    } catch (error) {
      if (!(error instanceof NodeError)) throw error;
      result.replaceChildren(failure("Not explained", error.message));
    }
    status.textContent = "";
    run.disabled = false;
  }

  return {
    element: shown.element,
    begin(upstreams) {
      const names = new Set(upstreams.flatMap((one) => one.models).filter((name) => !/[*?[]/.test(name)));
      models.replaceChildren(...[...names].map((name) => make("option", { value: name })));
      shown.put();
      shown.body.replaceChildren(make("form", { class: "stack", onsubmit: ask }, field("Question", question), make("div", { class: "controls" }, field("Model", model), models, run)), result);
    },
  };
}

function view({ outcome, reach, reason, model, partition, is_exact: isExact, delta, near, elsewhere = [] }) {
  const columns = [{ title: "Remembered question" }, { title: "Similarity", number: true }, { title: "From", number: true, less: true }, { title: "Wrong at most", number: true }, { title: "Then" }];
  const rows = near.map((one) => [
    [one.question, one.tier === "curated" ? " " : "", one.tier === "curated" ? badge("curated", "trusted") : null],
    similar(one.similarity), similar(one.threshold), fine(one.bound),
    [one.is_served ? "told again" : "asked", make("small", {}, ` ${one.reason}`), make("small", {}, `, ${count(one.observed)} seen`)],
  ]);
  return [
    make("h3", {}, OUTCOMES[outcome]?.title ?? outcome),
    facts([["May be told again", REACHES[reach]], ["Model", model || "–"], ["The same request", isExact ? "is remembered" : "is not remembered"], ["Wrong at most", fine(delta)], ["Partition", make("code", {}, partition.slice(0, 12) || "–")]]),
    reason ? make("p", { class: "hint" }, prose(reason)) : null,
    rows.length ? make("div", { class: "wide" }, table("Nearest remembered questions", columns, rows)) : make("p", { class: "nothing" }, "Nothing near it is remembered"),
    ...elsewhere.map((one) => make("p", { class: "hint" }, `With other parameters, so never told here: ${one.question} (${similar(one.similarity)}). ${differing(one.differs)}`)),
  ].filter(Boolean);
}

function differing(differs) {
  if (!differs.length) return "What differs was not kept with it.";
  return differs.map(([name, there, here]) => `${name}: ${there} there, ${here} here`).join("; ");
}
