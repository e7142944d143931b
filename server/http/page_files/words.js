// The page's texts in both languages. Knows which one is shown; not when anything is said.

const texts = await (await fetch("page/texts.json")).json();
let language = document.documentElement.lang.startsWith("pt") ? "pt" : "en";
const listeners = [];

// A text with its {values} filled in.
export function say(name, values = {}) {
  return texts[language][name].replace(/\{(\w+)\}/g, (_, key) => values[key]);
}

// Shows a text in an element, and again in the other language should that be chosen.
export function show(element, name, values = {}) {
  element.dataset.text = name;
  element.dataset.values = JSON.stringify(values);
  const text = say(name, values);
  if (element.textContent !== text) element.textContent = text; // live regions tell every change
}

export function clear(element) {
  delete element.dataset.text;
  element.textContent = "";
}

export const tag = () => (language === "pt" ? "pt-BR" : "en");

export function onLanguage(listener) {
  listeners.push(listener);
  listener();
}

function choose(wanted) {
  language = wanted;
  document.documentElement.lang = tag();
  for (const element of document.querySelectorAll("[data-text]")) {
    show(element, element.dataset.text, JSON.parse(element.dataset.values ?? "{}"));
  }
  for (const element of document.querySelectorAll("[data-label]")) {
    element.setAttribute("aria-label", say(element.dataset.label));
  }
  for (const button of document.querySelectorAll("#languages button")) {
    button.setAttribute("aria-pressed", String(button.value === language));
    button.onclick = () => choose(button.value);
  }
  for (const listener of listeners) listener();
}

choose(language);

// 3.4 → 0:03, 3723 → 1:02:03
export function clock(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  const two = (n) => String(n).padStart(2, "0");
  const minutes = Math.floor(whole / 60);
  if (minutes < 60) return `${minutes}:${two(whole % 60)}`;
  return `${Math.floor(minutes / 60)}:${two(minutes % 60)}:${two(whole % 60)}`;
}
