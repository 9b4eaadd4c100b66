// Puts the page together.

import { Basket } from "./basket.js";
import { BasketView } from "./basket_view.js";
import { Catalogue } from "./catalogue.js";
import { Checkout } from "./checkout.js";

const basket = new Basket();
const catalogue = new Catalogue((title) => basket.add(title));
const basketView = new BasketView(basket, catalogue);
const checkout = new Checkout(basket, () => catalogue.refresh());

catalogue.addEventListener("change", () => basketView.show());
basketView.show();
catalogue.start();
checkout.resume();

// On a phone the bar at the bottom leads to the checkout; there it would only be in the way.
const bar = document.querySelector(".checkout-bar");
new IntersectionObserver(([{ isIntersecting }]) => (bar.hidden = isIntersecting)).observe(document.getElementById("checkout"));
