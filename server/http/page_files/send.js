// One transcription: the upload, the events that come back. Knows the API; shows nothing.

export const FORMATS = ["srt", "text", "verbose_json", "vtt"];

// Why there is no transcript: what the server said, or `connection`, or `cancelled`.
export class Failure extends Error {
  constructor(code, { status = 0, message = "", wait = null, id = "" } = {}) {
    super(message);
    Object.assign(this, { code, status, wait, id });
  }
}

// Sends a file. XMLHttpRequest, for fetch does not tell how far an upload has come.
// Returns a promise of the last event and a function that cancels; the server stops, too.
export function send(file, { key, language, prompt, tag }, { onUpload, onWork, onText }) {
  const request = new XMLHttpRequest();
  const events = new Events(onText);
  const result = new Promise((resolve, reject) => {
    request.upload.onprogress = (e) => e.lengthComputable && onUpload(e.loaded / e.total);
    request.upload.onload = onWork;
    request.onprogress = () => request.status === 200 && events.read(request.responseText);
    request.onabort = () => reject(new Failure("cancelled"));
    request.onerror = () => reject(events.failure ?? new Failure("connection"));
    request.onload = () => {
      if (request.status !== 200) return reject(refusal(request));
      events.read(request.responseText);
      if (events.done) resolve({ ...events.done, warning: warning(request) });
      else reject(events.failure ?? new Failure("connection"));
    };
    request.open("POST", "v1/audio/transcriptions");
    try {
      request.setRequestHeader("Authorization", `Bearer ${key}`);
    } catch {
      return reject(new Failure("invalid_api_key", { status: 401 })); // no header can hold it
    }
    request.setRequestHeader("Accept-Language", tag);
    request.send(form(file, language, prompt));
  });
  return { result, cancel: () => request.abort() };
}

// The file comes last: the server knows then what is asked for before it reads it.
function form(file, language, prompt) {
  const form = new FormData();
  form.append("stream", "true");
  for (const format of FORMATS) form.append("x_formats[]", format);
  if (language) form.append("language", language);
  if (prompt) form.append("prompt", prompt);
  form.append("file", file, file.name);
  return form;
}

// Server-sent events as they grow; only whole ones are read.
class Events {
  done = null;
  failure = null;
  #read = 0;
  #onText;

  constructor(onText) {
    this.#onText = onText;
  }

  read(text) {
    for (let end; (end = text.indexOf("\n\n", this.#read)) >= 0; this.#read = end + 2) {
      const line = text.slice(this.#read, end);
      if (line.startsWith("data: ")) this.#take(JSON.parse(line.slice(6)));
    }
  }

  #take(event) {
    if (event.error) this.failure = new Failure(event.error.code, event.error);
    else if (event.type === "transcript.text.delta") this.#onText(event.delta);
    else if (event.type === "transcript.text.done") this.done = event;
  }
}

function refusal(request) {
  const wait = Number(request.getResponseHeader("retry-after")) || null;
  const about = { status: request.status, wait, id: request.getResponseHeader("x-request-id") };
  try {
    const { code, message } = JSON.parse(request.responseText).error;
    return new Failure(code, { ...about, message });
  } catch {
    return new Failure(`status_${request.status}`, { ...about, message: request.statusText });
  }
}

const warning = (request) => request.getResponseHeader("x-sussurro-warning");
