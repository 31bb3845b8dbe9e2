// Requests to the service.

import { askForToken } from "./token.js";

const TRIES_WHILE_BUSY = 20;

/** What the service answered in place of what was asked for; `status` is that of the answer. */
export class ServiceError extends Error {
  constructor(message, status = 0) {
    super(message);
    this.status = status;
  }
}

/**
 * JSON of a request; throws a ServiceError whose message is what the service says.
 *
 * Where the service wants a token, people are asked for it and the request is made again; where it
 * is busy, as while it loads an encoder, the request waits as long as the service says.
 */
export async function request(path, options = {}) {
  let answer = await answerTo(path, options);
  for (let tries = 0; ; ) {
    if (answer.status === 401) {
      await askForToken();
    } else if (answer.status === 503 && tries++ < TRIES_WHILE_BUSY) {
      await pause(Number(answer.headers.get("Retry-After")) || 1, options.signal);
    } else {
      break;
    }
    answer = await answerTo(path, options);
  }
  const content = await answer.json().catch(() => null);
  if (!answer.ok) {
    throw new ServiceError(content?.detail ?? `${answer.status} ${answer.statusText}`, answer.status);
  }
  return content;
}

/** Seconds that pass, unless the signal ends them. */
async function pause(seconds, signal) {
  await new Promise((resolve) => setTimeout(resolve, 1000 * seconds));
  signal?.throwIfAborted();
}

async function answerTo(path, options) {
  const headers = new Headers(options.headers);
  headers.set("X-Requested-With", "product-search"); // no form of another site can send it
  try {
    return await fetch(path, { ...options, headers, credentials: "same-origin" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ServiceError("The service does not answer: is it still running?");
  }
}

/** JSON of a request that sends an object. */
export function post(path, object, options = {}) {
  return request(path, {
    ...options,
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(object),
  });
}

/** A path with parameters, of which a list is repeated, and null or "" is left out. */
export function withParameters(path, parameters) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters)) {
    for (const one of [value].flat()) if (one != null && one !== "") query.append(name, one);
  }
  return query.size ? `${path}?${query}` : path;
}

/**
 * What is computed once in the background: asked for each second until it is ready.
 *
 * `onProgress` is told the share that is done, from 0 to 1.
 */
export async function untilReady(path, { signal, onProgress = () => {} } = {}) {
  for (;;) {
    const content = await request(path, { signal });
    if (content.ready) return content;
    onProgress(content.progress);
    await pause(1, signal);
  }
}

let description = null;

/** What is served: spaces, columns, threshold. Asked for once, and again where that failed. */
export function describeStore() {
  description ??= request("/store").catch((error) => {
    description = null;
    throw error;
  });
  return description;
}

/** Ask again for what is served, as after a new threshold. */
export function forgetStore() {
  description = null;
}
