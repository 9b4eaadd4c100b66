// The shelf: every book with its price and stock as they are now; or those that fit the search, best first.

import { listBooks } from "./shop.js";
import { hueOf, money, searchable } from "./text.js";

const REFRESH_INTERVAL_MS = 3_000;
const SHOWN_AT_FIRST = matchMedia("(max-width: 40rem)").matches ? 8 : 24;
const FEW_COPIES = 5;

const shelf = document.getElementById("shelf");
const status = document.getElementById("catalogue-status");
const showAll = document.getElementById("show-all");
const template = document.getElementById("book-template");

export class Catalogue extends EventTarget {
  #books = new Map();
  #cards = new Map();
  #all = false;
  #away = false;
  #search;

  constructor(search, onAdd) {
    super();
    this.#search = search;
    this.onAdd = onAdd;
    search.addEventListener("change", () => this.#filter());
    search.addEventListener("leave", () => shelf.querySelector("li:not([hidden]) .add-button:enabled")?.focus());
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
      button.addEventListener("click", () => this.#search.set(subject));
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
    const { text, found } = this.#search;
    const wanted = searchable(text).split(/\s+/).filter(Boolean);
    const named = [...this.#cards.values()].filter((card) => wanted.every((word) => card.words.includes(word)));
    const about = found.map((title) => this.#cards.get(title)).filter((card) => card && !named.includes(card));
    const shown = [...named, ...about];
    const rest = [...this.#cards.values()].filter((card) => !shown.includes(card));
    const focused = document.activeElement;
    [...shown, ...rest].forEach((card, place) => {
      card.element.hidden = place >= (this.#all ? shown.length : Math.min(shown.length, SHOWN_AT_FIRST));
      if (shelf.children[place] !== card.element) {
        shelf.insertBefore(card.element, shelf.children[place] ?? null);
      }
    });
    // An element that is moved loses the focus.
    if (shelf.contains(focused)) {
      focused.focus();
    }
    showAll.hidden = this.#all || shown.length <= SHOWN_AT_FIRST;
    showAll.textContent = `Show all ${shown.length} books`;
    if (!this.#away) {
      this.#tell(wanted.length ? foundText(this.#search, named.length, about.length) : titlesText(shown.length));
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

function titlesText(count) {
  return count === 0 ? "There are no books at the moment." : `${count} titles`;
}

function foundText({ text, state }, named, about) {
  const how = state === "full-text" ? "mention it" : "are about it";
  const parts = [named && `${named} found`, about && `${about}${named ? " more" : ""} that ${how}`].filter(Boolean);
  const none = state === "asking" ? "Searching…" : `No book fits “${text}”.`;
  const words = state === "away" ? " (Only titles, authors and subjects were searched.)" : "";
  return (parts.join(", ") || none) + words;
}

function stockText(stock) {
  return stock === 0 ? "Sold out" : stock <= FEW_COPIES ? `Only ${stock} left` : `${stock} in stock`;
}

function year(value) {
  return value < 0 ? `${-value} BC` : String(value);
}
