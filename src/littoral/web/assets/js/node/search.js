/** One search at a time: a new picture ends the one before it. */

import { NodeError, askPipeline } from "../api.js";
import { classesOf } from "./classes.js";

const SIMILAR = "similar";
const CLASSIFY = "classify";

/**
 * A function that asks the node with a picture and tells `view` of it.
 * pipelines(): what the node offers, or undefined. labelsOf(step): the class names of its model, or null.
 */
export function makeSearch(view, { pipelines, labelsOf }) {
  let running = null;

  return async function search(picture) {
    running?.abort();
    const mine = new AbortController();
    running = mine;
    view.asking(picture);
    try {
      const began = performance.now();
      const answer = await askPipeline(SIMILAR, picture.file, mine.signal);
      view.answered(answer, performance.now() - began, classifier() !== undefined);
    } catch (error) {
      if (mine.signal.aborted) return;
      if (!(error instanceof NodeError)) throw error;
      view.failed(error.message, error.isPassing ? () => search(picture) : null);
      return;
    }
    await classify(picture, mine.signal);
  };

  function classifier() {
    return pipelines()?.find(({ name }) => name === CLASSIFY);
  }

  /** Asked after the search, so that it does not lengthen the times the search shows. */
  async function classify(picture, signal) {
    const pipeline = classifier();
    if (!pipeline) return;
    try {
      const [{ result }, labels] = await Promise.all([
        askPipeline(CLASSIFY, picture.file, signal),
        labelsOf(pipeline.steps.find(({ kind }) => kind === "model")),
      ]);
      view.classified(classesOf(result, labels));
    } catch (error) {
      if (signal.aborted) return;
      if (!(error instanceof NodeError)) throw error;
      view.notClassified(error.message);
    }
  }
}
