/** The gateway: what was told again, how sure it is, what it saved, its services, budgets and rules. */

import { lineChart } from "../chart.js";
import { facts, make, meter, prose, swatch } from "../dom.js";
import { bytes, count, milliseconds, percent, timeOfDay } from "../format.js";
import { watch } from "../watch.js";
import { answersPanel } from "./gateway_answers.js";
import { errorView } from "./gateway_errors.js";
import { explainPanel } from "./gateway_explain.js";
import { missesPanel } from "./gateway_misses.js";
import { OUTCOMES, amount, span } from "./gateway_words.js";
import { choice, field, panel, state } from "./panel.js";

const PATH = "/api/gateway";
const PERIOD_MS = 5_000;
const SPANS = [["3600", "last hour"], ["21600", "last 6 hours"], ["86400", "last day"]];
const BREAKERS = { closed: ["good", "answers"], "half-open": ["warn", "is tried again"], open: ["bad", "is not asked"] };

export function gatewayPage(area) {
  const chosen = choice({ id: "span", onchange: () => reading.refresh() }, SPANS, "3600");
  const shown = panel("gateway", "Gateway");
  const errors = panel("errors", "Wrong answers");
  const upstreams = panel("upstreams", "Services");
  const budgets = panel("budgets", "Budgets");
  const rules = panel("rules", "Never told again");
  const explain = explainPanel();
  const misses = missesPanel();
  const answers = answersPanel();
  const parts = [errors, upstreams, budgets, rules, explain, misses, answers];
  area.append(shown.element, ...parts.map(({ element }) => element));

  const figures = make("div", { class: "stack" });
  const drawn = shareChart();
  let isThere = false;

  const reading = watch(() => `${PATH}?span_s=${chosen.value}`, PERIOD_MS, {
    show: (told) => {
      for (const { element } of parts) element.hidden = told.upstreams === null;
      if (told.upstreams === null) {
        shown.put(make("p", { class: "nothing" }, prose("This node is no gateway. The table `gateway` of its site file makes it one.")));
        return;
      }
      if (!isThere) {
        isThere = true;
        shown.put();
        shown.body.replaceChildren(figures, make("div", { class: "controls" }, make("h3", {}, "Told again"), field("Span", chosen)), drawn.element);
        explain.begin(told.upstreams);
        if (told.cache) for (const part of [misses, answers]) part.begin();
      }
      for (const part of [misses, answers, errors]) part.element.hidden = told.cache === null;
      figures.replaceChildren(...overview(told));
      drawn.show(told.history);
      if (told.error) errors.put(errorView(told));
      else errors.element.hidden = true;
      upstreams.put(services(told.upstreams));
      budgets.put(budgetView(told.budgets));
      rules.put(ruleView(told.rules));
    },
    fail: (error) => shown.fail(PATH, error),
  });

  return () => {
    drawn.recolour();
    answers.recolour();
  };
}

function overview({ outcomes, joined, ahead, hit_share: share, saved, cache, error }) {
  const total = Object.values(outcomes).reduce((sum, value) => sum + value, 0);
  const whole = Math.max(1, total);
  const rows = Object.entries(OUTCOMES).map(([name, words]) => ({ name, number: outcomes[name] ?? 0, ...words }));
  const parts = rows.filter(({ number }) => number).map(({ number, title, tint }) => {
    const part = make("span", { class: `tint-${tint}`, title: `${title}: ${count(number)}` });
    part.style.flex = `${number} 0 0`;
    return part;
  });
  return [
    standing(cache, error),
    facts([
      ["Requests", [count(total), make("small", {}, ` ${count(joined)} waited for the same one`)]],
      ["Told again", [share === null ? "–" : percent(share), meter(share ?? 0)]],
      ...(ahead.asked ? [["Asked while compared", [count(ahead.asked), make("small", {}, ` ${count(ahead.given_up)} for nothing, ${count(ahead.outrun)} faster than the remembered answer`)]]] : []),
      ["Tokens saved", [count(saved.tokens), make("small", {}, ` of ${count(saved.tokens + saved.spent_tokens)}`)]],
      ["Money saved", [amount(saved.money), make("small", {}, ` spent ${amount(saved.spent_money)}`)]],
      ...(cache ? [
        ["Remembered answers", [count(cache.entries), make("small", {}, ` of ${count(cache.entries_max)}`), meter(cache.entries / cache.entries_max)]],
        ["Their bytes", [bytes(cache.bytes), make("small", {}, ` of ${bytes(cache.bytes_max)}, ${count(cache.evicted)} left for want of room`), meter(cache.bytes / cache.bytes_max)]],
      ] : []),
    ]),
    total ? make("div", { class: "stage-bar", role: "img", "aria-label": rows.map(({ title, number }) => `${title}: ${count(number)}`).join(", ") }, parts) : null,
    make("ul", { class: "legend outcomes", "aria-label": "Requests by what became of them" }, rows.map(({ name, title, tint, number }) => make("li", { "data-outcome": name }, swatch(tint), `${title} `, make("strong", {}, count(number)), total ? ` ${percent(number / whole)}` : ""))),
  ].filter(Boolean);
}

