// A recording in the browser: how long it is, whether it plays, how loud it is where.
// Knows files and Web Audio; draws nothing. Nothing here reaches the server.

const BARS = 2000; // more than any screen shows
const RATE = 8000; // enough to see loudness; a fifth of the memory
const LONGEST_SECONDS = 20 * 60; // a browser decodes the whole at once: about 25 MB a minute
const LARGEST_BYTES = 200e6;

export async function open(file, audio) {
  const url = URL.createObjectURL(file);
  const told = await metadata(audio, url);
  const sound = { url, playable: told !== null, duration: told ?? 0, peaks: null };
  if (file.size <= LARGEST_BYTES && (told === null || !(told > LONGEST_SECONDS && told < Infinity))) {
    try {
      const context = new OfflineAudioContext(1, 1, RATE);
      const decoded = await context.decodeAudioData(await file.arrayBuffer());
      sound.duration = decoded.duration; // a recorder's files do not say theirs
      sound.peaks = peaks(decoded);
    } catch {
      // not a format of this browser, perhaps one of the server's
    }
  }
  if (!Number.isFinite(sound.duration)) sound.duration = 0;
  return sound;
}

// Seconds, or null if the browser cannot play it.
function metadata(audio, url) {
  return new Promise((resolve) => {
    audio.onloadedmetadata = () => resolve(audio.duration);
    audio.onerror = () => resolve(null);
    audio.src = url;
  });
}

// The loudest sample of each bar, the loudest of all being 1.
function peaks(decoded) {
  const found = new Float32Array(BARS);
  for (let channel = 0; channel < decoded.numberOfChannels; channel++) {
    const samples = decoded.getChannelData(channel);
    const step = samples.length / BARS;
    for (let bar = 0; bar < BARS; bar++) {
      const end = Math.min(samples.length, Math.ceil((bar + 1) * step));
      for (let at = Math.floor(bar * step); at < end; at++) {
        const level = Math.abs(samples[at]);
        if (level > found[bar]) found[bar] = level;
      }
    }
  }
  const most = found.reduce((a, b) => Math.max(a, b), 0) || 1;
  return found.map((level) => level / most);
}
