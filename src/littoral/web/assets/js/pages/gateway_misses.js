/** Near misses, one at a time: are the two answers the same? y, n and s where the card has the focus. */

import { NodeError, getJson, postJson } from "../api.js";
import { make } from "../dom.js";
import { count } from "../format.js";
import { similar } from "./gateway_words.js";
import { badge, failure, panel, said } from "./panel.js";

const PATH = "/api/gateway/misses";
const PERIOD_MS = 10_000;
const KEYS = { y: true, n: false, s: null };
const SAID = { true: "the judge: the same", false: "the judge: not the same", null: "the judge could not tell" };

export function missesPanel() {
  const status = said();
  const shown = panel("misses", "Near misses", status);
  const skipped = new Set();
  let waiting = [];
  let isBusy = false;
  let timer = 0;

  async function read() {
    clearTimeout(timer);
    try {
      const { misses, dropped } = await getJson(PATH);
      waiting = misses.filter(({ id }) => !skipped.has(id));
      show();
      status.textContent = `${count(waiting.length)} to judge${dropped ? `, ${count(dropped)} left unjudged` : ""}`;
    } catch (error) {
      if (!(error instanceof NodeError)) throw error;
      shown.fail(PATH, error);
    }
    if (!waiting.length) timer = setTimeout(() => (document.hidden ? null : read()), PERIOD_MS);
  }

  function show() {
    const hadFocus = shown.body.contains(document.activeElement);
    shown.put();
    shown.body.replaceChildren(waiting.length ? card(waiting[0]) : make("p", { class: "nothing", tabindex: "-1" }, "Nothing to judge"));
    if (hadFocus) shown.body.firstElementChild.focus();
  }

  async function judge(isCorrect) {
    const [miss] = waiting;
    if (!miss || isBusy) return;
    isBusy = true;
    try {
      if (isCorrect === null) skipped.add(miss.id);
      else await postJson(`${PATH}/${miss.id}`, { is_correct: isCorrect });
      waiting.shift();
      if (waiting.length) show();
      else await read();
      status.textContent = `${isCorrect === null ? "Skipped" : isCorrect ? "Kept as the same" : "Kept as not the same"} · ${count(waiting.length)} to judge`;
    } catch (error) {
      if (!(error instanceof NodeError)) throw error;
      if (error.status === 404) await read();
      else shown.body.prepend(failure("Not kept", error.message));
    } finally {
      isBusy = false;
    }
  }

  shown.body.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || !(event.key.toLowerCase() in KEYS)) return;
    event.preventDefault();
    judge(KEYS[event.key.toLowerCase()]);
  });
  shown.body.addEventListener("click", ({ target }) => {
    const key = target.closest("button[data-key]")?.dataset.key;
    if (key) judge(KEYS[key]);
  });
  document.addEventListener("visibilitychange", () => !document.hidden && !waiting.length && read());

  return { element: shown.element, begin: read };
}

function card(miss) {
  const side = (title, question, answer) => make("div", { class: "side" }, make("h4", {}, title), make("p", { class: "asked" }, question), make("p", { class: "answer-text", tabindex: "0", role: "region", "aria-label": `Answer: ${title}` }, answer));
  const button = (key, text, kind) => make("button", { class: `button ${kind}`, type: "button", "data-key": key, "aria-keyshortcuts": key }, text, make("kbd", {}, key));
  return make(
    "div", { class: "miss", tabindex: "-1", role: "group", "aria-label": "A near miss: y the same answer, n not the same, s skip", "data-id": miss.id },
    make("p", { class: "figures" }, make("strong", {}, `similarity ${similar(miss.similarity)}`), make("code", {}, miss.model), badge(SAID[miss.judged])),
    make("div", { class: "sides" }, side("Remembered", miss.cached_question, miss.cached_answer), side("Asked", miss.question, miss.fresh_answer)),
    make("div", { class: "actions" }, button("y", "The same answer ", ""), button("n", "Not the same ", "danger"), button("s", "Skip ", "quiet"), make("span", { class: "hint" }, "Keys work while this card has the focus")),
  );
}
