/** What the node finds of itself, with what mends it. */

import { NodeError, getJson } from "../api.js";
import { make, prose } from "../dom.js";
import { timeOfDay } from "../format.js";
import { panel, said, state } from "./panel.js";

const PATH = "/api/doctor";
const STATES = { fail: ["bad", "Fails"], warn: ["warn", "Warning"], ok: ["good", "Good"] };
const SUMS = { fail: "failing", warn: "to look at", ok: "good" };
const ORDER = Object.keys(STATES);

export function doctorPage(area) {
  const again = make("button", { id: "again", class: "button quiet", type: "button", onclick: look }, "Run again");
  const status = said();
  const shown = panel("doctor", "Doctor", make("div", { class: "actions" }, status, again));
  area.append(shown.element);

  async function look() {
    again.disabled = true;
    status.textContent = "Looking…";
    try {
      const found = await getJson(PATH);
      status.textContent = `Looked at ${timeOfDay(found.at)}, in ${found.took_s.toFixed(1)} s`;
      shown.put(summary(found.findings), findingList(found.findings));
    } catch (error) {
      if (!(error instanceof NodeError)) throw error;
      status.textContent = "";
      shown.fail(PATH, error);
    } finally {
      again.disabled = false;
    }
  }
  look();
}

function summary(findings) {
  const counts = ORDER.map((status) => [status, findings.filter((finding) => finding.status === status).length]).filter(([, count]) => count);
  return make("ul", { class: "counts", "aria-label": "Findings" }, counts.map(([status, count]) => make("li", {}, state(STATES[status][0], `${count} ${SUMS[status]}`))));
}

function findingList(findings) {
  const sorted = [...findings].sort((a, b) => ORDER.indexOf(a.status) - ORDER.indexOf(b.status));
  return make(
    "ul", { class: "findings" },
    sorted.map(({ check, subject, status, message, hint }) =>
      make(
        "li", { class: status },
        state(...STATES[status]),
        make("div", {}, make("strong", {}, check), " ", make("span", { class: "subject" }, subject), make("p", {}, prose(message)), hint ? make("p", { class: "hint" }, make("strong", {}, status === "ok" ? "Hint: " : "Mend: "), prose(hint)) : null),
      ),
    ),
  );
}
