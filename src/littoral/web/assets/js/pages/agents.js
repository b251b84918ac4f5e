/** The agents: what each may do, what it costs, how its calls end. */

import { facts, make } from "../dom.js";
import { bytes, count, milliseconds, tensorType } from "../format.js";
import { watch } from "../watch.js";
import { badge, panel, state, words } from "./panel.js";

const PATH = "/api/agents";
const PERIOD_MS = 2_000;

export function agentsPage(area) {
  const shown = panel("agents", "Agents");
  area.append(shown.element);
  watch(PATH, PERIOD_MS, {
    show: (agents) => shown.put(agents.length ? agents.map(card) : [make("p", { class: "nothing" }, "No agent yet")]),
    fail: (error) => shown.fail(PATH, error),
  });
}

function card(agent) {
  const { min, max, busy } = agent.instances;
  return make(
    "article", { class: "card", "data-key": agent.name, "data-name": agent.name },
    make(
      "header", {},
      make("h3", {}, agent.name),
      make("code", {}, agent.version),
      agent.quarantine ? state("bad", `In quarantine: ${agent.quarantine.reason}`) : state("good", "May be called"),
      make("code", { class: "digest", title: `SHA-256 of all that its answers depend on: ${agent.sha256}` }, agent.sha256.slice(0, 12)),
    ),
    make("p", { class: "hint" }, agent.path ?? ""),
    facts([
      ["Memory now", [bytes(agent.memory_bytes), make("small", {}, ` of ${bytes(agent.memory_bytes_max)}`)]],
      ["Deadline of a call", milliseconds(agent.deadline_ms)],
      ["Mean of a call", milliseconds(agent.run_mean_ms)],
      ["Time at work", `${agent.worked_s.toFixed(2)} s`],
      ["Calls", count(agent.runs)],
      ["Ended by a trap", ended(agent.ends.trap)],
      ["Ended at the deadline", ended(agent.ends.deadline)],
      ["Ended for memory", ended(agent.ends.memory)],
      ["Instances", [`${busy} busy `, make("small", {}, min === max ? `of ${max}` : `of ${min} to ${max}`)]],
      ["Waiting, refused", `${count(agent.waiting)}, ${count(agent.refused)}`],
      ["Log lines dropped", count(agent.log_lines_dropped)],
    ]),
    make(
      "dl", { class: "lines" },
      line("Takes", ports(agent.input)),
      line("Gives", ports(agent.output)),
      line("Granted", agent.grants.length ? words(agent.grants) : ["nothing beyond the log"]),
      line("Asks of the host", words(agent.imports)),
    ),
  );
}

const line = (term, value) => make("div", {}, make("dt", {}, term), make("dd", {}, value));

const ended = (number) => (number ? badge(count(number), "bad") : "0");

const ports = (types) => (types === "bytes" ? ["bytes"] : types.flatMap((port, i) => [i ? ", " : "", `${port.name} `, make("code", {}, tensorType(port))]));
