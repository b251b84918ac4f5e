/** Remembered answers: found by words and tags, one opened with its threshold curve, purged alone or by what they have in common. */

import { NodeError, getJson, postJson } from "../api.js";
import { lineChart } from "../chart.js";
import { facts, make, swatch } from "../dom.js";
import { count, duration } from "../format.js";
import { amount, fine, similar } from "./gateway_words.js";
import { badge, choice, failure, field, panel, said } from "./panel.js";

const PATH = "/api/gateway/entries";
const PURGES = [["tags", "tag"], ["model", "model"], ["policy_version", "policy version"], ["everything", "everything"]];

export function answersPanel() {
  const status = said();
  const shown = panel("answers", "Remembered answers", status);
  const text = make("input", { id: "answers-text", type: "search", autocomplete: "off", spellcheck: "false" });
  const tag = make("input", { id: "answers-tag", type: "search", autocomplete: "off", spellcheck: "false" });
  const list = make("ul", { class: "answers" });
  const further = make("button", { id: "answers-further", class: "button quiet", type: "button", hidden: true, onclick: () => read(next) }, "Further");
  const purge = purgeForm((words) => done(words));
  let next = null;
  let asked = 0;
  let curves = [];

  async function read(cursor = null) {
    const own = ++asked;
    const query = new URLSearchParams(Object.entries({ text: text.value.trim(), tag: tag.value.trim(), cursor }).filter(([, value]) => value));
    try {
      const told = await getJson(`${PATH}?${query}`);
      if (own !== asked) return;
      next = told.next;
      if (cursor === null) {
        list.replaceChildren();
        curves.splice(0).forEach((chart) => chart.close());
      }
      list.append(...told.entries.map((entry) => row(entry)));
      shown.put();
      shown.body.replaceChildren(search, list, list.childElementCount ? further : make("p", { class: "nothing" }, "None fit"), purge);
      further.hidden = next === null;
      status.textContent = `${count(list.childElementCount)}${next === null ? "" : " and more"}`;
    } catch (error) {
      if (!(error instanceof NodeError)) throw error;
      if (own === asked) shown.fail(PATH, error);
    }
  }

  function done(words) {
    read();
    status.textContent = words;
  }

  const search = make("form", { class: "controls", role: "search", onsubmit: (event) => (event.preventDefault(), read()) }, field("Question has", text), field("Tag", tag), make("button", { class: "button quiet", type: "submit" }, "Find"));

  function row(entry) {
    const body = make("div", { class: "answer-body stack" });
    const details = make("details", {}, make("summary", {}, entry.question), body);
    details.addEventListener("toggle", () => details.open && !body.childElementCount && open(entry, body), { once: true });
    return make("li", { "data-id": entry.id }, details, make("span", { class: "marks" }, entry.tier === "curated" ? badge("curated", "trusted") : null, entry.tags.map((name) => badge(name)), make("span", { class: "hint" }, entry.threshold === null ? "only to the same request" : `from ${similar(entry.threshold)}`)));
  }

  async function open(entry, body) {
    const leftS = entry.expires_at === null ? null : entry.expires_at - Date.now() / 1000;
    const place = make("div", { class: "stack" });
    body.replaceChildren(
      make("p", { class: "answer-text", tabindex: "0", role: "region", "aria-label": "Its answer" }, entry.answer),
      facts([
        ["Model", entry.model], ["Seen beside others", [count(entry.observed), make("small", {}, ` ${count(entry.wrong)} wrong`)]], ["Told again from", similar(entry.threshold)],
        ["Made", `${duration(Math.max(0, Date.now() / 1000 - entry.made_at))} ago`], ["Expires", leftS === null ? "never" : leftS > 0 ? `in ${duration(leftS)}` : "expired"],
        ["Costs", [amount(entry.money), make("small", {}, ` ${count(entry.tokens)} tokens`)]], ["Policy version", entry.policy_version],
      ]),
      place,
      twoSteps("Purge", "Purge this answer", () => purged({ id: entry.id }), place),
    );
    try {
      const curve = await getJson(`/api/gateway/curve?id=${entry.id}`);
      place.replaceChildren(...curveView(curve, curves));
    } catch (error) {
      if (!(error instanceof NodeError)) throw error;
      place.replaceChildren(failure("No curve", error.message));
    }
  }

  const purged = async (what) => done(`${count((await postJson("/api/gateway/purge", what)).purged)} purged`);

  return {
    element: shown.element,
    begin: () => read(),
    recolour: () => curves.forEach((chart) => chart.recolour()),
  };
}

