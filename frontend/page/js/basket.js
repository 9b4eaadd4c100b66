// What the customer wants: titles and quantities, kept by the browser between visits.

const STORAGE_KEY = "bookstore.basket";
export const QUANTITY_MAX = 10_000;
const FIRST_VISIT = [
  { title: "Book A", quantity: 1 },
  { title: "Book B", quantity: 2 },
];

export class Basket extends EventTarget {
  #lines = stored() ?? FIRST_VISIT.map((line) => ({ ...line }));

  get lines() {
    return this.#lines;
  }

  get copies() {
    return this.#lines.reduce((sum, line) => sum + line.quantity, 0);
  }

  quantityOf(title) {
    return this.#lines.find((line) => line.title === title)?.quantity ?? 0;
  }

  // Zero takes the book out.
  set(title, quantity) {
    const line = this.#lines.find((line) => line.title === title);
    if (quantity <= 0) {
      this.#lines = this.#lines.filter((line) => line.title !== title);
    } else if (line) {
      line.quantity = Math.min(quantity, QUANTITY_MAX);
    } else {
      this.#lines.push({ title, quantity: Math.min(quantity, QUANTITY_MAX) });
    }
    this.#changed();
  }

  add(title) {
    this.set(title, this.quantityOf(title) + 1);
  }

  clear() {
    this.#lines = [];
    this.#changed();
  }

  #changed() {
    try {
      localStorage.setItem(STORAGE_KEY, JSON.stringify(this.#lines));
    } catch {
      // A browser that keeps nothing still sells books.
    }
    this.dispatchEvent(new Event("change"));
  }
}

function stored() {
  try {
    const lines = JSON.parse(localStorage.getItem(STORAGE_KEY));
    const isLine = (line) => typeof line.title === "string" && Number.isInteger(line.quantity) && line.quantity > 0;
    return Array.isArray(lines) && lines.every(isLine) ? lines : null;
  } catch {
    return null;
  }
}
