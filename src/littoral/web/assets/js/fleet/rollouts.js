/** Rollouts: how far each ring is, which gate holds it, and what may be done with it; a form for the next. */

import { NodeError, getJson } from "../api.js";
import { make, meter, prose } from "../dom.js";
import { bytes, count } from "../format.js";
import { badge, failure, field, panel, refill, said, state } from "../pages/panel.js";
import { watch } from "../watch.js";
import { checkAll, checked, checkedNumber, refuseAt } from "./checked.js";
import { acts, sureButton } from "./done.js";
import { followed } from "./followed.js";
import { termsEditor } from "./terms.js";
import { EVENTS, ago, targetWord } from "./words.js";

const PATH = "/api/fleet/rollouts";
const PERIOD_MS = 5_000;
const SHOWN_MAX = 50;
const STATES = {
  running: ["warn", "Running"], paused: ["warn", "Paused"], done: ["good", "Done"], aborted: ["bad", "Aborted"],
  rolling_back: ["warn", "Rolling back"], rolled_back: ["bad", "Rolled back"],
};
const RINGS = { waiting: "Waits", running: "Running", soaking: "Is watched", done: "Done", held: "Held", failed: "Failed", paused: "Paused" };
const ACTS = {
  running: ["pause", "abort", "rollback"], paused: ["resume", "abort", "rollback"], aborted: ["rollback"], done: ["rollback"],
};
const WORDS = { pause: ["Pause"], resume: ["Go on"], abort: ["Abort", "Abort it"], rollback: ["Roll back", "Roll all back"] };
const TOLD = { pause: "Paused", resume: "Goes on", abort: "Aborted", rollback: "Rolls back" };

export function rolloutsPage(area) {
  const live = state("waiting", "Connecting");
  const status = said();
  const shown = panel("rollouts", "Rollouts", live);
  const next = panel("next", "Start a rollout", status);
  area.append(shown.element, next.element);
  const { problem, run } = acts(status);
  const form = rolloutForm(async (order, atField) => (await run("Started", "POST", PATH, order, atField)) && reading.refresh());
  next.put();
  next.body.replaceChildren(form.element, problem);
  const cards = new Map();
  const list = make("div");

  async function act(id, way) {
    if (await run(TOLD[way], "POST", `${PATH}/${encodeURIComponent(id)}/${way}`)) reading.refresh();
  }

  const reading = watch(PATH, PERIOD_MS, {
    show: (found) => {
      const rollouts = found.slice(0, SHOWN_MAX);
      if (!list.isConnected) {
        shown.put();
        shown.body.replaceChildren(list);
      }
      if (!rollouts.length) list.replaceChildren(make("p", { class: "nothing" }, "No rollout yet"));
      const wanted = rollouts.map((rollout) => {
        const card = cards.get(rollout.id) ?? rolloutCard(rollout.id, act);
        cards.set(rollout.id, card);
        card.show(rollout);
        return card.element;
      });
      if (rollouts.length && wanted.some((element, i) => list.children[i] !== element)) list.replaceChildren(...wanted);
    },
    fail: (error) => shown.fail(PATH, error),
  });
  followed(EVENTS.rollout, () => reading.refresh(), live);
}

function rolloutCard(id, act) {
  const heading = make("header");
  const rings = make("ol", { class: "rings" });
  const why = make("p", { class: "hint", role: "status" });
  const flow = make("p", { class: "hint" });
  const element = make("article", { class: "card", "data-name": id }, heading, why, flow, rings);
  let shape = "";

  function show(rollout) {
    element.dataset.state = rollout.state;
    const now = JSON.stringify(rollout);
    if (now === shape) return;
    shape = now;
    const focused = heading.contains(document.activeElement) ? document.activeElement.dataset.way : null;
    heading.replaceChildren(...headOf(rollout, act));
    if (focused) heading.querySelector(`[data-way="${focused}"]`)?.focus();
    const late = rollout.late.length && !["running", "paused"].includes(rollout.state) ? `${count(rollout.late.length)} nodes have not caught up` : "";
    const text = [rollout.why, late].filter(Boolean).join(" · ");
    if (why.textContent !== text) why.replaceChildren(...prose(text));
    flow.textContent = trafficText(rollout.traffic);
    rings.replaceChildren(...rollout.rings.map((ring) => ringOf(ring)));
  }
  return { element, show };
}

/** What its nodes fetch from here; nothing where they fetched nothing, and no cap is set. */
function trafficText({ downloads, sent_bytes: sent, bytes_per_s: rate, bytes_per_s_max: most }) {
  if (!sent && most === null) return "";
  const now = downloads ? `${count(downloads)} downloads, ${bytes(rate)}/s` : "no download";
  return `${now}${most === null ? "" : ` of ${bytes(most)}/s for all its nodes`} · ${bytes(sent)} sent`;
}

