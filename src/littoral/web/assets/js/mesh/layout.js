/** Where the nodes of a map stand: on an oval, those of a region beside each other. Pure. */

const LABEL_CHARACTERS = 16;
const CHARACTER_PX = 6.6;
const WORD_CHARACTERS = 9; // of a state, under the name
const GAP_SHARE = 0.6; // between regions, of the distance between nodes
const ARC_SHARE = 0.15; // of that distance, before the first and after the last node of a region
const UPRIGHT_MAX = 16;

/** members, a size in pixels -> {width, height, centre, places: Map(name -> {x, y, angle, r}), regions, isUpright}. */
export function layOut(members, width) {
  const groups = byRegion(members);
  const isUpright = members.length <= UPRIGHT_MAX;
  const labelPx = Math.min(LABEL_CHARACTERS, Math.max(isUpright ? WORD_CHARACTERS : 4, ...members.map(({ name }) => name.length))) * CHARACTER_PX + 14;
  const height = Math.round(isUpright ? Math.max(300, Math.min(380, 0.62 * width)) : Math.max(380, Math.min(480, 0.62 * width)));
  const centre = { x: width / 2, y: height / 2 };
  const rx = Math.max(60, width / 2 - labelPx - 14);
  const ry = Math.max(60, height / 2 - (isUpright ? 44 : labelPx + 10));
  const r = members.length <= 8 ? 15 : members.length <= UPRIGHT_MAX ? 11 : Math.max(5, Math.min(8, (2.4 * Math.min(rx, ry)) / members.length));
  const slots = members.length + (groups.length > 1 ? GAP_SHARE * groups.length : 0);
  const turn = evenTurn(rx, ry);
  const places = new Map();
  const regions = [];
  let slot = 0;
  for (const [region, names] of groups) {
    const first = slot;
    for (const name of names) {
      const angle = turn(slot / slots);
      places.set(name, { x: centre.x + rx * Math.cos(angle), y: centre.y + ry * Math.sin(angle), angle, r });
      slot += 1;
    }
    regions.push({ region, from: turn((first - ARC_SHARE) / slots), to: turn((slot - 1 + ARC_SHARE) / slots), middle: turn((first + slot - 1) / 2 / slots) });
    if (groups.length > 1) slot += GAP_SHARE;
  }
  return { width, height, centre, rx, ry, places, regions, isUpright };
}

/** A name that fits beside its node. */
export const shortName = (name) => (name.length > LABEL_CHARACTERS ? `${name.slice(0, LABEL_CHARACTERS - 1)}…` : name);

/** `[[region, names]]`, in the order of both; those without a region last. */
function byRegion(members) {
  const groups = Map.groupBy ? Map.groupBy(members, ({ region }) => region) : grouped(members);
  return [...groups]
    .sort(([a], [b]) => (a === "") - (b === "") || a.localeCompare(b))
    .map(([region, some]) => [region, some.map(({ name }) => name).sort((a, b) => a.localeCompare(b, "en", { numeric: true }))]);
}

function grouped(members) {
  const groups = new Map();
  for (const member of members) groups.set(member.region, [...(groups.get(member.region) ?? []), member]);
  return groups;
}

/** Shares of the way round an oval, from its top, as angles: equal shares are equally far apart. */
function evenTurn(rx, ry) {
  const STEPS = 720;
  const sums = [0];
  const at = (i) => -Math.PI / 2 + (2 * Math.PI * i) / STEPS;
  for (let i = 0; i < STEPS; i += 1) {
    const middle = (at(i) + at(i + 1)) / 2;
    sums.push(sums[i] + Math.hypot(rx * Math.sin(middle), ry * Math.cos(middle)));
  }
  return (share) => {
    const whole = Math.floor(share);
    const wanted = (share - whole) * sums[STEPS];
    const i = Math.min(STEPS - 1, sums.findIndex((sum, k) => sums[k + 1] >= wanted || k === STEPS));
    const rest = (wanted - sums[i]) / (sums[i + 1] - sums[i] || 1);
    return at(i + rest) + 2 * Math.PI * whole;
  };
}
