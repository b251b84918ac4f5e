/** Claims: codes by which new nodes enrol themselves. A code is told once. */

import { make, table } from "../dom.js";
import { count } from "../format.js";
import { field, panel, said } from "../pages/panel.js";
import { watch } from "../watch.js";
import { acts, sureButton } from "./done.js";
import { ago, labelText, labelsOf } from "./words.js";

const PATH = "/api/fleet/claims";
const PERIOD_MS = 10_000;
const DAY_S = 86_400;
const COLUMNS = [{ title: "Claim" }, { title: "Group", less: true }, { title: "Labels", less: true }, { title: "Uses left", number: true }, { title: "Expires" }, { title: "Made", less: true }, { title: "Taken back" }];

export function claimsPage(area) {
  const status = said();
  const fresh = panel("claim", "New claims", status);
  const shown = panel("claims", "Claims");
  area.append(fresh.element, shown.element);
  const { problem, run } = acts(status);
  const number = make("input", { id: "claim-count", type: "number", min: 1, max: 1000, value: 1 });
  const uses = make("input", { id: "claim-uses", type: "number", min: 1, max: 100000, value: 1 });
  const days = make("input", { id: "claim-days", type: "number", min: 1, max: 365, value: 7 });
  const group = make("input", { id: "claim-group", type: "text", autocomplete: "off", spellcheck: "false" });
  const labels = make("input", { id: "claim-labels", type: "text", autocomplete: "off", spellcheck: "false", placeholder: "region=north" });
  const codes = make("div", { id: "codes" });
  fresh.put();
  fresh.body.replaceChildren(
    make("form", { class: "controls", onsubmit: add }, field("How many codes", number), field("Nodes a code", uses), field("Valid for days", days), field("Group", group), field("Labels", labels), make("button", { class: "button", type: "submit" }, "Make codes")),
    problem, codes,
  );

  async function add(event) {
    event.preventDefault();
    const order = { count: Number(number.value), uses: Number(uses.value), expires_s: Number(days.value) * DAY_S, labels: labelsOf(labels.value) };
    const made = await run("Made: they are told once, here", "POST", PATH, group.value.trim() ? { ...order, group: group.value.trim() } : order);
    if (!made) return;
    const told = made.map(({ code }) => code);
    codes.replaceChildren(make("pre", { class: "json", tabindex: "0", "aria-label": "Codes" }, told.join("\n")));
    reading.refresh();
  }

  const reading = watch(PATH, PERIOD_MS, {
    show: (found) => {
      const claims = found;
      const now = Date.now() / 1000;
      const rows = claims.map((claim) => [
        make("code", {}, claim.id), claim.group || "–", labelText(claim.labels) || "–", count(claim.uses_left), claim.expires > now ? new Date(claim.expires * 1000).toLocaleString() : "expired", ago(claim.at, now),
        sureButton("Take back", "Take it back", async () => (await run("Taken back", "DELETE", `${PATH}/${encodeURIComponent(claim.id)}`)) && reading.refresh()),
      ]);
      shown.put();
      if (shown.body.contains(document.activeElement)) return;
      shown.body.replaceChildren(rows.length ? make("div", { class: "wide" }, table("Claims", COLUMNS, rows)) : make("p", { class: "nothing" }, "No claim waits to be used"));
    },
    fail: (error) => shown.fail(PATH, error),
  });
}
