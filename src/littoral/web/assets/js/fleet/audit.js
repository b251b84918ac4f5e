/** The audit log: who did what, the newest first. */

import { make, table } from "../dom.js";
import { count } from "../format.js";
import { field, panel, said, state } from "../pages/panel.js";
import { watch } from "../watch.js";
import { followed } from "./followed.js";
import { EVENTS, detailText } from "./words.js";

const PATH = "/api/fleet/audit?count=1000";
const PERIOD_MS = 10_000;
const SHOWN_MAX = 200;
const COLUMNS = [{ title: "When" }, { title: "Who" }, { title: "What" }, { title: "On" }, { title: "More", less: true }];

export function auditPage(area) {
  const live = state("waiting", "Connecting");
  const status = said();
  const text = make("input", { id: "text", type: "search", placeholder: "who, what or on what", autocomplete: "off", spellcheck: "false" });
  const shown = panel("audit", "Audit", live);
  const rows = make("div", { class: "wide" });
  area.append(shown.element);
  let acts = [];

  function put() {
    const wanted = text.value.trim().toLowerCase();
    const found = acts.filter((act) => !wanted || JSON.stringify(act).toLowerCase().includes(wanted));
    status.textContent = `${count(Math.min(found.length, SHOWN_MAX))} of ${count(acts.length)} acts`;
    rows.replaceChildren(found.length ? table("Acts", COLUMNS, found.slice(0, SHOWN_MAX).map(row)) : make("p", { class: "nothing" }, "Nothing like that was done"));
  }

  const reading = watch(PATH, PERIOD_MS, {
    show: (found) => {
      acts = found;
      if (!rows.isConnected) {
        shown.put();
        shown.body.replaceChildren(make("div", { class: "controls" }, field("Text", text), status), rows);
      }
      put();
    },
    fail: (error) => shown.fail(PATH, error),
  });
  text.addEventListener("input", put);
  followed(EVENTS.act, () => reading.refresh(), live);
}

function row({ index, at, by, act, subject, detail }) {
  const { failed, ...rest } = detail;
  const what = [act.replace("/api/fleet/", "").replace(/\/?\{\w+\}/g, ""), failed ? state("bad", failed) : null].filter(Boolean);
  return [make("span", { title: `entry ${index} of the log` }, new Date(at * 1000).toLocaleString()), by || "–", make("span", {}, what.flatMap((part) => [part, " "])), subject || "–", make("code", { class: "detail" }, detailText(rest))];
}
