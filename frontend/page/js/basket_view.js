// The basket on the page, with its totals.

import { QUANTITY_MAX } from "./basket.js";
import { copies, money } from "./text.js";

export const SHIPPING_CENTS = { Standard: 0, Express: 499, "Next-Day": 999 };

const list = document.getElementById("basket");
const template = document.getElementById("line-template");

export class BasketView {
  #basket;
  #books;
  #rowsMade = 0;

  // `books` gives the book of a title, or undefined as long as the shop has not told its prices.
  constructor(basket, books) {
    this.#basket = basket;
    this.#books = books;
    basket.addEventListener("change", () => this.show());
    for (const element of document.querySelectorAll("[data-shipping]")) {
      element.textContent = money(SHIPPING_CENTS[element.dataset.shipping]);
    }
    for (const choice of document.getElementsByName("shipping-method")) {
      choice.addEventListener("change", () => this.#showTotals());
    }
  }

  // Rows stay the same elements as long as their book is in the basket: the focus stays where it is.
  show() {
    const rows = new Map(Array.from(list.children, (row) => [row.dataset.title, row]));
    this.#basket.lines.forEach((line, position) => {
      const row = rows.get(line.title) ?? this.#row(line.title);
      rows.delete(line.title);
      this.#fill(row, line, position);
      if (list.children[position] !== row) {
        list.insertBefore(row, list.children[position] ?? null);
      }
    });
    for (const row of rows.values()) {
      const hadFocus = row.contains(document.activeElement);
      row.remove();
      if (hadFocus) {
        (list.querySelector(".remove") ?? document.getElementById("checkout")).focus();
      }
    }
    document.getElementById("basket-empty").hidden = this.#basket.lines.length > 0;
    document.getElementById("basket-count").textContent = this.#basket.copies;
    this.#showTotals();
  }

  #row(title) {
    const row = template.content.firstElementChild.cloneNode(true);
    row.dataset.title = title;
    row.querySelector(".line-title").textContent = title;
    const error = row.querySelector(".field-error");
    const input = row.querySelector(".quantity");
    input.id = `copies-${this.#rowsMade++}`;
    error.id = `${input.id}-error`;
    input.setAttribute("aria-label", `Copies of ${title}`);
    input.addEventListener("change", () => {
      const wanted = Number(input.value);
      this.#basket.set(title, Number.isInteger(wanted) && wanted >= 0 ? wanted : this.#basket.quantityOf(title));
      input.value = this.#basket.quantityOf(title);
    });
    const button = (selector, label, action) => {
      const element = row.querySelector(selector);
      element.setAttribute("aria-label", `${label} ${title}`);
      element.addEventListener("click", action);
    };
    button(".less", "One copy fewer of", () => this.#basket.set(title, Math.max(1, this.#basket.quantityOf(title) - 1)));
    button(".more-copies", "One more copy of", () => this.#basket.add(title));
    button(".remove", "Remove", () => this.#basket.set(title, 0));
    return row;
  }

  #fill(row, { title, quantity }, position) {
    const book = this.#books.get(title);
    const input = row.querySelector(".quantity");
    if (document.activeElement !== input) {
      input.value = quantity;
    }
    row.querySelector(".less").disabled = quantity <= 1;
    row.querySelector(".more-copies").disabled = quantity >= QUANTITY_MAX;
    row.querySelector(".line-price").textContent = book ? money(book.priceCents * quantity) : "";
    const short = book !== undefined && book.stock < quantity;
    const note = row.querySelector(".line-note");
    note.textContent = short ? shortage(book.stock) : book ? `${money(book.priceCents)} each` : "";
    note.classList.toggle("warning", short);
    // Where the shop's reasons point to: see form_errors.js.
    input.dataset.pointer = `/items/${position}`;
  }

  #showTotals() {
    const lines = this.#basket.lines;
    const known = lines.length > 0 && lines.every(({ title }) => this.#books.get(title));
    const books = known ? lines.reduce((sum, { title, quantity }) => sum + this.#books.get(title).priceCents * quantity, 0) : null;
    const shipping = SHIPPING_CENTS[document.querySelector("[name=shipping-method]:checked").value];
    const write = (id, text) => (document.getElementById(id).textContent = text);
    write("total-books", known ? money(books) : "–");
    write("total-shipping", shipping ? money(shipping) : "free");
    write("total", known ? money(books + shipping) : "–");
    write("bar-summary", copies(this.#basket.copies) + (known ? ` · ${money(books + shipping)}` : ""));
  }
}

function shortage(stock) {
  return stock === 0 ? "Sold out" : `Only ${stock} left`;
}
