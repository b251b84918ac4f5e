/** The audit log: how far it reaches and who has seen it, its entries by kind, who and time, the proof of each. */

import { NodeError, getJson } from "../api.js";
import { facts, make, prose } from "../dom.js";
import { count, timeOfDay } from "../format.js";
import { watch } from "../watch.js";
import { choice, failure, field, panel, said, state } from "./panel.js";

const PATH = "/api/audit";
const PERIOD_MS = 5_000;
const COUNT = 50;
const KINDS = ["query", "read", "insert", "change", "delete", "collection", "deploy", "deployment", "tokens", "snapshot", "backup", "migration", "mesh", "cache", "opened", "closed", "restored", "dropped", "pruned"];
const SPANS = [["", "whenever"], ["3600", "last hour"], ["86400", "last day"], ["604800", "last week"]];

export function auditPage(area) {
  const status = said();
  const verify = make("button", { id: "verify", class: "button quiet", type: "button", onclick: verified, disabled: true }, "Verify");
  const head = panel("audit", "Audit", make("div", { class: "actions" }, status, verify));
  const found = make("div", { id: "verified", "aria-live": "polite" });
  const about = make("div", {});
  const entries = entriesPanel();
  area.append(head.element, entries.element);

  watch(PATH, PERIOD_MS, {
    show: (told) => {
      verify.disabled = !told.audit || Boolean(told.failure);
      about.replaceChildren(...logFacts(told));
      if (!head.body.contains(about)) {
        head.put();
        head.body.replaceChildren(about, found);
      }
      entries.show(told);
    },
    fail: (error) => head.fail(PATH, error),
  });

  async function verified() {
    verify.disabled = true;
    status.textContent = "Verifying…";
    try {
      const report = await getJson(`${PATH}/verified`);
      status.textContent = `Verified ${timeOfDay(Date.now() / 1000)}`;
      found.replaceChildren(...verdict(report));
    } catch (error) {
      if (!(error instanceof NodeError)) throw error;
      status.textContent = "";
      found.replaceChildren(failure("Not verified", error.message));
    } finally {
      verify.disabled = false;
    }
  }
}

function logFacts(told) {
  if (!told.audit) return [make("p", { class: "nothing" }, prose("This node keeps no audit log: a table `[audit]` in its site file makes one."))];
  const dropped = Object.values(told.dropped ?? {}).reduce((sum, one) => sum + one, 0);
  const seen = (told.witnesses ?? []).map((name, i) => `${name}, ${moment(told.witnessed_at_s[i])}`);
  return [
    make("p", {}, told.failure ? state("bad", "Takes nothing") : state("good", "Takes entries"), " ", told.failure ? prose(told.failure) : ""),
    facts([
      ["Log", told.origin ?? "–"],
      ["Entries", count(told.size)],
      ["Waiting", count(told.waiting)],
      ["Dropped", count(dropped)],
      ["Not told, by share", count(told.skipped)],
      ["Root", make("code", { class: "word" }, (told.root ?? "–").slice(0, 16))],
      ["Cosigned", told.witnessed_size ? `${count(told.witnessed_size)} entries` : "by nobody yet"],
      ["Witnesses", seen.length ? seen.join("; ") : "–"],
    ]),
  ];
}

function verdict({ ok, checked, size, pruned, faults, fault_count: faultCount }) {
  const words = `${count(checked)} of ${count(size)} entries read${pruned ? `, ${count(pruned)} pruned` : ""}`;
  if (ok) return [make("p", {}, state("good", "Nothing was changed"), ` ${words}`)];
  return [
    make("p", {}, state("bad", `${count(faultCount)} wrong`), ` ${words}`),
    make("ul", { class: "findings" }, faults.map(({ where, what }) => make("li", { class: "fail" }, state("bad", "Wrong"), make("div", {}, make("strong", {}, where), make("p", {}, prose(what)))))),
  ];
}

