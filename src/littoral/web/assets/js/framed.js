/** A page in its frame: its panels, the bar above them, the links to its JSON below. */

import { byId, make } from "./dom.js";
import { askForToken } from "./login.js";
import { wireTheme } from "./theme.js";
import { watch } from "./watch.js";

const PERIOD_MS = 5_000;

/** page: {title, show, twins}. top: {path, show(value), fail(error), named(value)}, what the bar tells. */
export function runPage({ title, show, twins }, top) {
  const link = document.querySelector(".sections [aria-current]");
  link.parentElement.scrollLeft = link.offsetLeft - link.parentElement.clientWidth / 2; // a phone shows some of them
  byId("twins").append("The same as JSON: ", ...twins.flatMap((path, i) => [i ? " · " : "", make("a", { href: path }, path)]));
  document.title = `${title} · Littoral`;

  const recoloured = show(byId("page"));
  wireTheme(byId("theme"), recoloured ?? (() => {}));
  const told = watch(top.path, PERIOD_MS, {
    show: (value) => {
      top.show(value);
      document.title = `${title} · ${top.named(value)} · Littoral`;
    },
    fail: (error) => {
      top.fail(error);
      if (error.status === 401) askForToken();
    },
  });
  for (const change of ["online", "offline"]) addEventListener(change, () => told.refresh());
}
