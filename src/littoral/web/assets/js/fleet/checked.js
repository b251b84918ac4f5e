/** Controls of a form whose problems stand beside them. */

import { make } from "../dom.js";
import { field } from "../pages/panel.js";

/**
 * A labelled control with a place for what is wrong with it. path: of the request's JSON, such as `gates.watch_s`. wrong(): '' or what it must be.
 * `check()`: whether it is fine; `refuse(text)`: what the orchestrator says of it, or `refusal` in its place.
 */
export function checked(path, label, control, wrong = () => "", refusal = "") {
  const problem = make("span", { class: "wrong", id: `${control.id}-wrong`, role: "alert" });
  const element = field(label, control);
  element.append(problem);
  control.setAttribute("aria-describedby", problem.id);

  function refuse(text) {
    problem.textContent = text;
    if (text) control.setAttribute("aria-invalid", "true");
    else control.removeAttribute("aria-invalid");
  }
  control.addEventListener("input", () => refuse(""));
  return {
    path,
    control,
    element,
    refuse,
    refusal,
    check() {
      const text = wrong();
      refuse(text);
      return !text;
    },
  };
}

/** A number, or nothing where `optional`. */
export function checkedNumber(path, label, { id, value = "", min = 0, max, isWhole = false, optional = false }) {
  const control = make("input", { id, type: "text", inputmode: "decimal", class: "number", autocomplete: "off", value });
  const told = `${isWhole ? "a whole number, " : ""}${min} to ${max}${optional ? ", or nothing" : ""}`;
  return checked(path, label, control, () => {
    const text = control.value.trim();
    if (!text) return optional ? "" : `Must be ${told}`;
    const number = Number(text);
    return Number.isFinite(number) && number >= min && number <= max && (!isWhole || Number.isInteger(number)) ? "" : `Must be ${told}`;
  });
}

/** Whether all are fine; the first that is not has the focus. */
export function checkAll(fields) {
  const wrong = fields.filter((one) => !one.check());
  wrong[0]?.control.focus();
  return !wrong.length;
}

/** What the orchestrator refused, at the field it names (`… - at `$.gates.watch_s``); false where it names none of these. */
export function refuseAt(fields, message) {
  const at = /`\$\.([\w.]+)/.exec(message)?.[1];
  const found = at && fields.find(({ path }) => at === path || at.startsWith(`${path}.`) || path.startsWith(`${at}.`));
  if (!found) return false;
  found.refuse(found.refusal || message.replace(/^body: /, "").replace(/ - at `.*$/, ""));
  found.control.focus();
  return true;
}
