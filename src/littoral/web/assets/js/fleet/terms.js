/** On what terms nodes take a version: gates, windows, bandwidth. A group has them, and a rollout may have others. */

import { make } from "../dom.js";
import { checked, checkedNumber } from "./checked.js";

export const DAYS = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
const WEEK_S = 604_800;
const KB = 1000;
const DAY_MINUTES = 1440;
const SCHEME = "http" + "://";

/** Label, and how it is shown: `scale` times what the API has. */
const GATES = {
  errors_max: ["Failed requests, %", { max: 100, scale: 100 }],
  p99_ratio_max: ["p99, times that before", { min: 0.1, max: 1_000_000 }],
  drift_max: ["Drift of outputs, 0 to 2", { max: 2 }],
  memory_mb_max: ["Memory, MB", { min: 1, max: 1_000_000, isWhole: true, optional: true }],
  canary_s: ["Mirrored before the flip, s", { max: WEEK_S }],
  canary_requests_min: ["Requests mirrored, at least", { max: 1_000_000_000, isWhole: true }],
  watch_s: ["Watched after it, s", { max: WEEK_S }],
};
const DEFAULTS = { errors_max: 0.01, p99_ratio_max: 1.5, drift_max: 0.1, memory_mb_max: null, canary_s: 30, canary_requests_min: 0, watch_s: 60, hook: null };
const CAPS = { bytes_per_s_max: ["Each node, kB/s", 0.001], total_bytes_per_s_max: ["All its nodes together, kB/s", 1.024] };

/** Of a window, in words. */
export function windowText(windows) {
  return (windows ?? []).map(({ days, from_minute: from, to_minute: to }) => `${(days ?? []).length === 7 || !days ? "daily" : days.map((day) => DAYS[day]).join(" ")} ${clock(from ?? 0)}–${clock(to ?? DAY_MINUTES)} UTC`).join(", ");
}

const clock = (minute) => `${String(Math.floor(minute / 60)).padStart(2, "0")}:${String(minute % 60).padStart(2, "0")}`;
const minutes = (text) => Number(text.slice(0, 2)) * 60 + Number(text.slice(3, 5));
const address = (text) => (text ? (text.startsWith(SCHEME) ? text : SCHEME + text) : null);
const number = (text) => (text.trim() === "" ? null : Number(text));
const shortened = (value) => String(Number(value.toPrecision(12)));

