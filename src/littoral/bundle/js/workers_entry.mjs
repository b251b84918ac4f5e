import agent from "./agent.wasm";
import model from "./model.wasm";
import { Embedder } from "./embedder.mjs";
import { RECIPE } from "./recipe.mjs";
import { Service } from "./service.mjs";

const embedder = new Embedder(agent, model, RECIPE);
const service = new Service(embedder, RECIPE);
if (RECIPE.start === "eager") {
  embedder.warm();
  embedder.verify().catch(() => {}); // every request awaits it, and tells
}

export default {
  fetch(request, env, context) {
    return service.answer(request, env, (work) => context.waitUntil(work));
  },
};
