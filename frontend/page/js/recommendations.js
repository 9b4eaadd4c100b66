// Books to read next: for the basket while it is filled, and those of an order once it is approved.

import { recommendBooks } from "./shop.js";

const LIMIT = 3;

const $ = (id) => document.getElementById(id);

export class Recommendations {
  #basket;
  #asked = "[]";
  #asking = null;

  constructor(basket) {
    this.#basket = basket;
    basket.addEventListener("change", () => this.refresh());
  }

  // Asks again when the basket has other books than those for which there was an answer.
  async refresh() {
    const titles = this.#basket.lines.map((line) => line.title);
    const asked = JSON.stringify(titles);
    if (asked === this.#asked) {
      return;
    }
    this.#asked = asked;
    this.#asking?.abort();
    const asking = (this.#asking = new AbortController());
    let books = [];
    try {
      books = titles.length ? (await recommendBooks(titles, LIMIT, asking.signal)).books : [];
    } catch {
      if (!asking.signal.aborted) {
        // Worth asking again, with the next look at the shelf.
        this.#asked = null;
      }
    }
    if (asking.signal.aborted) {
      return;
    }
    this.#show($("recommended"), books, $("recommendations"));
  }

  // What the shop suggests with an order that has ended; an approved one empties the basket.
  showSuggested(books) {
    this.#show($("recommendations"), books, $("recommended"));
  }

  // One of the two panels at a time, unless there is nothing to show.
  #show(panel, books, other) {
    const hadFocus = panel.contains(document.activeElement) || other.contains(document.activeElement);
    panel.querySelector("ul").replaceChildren(...books.map((book) => this.#item(book)));
    panel.hidden = books.length === 0;
    other.hidden ||= books.length > 0;
    if (hadFocus) {
      (panel.querySelector("button") ?? $("checkout")).focus();
    }
  }

  #item(book) {
    const part = (name, className, text) => Object.assign(document.createElement(name), { className, textContent: text });
    const add = part("button", "quiet-button", "Add");
    add.type = "button";
    add.setAttribute("aria-label", `Add ${book.title} to the basket`);
    add.addEventListener("click", () => this.#basket.add(book.title));
    const text = part("div", "", "");
    text.append(part("strong", "", book.title), part("span", "", book.author));
    const item = part("li", "", "");
    item.append(text, add);
    return item;
  }
}
