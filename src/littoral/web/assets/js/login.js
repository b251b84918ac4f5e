/** A node that asks for tokens: one is asked for once, and a cookie that no script reads stands for it from then on. */

import { NodeError, postJson } from "./api.js";
import { make } from "./dom.js";

let dialog = null;

/** Shows the dialog, unless it is there. The page is loaded anew when the token was taken. */
export function askForToken() {
  dialog ??= made();
  if (!dialog.open) dialog.showModal();
}

function made() {
  const token = make("input", { id: "token", type: "password", autocomplete: "off", spellcheck: "false", required: true, "aria-describedby": "token-problem" });
  const problem = make("p", { id: "token-problem", class: "complaint", role: "alert" });
  const form = make(
    "form",
    { onsubmit: (event) => logIn(event, token, problem) },
    make("h2", { id: "login-title" }, "This node asks for a token"),
    make("label", { for: "token" }, "Token"),
    token,
    problem,
    make("button", { class: "button", type: "submit" }, "Log in"),
  );
  const found = make("dialog", { id: "login", class: "login", "aria-labelledby": "login-title" }, form);
  document.body.append(found);
  return found;
}

async function logIn(event, token, problem) {
  event.preventDefault();
  problem.textContent = "";
  try {
    await postJson("/api/session", { token: token.value.trim() });
  } catch (error) {
    if (!(error instanceof NodeError)) throw error;
    problem.textContent = error.message.split(" · ")[0];
    token.select();
    return;
  }
  location.reload();
}
