// The microphone: a file from it, and how loud it is meanwhile. Shows nothing.

const EXTENSION = { "audio/webm": "webm", "audio/ogg": "ogg", "audio/mp4": "m4a" };

export const possible = Boolean(window.MediaRecorder && navigator.mediaDevices?.getUserMedia);

// Starts; `onLevel` hears 0 to 1 some 30 times a second. `stop` promises the file.
export async function start(onLevel) {
  const stream = await navigator.mediaDevices.getUserMedia({ audio: true });
  const recorder = new MediaRecorder(stream);
  const pieces = [];
  recorder.ondataavailable = (event) => pieces.push(event.data);
  recorder.start(1000);
  const silence = listen(stream, onLevel);
  const stop = () =>
    new Promise((resolve) => {
      recorder.onstop = () => {
        silence();
        for (const track of stream.getTracks()) track.stop(); // the browser's red dot goes
        resolve(named(new Blob(pieces, { type: recorder.mimeType })));
      };
      recorder.stop();
    });
  return { stop };
}

function listen(stream, onLevel) {
  const context = new AudioContext();
  const analyser = context.createAnalyser();
  const samples = new Float32Array(analyser.fftSize);
  context.createMediaStreamSource(stream).connect(analyser);
  const timer = setInterval(() => {
    analyser.getFloatTimeDomainData(samples);
    onLevel(Math.min(1, samples.reduce((most, x) => Math.max(most, Math.abs(x)), 0) * 1.6));
  }, 33);
  return () => {
    clearInterval(timer);
    context.close();
  };
}

function named(blob) {
  const type = blob.type.split(";")[0];
  const time = new Date().toISOString().slice(0, 16).replace(/[:T]/g, "-");
  return new File([blob], `sussurro-${time}.${EXTENSION[type] ?? "webm"}`, { type: blob.type });
}
