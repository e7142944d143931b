// The transcript on the page: live text, segments, files. Knows answers; sends nothing.

import { follow, seek } from "./player.js";
import { clear, clock, onLanguage, show, tag } from "./words.js";

const TYPES = { srt: "text/plain", vtt: "text/vtt", text: "text/plain", verbose_json: "application/json" };
const ENDINGS = { srt: "srt", vtt: "vtt", text: "txt", verbose_json: "json" };

const byId = (id) => document.getElementById(id);
let spoken = null;
let urls = [];

export function reset() {
  for (const url of urls.splice(0)) URL.revokeObjectURL(url);
  byId("live").textContent = "";
  byId("segments").replaceChildren();
  byId("bands").replaceChildren();
  byId("result").hidden = true;
  byId("result").dataset.done = "false";
  spoken = null;
}

export function addText(delta) {
  byId("result").hidden = false;
  byId("live").append(delta);
}

// Shows a whole answer; `name` is the recording's, for those of the files.
export function showAll(answer, name) {
  const whole = JSON.parse(answer.x_formats.verbose_json);
  spoken = whole;
  byId("result").hidden = false;
  byId("result").dataset.done = "true";
  byId("live").textContent = "";
  if (!whole.segments.length) show(byId("live"), "nothing_said");
  else if (answer.warning) show(byId("live"), "damaged");
  else clear(byId("live"));
  byId("segments").replaceChildren(...whole.segments.map(item));
  byId("bands").replaceChildren(...whole.segments.map((s) => band(s, whole.duration)));
  offer(answer.x_formats, name.replace(/\.\w+$/, ""));
  facts();
  follow(whole.segments, whole.duration, mark);
  return whole;
}

function item(segment) {
  const [row, button, time, text] = ["li", "button", "span", "span"].map((x) => document.createElement(x));
  button.type = "button";
  button.dataset.start = segment.start;
  time.className = "time";
  time.textContent = clock(segment.start);
  text.textContent = segment.text.trim();
  button.append(time, " ", text);
  button.addEventListener("click", () => seek(segment.start, true));
  row.append(button);
  return row;
}

// The segment's stretch under the waveform; the list says the same to keyboards and readers.
function band(segment, duration) {
  const stretch = document.createElement("span");
  stretch.title = segment.text.trim();
  stretch.style.left = `${(segment.start / duration) * 100}%`;
  stretch.style.width = `${((segment.end - segment.start) / duration) * 100}%`;
  stretch.addEventListener("click", () => seek(segment.start, true));
  return stretch;
}

function mark(segment) {
  const index = segment ? spoken.segments.indexOf(segment) : -1;
  for (const list of ["segments", "bands"]) {
    byId(list).querySelector("[aria-current]")?.removeAttribute("aria-current");
    const row = byId(list).children[index];
    (row?.querySelector("button") ?? row)?.setAttribute("aria-current", "true");
  }
}

// Files of the server's own making, from this one run.
function offer(formats, name) {
  for (const link of document.querySelectorAll("#downloads a")) {
    const { format } = link.dataset;
    link.href = URL.createObjectURL(new Blob([formats[format]], { type: TYPES[format] }));
    link.download = `${name}.${ENDINGS[format]}`;
    urls.push(link.href);
  }
  const copy = byId("copy");
  copy.hidden = !navigator.clipboard;
  show(copy, "copy");
  copy.onclick = async () => {
    await navigator.clipboard.writeText(formats.text);
    show(copy, "copied");
  };
}

// «english» as the page's language has it; the server's word where the browser knows no better.
function facts() {
  if (!spoken) return;
  const english = new Intl.DisplayNames("en", { type: "language" });
  const code = Array.from(document.getElementById("language").options, (o) => o.value)
    .find((c) => c && english.of(c).toLowerCase() === spoken.language);
  const language = code ? new Intl.DisplayNames(tag(), { type: "language" }).of(code) : spoken.language;
  show(byId("facts"), "facts", { language, length: clock(spoken.duration) });
}

onLanguage(facts);
