// One order, from the press of the button to its end.

import { getOrder, placeOrder } from "./shop.js";

const POLL_INTERVAL_MS = 500;
const SLOW_AFTER_MS = 30_000;
const PENDING_KEY = "bookstore.pending-order";

let unsettled = null;

// Sends the order. As long as it is not known what became of it, the same order keeps its key, so that a repetition
// cannot make a second one.
export async function submit(body) {
  const text = JSON.stringify(body);
  if (unsettled?.text !== text) {
    unsettled = { text, key: randomKey() };
  }
  try {
    const orderId = await placeOrder(text, unsettled.key);
    sessionStorage.setItem(PENDING_KEY, orderId);
    unsettled = null;
    return orderId;
  } catch (error) {
    if (error.isFinal) {
      unsettled = null;
    }
    throw error;
  }
}

// An accepted order that this tab was waiting for when the page was left or loaded again.
export function pendingOrder() {
  return sessionStorage.getItem(PENDING_KEY);
}

// Resolves with the order's end, however long that takes. `onWaiting` hears "processing", "slow" or "away".
export async function follow(orderId, onWaiting) {
  const startedAt = performance.now();
  for (;;) {
    try {
      const order = await getOrder(orderId);
      if (order.status !== "PENDING") {
        sessionStorage.removeItem(PENDING_KEY);
        return order;
      }
      onWaiting(performance.now() - startedAt > SLOW_AFTER_MS ? "slow" : "processing");
    } catch (error) {
      if (error.isFinal) {
        sessionStorage.removeItem(PENDING_KEY);
        throw error;
      }
      onWaiting("away");
    }
    await new Promise((resolve) => setTimeout(resolve, POLL_INTERVAL_MS));
  }
}

// crypto.randomUUID is there for https and localhost only.
function randomKey() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
