// What somebody writes into the search, and what the shop finds for it. The shelf compares words by itself, at once;
// the shop is asked for books that are about it once the typing pauses, and only about the latest words.

import { searchBooks } from "./shop.js";

const PAUSE_MS = 200;

const input = document.getElementById("search");

export class Search extends EventTarget {
  #found = [];
  #state = "idle";
  #asking = null;

  constructor() {
    super();
    input.addEventListener("input", () => this.#ask());
    input.addEventListener("keydown", (event) => {
      if (event.key === "ArrowDown" || event.key === "Enter") {
        event.preventDefault();
        this.dispatchEvent(new Event("leave"));
      }
    });
  }

  get text() {
    return input.value.trim();
  }

  // Titles, best first: those that the shop found for the text.
  get found() {
    return this.#found;
  }

  // "idle", "asking", "semantic", "full-text" or "away".
  get state() {
    return this.#state;
  }

  set(text) {
    input.value = text;
    input.focus();
    this.#ask();
  }

  async #ask() {
    this.#asking?.abort();
    this.#asking = null;
    const text = this.text;
    // What was found for the words before stays on the shelf meanwhile.
    this.#tell(text ? "asking" : "idle", text ? this.#found : []);
    if (!text) {
      return;
    }
    const asking = (this.#asking = new AbortController());
    await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
    if (asking.signal.aborted) {
      return;
    }
    let answer;
    try {
      answer = await searchBooks(text, asking.signal);
    } catch {
      answer = { books: [], ranking: "away" };
    }
    // The answer to older words is no answer.
    if (!asking.signal.aborted) {
      this.#tell(answer.ranking, answer.books.map((book) => book.title));
    }
  }

  #tell(state, found) {
    this.#state = state;
    this.#found = found;
    this.dispatchEvent(new Event("change"));
  }
}
