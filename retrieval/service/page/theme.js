// Light, dark, or as the system has it. Runs before the page is drawn, so that it does not flash.

const SCHEMES = ["auto", "light", "dark"];

function scheme() {
  const kept = localStorage.getItem("scheme");
  return SCHEMES.includes(kept) ? kept : "auto";
}

function apply() {
  document.documentElement.dataset.scheme = scheme();
  const button = document.getElementById("scheme");
  if (!button) return;
  const label = { auto: "as the system has it", light: "light", dark: "dark" }[scheme()];
  button.setAttribute("aria-label", `Colours: ${label}. Change`);
  button.title = `Colours: ${label}`;
}

apply();
addEventListener("DOMContentLoaded", () => {
  apply();
  document.getElementById("scheme").addEventListener("click", () => {
    localStorage.setItem("scheme", SCHEMES[(SCHEMES.indexOf(scheme()) + 1) % SCHEMES.length]);
    apply();
  });
});