/** A button that asks once more before it acts; what was refused is told in `place`. */
function twoSteps(first, second, act, place) {
  const area = make("div", { class: "actions" });
  const button = (words, kind, onclick) => make("button", { class: `button small ${kind}`, type: "button", onclick }, words);
  const rest = () => area.replaceChildren(button(first, "quiet", ask));
  function ask() {
    area.replaceChildren(button(second, "danger", sure), button("Keep it", "quiet", rest));
    area.firstElementChild.focus();
  }
  async function sure() {
    try {
      await act();
    } catch (error) {
      if (!(error instanceof NodeError)) throw error;
      place.append(failure("Not purged", error.message));
    }
    rest();
  }
  rest();
  return area;
}

function purgeForm(done) {
  const by = choice({ id: "purge-by", onchange: () => (value.parentElement.hidden = by.value === "everything") }, PURGES.map(([key, words]) => [key, words]), "tags");
  const value = make("input", { id: "purge-value", type: "text", autocomplete: "off", spellcheck: "false" });
  const place = make("div");
  const body = () => (by.value === "everything" ? { everything: true } : { [by.value]: by.value === "tags" ? [value.value.trim()] : value.value.trim() });
  const act = async () => {
    place.replaceChildren();
    const { purged } = await postJson("/api/gateway/purge", body());
    done(`${count(purged)} purged`);
  };
  return make("details", { class: "purge" }, make("summary", {}, "Purge many"), make("div", { class: "controls" }, field("By", by), field("Which", value), twoSteps("Purge", "Purge all of these", act, place)), place);
}

/** Similarity across, how likely the answer is wrong up, as learned; what was observed, and where it is told again from. */
function curveView({ points, curve, delta, threshold }, curves) {
  const wrong = points.filter(([, right]) => !right).length;
  const words = points.length ? `${count(points.length)} observed, ${count(wrong)} wrong; ${threshold === null ? "not told again to similar questions yet" : `told again from ${similar(threshold)}`}, where at most ${fine(delta)} are wrong` : "Nothing was observed beside it yet, so it is told again to the same request only";
  const title = make("h4", {}, "Threshold curve");
  if (!points.length) return [title, make("p", { class: "hint" }, words)];
  const canvas = make("div", { class: "chart", role: "img", "aria-label": `Threshold curve: ${words}` });
  const legend = [["5", "how likely it is wrong, as learned"], ["4", "same answer"], ["3", "another answer"], ["rest", "what may be wrong, and from where it is told again"]];
  const least = Math.min(0.95, ...points.map(([x]) => x), ...curve.map(([x]) => x));
  requestAnimationFrame(() => {
    const all = [...new Set([...curve.map(([x]) => x), ...points.map(([x]) => x)])].sort((a, b) => a - b);
    const bound = new Map(curve);
    const column = (right, y) => {
      const seen = new Set(points.filter(([, is]) => Boolean(is) === right).map(([x]) => x));
      return all.map((x) => (seen.has(x) ? y : null));
    };
    const chart = lineChart(canvas, [{ name: "bound", tint: 5, isGapless: true }, { name: "same", tint: 4, isDots: true }, { name: "another", tint: 3, isDots: true }], {
      x: { range: [least, 1], say: (value) => value.toFixed(2) }, y: { range: [-0.06, 1.06], say: (value) => (value < 0 || value > 1 ? "" : `${Math.round(100 * value)} %`) }, lines: { y: delta, x: threshold },
    });
    chart.show([all, all.map((x) => bound.get(x) ?? null), column(true, 0), column(false, 1)]);
    curves.push(chart);
  });
  return [title, canvas, make("ul", { class: "legend", "aria-label": "Legend of the curve" }, legend.map(([tint, name]) => make("li", {}, swatch(tint), name))), make("p", { class: "hint" }, words)];
}
