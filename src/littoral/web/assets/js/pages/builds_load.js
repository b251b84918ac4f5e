/** The way of a model that was made into the node: the next version of a model of the site. */

import { sendJson } from "../api.js";
import { make } from "../dom.js";
import { field, refill } from "./panel.js";

/** What `buildsPanel` takes as `ending`. `loaded()` when the node has another version. */
export function loading(loaded) {
  return ({ models, asked, say, button, path }) => {
    const target = make("select", { "data-way": "target" });

    async function load() {
      const chosen = target.value;
      say(`Loading into ${chosen}…`);
      const taken = await asked(`\`${chosen}\` goes on as it was`, () => sendJson("POST", path("/load"), { model: chosen }));
      say(taken ? `${chosen}: version ${taken.number} serves` : "");
      if (taken) loaded();
    }

    function elements({ report }) {
      refill(target, models().map((name) => [name, name]), models().includes(target.value) ? target.value : report.name);
      if (!models().length) return [make("p", { class: "hint" }, "The site file has no model that this could be a version of.")];
      return [field("Next version of", target), button("load", "Load", "")];
    }
    return { elements, ways: { load } };
  };
}
