/** One node: how it is, what runs and what should, how it got there, and what it says when it is asked. */

import { NodeError, getJson, sendJson } from "../api.js";
import { facts, make, prose, table } from "../dom.js";
import { count } from "../format.js";
import { field, panel, said, state } from "../pages/panel.js";
import { watch } from "../watch.js";
import { acts, sureButton } from "./done.js";
import { followed } from "./followed.js";
import { EVENTS, ago, asked, detailText, isDrifted, labelText, labelsOf, lookOf, stateWord, targetWord } from "./words.js";

const PERIOD_MS = 5_000;
const PAST = "/api/fleet/history?count=1000";
const ASK_MS = 1_000;
const ASK_MS_MAX = 180_000;
const ASKS = { doctor: "Run the doctor", logs: "Read the log", bundle: "Make a support bundle" };
const KINDS = { ok: "good", warn: "warn", fail: "bad" };

export function nodePage(area) {
  const name = asked("name");
  const path = `/api/fleet/nodes/${encodeURIComponent(name)}`;
  const live = state("waiting", "Connecting");
  const status = said();
  const node = panel("node", "Node", live);
  const running = panel("running", "Runs, and should run");
  const history = panel("history", "History");
  const questions = panel("asks", "Ask it", status);
  area.append(node.element, running.element, history.element, questions.element);
  document.getElementById("node-title").textContent = name || "Node";
  const { problem, run } = acts(status);
  const labels = make("input", { id: "labels", type: "text", autocomplete: "off", spellcheck: "false", placeholder: "region=north" });
  const group = make("input", { id: "group", type: "text", autocomplete: "off", spellcheck: "false" });
  const answer = make("div", { id: "answer" });
  const form = make("form", { class: "controls", onsubmit: save }, field("Labels", labels), field("Group", group), make("button", { class: "button quiet", type: "submit" }, "Save"), sureButton("Forget this node", "Forget it, its token too", forget));
  const buttons = make("div", { class: "actions" }, Object.entries(ASKS).map(([kind, text]) => make("button", { class: "button quiet", type: "button", "data-ask": kind, onclick: () => ask(kind) }, text)));
  const summary = make("div");
  node.put();
  node.body.replaceChildren(summary, form, problem);
  questions.put();
  questions.body.replaceChildren(buttons, answer);
  let isFilled = false;

  const reading = watch(path, PERIOD_MS, {
    show: (found) => {
      if (!isFilled) [labels.value, isFilled] = [labelText(found.labels), true];
      group.placeholder = found.group || "none";
      summary.replaceChildren(...summaryOf(found));
      running.put(runningOf(found));
    },
    fail: (error, isFirst) => {
      if (isFirst) summary.replaceChildren(make("p", { class: "nothing" }, prose(error.message)));
      running.fail(path, error);
    },
  });
  const past = watch(PAST, PERIOD_MS, {
    show: (events) => history.put(historyOf(events.filter(({ on, detail }) => on === name || detail?.node === name))),
    fail: (error) => history.fail(PAST, error),
  });
  followed(EVENTS.node, () => Promise.all([reading.refresh(), past.refresh()]), live);

  async function save(event) {
    event.preventDefault();
    if (await run("Saved", "PATCH", path, { labels: labelsOf(labels.value), ...(group.value.trim() ? { group: group.value.trim() } : {}) })) reading.refresh();
  }

  async function forget() {
    if (await run("Forgotten", "DELETE", path)) location.assign("/");
  }

  async function ask(kind) {
    for (const button of buttons.children) button.disabled = true;
    answer.replaceChildren();
    status.textContent = "Asked: it answers when it checks in next…";
    try {
      const { id } = await sendJson("POST", `${path}/asks`, { kind });
      answer.replaceChildren(...answerOf(kind, await answered(`${path}/asks/${id}`)));
      status.textContent = "Answered";
    } catch (error) {
      if (!(error instanceof NodeError)) throw error;
      status.textContent = "";
      answer.replaceChildren(make("p", { class: "nothing", role: "alert" }, prose(error.message)));
    } finally {
      for (const button of buttons.children) button.disabled = false;
    }
  }
}

