// Puts the page together.

import { Basket } from "./basket.js";
import { BasketView } from "./basket_view.js";
import { Catalogue } from "./catalogue.js";
import { Checkout } from "./checkout.js";
import { Recommendations } from "./recommendations.js";
import { Search } from "./search.js";

const basket = new Basket();
const catalogue = new Catalogue(new Search(), (title) => basket.add(title));
const basketView = new BasketView(basket, catalogue);
const recommendations = new Recommendations(basket);
const checkout = new Checkout(basket, (order) => {
  recommendations.showSuggested(order.suggestedBooks);
  catalogue.refresh();
});

// The shop answers: prices and stock are known, and what it could not recommend before it may recommend now.
catalogue.addEventListener("change", () => {
  basketView.show();
  recommendations.refresh();
});
basketView.show();
catalogue.start();
checkout.resume();

// On a phone the bar at the bottom leads to the checkout; there it would only be in the way.
const bar = document.querySelector(".checkout-bar");
new IntersectionObserver(([{ isIntersecting }]) => (bar.hidden = isIntersecting)).observe(document.getElementById("checkout"));