/** `show(group)`: as it has them; `order()`: for the API; `fields()`: all that may be wrong. */
export function termsEditor(id) {
  const gates = Object.entries(GATES).map(([key, [label, { scale, ...how }]]) => [key, scale ?? 1, checkedNumber(`gates.${key}`, label, { id: `${id}-${key}`, ...how })]);
  const hook = checked("gates.hook", "Own gate, an address on the node", make("input", { id: `${id}-hook`, type: "text", autocomplete: "off", spellcheck: "false", placeholder: "127.0.0.1:9000/ready" }), () => "", "Must be an address of the node itself");
  const caps = Object.entries(CAPS).map(([key, [label, min]]) => [key, checkedNumber(key, label, { id: `${id}-${key}`, min, max: 1_000_000_000, optional: true })]);
  const windows = make("ul", { class: "windows" });
  const never = make("p", { class: "hint" }, "At any time");
  const origin = make("p", { class: "hint", role: "status" });
  const reset = make("button", { class: "button small quiet", type: "button", onclick: () => shown && show(shown) }, "As the group has them");
  let rows = [];
  let made = 0;
  let shown = null;

  const element = make(
    "fieldset", { class: "terms", oninput: told },
    make("legend", {}, "Terms of this rollout"),
    make("div", { class: "actions" }, origin, reset),
    make("h3", {}, "Gates"), make("div", { class: "controls" }, gates.map(([, , one]) => one.element), hook.element),
    make("h3", {}, "Windows, UTC"), never, windows,
    make("div", { class: "actions" }, make("button", { class: "button small quiet", type: "button", onclick: () => (add({ days: [0, 1, 2, 3, 4, 5, 6], from_minute: 120, to_minute: 300 }), told()) }, "Add a window")),
    make("h3", {}, "Bandwidth"), make("div", { class: "controls" }, caps.map(([, one]) => one.element)),
  );

  function add({ days, from_minute: from, to_minute: to }) {
    made += 1;
    const own = `${id}-window-${made}`;
    const boxes = DAYS.map((day, i) => make("input", { type: "checkbox", id: `${own}-${i}`, checked: !days || days.includes(i) }));
    const begins = make("input", { id: `${own}-from`, type: "time", value: clock(from ?? 0) });
    const ends = make("input", { id: `${own}-to`, type: "time", value: clock((to ?? DAY_MINUTES) % DAY_MINUTES) });
    const first = checked("windows", "From", begins, () => {
      if (!boxes.some((box) => box.checked)) return "Choose a day";
      return begins.value && ends.value && begins.value !== ends.value ? "" : "Must begin and end, and not at once";
    });
    const row = { boxes, begins, ends, first };
    const remove = make("button", { class: "button small quiet", type: "button", "aria-label": `Remove window ${made}`, onclick: () => {
      rows = rows.filter((one) => one !== row);
      row.element.remove();
      told();
    } }, "Remove");
    row.element = make(
      "li", {}, make("div", { class: "days", role: "group", "aria-label": "Days" }, boxes.map((box, i) => make("label", {}, box, DAYS[i]))),
      make("div", { class: "controls" }, first.element, make("label", { class: "field" }, make("span", {}, "To"), ends), remove),
    );
    for (const control of [...boxes, ends]) control.addEventListener("input", () => first.refuse(""));
    rows.push(row);
    windows.append(row.element);
  }

  function show(group) {
    shown = group;
    const held = { ...DEFAULTS, ...group.gates };
    for (const [key, scale, { control, refuse }] of gates) {
      control.value = held[key] === null ? "" : shortened(held[key] * scale);
      refuse("");
    }
    hook.control.value = (held.hook ?? "").replace(SCHEME, "");
    hook.refuse("");
    for (const [key, { control, refuse }] of caps) {
      control.value = group[key] ? shortened(group[key] / KB) : "";
      refuse("");
    }
    rows = [];
    windows.replaceChildren();
    for (const one of group.windows ?? []) add(one);
    told();
  }

  function order() {
    const asked = Object.fromEntries(gates.map(([key, scale, { control }]) => [key, number(control.value)]).map(([key, value], i) => [key, value === null ? null : Number(shortened(value / gates[i][1]))]));
    return {
      gates: { ...asked, hook: address(hook.control.value.trim()) },
      windows: rows.map(({ boxes, begins, ends }) => ({ days: boxes.flatMap((box, i) => (box.checked ? [i] : [])), from_minute: minutes(begins.value), to_minute: minutes(ends.value) || DAY_MINUTES })),
      ...Object.fromEntries(caps.map(([key, { control }]) => [key, number(control.value)]).filter(([, value]) => value !== null).map(([key, value]) => [key, Math.round(value * KB)])),
    };
  }

  /** Whether they are the group's. */
  function told() {
    never.hidden = rows.length > 0;
    if (shown === null) return;
    const own = { gates: { ...DEFAULTS, ...shown.gates }, windows: (shown.windows ?? []).map(whole), ...Object.fromEntries(Object.keys(CAPS).filter((key) => shown[key]).map((key) => [key, shown[key]])) };
    const isSame = canonical(order()) === canonical(own);
    origin.textContent = isSame ? `As group ${shown.name} has them` : `Other than group ${shown.name} has them, for this rollout alone`;
    reset.hidden = isSame;
  }

  return { element, show, order, get name() { return shown?.name ?? null; }, fields: () => [...gates.map(([, , one]) => one), hook, ...rows.map(({ first }) => first), ...caps.map(([, one]) => one)] };
}

const whole = ({ days, from_minute: from, to_minute: to }) => ({ days: days ?? [0, 1, 2, 3, 4, 5, 6], from_minute: from ?? 0, to_minute: to ?? DAY_MINUTES });

function canonical(value) {
  return JSON.stringify(value, (_, inner) => (inner !== null && typeof inner === "object" && !Array.isArray(inner) ? Object.fromEntries(Object.entries(inner).sort()) : inner));
}
