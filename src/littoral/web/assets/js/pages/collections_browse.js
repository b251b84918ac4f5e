/** The points of a collection, some at a time, in the order of their ids. */

import { NodeError, postJson } from "../api.js";
import { make } from "../dom.js";
import { panel, said } from "./panel.js";
import { recordTable } from "./points.js";

const PAGE = 10;

export function browsePanel() {
  const status = said();
  const shown = panel("points", "Points", status);
  const back = make("button", { class: "button quiet", type: "button", id: "back", onclick: () => go(-1) }, "Back");
  const on = make("button", { class: "button quiet", type: "button", id: "on", onclick: () => go(1) }, "Further");
  const area = make("div");
  let collection = null;
  let begins = [null]; // where each page that was seen begins
  let at = 0;
  let following = null;

  async function read() {
    const asked = collection;
    back.disabled = on.disabled = true;
    const path = `/collections/${encodeURIComponent(collection.name)}/points/scroll`;
    const body = { limit: PAGE, with_payload: true, ...(begins[at] === null ? {} : { offset: begins[at] }) };
    try {
      const { result } = await postJson(path, body);
      if (asked !== collection) return;
      following = result.next_page_offset;
      shown.put();
      shown.body.replaceChildren(area, make("div", { class: "actions pager" }, back, on));
      area.replaceChildren(recordTable(result.points));
      status.textContent = result.points.length ? `Page ${at + 1}` : "It has no points";
      back.disabled = at === 0;
      on.disabled = following === null;
    } catch (error) {
      if (!(error instanceof NodeError)) throw error;
      if (asked === collection) shown.fail(path, error);
    }
  }

  function go(way) {
    if (way > 0) begins = [...begins.slice(0, at + 1), following];
    at += way;
    read();
  }

  return {
    element: shown.element,
    choose(chosen) {
      collection = chosen;
      begins = [null];
      at = 0;
      read();
    },
  };
}
