// The token that guards a service on a network. A cookie that no script can read keeps it.

import { element } from "./dom.js";

let asking = null;

/** Ask until a token is accepted; requests that arrive together wait for the same answer. */
export function askForToken() {
  asking ??= acceptedToken().finally(() => (asking = null));
  return asking;
}

function acceptedToken() {
  return new Promise((resolve) => {
    const field = element("input", {
      id: "token", type: "password", autocomplete: "current-password", required: true,
    });
    const fault = element("p", { class: "fault", role: "alert" });
    const dialog = element("dialog", { class: "dialog narrow", "aria-labelledby": "token-heading" },
      element("form", {
        onsubmit: async (event) => {
          event.preventDefault();
          fault.textContent = await faultOf(field.value.trim());
          if (fault.textContent) return field.select();
          dialog.close();
          dialog.remove();
          resolve();
        },
      },
        element("h2", { id: "token-heading" }, "This service asks for a token"),
        element("p", { class: "muted" }, "Whoever started it has it: it is in the file of --token-file."),
        element("label", { class: "field", for: "token" }, "Token", field),
        fault,
        element("div", { class: "row end" }, element("button", { class: "button primary" }, "Go on")),
      ),
    );
    dialog.addEventListener("cancel", (event) => event.preventDefault()); // nothing works without it
    document.body.append(dialog);
    dialog.showModal();
  });
}

/** Why a token is refused; "" where it is accepted. */
async function faultOf(token) {
  const answer = await fetch("/session", {
    method: "POST",
    headers: { Authorization: `Bearer ${token}`, "X-Requested-With": "product-search" },
  }).catch(() => null);
  if (answer?.ok) return "";
  if (answer?.status === 401) return "That is not the token. Check it and try again.";
  return "The service does not answer: is it still running?";
}
