/** The map of a site: nodes on an oval by region, and the links between them. */

import { draw } from "../dom.js";
import { layOut, shortName } from "./layout.js";
import { linkWord, nodeLabel, pairs, shortLinkWord } from "./words.js";

const LABELLED_MAX = 6;
const CALM_MAX = 12;
const LABEL_AT = 0.4; // of the way along a link, so that those of two that cross are apart
const FAR_LABEL_AT = 0.8; // of the way from the node that was chosen, where its links are apart

/** site: of `/api/mesh`; chosen: name of a node or null; stop: the node that Tab reaches; width: in pixels. */
export function siteMap(site, { chosen, stop, width }) {
  const plan = layOut(site.members, width);
  const links = pairs(site);
  const density = site.members.length > CALM_MAX ? "many" : site.members.length > LABELLED_MAX ? "some" : "few";
  const order = [...links].sort((a, b) => rank(a, chosen) - rank(b, chosen));
  return draw(
    "svg",
    { class: `site-map ${density}`, viewBox: `0 0 ${plan.width} ${plan.height}`, role: "group", "aria-label": `Map of ${site.members.length} nodes` },
    draw("g", { "aria-hidden": "true" }, plan.regions.filter(({ region }) => region).map((region) => regionArc(region, plan))),
    draw("g", { "aria-hidden": "true" }, order.map((link) => linkLine(link, plan, chosen))),
    draw("g", { "aria-hidden": "true" }, order.filter((link) => isLabelled(link, site, chosen)).map((link) => linkLabel(link, plan, density === "few" ? null : chosen))),
    draw("g", { "aria-hidden": "true" }, plan.regions.filter(({ region }) => region).map((region) => regionName(region, plan))),
    site.members.map((member) => nodeMark(member, plan, { isChosen: member.name === chosen, isStop: member.name === stop, isOwn: member.name === site.node })),
  );
}

const touches = ({ nodes }, name) => nodes.includes(name);

/** What is drawn later lies above. */
const rank = (link, chosen) => 2 * (link.speed === "cut") + touches(link, chosen);

function isLabelled(link, { members }, chosen) {
  return members.length <= LABELLED_MAX || link.speed === "cut" || (members.length <= CALM_MAX && touches(link, chosen));
}

function ends({ nodes }, { places, centre }) {
  const [a, b] = nodes.map((name) => places.get(name));
  const bend = places.size > 8 ? 0.55 : 0;
  const middle = { x: (a.x + b.x) / 2, y: (a.y + b.y) / 2 };
  return { a, b, c: { x: middle.x + bend * (centre.x - middle.x), y: middle.y + bend * (centre.y - middle.y) } };
}

function linkLine(link, plan, chosen) {
  const { a, b, c } = ends(link, plan);
  return draw("path", {
    class: `link ${link.speed}${touches(link, chosen) ? " chosen" : ""}`,
    d: `M${fixed(a.x)} ${fixed(a.y)}Q${fixed(c.x)} ${fixed(c.y)} ${fixed(b.x)} ${fixed(b.y)}`,
    "data-key": link.key,
  }, draw("title", {}, `${link.nodes.join(" to ")}: ${linkWord(link)}`));
}

function linkLabel(link, plan, chosen) {
  const { a, b, c } = ends(link, plan);
  const t = touches(link, chosen) ? (link.nodes[0] === chosen ? FAR_LABEL_AT : 1 - FAR_LABEL_AT) : LABEL_AT;
  const at = (axis) => (1 - t) ** 2 * a[axis] + 2 * t * (1 - t) * c[axis] + t ** 2 * b[axis];
  const x = Math.min(plan.width - 26, Math.max(26, at("x")));
  return draw("text", { class: `link-label ${link.speed}`, x: fixed(x), y: fixed(at("y") + 4), "data-key": link.key }, shortLinkWord(link));
}

function regionArc({ region, from, to }, { centre, rx, ry }) {
  const points = [];
  const steps = Math.max(2, Math.ceil((to - from) / 0.1));
  for (let i = 0; i <= steps; i += 1) {
    const angle = from + ((to - from) * i) / steps;
    points.push(`${fixed(centre.x + rx * Math.cos(angle))} ${fixed(centre.y + ry * Math.sin(angle))}`);
  }
  return draw("path", { class: "region", d: `M${points.join("L")}`, "data-key": region });
}

