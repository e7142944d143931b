// Whether the server can work, as /readyz says. Asks again while the page is looked at.

import { show } from "./words.js";

const EVERY_MS = 20_000;

async function ask() {
  try {
    const answer = await fetch("readyz", { cache: "no-store" });
    if (!answer.ok) return ["wait", "health_not_ready", {}];
    const models = Object.keys((await answer.json()).engines).join(", ");
    return ["good", "health_ready", { models }];
  } catch {
    return ["bad", "health_away", {}];
  }
}

async function update() {
  if (document.hidden) return;
  const [level, name, values] = await ask();
  document.getElementById("health").dataset.level = level;
  show(document.getElementById("health-text"), name, values);
}

export function watch() {
  update();
  setInterval(update, EVERY_MS);
  document.addEventListener("visibilitychange", update);
}
