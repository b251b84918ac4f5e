/** Acts that may be refused: what went wrong stands where it was asked. */

import { NodeError, sendJson } from "../api.js";
import { make } from "../dom.js";
import { failure } from "../pages/panel.js";

/** Text of an act, and a place for what went wrong. `run(words, method, path, body)` gives the answer, null where it was refused; `atField(message)`: whether
 * a field of the form says so. */
export function acts(status) {
  const problem = make("div");
  async function run(words, method, path, body, atField = () => false) {
    problem.replaceChildren();
    status.textContent = "Working…";
    try {
      const answer = await sendJson(method, path, body);
      status.textContent = words;
      return answer;
    } catch (error) {
      if (!(error instanceof NodeError)) throw error;
      status.textContent = "";
      if (!atField(error.message)) problem.replaceChildren(failure("Not done", error.message));
      return null;
    }
  }
  return { problem, run };
}

/** A button that asks once more before it acts. `sure` is what it says then. */
export function sureButton(text, sure, act) {
  const button = make("button", { class: "button small quiet", type: "button", onclick, onblur: calm }, text);
  function calm() {
    delete button.dataset.sure;
    button.className = "button small quiet";
    button.textContent = text;
  }
  function onclick() {
    if (button.dataset.sure !== undefined) {
      calm();
      act();
      return;
    }
    button.dataset.sure = "";
    button.className = "button small danger";
    button.textContent = sure;
  }
  return button;
}