function regionName({ region, middle }, { centre, rx, ry, places }) {
  const inside = Math.max(0.55, 1 - 34 / Math.min(rx, ry) - ([...places.values()][0]?.r ?? 0) / Math.min(rx, ry));
  return draw(
    "text",
    { class: "region-name", x: fixed(centre.x + inside * rx * Math.cos(middle)), y: fixed(centre.y + inside * ry * Math.sin(middle) + 4), "data-key": region },
    region,
  );
}

function nodeMark(member, { places, isUpright }, { isChosen, isStop, isOwn }) {
  const { x, y, angle, r } = places.get(member.name);
  return draw(
    "g",
    {
      class: `node ${member.state}${isOwn ? " own" : ""}`,
      role: "button",
      tabindex: isStop ? "0" : "-1",
      "aria-pressed": String(isChosen),
      "aria-label": `${nodeLabel(member)}${isOwn ? ", the node of this page" : ""}`,
      "data-node": member.name,
      "data-key": member.name,
      transform: `translate(${fixed(x)} ${fixed(y)})`,
    },
    draw("circle", { class: "reach", r: fixed(Math.max(12, r + 6)) }),
    isOwn ? draw("circle", { class: "own-ring", r: fixed(r + 4) }) : null,
    draw("circle", { class: "dot", r: fixed(r) }),
    draw("path", { class: "sign", d: SIGNS[member.state](0.45 * r) }),
    nodeName(member, { angle, r: r + (isOwn ? 5 : 2), isUpright }),
  );
}

/** A node's state as in the map, for its legend. */
export function stateMark(state) {
  const r = 7;
  const mark = draw("g", { class: `node ${state}` }, draw("circle", { class: "dot", r: String(r - 1) }), draw("path", { class: "sign", d: SIGNS[state](0.45 * r) }));
  return draw("svg", { class: "state-mark", viewBox: "-8 -8 16 16", "aria-hidden": "true" }, mark);
}

/** So that the state of a node is told without its colour. */
const SIGNS = {
  here: (s) => `M${fixed(-s)} 0L${fixed(-0.25 * s)} ${fixed(0.75 * s)}L${fixed(s)} ${fixed(-0.7 * s)}`,
  frozen: (s) => `M${fixed(-0.5 * s)} ${fixed(-s)}V${fixed(s)}M${fixed(0.5 * s)} ${fixed(-s)}V${fixed(s)}`,
  missing: (s) => `M${fixed(-s)} ${fixed(-s)}L${fixed(s)} ${fixed(s)}M${fixed(s)} ${fixed(-s)}L${fixed(-s)} ${fixed(s)}`,
  left: (s) => `M${fixed(-s)} 0H${fixed(s)}`,
};

function nodeName(member, { angle, r, isUpright }) {
  const word = member.state === "here" ? "" : ` ${member.state === "left" ? "no member" : member.state}`;
  if (!isUpright) {
    const degrees = (angle * 180) / Math.PI;
    const isLeft = Math.cos(angle) < 0;
    return draw(
      "text",
      { class: "node-name", transform: `rotate(${fixed(isLeft ? degrees + 180 : degrees)})`, x: fixed((isLeft ? -1 : 1) * (r + 6)), y: "4", "text-anchor": isLeft ? "end" : "start" },
      shortName(member.name),
    );
  }
  const side = Math.cos(angle);
  const anchor = side > 0.35 ? "start" : side < -0.35 ? "end" : "middle";
  const x = anchor === "middle" ? 0 : Math.sign(side) * (r + 8);
  const y = anchor === "middle" ? (Math.sin(angle) > 0 ? r + 18 : -r - (word ? 22 : 8)) : word ? -3 : 4;
  return draw(
    "text", { class: "node-name", x: fixed(x), y: fixed(y), "text-anchor": anchor },
    shortName(member.name),
    word ? draw("tspan", { class: "node-word", x: fixed(x), dy: "1.25em" }, word.trim()) : null,
  );
}

const fixed = (value) => String(Math.round(10 * value) / 10);
