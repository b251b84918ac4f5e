/** The log: lines that the node keeps, and those that come, by level, part and text. */

import { NodeError, getJson } from "../api.js";
import { make, prose } from "../dom.js";
import { listen } from "../events.js";
import { count, timeOfDay } from "../format.js";
import { choice, field, panel, said, state } from "./panel.js";

const PATH = "/api/logs";
const LEVELS = ["debug", "info", "warning", "error"];
const KEPT_MAX = 1000;
const SHOWN_MAX = 300;

export function logsPage(area) {
  const level = choice({ id: "level" }, LEVELS.map((name) => [name, name === "debug" ? "all" : name]), "debug");
  const text = make("input", { id: "text", type: "search", placeholder: "words or a request", autocomplete: "off", spellcheck: "false" });
  const pause = make("button", { id: "pause", class: "button quiet", type: "button", "aria-pressed": "false" }, "Pause");
  const live = state("waiting", "Connecting");
  const status = said();
  const rows = make("ol", { class: "log", "aria-label": "Lines of the log, newest first" });
  const shown = panel("logs", "Logs", live);
  area.append(shown.element);

  let lines = [];
  let cutAt = null; // while it is paused: the last number that is shown
  let frame = 0;

  const fits = ({ level: own, part, message, request, number }) => {
    const wanted = text.value.trim().toLowerCase();
    return (
      LEVELS.indexOf(own) >= LEVELS.indexOf(level.value) && (cutAt === null || number <= cutAt) &&
      (!wanted || [part, message, request ?? ""].some((words) => words.toLowerCase().includes(wanted)))
    );
  };

  function show() {
    frame = 0;
    const found = lines.filter(fits).reverse();
    rows.replaceChildren(...found.slice(0, SHOWN_MAX).map(row));
    const waiting = cutAt === null ? 0 : lines.filter(({ number }) => number > cutAt).length;
    status.textContent = [
      found.length > SHOWN_MAX ? `${SHOWN_MAX} newest of ${count(found.length)} lines` : `${count(found.length)} of ${count(lines.length)} lines`,
      waiting ? `${count(waiting)} new` : "",
    ].filter(Boolean).join(" · ");
  }
  const showSoon = () => (frame ||= requestAnimationFrame(show));

  /** Lines may come twice: as they are read, and as they are followed. */
  function add(more) {
    const known = new Set(lines.map(({ number }) => number));
    lines = [...lines, ...more.filter(({ number }) => !known.has(number))].sort((a, b) => a.number - b.number).slice(-KEPT_MAX);
    showSoon();
  }

  pause.addEventListener("click", () => {
    cutAt = cutAt === null ? lines.at(-1)?.number ?? 0 : null;
    pause.setAttribute("aria-pressed", String(cutAt !== null));
    pause.textContent = cutAt === null ? "Pause" : "Go on";
    show();
  });
  for (const control of [level, text]) control.addEventListener("input", show);

  async function read() {
    try {
      const { lines: found } = await getJson(`${PATH}?limit=${KEPT_MAX}`);
      shown.put();
      shown.body.replaceChildren(make("div", { class: "controls" }, field("Level, at least", level), field("Text", text), pause, status), make("div", { class: "scroll tall", tabindex: "0", role: "region", "aria-label": "Log" }, rows));
      add(found);
    } catch (error) {
      if (!(error instanceof NodeError)) throw error;
      live.dataset.state = "bad";
      live.textContent = "Not read";
      shown.fail(PATH, error);
      return;
    }
    let isFirst = true;
    listen(`${PATH}?follow=1`, "line", {
      receive: (line) => add([line]),
      connected: async (isConnected) => {
        live.dataset.state = isConnected ? "good" : "warn";
        live.textContent = isConnected ? "Live" : "Connecting";
        if (isConnected) await catchUp(isFirst);
        isFirst = false;
      },
    });
  }

  /** What came between the reading and the following, or while the node was away. A new node begins with 1 again. */
  async function catchUp(isFirst) {
    try {
      const { lines: found } = await getJson(`${PATH}?limit=${KEPT_MAX}`);
      if (!isFirst && (found.at(-1)?.number ?? 0) < (lines.at(-1)?.number ?? 0)) lines = [];
      add(found);
    } catch (error) {
      if (!(error instanceof NodeError)) throw error; // the next connection tries again
    }
  }
  read();
}

function row({ at, level, part, message, request, trace, failure, suppressed }) {
  const more = [
    suppressed ? `${suppressed} like it were not told` : "",
    ...(failure ?? []),
  ].filter(Boolean);
  return make(
    "li", { class: level },
    make("time", { datetime: new Date(at * 1000).toISOString() }, timeOfDay(at)),
    make("span", { class: "level" }, level),
    make("code", { class: "part" }, part),
    make("span", { class: "message" }, prose(message), more.map((line) => make("span", { class: "hint" }, line))),
    request ? make("code", { class: "request", title: trace ? `trace ${trace}` : null }, request) : null,
  );
}
