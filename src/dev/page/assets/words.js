/** How statuses, times and details are written, and the one way to make an element. No state; used by every part of the page. */

/** `out_for_delivery` → `Out for delivery`. */
export function title(word) {
  const text = String(word).replaceAll(/[_-]+/g, " ").trim();
  return text.charAt(0).toUpperCase() + text.slice(1);
}

const TIME = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const DAY = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short" });
const MINUTE = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit" });

/** Today `12:03:22`, else `21 Nov, 12:03`; in the reader's time zone. */
export function clock(time) {
  const date = new Date(time);
  if (Number.isNaN(date.getTime())) return "–";
  return date.toDateString() === new Date().toDateString() ? TIME.format(date) : `${DAY.format(date)}, ${MINUTE.format(date)}`;
}

/** A `<time>` that shows `clock` and holds the exact moment. */
export function timeElement(time) {
  return make("time", { dateTime: time, title: time }, clock(time));
}

/** As `clock`, to the minute: for times somebody planned. */
function moment(time) {
  const date = new Date(time);
  return date.toDateString() === new Date().toDateString() ? MINUTE.format(date) : `${DAY.format(date)}, ${MINUTE.format(date)}`;
}

const ACRONYM = /\b(eta|id|sku|url)\b/gi;
const MOMENT = /^\d{4}-\d\d-\d\dT\d\d:\d\d/;

/** The details of an order as pairs of name and text. */
export function detailPairs(details) {
  return Object.entries(details ?? {}).map(([name, value]) => {
    const label = title(name).replaceAll(ACRONYM, (word) => word.toUpperCase());
    if (typeof value === "string") return [label, MOMENT.test(value) ? moment(value) : value];
    return [label, typeof value === "object" && value !== null ? JSON.stringify(value) : String(value)];
  });
}

/** Properties are set as they are, `data` as data attributes, the rest of a name with a dash as attribute. Text is never markup. */
export function make(tag, { data, ...properties } = {}, ...children) {
  const element = document.createElement(tag);
  Object.assign(element.dataset, data);
  for (const [name, value] of Object.entries(properties)) {
    if (name.includes("-")) element.setAttribute(name, value);
    else element[name] = value;
  }
  element.append(...children.filter((child) => child !== null));
  return element;
}
