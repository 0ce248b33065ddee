// The requests of the page to the service.
import { worded } from "./format.js";

const ROOT = "/api/v1";
const csrf = document.querySelector('meta[name="csrf-token"]').content;

/** An error answer of the service; its message is the detail of the problem. */
export class Problem extends Error {
  constructor(status, body) {
    super(worded(body.detail || body.title || `The service answered with status ${status}.`));
    this.status = status;
    this.body = body;
  }
}

/** A request; `json` is sent as the body. Throws a Problem whose message is shown. */
export async function request(method, path, { json, form, signal, headers = {} } = {}) {
  const asked = {
    method,
    signal,
    body: json === undefined ? form : JSON.stringify(json),
    headers: { ...(json === undefined ? {} : { "Content-Type": "application/json" }), ...(method === "GET" ? {} : { "X-CSRF-Token": csrf }), ...headers },
  };
  let response;
  try {
    response = await fetch(ROOT + path, asked);
    if (response.status === 429) {
      await new Promise((resolve) => setTimeout(resolve, 1000 * (Number(response.headers.get("Retry-After")) || 1)));
      response = await fetch(ROOT + path, asked);
    }
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem(0, { detail: "The service does not answer; check that it is running." });
  }
  if (response.status === 401 && document.body.dataset.page !== "login") {
    location.assign(`/login?next=${encodeURIComponent(location.pathname + location.search)}`);
    return new Promise(() => {}); // the browser is leaving the page
  }
  if (!response.ok) throw new Problem(response.status, await response.json().catch(() => ({})));
  return response;
}

export async function get(path, options) {
  return (await request("GET", path, options)).json();
}

export async function post(path, json, options) {
  const response = await request("POST", path, { json, ...options });
  return response.status === 204 ? null : response.json();
}

export const remove = (path) => request("DELETE", path);

export const part = encodeURIComponent;

export const thumbnail = (dataset, row, label, size) => `${ROOT}/datasets/${part(dataset)}/rows/${row}/${part(label)}.png${size ? `?size=${size}` : ""}`;
export const modelPath = (name, rest) => `${ROOT}/models/${part(name)}/${rest}`;

export const comparisonPath = (name, rest) => `${ROOT}/comparisons/${part(name)}/${rest}`;

/** Rows of a split (null: of all) that have all of these labels, at most `limit`. */
export async function rowsWith(dataset, split, labels, limit) {
  const { rows } = await get(`/datasets/${part(dataset)}/rows?${split ? `split=${split}&` : ""}limit=${Math.min(4 * limit, 500)}`);
  return rows.filter((row) => labels.every((label) => row.labels.includes(label))).slice(0, limit);
}

/** Scores of a model on the test split, once the service has computed them: {model, identity}. */
export async function testScores(model, dataset) {
  for (;;) {
    const response = await request("GET", `/models/${part(model)}/scores?dataset=${part(dataset)}&split=test`);
    if (response.status === 200) return (await response.json()).splits.test.frame;
    await new Promise((resolve) => setTimeout(resolve, 1000 * (Number(response.headers.get("Retry-After")) || 1)));
  }
}

/**
 * Follow a job's events until it ends; continues after a break in the connection.
 * Handlers: job(object), blocks(indices), connection("on" | "off"), gone(). connection("on") must fetch
 * what happened during a break. Returns a function that stops following.
 */
export function follow(id, handlers) {
  let source = null;
  let timer = null;
  let wait = 500;
  let over = false;
  const connect = () => {
    source = new EventSource(`${ROOT}/jobs/${part(id)}/events`);
    const heard = (handler) => (event) => handler(JSON.parse(event.data));
    source.addEventListener("open", () => {
      wait = 500;
      handlers.connection("on");
    });
    source.addEventListener("job", heard(handlers.job));
    source.addEventListener("blocks", heard((data) => handlers.blocks(data.done)));
    source.addEventListener("end", stop);
    source.addEventListener("error", () => {
      if (over) return;
      handlers.connection("off");
      if (source.readyState !== EventSource.CLOSED) return; // the browser tries again by itself
      timer = setTimeout(again, wait);
      wait = Math.min(2 * wait, 10_000);
    });
  };
  const again = async () => {
    if (over) return;
    try {
      handlers.job(await get(`/jobs/${part(id)}`));
      connect();
    } catch (error) {
      if (error.status === 404) {
        stop();
        handlers.gone();
      } else {
        timer = setTimeout(again, wait);
        wait = Math.min(2 * wait, 10_000);
      }
    }
  };
  const stop = () => {
    over = true;
    clearTimeout(timer);
    source?.close();
  };
  connect();
  return stop;
}
