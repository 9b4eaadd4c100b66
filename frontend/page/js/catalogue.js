// The shelf: every book with its price and stock as they are now, and the search in it.

import { listBooks } from "./shop.js";
import { hueOf, money, searchable } from "./text.js";

const REFRESH_INTERVAL_MS = 3_000;
const SHOWN_AT_FIRST = matchMedia("(max-width: 40rem)").matches ? 8 : 24;
const FEW_COPIES = 5;

const shelf = document.getElementById("shelf");
const status = document.getElementById("catalogue-status");
const search = document.getElementById("search");
const showAll = document.getElementById("show-all");
const template = document.getElementById("book-template");

export class Catalogue extends EventTarget {
  #books = new Map();
  #cards = new Map();
  #all = false;
  #away = false;

  constructor(onAdd) {
    super();
    this.onAdd = onAdd;
    search.addEventListener("input", () => this.#filter());
    showAll.addEventListener("click", () => {
      // The focus goes on to the first book that was not there before.
      const next = shelf.querySelector("li[hidden] .add-button");
      this.#all = true;
      this.#filter();
      next?.focus();
    });
    document.addEventListener("visibilitychange", () => this.#refreshIfVisible());
  }

  // The book of a title, or undefined.
  get(title) {
    return this.#books.get(title);
  }

  async start() {
    await this.refresh();
    setInterval(() => this.#refreshIfVisible(), REFRESH_INTERVAL_MS);
  }

  async refresh() {
    let books;
    try {
      books = await listBooks();
    } catch (error) {
      this.#away = true;
      this.#tell(
        this.#books.size
          ? "The shop does not answer at the moment: prices and stock may be out of date."
          : "The shop does not answer at the moment. We keep trying.",
      );
      return;
    }
    this.#away = false;
    this.#books = new Map(books.map((book) => [book.title, book]));
    for (const book of books) {
      this.#show(book);
    }
    for (const [title, card] of this.#cards) {
      if (!this.#books.has(title)) {
        card.element.remove();
        this.#cards.delete(title);
      }
    }
    this.#filter();
    this.dispatchEvent(new Event("change"));
  }

  #refreshIfVisible() {
    if (document.visibilityState === "visible") {
      this.refresh();
    }
  }

  #show(book) {
    const card = this.#cards.get(book.title) ?? this.#card(book);
    write(card.price, money(book.priceCents));
    write(card.stock, stockText(book.stock));
    card.stock.className = `stock ${book.stock === 0 ? "gone" : book.stock <= FEW_COPIES ? "few" : ""}`;
    card.add.disabled = book.stock === 0;
  }

  #card(book) {
    const element = template.content.firstElementChild.cloneNode(true);
    const part = (selector) => element.querySelector(selector);
    element.style.setProperty("--hue", hueOf(book.title));
    part(".cover-title").textContent = book.title;
    part(".cover-author").textContent = book.author;
    part("h3").textContent = book.title;
    part(".byline").textContent = `${book.author} · ${year(book.year)}`;
    part(".description").textContent = book.description;
    for (const subject of book.subjects) {
      const button = document.createElement("button");
      button.type = "button";
      button.className = "subject";
      button.textContent = subject;
      button.setAttribute("aria-label", `Search for ${subject}`);
      button.addEventListener("click", () => {
        search.value = subject;
        this.#filter();
        search.focus();
      });
      part(".subjects").append(button, " ");
    }
    const add = part(".add-button");
    add.setAttribute("aria-label", `Add ${book.title} to the basket`);
    add.addEventListener("click", () => this.onAdd(book.title));
    shelf.append(element);
    const words = searchable([book.title, book.author, ...book.subjects].join(" "));
    const card = { element, add, words, price: part(".price"), stock: part(".stock") };
    this.#cards.set(book.title, card);
    return card;
  }

  #filter() {
    const wanted = searchable(search.value).split(/\s+/).filter(Boolean);
    let found = 0;
    for (const card of this.#cards.values()) {
      const fits = wanted.every((word) => card.words.includes(word));
      found += fits;
      card.element.hidden = !fits || (!this.#all && found > SHOWN_AT_FIRST);
    }
    showAll.hidden = this.#all || found <= SHOWN_AT_FIRST;
    showAll.textContent = `Show all ${found} books`;
    if (!this.#away) {
      const none = wanted.length ? `No book fits “${search.value.trim()}”.` : "There are no books at the moment.";
      this.#tell(found === 0 ? none : wanted.length ? `${found} found` : `${found} titles`);
    }
  }

  #tell(text) {
    write(status, text);
    status.classList.toggle("warning", this.#away);
  }
}

// Only what has changed: a screen reader does not want to hear the same again.
function write(element, text) {
  if (element.textContent !== text) {
    element.textContent = text;
  }
}

function stockText(stock) {
  return stock === 0 ? "Sold out" : stock <= FEW_COPIES ? `Only ${stock} left` : `${stock} in stock`;
}

function year(value) {
  return value < 0 ? `${-value} BC` : String(value);
}
