// Failures in plain words. Knows what each one means for a person, and what can be done.

import { clear, clock, show } from "./words.js";

const BY_CODE = {
  invalid_api_key: "fail_key",
  insufficient_scope: "fail_scope",
  upload_too_large: "fail_size",
  too_many_failures: "fail_tries",
  insufficient_quota: "fail_quota",
  rate_limit_exceeded: "fail_rate",
  overloaded: "fail_busy",
  not_ready: "fail_starting",
  draining: "fail_starting",
  engine_unavailable: "fail_starting",
  engine_error: "fail_engine",
  internal_error: "fail_engine",
  connection: "fail_connection",
};
// What a proxy in front of the server says has no code of ours.
const BY_STATUS = { status_413: "fail_size", status_429: "fail_busy", status_502: "fail_starting",
  status_503: "fail_busy", status_504: "fail_busy" };
const OWN = new Set(["no_file", "no_key", "microphone_denied"]);

const byId = (id) => document.getElementById(id);
let timer;

// Shows why there is nothing, and a button to try again once that may help.
export function tell(failure, again = null) {
  const own = OWN.has(failure.code) ? failure.code : null;
  const name = own ?? BY_CODE[failure.code] ?? BY_STATUS[failure.code] ?? "fail_other";
  show(byId("problem-text"), name, { message: failure.message, id: failure.id });
  const more = name === "fail_size" || name === "fail_rate" || name === "fail_quota";
  if (more && failure.message) show(byId("problem-more"), "server_says", { message: failure.message });
  else clear(byId("problem-more"));
  byId("problem").hidden = false;
  byId("again").hidden = !(again && (failure.wait || failure.status >= 500 || failure.status === 0));
  byId("again").onclick = again;
  countDown(failure.wait ?? 0);
}

export function untell() {
  clearTimeout(timer);
  byId("problem").hidden = byId("again").hidden = true;
}

// The button waits for as long as the server asked. It is never told aloud: only its text changes.
function countDown(seconds) {
  clearTimeout(timer);
  const button = byId("again");
  button.disabled = seconds > 0;
  if (seconds <= 0) return show(button, "again");
  show(button, "again_in", { time: clock(seconds) });
  timer = setTimeout(() => countDown(seconds - 1), 1000);
}
