// The form, and what it says while an order is on its way.

import { describeDevice } from "./device.js";
import { clearErrors, forgetErrorsOnInput, showError } from "./form_errors.js";
import { follow, pendingOrder, submit } from "./order.js";
import { expiryAhead, money, withoutSeparators } from "./text.js";

const $ = (id) => document.getElementById(id);
const chosen = (name) => document.querySelector(`[name=${name}]:checked`).value;

const WAITING = {
  processing: "Processing...",
  slow: "Processing... This takes longer than usual. Your order is safe, and you may wait here or come back later.",
  away: "Processing... The shop does not answer at the moment. Your order is safe, and we keep asking.",
};

export class Checkout {
  #basket;
  #onEnd;
  #inFlight = false;

  // `onEnd` is called with an order that has ended: the stock is another one now.
  constructor(basket, onEnd) {
    this.#basket = basket;
    this.#onEnd = onEnd;
    $("card-expiry").value = expiryAhead(new Date());
    $("checkout-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#order();
    });
    for (const choice of document.getElementsByName("payment-method")) {
      choice.addEventListener("change", () => this.#showPaymentFields());
    }
    $("gift-wrapping").addEventListener("change", () => this.#showPaymentFields());
    forgetErrorsOnInput();
    // A browser that comes back to the page keeps what was chosen before.
    this.#showPaymentFields();
  }

  // Goes on waiting for an order that was accepted before the page was loaded again.
  async resume() {
    const orderId = pendingOrder();
    if (orderId) {
      await this.#whileBusy(() => this.#follow(orderId));
    }
  }

  async #order() {
    if (this.#inFlight) {
      return;
    }
    await this.#whileBusy(async () => {
      const orderId = await submit(this.#body());
      await this.#follow(orderId);
    });
  }

  async #whileBusy(work) {
    this.#inFlight = true;
    clearErrors();
    $("progress").replaceChildren();
    $("problem").replaceChildren();
    showBusy(true);
    try {
      await work();
    } catch (error) {
      $("progress").replaceChildren();
      showProblem(...explain(error));
    } finally {
      this.#inFlight = false;
      showBusy(false);
    }
  }

  async #follow(orderId) {
    const { box, line } = showProgress("Order submitted!", orderId);
    line.textContent = WAITING.processing;
    const order = await follow(orderId, (state) => {
      if (line.textContent !== WAITING[state]) {
        line.textContent = WAITING[state];
      }
    });
    this.#onEnd(order);
    if (order.status === "Order Approved") {
      showApproved(box, order);
      this.#basket.clear();
    } else {
      $("progress").replaceChildren();
      showProblem("Order Rejected", "You have not been charged.", order.reasons, orderId);
    }
  }

  #body() {
    const paymentMethod = chosen("payment-method");
    const payment =
      paymentMethod === "card"
        ? {
            creditCard: {
              number: withoutSeparators($("card-number").value),
              expirationDate: $("card-expiry").value.trim(),
              cvv: $("card-cvv").value.trim(),
            },
          }
        : { bankAccount: { iban: withoutSeparators($("iban").value) } };
    const wrapped = $("gift-wrapping").checked;
    return {
      user: { name: $("name").value.trim(), contact: $("contact").value.trim() },
      items: this.#basket.lines.map(({ title, quantity }) => ({ name: title, quantity })),
      billingAddress: {
        street: $("street").value.trim(),
        city: $("city").value.trim(),
        state: $("state").value.trim(),
        zip: $("zip").value.trim(),
        country: $("country").value.trim(),
      },
      paymentMethod,
      ...payment,
      shippingMethod: chosen("shipping-method"),
      giftWrapping: wrapped,
      giftMessage: wrapped ? $("gift-message").value.trim() : "",
      termsAndConditionsAccepted: $("terms").checked,
      userComment: $("comment").value.trim(),
      discountCode: $("discount-code").value.trim(),
      notificationPreferences: Array.from(document.querySelectorAll("[name=notification]:checked"), (box) => box.value),
      ...describeDevice(),
    };
  }

  #showPaymentFields() {
    const byCard = chosen("payment-method") === "card";
    $("card-fields").hidden = !byCard;
    $("bank-fields").hidden = byCard;
    $("gift-message-field").hidden = !$("gift-wrapping").checked;
  }
}

// What to tell when an order was not accepted: a heading, a sentence, reasons, and the order's id where there is one.
function explain(error) {
  const again = "Press “Place order” again: it will not be placed twice.";
  if (error.code === "order_rejected") {
    return ["Order Rejected", "You have not been charged.", error.reasons.length ? error.reasons : [{ message: error.message, field: "" }]];
  }
  if (error.isFinal) {
    return ["The order could not be read", error.reasons.length ? "Please correct it and try again." : error.message, error.reasons];
  }
  if (error.code === "away") {
    return ["We cannot reach the shop", `Your order may or may not have arrived. ${again}`];
  }
  if (error.code === "order_unconfirmed") {
    return ["Your order is not confirmed yet", `We do not know whether it was accepted. ${again}`, [], error.orderId];
  }
  if (error.status === 503) {
    return ["The shop is busy or being repaired", "Nothing was ordered. Please try again in a moment."];
  }
  if (error.status) {
    return ["Something went wrong on our side", again];
  }
  throw error;
}

function showBusy(busy) {
  const button = $("submit-button");
  button.disabled = busy;
  button.classList.toggle("loading", busy);
  $("submit-label").textContent = busy ? "Placing your order…" : "Place order";
  button.querySelector(".spinner")?.remove();
  if (busy) {
    button.prepend(element("span", "spinner loading"));
  }
}

function showProgress(heading, orderId) {
  const box = element("div", "alert success");
  box.dataset.cy = "alert-success";
  const line = element("p");
  box.append(element("strong", "", heading), orderLine(orderId), line);
  $("progress").replaceChildren(box);
  box.scrollIntoView({ block: "nearest" });
  return { box, line };
}

function showApproved(box, order) {
  const parts = [element("strong", "", "Order completed successfully!"), orderLine(order.orderId)];
  if (order.confirmationCode) {
    const line = element("p", "", "Confirmation code ");
    line.append(element("code", "", order.confirmationCode));
    parts.push(line);
  }
  if (order.amountCents !== undefined) {
    parts.push(element("p", "", `${money(order.amountCents)} paid. Thank you!`));
  }
  box.replaceChildren(...parts);
  box.scrollIntoView({ block: "nearest" });
}

function showProblem(heading, sentence, reasons = [], orderId = null) {
  const box = element("div", "alert error");
  box.dataset.cy = "alert-error";
  box.append(element("strong", "", heading));
  if (orderId) {
    box.append(orderLine(orderId));
  }
  if (reasons.length) {
    const list = element("ul");
    list.append(...reasons.map(reasonItem));
    box.append(list);
  }
  box.append(element("p", "", sentence));
  $("problem").replaceChildren(box);
  $("problem").focus();
}

// The reason at its field, and here with a way to get there.
function reasonItem(reason) {
  const item = element("li");
  const field = showError(reason);
  if (!field) {
    item.textContent = reason.message;
    return item;
  }
  const link = element("a", "", reason.message);
  link.href = `#${field.id}`;
  link.addEventListener("click", (event) => {
    event.preventDefault();
    field.focus();
  });
  item.append(link);
  return item;
}

function orderLine(orderId) {
  const line = element("p", "", "Order ");
  line.append(element("code", "", orderId));
  return line;
}

function element(name, className = "", text = "") {
  const created = document.createElement(name);
  created.className = className;
  created.textContent = text;
  return created;
}
