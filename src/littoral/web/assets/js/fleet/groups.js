/** Groups: who is in them, what they are to run, and whether anything may change. */

import { make, table } from "../dom.js";
import { bytes, count } from "../format.js";
import { badge, field, panel, said, state } from "../pages/panel.js";
import { watch } from "../watch.js";
import { acts, sureButton } from "./done.js";
import { followed } from "./followed.js";
import { windowText } from "./terms.js";
import { EVENTS, labelText, labelsOf, targetWord } from "./words.js";

const PATH = "/api/fleet/groups";
const PERIOD_MS = 10_000;

export function groupsPage(area) {
  const live = state("waiting", "Connecting");
  const status = said();
  const shown = panel("groups", "Groups", live);
  const fresh = panel("group", "A new group", status);
  area.append(shown.element, fresh.element);
  const { problem, run } = acts(status);
  const name = make("input", { id: "group-name", type: "text", required: true, pattern: "[A-Za-z0-9_\\-]{1,64}", autocomplete: "off", spellcheck: "false" });
  const match = make("input", { id: "group-match", type: "text", autocomplete: "off", spellcheck: "false", placeholder: "region=north" });
  fresh.put();
  fresh.body.replaceChildren(make("form", { class: "controls", onsubmit: add }, field("Name", name), field("Labels that its nodes have", match), make("button", { class: "button", type: "submit" }, "Add")), problem);
  const list = make("div");

  async function add(event) {
    event.preventDefault();
    if (!(await run("Added", "PUT", `${PATH}/${encodeURIComponent(name.value.trim())}`, { match: labelsOf(match.value) }))) return;
    name.value = match.value = "";
    reading.refresh();
  }

  const reading = watch(PATH, PERIOD_MS, {
    show: (found) => {
      const groups = found;
      shown.put();
      if (!list.isConnected) shown.body.replaceChildren(list);
      list.replaceChildren(...(groups.length ? groups.map((one) => card(one, { run, again: () => reading.refresh() })) : [make("p", { class: "nothing" }, "No group yet")]));
    },
    fail: (error) => shown.fail(PATH, error),
  });
  followed(EVENTS.rollout, () => list.contains(document.activeElement) || reading.refresh(), live);
}

function card(group, { run, again }) {
  const path = `${PATH}/${encodeURIComponent(group.name)}`;
  const { name, nodes, is_frozen: isFrozen, ...rest } = group;
  const freeze = async () => (await run(isFrozen ? "Thawed" : "Frozen", "PUT", path, { ...settable(rest), is_frozen: !isFrozen })) && again();
  const parts = ["models", "agents"].flatMap((kind) => Object.entries(group[kind] ?? {}).map(([own, target]) => [make("code", {}, `${kind}/${own}`), targetWord(target)]));
  if (group.site) parts.push([make("code", {}, "site"), targetWord(group.site)]);
  return make(
    "article", { class: "card", "data-name": name },
    make(
      "header", {},
      make("h3", {}, name), badge(labelText(group.match) || "by name"), badge(`${count(nodes)} nodes`), isFrozen ? state("warn", "Frozen") : state("good", "May change"),
      make("div", { class: "actions" }, make("button", { class: "button small quiet", type: "button", onclick: freeze }, isFrozen ? "Thaw" : "Freeze"), sureButton("Delete", "Delete it", async () => (await run("Deleted", "DELETE", path)) && again())),
    ),
    parts.length ? make("div", { class: "wide" }, table(`What ${name} is to run`, [{ title: "What" }, { title: "Version" }], parts)) : make("p", { class: "nothing" }, "Nothing is rolled out to it yet"),
    make("p", { class: "hint" }, [windowText(group.windows), group.bytes_per_s_max ? `at most ${bytes(group.bytes_per_s_max)}/s a node` : "", group.total_bytes_per_s_max ? `at most ${bytes(group.total_bytes_per_s_max)}/s for all its nodes` : ""].filter(Boolean).join(" · ") || "At any time, as fast as it goes"),
  );
}

const KEYS = ["match", "models", "agents", "site", "dashboards", "gates", "windows", "bytes_per_s_max", "total_bytes_per_s_max", "is_frozen"];

/** What may be put again. */
const settable = (group) => Object.fromEntries(Object.entries(group).filter(([key, value]) => KEYS.includes(key) && value !== null));
