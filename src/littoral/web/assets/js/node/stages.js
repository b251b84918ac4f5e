/** Where the time of an answer went. */

import { make, swatch } from "../dom.js";
import { milliseconds, percent } from "../format.js";

const TINTS = 8;
const REST_MS_MIN = 0.05;

export const tintOf = (index) => index % TINTS;

/** `[{name, ms, tint}]` in order; what the node spent between and around the stages comes last. */
export function stageRows(stages, totalMs) {
  const rows = Object.entries(stages).map(([name, ms], i) => ({ name, ms, tint: tintOf(i) }));
  const restMs = totalMs - rows.reduce((sum, { ms }) => sum + ms, 0);
  return restMs < REST_MS_MIN ? rows : [...rows, { name: "between stages", ms: restMs, tint: "rest" }];
}

/** The bar, and its legend as a table. totalMs: in the node; roundTripMs: as this browser measured it. */
export function stageBar(stages, totalMs, roundTripMs) {
  const rows = stageRows(stages, totalMs);
  const wholeMs = Math.max(totalMs, rows.reduce((sum, { ms }) => sum + ms, 0));
  const label = rows.map(({ name, ms }) => `${name} ${milliseconds(ms)}`).join(", ");
  return [make("div", { class: "stage-bar", role: "img", "aria-label": label }, rows.map(segment)), legend(rows, wholeMs, roundTripMs)];
}

function segment({ name, ms, tint }) {
  const part = make("span", { class: `tint-${tint}`, title: `${name}: ${milliseconds(ms)}`, "data-stage": name });
  part.style.flex = `${Math.max(ms, 0.001)} 0 0`;
  return part;
}

function legend(rows, wholeMs, roundTripMs) {
  const row = (head, ms, share) =>
    make(
      "tr", {},
      make("th", { scope: "row" }, head),
      make("td", { class: "number" }, milliseconds(ms)),
      make("td", { class: "number" }, share === null ? "" : percent(share)),
    );
  return make(
    "table", { class: "stage-table" },
    make("caption", { class: "unseen" }, "Milliseconds by stage"),
    make("thead", { class: "unseen" }, make("tr", {}, ["Stage", "Time", "Share"].map((title) => make("th", { scope: "col" }, title)))),
    make("tbody", {}, rows.map(({ name, ms, tint }) => row([swatch(tint), name], ms, ms / wholeMs))),
    make("tfoot", {}, row("In the node", wholeMs, null), row("Round trip", roundTripMs, null)),
  );
}
