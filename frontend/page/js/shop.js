// The orchestrator, as utils/api/bookstore.yaml describes it.

const TIMEOUT_MS = 15_000;
const QUERY_LENGTH_MAX = 200;
const FOUND_MAX = 20;
const TITLES_MAX = 100;

let origin = "";

// Why a request did not do what was asked. `code` is the shop's own, or "away" where nobody answered.
export class ShopError extends Error {
  constructor(code, message, { status = 0, reasons = [], orderId = null } = {}) {
    super(message);
    this.code = code;
    this.status = status;
    this.reasons = reasons;
    this.orderId = orderId;
  }

  // Whether the shop has judged the request; else it is not known, or it was our fault, and may be repeated.
  get isFinal() {
    return this.status >= 400 && this.status < 500;
  }
}

export async function listBooks() {
  return (await ask("/books")).books;
}

// Books for what somebody writes, best first, and how they were found: "semantic" or "full-text".
export function searchBooks(text, signal) {
  return ask(`/books/search?${new URLSearchParams({ q: text.slice(0, QUERY_LENGTH_MAX), limit: FOUND_MAX })}`, { signal });
}

// Books that go with the titles in a basket, best first.
export function recommendBooks(titles, limit, signal) {
  const query = new URLSearchParams(titles.slice(0, TITLES_MAX).map((title) => ["title", title]));
  query.set("limit", limit);
  return ask(`/books/recommendations?${query}`, { signal });
}

// The id of the accepted order. The same key and body may be sent again: they make one order.
export async function placeOrder(bodyText, key) {
  const answer = await ask("/v2/checkout", {
    method: "POST",
    headers: { "Content-Type": "application/json", "Idempotency-Key": key },
    body: bodyText,
  });
  return answer.orderId;
}

export function getOrder(orderId) {
  return ask(`/v2/orders/${encodeURIComponent(orderId)}`);
}

async function ask(path, { signal, ...options } = {}) {
  let response;
  let answer;
  try {
    origin ||= await findOrigin();
    const signals = [AbortSignal.timeout(TIMEOUT_MS), ...(signal ? [signal] : [])];
    response = await fetch(origin + path, { ...options, signal: AbortSignal.any(signals), cache: "no-store" });
    answer = await response.json();
  } catch (error) {
    throw new ShopError("away", `No answer from the shop: ${error.message}`);
  }
  if (!response.ok) {
    const { code = "unknown", message = response.statusText, reasons } = answer.error ?? {};
    throw new ShopError(code, message, { status: response.status, reasons, orderId: answer.orderId });
  }
  return answer;
}

// The same host as the page's, on the port that the page's server names.
async function findOrigin() {
  const { orchestratorPort } = await (await fetch("config.json", { signal: AbortSignal.timeout(TIMEOUT_MS) })).json();
  return `${location.protocol}//${location.hostname}:${orchestratorPort}`;
}
