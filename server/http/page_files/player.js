// Playing and seeking: the slider over the waveform, the button, the clock.
// Knows the audio element and the segments' times; not what is said in them.

import { clock, onLanguage, say, show } from "./words.js";
import { draw } from "./wave.js";

const STEP_SECONDS = 5;
const SLIDER = { role: "slider", tabindex: "0", "aria-valuemin": "0", "aria-label": "" };

const byId = (id) => document.getElementById(id);
const audio = byId("audio");
const wave = byId("wave");
let duration = 0;
let playable = false;
let segments = [];
let onSegment = () => {};

// Takes a sound, or null when there is none any more.
export function put(sound) {
  audio.pause();
  ({ duration, playable } = sound ?? { duration: 0, playable: false });
  segments = [];
  byId("play").hidden = !playable;
  byId("unplayable").hidden = !sound || playable;
  for (const [name, value] of Object.entries(SLIDER)) {
    if (playable && duration) wave.setAttribute(name, value);
    else wave.removeAttribute(name);
  }
  draw({ peaks: sound?.peaks ?? null, live: null, duration, at: 0, segment: null });
  update();
}

// The segments to follow; `listener` hears the one that is played, or null.
export function follow(found, length, listener) {
  segments = found;
  duration ||= length;
  onSegment = listener;
  draw({ duration });
  update();
}

export function seek(seconds, andPlay = false) {
  if (!playable) return;
  audio.currentTime = Math.min(Math.max(seconds, 0), duration);
  if (andPlay) play();
  update();
}

function update() {
  const at = Math.min(audio.currentTime || 0, duration || Infinity);
  const current = at > 0 || !audio.paused ? segments.find((s) => at >= s.start && at < s.end) : null;
  byId("clock").textContent = duration ? `${clock(at)} / ${clock(duration)}` : "";
  if (wave.hasAttribute("role")) {
    wave.setAttribute("aria-label", say("position"));
    wave.setAttribute("aria-valuemax", duration.toFixed(1));
    wave.setAttribute("aria-valuenow", at.toFixed(1));
    const spoken = say("position_of", { time: clock(at), length: clock(duration) });
    wave.setAttribute("aria-valuetext", spoken);
  }
  draw({ at, segment: current ?? null });
  onSegment(current ?? null);
}

// A pause or another recording may come before the first sound; that is no fault.
function play() {
  audio.play().catch((error) => {
    if (error.name !== "AbortError") throw error;
  });
}

function toggle() {
  if (audio.paused) play();
  else audio.pause();
}

function jump(direction) {
  const at = audio.currentTime;
  const next = segments.find((s) => s.start > at + 0.05);
  const before = segments.findLast((s) => s.start < at - 0.5);
  const to = direction > 0 ? next : before;
  seek(to ? to.start : direction > 0 ? duration : 0);
}

const KEYS = {
  ArrowLeft: () => seek(audio.currentTime - STEP_SECONDS),
  ArrowDown: () => seek(audio.currentTime - STEP_SECONDS),
  ArrowRight: () => seek(audio.currentTime + STEP_SECONDS),
  ArrowUp: () => seek(audio.currentTime + STEP_SECONDS),
  Home: () => seek(0),
  End: () => seek(duration),
  PageUp: () => jump(-1),
  PageDown: () => jump(1),
  " ": toggle,
};

wave.addEventListener("keydown", (event) => {
  if (!KEYS[event.key] || !playable) return;
  event.preventDefault();
  KEYS[event.key]();
});
byId("canvas").addEventListener("click", (event) => {
  const { left, width } = event.target.getBoundingClientRect();
  seek(((event.clientX - left) / width) * duration);
});
byId("play").addEventListener("click", toggle);

function frame() {
  update();
  if (!audio.paused) requestAnimationFrame(frame);
}
audio.addEventListener("play", frame);
for (const name of ["play", "pause", "ended"]) {
  audio.addEventListener(name, () => show(byId("play"), audio.paused ? "play" : "pause"));
}
for (const name of ["seeked", "timeupdate"]) audio.addEventListener(name, update);
onLanguage(update);