function headOf({ id, state: word, group, nodes, set, began, ended }, act) {
  const buttons = (ACTS[word] ?? []).map((way) => {
    const [text, sure] = WORDS[way];
    const button = sure ? sureButton(text, sure, () => act(id, way)) : make("button", { class: "button small quiet", type: "button", onclick: () => act(id, way) }, text);
    button.dataset.way = way;
    return button;
  });
  const what = [...Object.values(set?.models ?? {}), ...Object.values(set?.agents ?? {}), ...(set?.site ? [set.site] : [])].map(targetWord).join(", ") || "nothing new";
  return [
    make("h3", {}, what), badge(group ? `to ${group}, ${count(nodes.length)} nodes` : `to ${count(nodes.length)} nodes`), state(...(STATES[word] ?? ["waiting", word])),
    make("small", { class: "hint" }, `${id} · began ${ago(began, Date.now() / 1000)}${ended ? ` · ended ${ago(ended, Date.now() / 1000)}` : ""}`),
    make("div", { class: "actions" }, buttons),
  ];
}

function ringOf({ name, nodes, done, failed, state: word, held_by: heldBy }) {
  const total = nodes;
  const kind = failed ? "bad" : word === "done" ? "good" : word === "running" || word === "soaking" ? "warn" : "waiting";
  return make(
    "li", { "data-ring": name, "data-state": word },
    make("div", { class: "ring-head" }, make("strong", {}, name), state(kind, RINGS[word] ?? word), make("span", { class: "hint" }, `${count(done)} of ${count(total)} done${failed ? `, ${count(failed)} failed` : ""}`)),
    meter(total ? done / total : 0),
    heldBy ? make("p", { class: "held" }, "Held by ", ...prose(heldBy)) : null,
  );
}

/** Each ring has all nodes of those before it, and more. */
const areRings = (percents) => percents.length > 0 && percents.every((percent, i) => percent > (i ? percents[i - 1] : 0) && percent <= 100);

/** `start(order, atField)` when everything is said. */
function rolloutForm(start) {
  const group = make("select", { id: "rollout-group" });
  const artifact = make("select", { id: "rollout-target" });
  const name = make("input", { id: "rollout-name", type: "text", autocomplete: "off", spellcheck: "false", placeholder: "as the artifact" });
  const own = checked("set", "Name in site files", name, () => (/^[A-Za-z0-9_-]{0,64}$/.test(name.value.trim()) ? "" : "Must be 1 to 64 of a-z, A-Z, 0-9, _ and -"));
  const ringsText = make("input", { id: "rollout-rings", type: "text", value: "5, 25, 100", autocomplete: "off" });
  const rings = checked("rings", "Rings, percent of the group", ringsText, () => (areRings(percents()) ? "" : "Must be percents that grow, 1 to 100"));
  const soak = checkedNumber("soak_s", "Watched between rings, s", { id: "rollout-soak", max: 31_536_000, value: 60 });
  const share = checkedNumber("error_share_max", "Aborted above, % failed", { id: "rollout-share", max: 100, value: 10 });
  const terms = termsEditor("rollout");
  const told = make("div");
  const element = make(
    "form", { onsubmit, novalidate: true },
    make("div", { class: "controls" }, field("Group", group), field("Artifact", artifact), own.element, rings.element, soak.element, share.element),
    terms.element, make("div", { class: "actions" }, make("button", { class: "button", type: "submit" }, "Start")), told,
  );
  const fields = () => [own, rings, soak, share, ...terms.fields()];
  const percents = () => ringsText.value.split(/[\s,]+/).filter(Boolean).map(Number);
  let groups = [];

  async function read() {
    try {
      const [known, artifacts] = await Promise.all([getJson("/api/fleet/groups"), getJson("/api/fleet/artifacts")]);
      groups = known;
      const wanted = new URLSearchParams(location.search).get("target");
      const ready = artifacts.filter(({ state: word, kind }) => word === "published" && ["models", "agents"].includes(kind));
      refill(group, groups.map(({ name: one }) => [one, one]));
      if (terms.name !== group.value) showTerms();
      refill(artifact, ready.map(({ target }) => [target, targetWord(target)]), wanted ?? undefined);
    } catch (error) {
      if (!(error instanceof NodeError)) throw error;
      told.replaceChildren(failure("Groups and artifacts are not known", error.message));
    }
  }
  for (const control of [group, artifact]) control.addEventListener("pointerdown", read);
  group.addEventListener("change", showTerms);

  function showTerms() {
    const found = groups.find(({ name: one }) => one === group.value);
    if (found) terms.show(found);
  }

  function onsubmit(event) {
    event.preventDefault();
    if (!checkAll(fields())) return;
    const [kind, called] = artifact.value.split("/");
    const order = {
      group: group.value,
      set: { [kind]: { [name.value.trim() || called]: artifact.value } },
      rings: percents().map((percent, i, all) => ({ name: i === 0 && all.length > 1 ? "canary" : `ring ${i + 1}`, percent })),
      soak_s: Number(soak.control.value),
      error_share_max: Number(share.control.value) / 100,
      ...terms.order(),
    };
    start(order, (message) => refuseAt(fields(), message));
  }
  read();
  return { element };
}
