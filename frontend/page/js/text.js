// How numbers and words are written and compared. Nothing here touches the page.

const EUROS = new Intl.NumberFormat("en-IE", { style: "currency", currency: "EUR" });

export function money(cents) {
  return EUROS.format(cents / 100);
}

export function copies(count) {
  return count === 1 ? "1 book" : `${count} books`;
}

// "Brontë" is found by "bronte".
export function searchable(text) {
  return text.normalize("NFD").replace(/\p{Diacritic}/gu, "").toLowerCase();
}

// Two years ahead, as cards say it: never in the past.
export function expiryAhead(now) {
  const month = String(now.getMonth() + 1).padStart(2, "0");
  return `${month}/${String((now.getFullYear() + 2) % 100).padStart(2, "0")}`;
}

export function withoutSeparators(text) {
  return text.replace(/[\s-]/g, "");
}

// A colour of its own for every book, the same each time.
export function hueOf(text) {
  let hash = 7;
  for (const character of text) {
    hash = (hash * 31 + character.codePointAt(0)) % 360_007;
  }
  // The golden angle: titles that differ little get colours that differ much.
  return Math.round((hash * 137.508) % 360);
}
