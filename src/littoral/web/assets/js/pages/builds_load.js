/** The way of a model that was made into the node: the next version of a model of the site, or a model of its own. */

import { sendJson } from "../api.js";
import { make } from "../dom.js";
import { field, refill } from "./panel.js";

/** What `buildsPanel` takes as `ending`. `loaded()` when the node has another version, or model. */
export function loading(loaded) {
  return ({ models, asked, say, button, path }) => {
    const target = make("select", { "data-way": "target" });
    const fresh = make("input", { "data-way": "fresh", maxlength: "64", autocomplete: "off", spellcheck: "false" });

    async function load() {
      const chosen = target.value;
      say(`Loading into ${chosen}…`);
      const taken = await asked(`\`${chosen}\` goes on as it was`, () => sendJson("POST", path("/load"), { model: chosen }));
      say(taken ? `${chosen}: version ${taken.number} serves` : "");
      if (taken) loaded();
    }

    async function add() {
      const name = fresh.value.trim();
      say(`Adding ${name}: the node tries the site file with it…`);
      const added = await asked(`\`${name}\` is not added`, () => sendJson("POST", path("/add"), { model: name }));
      say(added ? `${name} serves, and stands in the site file` : "");
      if (added) loaded();
    }

    function elements({ report }) {
      refill(target, models().map((name) => [name, name]), models().includes(target.value) ? target.value : report.name);
      if (!fresh.value && !models().includes(report.name)) fresh.value = report.name;
      const into = models().length ? [field("Next version of", target), button("load", "Load", "")] : [];
      return [...into, field("Or a model of its own, by the name", fresh), button("add", "Add", "")];
    }
    return { elements, ways: { load, add } };
  };
}
