import { Chain } from "./chain.mjs";
import { FILES } from "./files.mjs";
import { RECIPE } from "./recipe.mjs";
import { Service } from "./service.mjs";

const chain = new Chain(FILES, RECIPE);
const service = new Service(chain, RECIPE);
if (RECIPE.start === "eager") {
  chain.run(chain.known);
  chain.verify().catch(() => {}); // every request awaits it, and tells
}

export default {
  fetch(request, env, context) {
    return service.answer(request, env, (work) => context.waitUntil(work));
  },
};
