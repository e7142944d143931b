// The page's states and who does what in them; every other file knows one thing only.
// The key lives in its field alone, and goes nowhere but into a request's header.

import { Failure, send } from "./send.js";
import { tell, untell } from "./failures.js";
import { watch } from "./health.js";
import { put } from "./player.js";
import * as recorder from "./recorder.js";
import { open } from "./sound.js";
import { addText, reset, showAll } from "./transcript.js";
import { draw, push } from "./wave.js";
import { clear, clock, onLanguage, show, tag } from "./words.js";

// Those that Whisper hears best; any other is found by itself.
const LANGUAGES = ("pt en es fr de it nl ca gl ro pl cs sk hu ru uk bg el tr ar he fa hi id ms vi th ja ko zh " +
  "sv da no fi").split(" ");

const byId = (id) => document.getElementById(id);
let file = null;
let running = null;
let recording = null;
let timer = null;

function enter(state) {
  document.body.dataset.state = state;
  byId("go").disabled = state === "sending";
  byId("other").disabled = byId("file").disabled = state === "sending";
  byId("key").readOnly = byId("prompt").readOnly = byId("language").disabled = state === "sending";
  if (state !== "sending") byId("bar").value = 0;
}

async function take(chosen) {
  if (running || recording || !chosen) return;
  file = chosen;
  URL.revokeObjectURL(byId("audio").src);
  untell();
  reset();
  clear(byId("status"));
  byId("name").textContent = file.name;
  const sound = await open(file, byId("audio"));
  if (file !== chosen) return URL.revokeObjectURL(sound.url);
  put(sound);
  enter("ready");
}

function letGo() {
  URL.revokeObjectURL(byId("audio").src);
  file = null;
  byId("file").value = "";
  untell();
  reset();
  clear(byId("status"));
  put(null);
  enter("empty");
  byId("file").focus();
}

async function transcribe() {
  if (running) return;
  untell();
  reset();
  const key = byId("key").value.trim();
  if (!file) return tell(new Failure("no_file"));
  if (!key) {
    byId("key").focus();
    return tell(new Failure("no_key"));
  }
  const started = performance.now();
  enter("sending");
  show(byId("status"), "uploading", { percent: 0 });
  running = send(
    file,
    { key, language: byId("language").value, prompt: byId("prompt").value.trim(), tag: tag() },
    { onUpload: uploaded, onWork: worked, onText: addText },
  );
  try {
    const answer = await running.result;
    const whole = showAll(answer, file.name);
    const seconds = ((performance.now() - started) / 1000).toFixed(1);
    show(byId("status"), "done", { segments: whole.segments.length, seconds });
    byId("result-title").focus({ preventScroll: true });
    enter("done");
  } catch (failure) {
    end(failure);
  } finally {
    running = null;
  }
}

function end(failure) {
  reset();
  enter("ready");
  if (failure.code === "cancelled") return show(byId("status"), "cancelled");
  clear(byId("status"));
  tell(failure instanceof Failure ? failure : new Failure("connection"), transcribe);
}

// Told in tenths: a live region that counts to a hundred would be a nuisance.
function uploaded(part) {
  byId("bar").value = part;
  show(byId("status"), "uploading", { percent: Math.floor(part * 10) * 10 });
}

function worked() {
  byId("bar").removeAttribute("value");
  show(byId("status"), "working");
}

async function record() {
  untell();
  try {
    recording = await recorder.start(push);
  } catch {
    return tell(new Failure("microphone_denied"));
  }
  const started = performance.now();
  timer = setInterval(() => (byId("recorded").textContent = clock((performance.now() - started) / 1000)), 250);
  enter("recording");
  byId("stop").focus();
}

async function stop() {
  clearInterval(timer);
  const made = await recording.stop();
  recording = null;
  draw({ live: null });
  byId("recorded").textContent = clock(0);
  await take(made);
  byId("key").focus();
}

function names() {
  const called = new Intl.DisplayNames(tag(), { type: "language" });
  const select = byId("language");
  const chosen = select.value;
  const options = LANGUAGES.map((code) => new Option(called.of(code), code));
  options.sort((a, b) => a.text.localeCompare(b.text, tag()));
  select.replaceChildren(select.options[0], ...options);
  select.value = chosen;
}

byId("file").addEventListener("change", (event) => take(event.target.files[0]));
byId("record").addEventListener("click", record);
byId("stop").addEventListener("click", stop);
byId("other").addEventListener("click", letGo);
byId("redo").addEventListener("click", () => {
  enter("ready");
  byId("key").focus();
});
byId("cancel").addEventListener("click", () => running?.cancel());
byId("form").addEventListener("submit", (event) => {
  event.preventDefault();
  transcribe();
});
for (const name of ["dragover", "dragleave", "drop"]) {
  document.addEventListener(name, (event) => {
    event.preventDefault();
    document.body.classList.toggle("over", name === "dragover");
    if (name === "drop") take(event.dataTransfer.files[0]);
  });
}
byId("record").disabled = !recorder.possible;
byId("no-microphone").hidden = recorder.possible;
onLanguage(names);
watch();
put(null);
enter("empty");
