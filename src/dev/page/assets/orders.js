/**
 * Draws orders: as cards with their timeline for the customer, as a dense table for the merchant. It keeps nothing but the
 * elements; whatever it is given is the whole truth to draw. Called by `page.js`.
 */

import { detailPairs, make, timeElement, title } from "./words.js";

/** An order is easiest to find where it was: the newest first, by its first step, so that a change moves nothing. */
const newestFirst = (a, b) => born(b) - born(a) || (a.order_id < b.order_id ? 1 : -1);
const born = (order) => Date.parse(order.timeline[0]?.occurred_at);
const lastChangedFirst = (a, b) => Date.parse(b.occurred_at) - Date.parse(a.occurred_at) || newestFirst(a, b);

const CARDS_SHOWN = 12;
const FINISHED_SHOWN = 5;
const ROWS_SHOWN = 40;
const STEPS_SHOWN = 6;
const HIGHLIGHT_MS = 4_000;

/** @returns {(orders: object[]) => void} */
export function drawCards(root, settings, announce) {
  const part = (hook) => root.querySelector(`[data-${hook}]`);
  const active = keyedList(part("active"), "li", (order) => cardContent(order, settings), announceStatus(announce));
  const settled = keyedList(part("settled"), "li", (order) => settledContent(order, settings), announceStatus(announce));
  const limitActive = limited(root.querySelector("[data-action=more]"), CARDS_SHOWN, "orders", () => draw(last));
  const limitSettled = limited(root.querySelector("[data-action=more-finished]"), FINISHED_SHOWN, "finished orders", () => draw(last));
  let last = [];
  let first = true;

  function draw(orders) {
    last = orders;
    const finished = orders.filter((order) => order.terminal).sort(lastChangedFirst);
    part("finished").hidden = finished.length === 0;
    active(limitActive(orders.filter((order) => !order.terminal).sort(newestFirst)), { quietly: first });
    settled(limitSettled(finished), { quietly: first });
    first = orders.length === 0;
  }
  return draw;
}

/** @returns {(orders: object[]) => void} */
export function drawTable(root) {
  const table = root.querySelector("[data-table]");
  const rows = keyedList(root.querySelector("[data-rows]"), "tr", rowContent);
  const limit = limited(root.querySelector("[data-action=more]"), ROWS_SHOWN, "orders", () => draw(last));
  let last = [];
  let first = true;

  function draw(orders) {
    last = orders;
    table.hidden = orders.length === 0;
    const sorted = [...orders].sort((a, b) => a.terminal - b.terminal || (a.terminal ? lastChangedFirst : newestFirst)(a, b));
    rows(limit(sorted), { quietly: first });
    first = orders.length === 0;
  }
  return draw;
}

/**
 * One child per order in the order given; content is made anew only for an order that changed. What changed is highlighted,
 * except in the first drawing.
 */
function keyedList(list, tag, content, onStatus = () => {}) {
  const elements = new Map();
  return (orders, { quietly }) => {
    const kept = new Set(orders.map((order) => order.order_id));
    for (const [id, { element }] of elements) {
      if (kept.has(id)) continue;
      element.remove();
      elements.delete(id);
    }
    orders.forEach((order, index) => {
      const known = elements.get(order.order_id);
      const element = known?.element ?? make(tag, { data: { orderId: order.order_id } });
      if (known?.order !== order) {
        Object.assign(element.dataset, { status: order.status, version: order.version, terminal: order.terminal });
        element.replaceChildren(...content(order).filter(Boolean));
        elements.set(order.order_id, { element, order });
        if (!quietly && known?.order.rev !== order.rev) {
          highlight(element);
          onStatus(order);
        }
      }
      if (list.children[index] !== element) list.insertBefore(element, list.children[index] ?? null);
    });
  };
}

function highlight(element) {
  element.classList.remove("changed");
  void element.offsetWidth; // Without a layout between the two the browser would not start the animation again.
  element.classList.add("changed");
  clearTimeout(element.highlightTimer);
  element.highlightTimer = setTimeout(() => element.classList.remove("changed"), HIGHLIGHT_MS);
}

const announceStatus = (announce) => (order) => announce(`Order ${order.order_id}`, title(order.status));

/** Shows the first `count` of a list until its button is pressed. */
function limited(button, count, what, redraw) {
  let all = false;
  button.addEventListener("click", () => {
    all = !all;
    redraw();
  });
  return (orders) => {
    button.hidden = orders.length <= count;
    button.textContent = all ? `Show only ${count}` : `Show all ${orders.length} ${what}`;
    return all ? orders : orders.slice(0, count);
  };
}

function cardContent(order, settings) {
  return [
    make("div", { className: "card-head" }, make("h3", {}, order.order_id), make("p", { className: "when" }, "changed ", timeElement(order.occurred_at))),
    make("p", { className: "status" }, title(order.status)),
    timeline(order, settings),
    details(order),
  ];
}

function settledContent(order, settings) {
  const outcome = make("span", { className: "outcome" }, title(order.status));
  const summary = make("summary", {}, make("span", { className: "id" }, order.order_id), outcome, timeElement(order.occurred_at));
  return [make("details", {}, summary, timeline(order, settings), details(order))];
}

function rowContent(order) {
  const pairs = detailPairs(order.details);
  const text = pairs.map((pair) => pair.join(" ")).join(" · ");
  const extra = text ? make("span", { className: "extra", title: text }, text) : null;
  return [
    make("th", { scope: "row" }, make("span", { className: "id", title: order.order_id }, order.order_id)),
    make("td", { className: "status" }, title(order.status), extra),
    make("td", {}, timeElement(order.occurred_at)),
    make("td", { className: "number" }, String(order.version)),
  ];
}

/** The steps that were taken, then those that are still ahead on the usual way. */
function timeline(order, settings) {
  const ahead = (order.terminal ? [] : statusesAhead(order.status, settings)).slice(0, STEPS_SHOWN - 1).map((status) => ({ status, kind: "ahead" }));
  const hidden = Math.max(0, order.timeline.length - (STEPS_SHOWN - ahead.length));
  const taken = order.timeline.slice(hidden).map((step, index, steps) => ({
    ...step,
    gap: step.gap || (index === 0 && hidden > 0),
    kind: index === steps.length - 1 ? "current" : "done",
  }));
  return make("ol", { className: "timeline", "aria-label": `Timeline of ${order.order_id}` }, ...[...taken, ...ahead].map(stepElement));
}

function stepElement({ status, kind, gap, occurred_at }) {
  const step = make("li", { data: { step: kind, status, ...(gap && { gap: "" }) } }, make("span", { className: "label" }, title(status)));
  if (gap) step.prepend(make("span", { className: "unseen" }, "After earlier steps not shown: "));
  if (kind === "current") step.setAttribute("aria-current", "step");
  step.append(kind === "ahead" ? make("span", { className: "unseen" }, ", not yet") : timeElement(occurred_at));
  return step;
}

/** The usual way ends at the first terminal status; an unusual one (cancelled, unknown) has nothing known ahead. */
function statusesAhead(status, { statuses, terminal }) {
  const end = statuses.findIndex((other) => terminal.includes(other));
  const way = end < 0 ? statuses : statuses.slice(0, end + 1);
  const at = way.indexOf(status);
  return at < 0 ? [] : way.slice(at + 1);
}

function details(order) {
  const pairs = detailPairs(order.details);
  if (pairs.length === 0) return null;
  return make("dl", { className: "details" }, ...pairs.map(([name, value]) => make("div", {}, make("dt", {}, name), make("dd", {}, value))));
}
