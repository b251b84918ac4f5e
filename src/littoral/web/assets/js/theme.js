/** The theme switch: as the system, light or dark; the choice is remembered. */

const KEY = "littoral.theme";

/** Wires the radio buttons in `switchElement`; `changed()` is called when colours are other ones. */
export function wireTheme(switchElement, changed) {
  const chosen = document.documentElement.dataset.theme ?? "system";
  switchElement.querySelector(`input[value="${chosen}"]`).checked = true;
  switchElement.addEventListener("change", (event) => {
    apply(event.target.value);
    changed();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", changed);
}

function apply(theme) {
  if (theme === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  try {
    if (theme === "system") localStorage.removeItem(KEY);
    else localStorage.setItem(KEY, theme);
  } catch (error) {
    if (!["SecurityError", "QuotaExceededError"].includes(error.name)) throw error; // it holds for this visit
  }
}
