/** The page of a node: what is read when, and who shows it. */

import { NodeError, getJson } from "../api.js";
import { byId, complaint, make } from "../dom.js";
import { askForToken } from "../login.js";
import { watchSite } from "../mesh/panel.js";
import { wireTheme } from "../theme.js";
import { watch } from "../watch.js";
import { collectionCards, searchedCollection } from "./collections.js";
import { makeLatency } from "./latency.js";
import { modelCards, modelShape } from "./models.js";
import { PictureError, readPicture } from "./picture.js";
import { wirePictureInput } from "./picture_input.js";
import { pipelineCards, pipelineShape } from "./pipelines.js";
import { readSamples, showSamples } from "./samples.js";
import { makeSearch } from "./search.js";
import { makeSearchView } from "./search_view.js";
import { showNoNode, showNode } from "./top_bar.js";

const PERIOD_MS = 5_000;
const AFTER_REQUEST_MS = 1_000;

const details = new Map();
const modelOf = (name) => {
  if (!details.has(name)) details.set(name, getJson(`/api/models/${encodeURIComponent(name)}`));
  details.get(name).catch(() => details.delete(name)); // whoever asked is told; the next one asks anew
  return details.get(name);
};

const latency = makeLatency({ requested: refreshSoon, connected: () => node.refresh() });
const view = makeSearchView(() => searchedCollection(pipelines.latest, collections.latest));
const search = makeSearch(view, {
  pipelines: () => pipelines.latest,
  labelsOf: async (step) => {
    const model = models.latest?.find(({ name }) => name === (step?.uses ?? step?.name));
    return model ? (await modelOf(model.name)).labels : null;
  },
});

const node = watch("/api/node", PERIOD_MS, {
  show: (value) => {
    showNode(value);
    latency.showNode(value);
  },
  fail: (error) => {
    showNoNode(error);
    if (error.status === 401) askForToken();
  },
});

const pipelines = watchPanel("pipelines", {
  shape: pipelineShape,
  cards: pipelineCards,
  shown: (value) => {
    latency.showPipelines(value);
    if (!value.some(({ name }) => name === "similar")) view.cannotSearch("This node has no pipeline `similar`, so it cannot be searched");
    offerSamples();
  },
});

const collections = watchPanel("collections", {
  shape: JSON.stringify,
  cards: (value) => ({ elements: collectionCards(value), update() {} }),
  shown: offerSamples,
});

const models = watchPanel("models", {
  shape: modelShape,
  cards: (value) => {
    details.clear();
    return modelCards(value, async (name) => (await modelOf(name)).layers);
  },
  shown() {},
});

/** Watches `/api/{id}` and keeps the panel `id` filled: made anew when its shape changes, else updated. */
function watchPanel(id, { shape, cards, shown }) {
  const area = byId(id).lastElementChild;
  let made = null;
  let madeShape = null;
  const put = (...elements) => {
    area.classList.remove("waiting");
    area.replaceChildren(...elements);
  };
  return watch(`/api/${id}`, PERIOD_MS, {
    show: (value) => {
      if (shape(value) !== madeShape) {
        madeShape = shape(value);
        made = cards(value);
        put(...made.elements);
      } else {
        made.update(value);
      }
      shown(value);
    },
    fail: (error, isFirst) => isFirst && put(make("div", { class: "notice failed" }, complaint(`Could not read \`/api/${id}\``, error.message))),
  });
}

let isDue = false;
function refreshSoon() {
  if (isDue) return;
  isDue = true;
  setTimeout(() => {
    isDue = false;
    pipelines.refresh();
    models.refresh();
  }, AFTER_REQUEST_MS);
}

let sampled = { name: null, count: 0 };
/** Samples of the searched collection, once it is known and has points, and again when it has grown by half. */
async function offerSamples() {
  const area = byId("samples");
  if (!pipelines.latest || !collections.latest || area.contains(document.activeElement)) return;
  const { name, points_count: count } = searchedCollection(pipelines.latest, collections.latest) ?? {};
  if (!count || (name === sampled.name && count < 1.5 * sampled.count)) return;
  sampled = { name, count };
  try {
    showSamples(area, await readSamples(name), search);
  } catch (error) {
    if (!(error instanceof NodeError)) throw error;
    sampled = { name: null, count: 0 }; // the next reading of the collections tries again
  }
}

async function take(file) {
  try {
    search(await readPicture(file));
  } catch (error) {
    if (!(error instanceof PictureError)) throw error;
    view.refused(error.message);
  }
}

wirePictureInput(byId("picture"), { take, refuse: view.refused });
wireTheme(byId("theme"), latency.recolour);
watchSite();
for (const change of ["online", "offline"]) addEventListener(change, () => node.refresh());
