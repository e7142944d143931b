// OpenAI's SDK for Node as a program: a request on standard input as JSON, what came of it on
// standard output. Run in the folder that holds `node_modules`.
//
// {client, call: "transcriptions" | "translations" | "models" | "model", file?: {path, as, name?},
//  params}  →  {result} or {events} or {error: {shown, class, status, code, param, …}}
import { createReadStream, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { inspect } from "node:util";

const { default: OpenAI, toFile } = createRequire(`${process.cwd()}/`)("openai");

/** A file in one of the ways that the SDK takes one: `stream`, `bytes`, `file` (a web File). */
async function upload({ path, as, name }) {
  if (as === "stream") return createReadStream(path);
  if (as === "bytes") return toFile(readFileSync(path), name);
  return new File([readFileSync(path)], name);
}

async function call({ client, call, file, params }) {
  const openai = new OpenAI(client);
  if (call === "models") return { result: (await openai.models.list()).data };
  if (call === "model") return { result: await openai.models.retrieve(params.model) };
  const body = file ? { file: await upload(file), ...params } : params;
  const answer = await openai.audio[call].create(body);
  if (!params.stream) return { result: answer, request_id: answer._request_id };
  const events = [];
  for await (const event of answer) events.push(event);
  return { events };
}

/** What Node prints of an error that nobody catches, and what a program can look at. */
function told(error) {
  const { status, code, param, type, requestID, message } = error;
  const shown = inspect(error).split("\n")[0];
  const fields = { class: error.constructor.name, status, code, param, type, requestID, message };
  return { error: { shown, ...fields } };
}

const request = JSON.parse(readFileSync(0, "utf8"));
console.log(JSON.stringify(await call(request).catch(told)));
