import { Client } from "./client.mjs";
import { elementOf } from "./component.mjs";
import { RECIPE } from "./recipe.mjs";

/**
 * @param {{node?: string, onProgress?: (loaded: number, total: number) => void}} [options]
 * @returns {Client}
 */
export function open(options = {}) {
  return new Client(RECIPE, { worker: new URL("./worker.mjs", import.meta.url), ...options });
}

customElements.define("littoral-similar", elementOf(open, `littoral/${RECIPE.pipeline}`, RECIPE.takes.kind));
