// Binds the shop's reasons to the fields that caused them. A reason names its field by a JSON pointer (RFC 6901).

const form = document.getElementById("checkout-form");

export function clearErrors() {
  for (const input of document.querySelectorAll("[aria-invalid]")) {
    clear(input);
  }
  showText(document.getElementById("items-error"), "");
}

// Shows a reason at its field; returns the field, or null where the page has none.
export function showError({ message, field }) {
  const input = inputAt(field);
  if (input) {
    mark(input, message);
  } else if (field === "/items") {
    showText(document.getElementById("items-error"), message);
  }
  return input;
}

// Somebody who corrects a field does not want to see its error any longer.
export function forgetErrorsOnInput() {
  document.addEventListener("input", ({ target }) => {
    if (target.hasAttribute?.("aria-invalid")) {
      clear(target);
    }
  });
}

// "/items/0/quantity" belongs to the line at "/items/0".
function inputAt(pointer) {
  for (let path = pointer; path; path = path.slice(0, path.lastIndexOf("/"))) {
    const input = document.querySelector(`[data-pointer="${CSS.escape(path)}"]`);
    if (input && !input.closest("[hidden]")) {
      return input;
    }
  }
  return null;
}

function mark(input, message) {
  const error = errorOf(input);
  const known = input.hasAttribute("aria-invalid") ? `${error.textContent} ` : "";
  showText(error, known + message);
  input.setAttribute("aria-invalid", "true");
  describe(input, error.id, true);
}

function clear(input) {
  const error = errorOf(input);
  showText(error, "");
  input.removeAttribute("aria-invalid");
  describe(input, error.id, false);
}

function errorOf(input) {
  const row = input.closest(".line");
  if (row) {
    return row.querySelector(".field-error");
  }
  const id = `${input.id || input.name}-error`;
  let error = document.getElementById(id);
  if (!error) {
    error = document.createElement("p");
    error.className = "field-error";
    error.id = id;
    (input.closest(".field, .choices") ?? form).append(error);
  }
  return error;
}

function describe(input, id, wanted) {
  const ids = new Set((input.getAttribute("aria-describedby") ?? "").split(" ").filter(Boolean));
  ids[wanted ? "add" : "delete"](id);
  if (ids.size) {
    input.setAttribute("aria-describedby", [...ids].join(" "));
  } else {
    input.removeAttribute("aria-describedby");
  }
}

function showText(element, text) {
  element.textContent = text;
  element.hidden = !text;
}