/** Raises NodeError for a node that says nothing. */
async function answered(path) {
  const end = Date.now() + ASK_MS_MAX;
  while (Date.now() < end) {
    const found = await getJson(path);
    if (found.state === "answered") return { body: found.answer, problem: found.problem };
    await new Promise((done) => setTimeout(done, ASK_MS));
  }
  throw new NodeError(`No answer in ${ASK_MS_MAX / 1000} s: is it online?`, 0);
}

function summaryOf(found) {
  const { kind, word } = lookOf(found);
  return [
    make("p", { class: "link-line" }, state(kind, word), isDrifted(found) ? state("warn", "Drifted") : null, found.problem ? make("span", { class: "hint" }, prose(found.problem)) : null),
    facts([
      ["Seen", ago(found.seen, Date.now() / 1000)],
      ["Deployment", [count(found.running_deployment), make("small", {}, ` told ${count(found.deployment)}`)]],
      ["State of it", stateWord(found.state)],
      ["Gate", found.gate || "–"],
      ["Littoral", found.littoral || "–"],
      ["Group", found.group || "–"],
      ...Object.entries(found.facts ?? {}).slice(0, 12).map(([name, value]) => [name, typeof value === "object" ? JSON.stringify(value) : String(value)]),
    ]),
  ];
}

function runningOf({ running, desired: should }) {
  const keys = [...new Set([...Object.keys(running ?? {}), ...Object.keys(should)])].sort();
  if (!keys.length) return [make("p", { class: "nothing" }, "Nothing of the fleet's yet")];
  const rows = keys.map((key) => {
    const [now, then] = [running?.[key], should[key]];
    const isSame = now === then || !then;
    return [make("code", {}, key), targetWord(now), targetWord(then), isSame ? state("good", then ? "Same" : "Its own") : state("warn", "Differs")];
  });
  return [make("div", { class: "wide" }, table("Runs, and should run", [{ title: "What" }, { title: "Runs" }, { title: "Should run" }, { title: "" }].map((column) => (column.title ? column : { title: "Same" })), rows))];
}

function historyOf(entries) {
  if (!entries.length) return [make("p", { class: "nothing" }, "Nothing happened yet")];
  const rows = entries.map(({ at_s: at, kind, detail }) => [new Date(at * 1000).toLocaleString(), [kind === "node" ? null : kind, detail.what].filter(Boolean).join(" ").replaceAll("_", " "), detailText({ ...detail, what: undefined })]);
  return [make("div", { class: "wide" }, table("History", [{ title: "When" }, { title: "What" }, { title: "More" }], rows))];
}

function answerOf(kind, { body, problem }) {
  if (problem) return [make("p", { class: "nothing", role: "alert" }, prose(problem))];
  if (kind === "doctor") return [findings(body.findings ?? body)];
  if (kind === "logs") return [make("pre", { class: "json", tabindex: "0", "aria-label": "Log of the node" }, [body].flat().map((line) => (typeof line === "string" ? line : JSON.stringify(line))).join("\n"))];
  const data = Uint8Array.from(atob(body), (letter) => letter.charCodeAt(0));
  const link = make("a", { href: URL.createObjectURL(new Blob([data], { type: "application/gzip" })), download: `${asked("name")}-bundle.tar.gz` }, "Save the bundle");
  return [make("p", {}, link, ` ${count(data.length)} bytes`)];
}

function findings(list) {
  return make("ul", { class: "findings" }, list.map(({ check, subject, status, message, hint }) =>
    make("li", { class: status }, state(KINDS[status] ?? "waiting", status), make("div", {}, make("strong", {}, check), " ", make("span", { class: "subject" }, subject ?? ""), make("p", {}, prose(message ?? "")), hint ? make("p", { class: "hint" }, prose(hint)) : null))));
}