function standing(cache, error) {
  const [kind, words, why] = standingWords(cache, error);
  return make("p", { class: "verdict" }, state(kind, words), why ? make("span", {}, why) : null);
}

function standingWords(cache, error) {
  if (cache === null) return ["waiting", "No cache"];
  if (error === null) return ["good", "Only the same requests are told again", "The site file names no embedder"];
  if (error.state === "alarm") return ["bad", "Alarm: only the same requests are told again"];
  if (error.estimate === null) return ["waiting", "Only the same requests are told again", "Too little is judged yet to tell anything to similar questions"];
  return ["good", "Similar questions are told again within the bound"];
}

function shareChart() {
  const canvas = make("div", { class: "chart", role: "img", tabindex: "0" });
  const readout = make("p", { class: "hint readout" });
  const element = make("div", {}, canvas, readout);
  let chart = null;
  let rows = [];

  const tell = (index) => {
    const row = rows[index ?? -1];
    const asked = rows.reduce((sum, { total }) => sum + total, 0);
    const again = rows.reduce((sum, one) => sum + one.again, 0);
    readout.textContent = row ? `${timeOfDay(row.at)}: ${count(row.again)} of ${count(row.total)} requests told again` : asked ? `${count(again)} of ${count(asked)} requests told again, ${percent(again / asked)}` : "No request in this time";
    canvas.setAttribute("aria-label", `Share of requests told again. ${readout.textContent}`);
  };
  return {
    element,
    recolour: () => chart?.recolour(),
    show({ step_s: stepS, outcomes, rows: told }) {
      const again = outcomes.map((name) => name === "hit" || name === "semantic");
      rows = told.map(([at, ...counts]) => ({ at: at + stepS / 2, total: counts.reduce((a, b) => a + b, 0), again: counts.reduce((sum, value, i) => sum + (again[i] ? value : 0), 0) }));
      chart ??= lineChart(canvas, [{ name: "told again", tint: 1, isFilled: true }], { x: { say: timeOfDay, isTime: true }, y: { range: [0, 1], say: percent }, pointed: tell });
      chart.show([rows.map(({ at }) => at), rows.map(({ total, again: number }) => (total ? number / total : null))]);
      tell(null);
    },
  };
}

function services(upstreams) {
  return upstreams.map((one) => {
    const [kind, word] = one.requests === 0 ? ["waiting", "not asked yet"] : BREAKERS[one.state];
    const answered = one.requests - one.failures;
    return make(
      "article", { class: "card", "data-key": one.name, "data-name": one.name },
      make("header", {}, make("h3", {}, one.name), state(kind, word), one.url === null ? null : make("code", {}, one.url)),
      facts([
        ["Models", one.models.length ? one.models.join(", ") : "all"],
        ["Weight", String(one.weight)],
        ...(one.requests === null ? [] : [
          ["Requests", count(one.requests)],
          ["Failed", [count(one.failures), make("small", {}, ` ${count(one.retries)} tried again`)]],
          ["Mean time", answered ? milliseconds((1000 * one.seconds) / answered) : "–"],
          ["First token", one.streams ? milliseconds((1000 * one.first_token_s) / one.streams) : "–"],
        ]),
      ]),
    );
  });
}

function budgetView(budgets) {
  if (!budgets.length) return [make("p", { class: "nothing" }, prose("No bounds. The table `gateway.budget` of the site file sets some."))];
  const say = (what, value) => (what === "money" ? amount(value) : count(Math.round(value)));
  return [facts(budgets.map(({ tenant, what, window_s: windowS, used, limit, refused }) => [
    `${tenant || "operator"}: ${what} in ${span(windowS)}`,
    [say(what, used), make("small", {}, ` of ${say(what, limit)}, ${count(refused)} refused`), meter(limit ? used / limit : 1)],
  ]))];
}

function ruleView(rules) {
  return [
    make("ul", { class: "rules" }, rules.map(({ what, why, reach, setting }) => make("li", {}, make("strong", {}, prose(what)), make("span", { class: "badge" }, reach === "exact" ? "only to the same request" : "to nobody"), make("p", { class: "hint" }, why, setting ? [" ", make("code", {}, setting)] : null)))),
  ];
}
