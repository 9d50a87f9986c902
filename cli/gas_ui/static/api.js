// Speaking with the server. Whatever it refuses is thrown as {message, remedy}.
import { setState, state } from "./store.js";

export async function call(method, path, body) {
  const init = { method, headers: {} };
  if (body instanceof Blob || body instanceof Uint8Array) init.body = body;
  else if (body !== undefined) {
    init.body = JSON.stringify(body);
    init.headers["content-type"] = "application/json";
  }
  let answer;
  try {
    answer = await fetch(path, init);
  } catch {
    throw { message: "the server does not answer", remedy: "is gas ui still running in the terminal?" };
  }
  if (answer.status === 401) {
    location.href = "/login";
    throw { message: "sign in first" };
  }
  const kind = answer.headers.get("content-type") ?? "";
  if (!answer.ok) {
    const told = kind.includes("json") ? (await answer.json()).error : { message: await answer.text() };
    throw { ...told, message: told.message || `the server refused this (${answer.status})` };
  }
  return kind.includes("json") ? answer.json() : new Uint8Array(await answer.arrayBuffer());
}

export const at = (path) => `/api/w/${state.id}${path}`;

// A call whose answer is the window's state.
export async function act(method, path, body) {
  const fresh = await call(method, at(path), body);
  setState(fresh);
  return fresh;
}
