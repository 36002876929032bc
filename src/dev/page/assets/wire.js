/**
 * The frame log: what went over the wire, in both directions, and how each connection fared. Bounded; draws only while it
 * is unfolded, and the JSON of a frame only when that is opened. Called by `page.js`.
 */

import { make } from "./words.js";

const FRAMES_KEPT = 200;
const DIRECTIONS = { in: "received", out: "sent", state: "connection" };

export function openWireLog(root) {
  const part = (id) => root.querySelector(`#wire-${id}`);
  const [fold, list, count, pause, clear] = ["fold", "frames", "count", "pause", "clear"].map(part);
  /** Newest first. While paused, new ones wait in `held`, as bounded. */
  let entries = [];
  let held = [];
  let paused = false;
  let scheduled = false;

  function add(entry) {
    const target = paused ? held : entries;
    target.unshift(entry);
    target.length = Math.min(target.length, FRAMES_KEPT);
    if (scheduled) return;
    scheduled = true;
    requestAnimationFrame(draw);
  }

  function draw() {
    scheduled = false;
    const waiting = paused && held.length > 0 ? `, ${held.length} waiting` : "";
    count.textContent = entries.length + held.length === 0 ? "nothing yet" : `${entries.length} kept${waiting}`;
    pause.textContent = paused ? "Go on" : "Pause";
    pause.toggleAttribute("data-on", paused);
    if (!fold.open) return;
    const wanted = new Set(entries);
    for (const row of [...list.children]) if (!wanted.has(row.entry)) row.remove();
    const drawn = new Set(Array.from(list.children, (row) => row.entry));
    const fresh = entries.filter((entry) => !drawn.has(entry));
    list.prepend(...fresh.map(rowElement));
  }

  fold.addEventListener("toggle", draw);
  pause.addEventListener("click", () => {
    paused = !paused;
    entries = [...held, ...entries].slice(0, FRAMES_KEPT);
    held = [];
    draw();
  });
  clear.addEventListener("click", () => {
    entries = [];
    held = [];
    draw();
  });

  return {
    add: (view, { direction, at, text, message }) => add({ view, direction, at, type: message?.type ?? "?", note: frameNote(message, text), message }),
    addState: (view, state) => add({ view, direction: "state", at: Date.now(), type: state.name, note: stateNote(state), message: state }),
  };
}

function rowElement(entry) {
  const pre = make("pre");
  const summary = make(
    "summary", {},
    make("span", { className: "at" }, new Date(entry.at).toISOString().slice(11, 23)),
    make("span", { className: "whose" }, entry.view),
    make("span", { className: "direction", title: DIRECTIONS[entry.direction] }, make("span", { className: "unseen" }, DIRECTIONS[entry.direction])),
    make("span", { className: "type" }, entry.type),
    make("span", { className: "note" }, entry.note),
  );
  const details = make("details", {}, summary, pre);
  details.addEventListener("toggle", () => (pre.textContent ||= JSON.stringify(entry.message, null, 2)));
  const row = make("li", { data: { frame: entry.type, direction: entry.direction, of: entry.view } }, details);
  row.entry = entry;
  return row;
}

function frameNote(message, text) {
  const size = text.length < 1000 ? `${text.length} B` : `${(text.length / 1000).toFixed(1)} kB`;
  return [frameGist(message), size].filter(Boolean).join(", ");
}

function frameGist(message) {
  switch (message?.type) {
    case "welcome":
      return message.user_id ?? "link";
    case "snapshot":
      return `${message.partial ? "partial" : "full"}, ${message.orders.length} orders`;
    case "sync":
      return message.orders ? `${Object.keys(message.orders).length} orders named` : "everything";
    case "order_status":
      return `${message.order_id} ${message.status}`;
    case "removed":
      return message.order_id;
    case "stale":
      return message.reasons.join(" ");
    case "error":
      return message.code;
    case "closing":
      return `${message.code} ${message.reason}`;
  }
}

const stateNote = ({ code, reason, reasons }) => [code, reason, reasons?.join(" ")].filter(Boolean).join(" ");
