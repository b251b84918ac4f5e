/** MQTT: the broker, and what comes, goes, waits and fails on each route. */

import { facts, make, meter } from "../dom.js";
import { bytes, count, duration, timeOfDay } from "../format.js";
import { watch } from "../watch.js";
import { panel, state } from "./panel.js";

const PATH = "/api/mqtt";
const PERIOD_MS = 2_000;

export function mqttPage(area) {
  const shown = panel("mqtt", "MQTT");
  area.append(shown.element);
  let before = null;
  watch(PATH, PERIOD_MS, {
    show: (now) => {
      const latest = { at: performance.now() / 1000, routes: new Map(now.routes.map((route) => [route.name, route])) };
      shown.put(now.broker === null ? [make("p", { class: "nothing" }, "This node speaks to no broker. The table `mqtt` of its site file makes it do so.")] : view(now, rates(before, latest)));
      before = latest;
    },
    fail: (error) => shown.fail(PATH, error),
  });
}

/** Messages and answers a second by route, between two readings; null before the second. */
function rates(before, latest) {
  return (route) => {
    const earlier = before?.routes.get(route.name);
    const seconds = latest.at - (before?.at ?? 0);
    if (!earlier || seconds <= 0 || route.messages < earlier.messages) return null;
    return { messages: (route.messages - earlier.messages) / seconds, answered: (route.answered - earlier.answered) / seconds };
  };
}

function view({ broker, version, is_secured: isSecured, publisher, routes }, rateOf) {
  return [
    make(
      "div", { class: "broker", "data-key": "broker" },
      make("p", {}, make("code", {}, broker), ` · MQTT ${version}${isSecured ? ", over TLS" : ""}`),
      link("Answers go out", publisher),
    ),
    ...routes.map((route) => card(route, rateOf(route))),
  ];
}

function link(title, { is_open: isOpen, connections, failures, last }) {
  const told = [connections === 1 ? "1 connection" : `${count(connections)} connections`, failures ? `failed: ${count(failures)}` : "", last && (!isOpen || failures) ? `last: ${last}` : ""];
  return make("p", { class: "link-line" }, state(isOpen ? "good" : "bad", `${title}: ${isOpen ? "connected" : "not connected"}`), make("span", { class: "hint" }, told.filter(Boolean).join(" · ")));
}

function card(route, rate) {
  const dropped = Object.entries(route.dropped);
  const perSecond = (value) => (rate === null ? "–" : `${value().toFixed(1)} /s`);
  return make(
    "article", { class: "card", "data-key": route.name, "data-name": route.name },
    make("header", {}, make("h3", {}, route.name), make("code", {}, `QoS ${route.qos}`), route.share ? make("span", { class: "badge" }, `shared: ${route.share}`) : null),
    make(
      "p", { class: "way" },
      make("code", {}, route.topic), arrow(), make("strong", {}, route.pipeline), arrow(), make("code", {}, route.publish ?? "nobody"),
      route.errors ? make("span", { class: "hint" }, " errors: ", make("code", {}, route.errors)) : null,
    ),
    link("Messages come in", route.link),
    facts([
      ["Messages", [count(route.messages), make("small", {}, ` ${perSecond(() => rate.messages)}`)]],
      ["Answered", [count(route.answered), make("small", {}, ` ${perSecond(() => rate.answered)}`)]],
      ["Outbox", [count(route.waiting), make("small", {}, ` of ${count(route.waiting_max)}, ${route.keep === "latest" ? "latest of each topic" : "in order"}`), meter(route.waiting / route.waiting_max)]],
      ["Its bytes", [bytes(route.waiting_bytes), make("small", {}, ` of ${bytes(route.waiting_bytes_max)}`), meter(route.waiting_bytes / route.waiting_bytes_max)]],
      ["Oldest that waits", route.waiting ? duration(route.oldest_s) : "–"],
      ["At work", [count(route.busy), make("small", {}, ` of ${route.parallel}`)]],
      ["Came again, known", count(route.again)],
      ["Tried again", count(route.retries)],
      ["Dropped", dropped.length ? dropped.map(([reason, number]) => `${reason} ${count(number)}`).join(", ") : "0"],
    ]),
    route.refused
      ? make("div", { class: "notice failed" }, make("strong", {}, `Dropped last at ${timeOfDay(route.refused.at)}: ${route.refused.reason}`), make("span", {}, route.refused.why))
      : null,
  );
}

const arrow = () => make("span", { class: "arrow" }, make("span", { class: "unseen" }, " goes to "), make("span", { "aria-hidden": "true" }, " → "));
