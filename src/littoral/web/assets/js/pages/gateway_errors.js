/** How many of the answers that were told again are wrong: the estimate, its interval, and the bound that holds. */

import { draw, facts, make } from "../dom.js";
import { count } from "../format.js";
import { fine } from "./gateway_words.js";
import { state } from "./panel.js";

const [WIDTH, HEIGHT] = [600, 44];

export function errorView({ error, judge, cache }) {
  const of = error.target === "hit" ? "answers told again" : "all requests";
  const isKnown = error.estimate !== null;
  const words = isKnown ? `${fine(error.estimate)} of ${of} wrong, between ${fine(error.low)} and ${fine(error.high)}; at most ${fine(error.delta)} may be` : `Too little is judged to tell anything to similar questions; at most ${fine(error.delta)} of ${of} may be wrong`;
  return [
    make("p", { class: "verdict" }, error.state === "alarm" ? state("bad", "Alarm: the bound is broken") : state("good", "No alarm"), make("span", {}, words)),
    isKnown ? interval(error, words) : null,
    isKnown ? scale(error) : null,
    facts([
      ["Drawn at random", [count(error.audited), make("small", {}, ` ${count(error.wrong)} wrong`)]],
      ["Judged in all", count(error.judged)],
      ["Bound", [fine(error.delta), make("small", {}, ` of ${error.target === "hit" ? "hits" : "requests"}`)]],
      ["Alarms", count(error.alarms)],
      ...(error.moved ? [["Questions from elsewhere", [error.moved === 1 ? "once" : `${count(error.moved)} times`, make("small", {}, " what was judged before weighs little since")]]] : []),
      ["Thresholds by", cache.fit],
      ...(judge ? [["Judge", [judge.name, make("small", {}, ` ${count(judge.judged)} said, ${count(judge.unsure)} unsure`)]], ["Not judged", [count(judge.dropped), make("small", {}, ` ${count(judge.waiting)} wait`)]]] : []),
    ]),
    make("p", { class: "hint" }, `Wrong means: not the same answer, as judge ${judge?.name ?? "–"} and people say. `, "A share of would-be hits is asked anyway, so that this estimate stays honest."),
  ].filter(Boolean);
}

const most = ({ high, delta }) => Math.min(1, 1.25 * Math.max(high, 2 * delta));

function interval(error, words) {
  const at = (share) => (WIDTH * Math.min(share, most(error))) / most(error);
  const tint = error.state === "alarm" ? "tint-failed" : "tint-1";
  return draw(
    "svg", { class: "interval", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img", "aria-label": words },
    draw("rect", { class: "rail", x: 0, y: 19, width: WIDTH, height: 6 }),
    draw("rect", { class: `band ${tint}`, x: at(error.low), y: 15, width: Math.max(3, at(error.high) - at(error.low)), height: 14 }),
    draw("rect", { class: `mark ${tint}`, x: Math.max(0, at(error.estimate) - 2), y: 9, width: 4, height: 26 }),
    draw("rect", { class: "bound", x: at(error.delta) - 1, y: 0, width: 2, height: HEIGHT }),
  );
}

function scale(error) {
  const bound = make("span", {}, `δ ${fine(error.delta)}`);
  bound.style.left = `${(100 * error.delta) / most(error)}%`;
  return make("div", { class: "interval-scale", "aria-hidden": "true" }, make("span", {}, "0"), bound, make("span", {}, fine(most(error))));
}