/** Read again when the filter changes, or when the log grows and nobody has gone back to older ones. */
function entriesPanel() {
  const kind = choice({ id: "kind" }, [["", "all"], ...KINDS.map((name) => [name, name])], "");
  const span = choice({ id: "span" }, SPANS, "");
  const who = make("input", { id: "who", type: "search", placeholder: "a token's name", autocomplete: "off", spellcheck: "false" });
  const on = make("input", { id: "on", type: "search", placeholder: "a collection or model", autocomplete: "off", spellcheck: "false" });
  const older = make("button", { id: "older", class: "button quiet", type: "button", hidden: true, onclick: () => read(next) }, "Older");
  const newest = make("button", { id: "newest", class: "button quiet", type: "button", hidden: true, onclick: () => read(null) }, "Newest");
  const status = said();
  const list = make("ol", { class: "log audit-log", "aria-label": "Entries, newest first" });
  const shown = panel("entries", "Entries");
  const controls = make("div", { class: "controls" }, field("What", kind), field("Who", who), field("On", on), field("When", span), status);
  const scroll = make("div", { class: "scroll tall", tabindex: "0", role: "region", "aria-label": "Entries" }, list);
  const pager = make("div", { class: "actions pager" }, newest, older);

  let size = -1;
  let next = null;
  let at = null; // the number before which we look; null: at the newest
  let reading = null;

  async function read(before) {
    reading?.abort();
    const own = (reading = new AbortController());
    at = before;
    const asked = { did: kind.value, who: who.value.trim(), on: on.value.trim(), since: span.value && String(Math.floor(Date.now() / 1000 - Number(span.value))), before };
    const query = new URLSearchParams({ count: COUNT, ...Object.fromEntries(Object.entries(asked).filter(([, value]) => value !== null && value !== "")) });
    try {
      const told = await getJson(`${PATH}/entries?${query}`, own.signal);
      ({ size, before: next } = told);
      const open = new Set([...list.querySelectorAll("details[open]")].map(({ dataset }) => dataset.index));
      list.replaceChildren(...[...told.entries].reverse().map(({ index, entry }) => row(index, entry, open.has(String(index)))));
      status.textContent = told.entries.length ? `${count(told.entries.length)} of a log of ${count(size)}` : next === null ? "None fit" : "None fit among those looked at";
      older.hidden = next === null;
      newest.hidden = at === null;
      shown.put();
      shown.body.replaceChildren(controls, scroll, pager);
    } catch (error) {
      if (own.signal.aborted) return;
      if (!(error instanceof NodeError)) throw error;
      shown.fail(`${PATH}/entries`, error);
    }
  }
  for (const control of [kind, span, who, on]) control.addEventListener("input", () => read(null));

  return {
    element: shown.element,
    show(told) {
      if (!told.audit || told.failure) shown.put(make("p", { class: "nothing" }, told.audit ? "The log cannot be read now" : "No entries"));
      else if (at === null && told.size !== size && !list.contains(document.activeElement)) read(null);
    },
  };
}

function row(index, entry, isOpen) {
  const details = make("details", { class: "entry", "data-index": String(index), open: isOpen });
  const body = make("div", { class: "entry-body" });
  details.append(make("summary", {}, entry.failed ? `${entry.on ?? ""} failed: ${entry.failed}` : subject(entry)), body);
  details.addEventListener("toggle", () => details.open && !body.childElementCount && fill(body, index, entry));
  return make(
    "li", { class: entry.failed ? "warning" : "info" },
    make("time", { datetime: new Date(entry.at_s * 1000).toISOString() }, moment(entry.at_s)),
    make("span", { class: "level" }, entry.did),
    make("code", { class: "part" }, entry.who),
    details,
    make("code", { class: "request" }, `#${index}`),
  );
}

const subject = ({ on, count: points, detail }) => [on || "the node", points > 1 ? `${count(points)} points` : "", detail?.request ?? detail?.what ?? ""].filter(Boolean).join(" · ");

/** The entry as it stands in the log, and on request the proof that it is there. */
function fill(body, index, entry) {
  const proof = make("div", { "aria-live": "polite" });
  const prove = make("button", { class: "button quiet small", type: "button", onclick: show }, "Show its proof");
  body.replaceChildren(json(`Entry ${index}`, entry), prove, proof);

  async function show() {
    prove.disabled = true;
    try {
      proof.replaceChildren(json(`Proof of entry ${index}`, await getJson(`${PATH}/proof/${index}`)));
    } catch (error) {
      if (!(error instanceof NodeError)) throw error;
      proof.replaceChildren(failure("Not proven", error.message));
    } finally {
      prove.disabled = false;
    }
  }
}

const json = (label, value) => make("pre", { class: "json", tabindex: "0", role: "region", "aria-label": label }, JSON.stringify(value, null, 2));

/** Unix seconds as a time of day, with its day if that is another. */
function moment(seconds) {
  const day = new Date(seconds * 1000);
  const isToday = day.toDateString() === new Date().toDateString();
  return isToday ? timeOfDay(seconds) : `${day.toISOString().slice(0, 10)} ${timeOfDay(seconds)}`;
}
