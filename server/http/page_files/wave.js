// The waveform on its canvas. Knows levels, time and colours; not where they come from.

const BAR = 3;
const GAP = 2;
const REST = 0.035; // of the height: what silence looks like

const canvas = document.getElementById("canvas");
const paint = canvas.getContext("2d");
const state = { peaks: null, live: null, duration: 0, at: 0, segment: null };
let asked = false;

// Takes what has changed, and draws once before the next frame.
export function draw(change = {}) {
  Object.assign(state, change);
  if (asked) return;
  asked = true;
  requestAnimationFrame(() => {
    asked = false;
    render();
  });
}

export function push(level) {
  const room = Math.floor(canvas.clientWidth / (BAR + GAP));
  draw({ live: [...(state.live ?? []), level].slice(-room) });
}

// Loudness from `from` to `to`, both parts of the whole.
function level(from, to) {
  const { peaks } = state;
  const first = Math.floor(from * peaks.length);
  const last = Math.max(first + 1, Math.floor(to * peaks.length));
  return peaks.subarray(first, last).reduce((most, x) => Math.max(most, x), 0);
}

// A quiet shape for when there is nothing to show.
function resting(part) {
  const swell = Math.sin(Math.PI * part) ** 2;
  return swell * (0.2 + 0.16 * Math.sin(part * 41) + 0.1 * Math.sin(part * 97 + 1));
}

function heights(count) {
  const { peaks, live, duration } = state;
  return Array.from({ length: count }, (_, index) => {
    if (live) return live[live.length - count + index] ?? 0;
    if (peaks) return Math.sqrt(level(index / count, (index + 1) / count)) * 0.94;
    return duration ? 0.06 : resting((index + 0.5) / count);
  });
}

function render() {
  const style = getComputedStyle(canvas);
  const colour = (name) => style.getPropertyValue(`--${name}`);
  const { clientWidth: width, clientHeight: height } = canvas;
  const scale = window.devicePixelRatio || 1;
  canvas.width = Math.round(width * scale);
  canvas.height = Math.round(height * scale);
  paint.scale(scale, scale);
  const count = Math.max(1, Math.floor((width + GAP) / (BAR + GAP)));
  const played = state.duration ? state.at / state.duration : 0;
  heights(count).forEach((size, index) => {
    const part = (index + 0.5) / count;
    const tall = Math.max(size, REST) * height;
    paint.fillStyle = colour(tint(part, played));
    paint.beginPath();
    paint.roundRect(index * (BAR + GAP), (height - tall) / 2, BAR, tall, BAR / 2);
    paint.fill();
  });
  if (played) {
    paint.fillStyle = colour("ink");
    paint.fillRect(Math.min(played * width, width - 1.5), 0, 1.5, height);
  }
}

// Accent for what was played or is spoken in the chosen segment, soft for what comes.
function tint(part, played) {
  const { live, peaks, duration, segment } = state;
  if (live) return "accent";
  if (!duration && !peaks) return "line";
  const time = part * duration;
  if (segment && time >= segment.start && time <= segment.end) return "accent";
  return part <= played ? "played" : "bar";
}

new ResizeObserver(() => draw()).observe(canvas);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => draw());
