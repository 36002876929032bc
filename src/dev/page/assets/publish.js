/**
 * The form that publishes a change: checks what can be checked here, posts an order event to `/demo/events`, and says by
 * the field what was wrong. It shows no order; the views do, once the event has come round. Called by `page.js`.
 */

import { make, title } from "./words.js";

const OTHER = " other";
const ANSWER_TIMEOUT_MS = 10_000;
const FIELDS = ["order", "status", "details", "viewers"];

/** @param known  `userId()`: whose order it will be; `order(id)`: what is known of it. */
export function setUpPublishing(root, settings, known) {
  const part = (id) => root.querySelector(`#publish-${id}`);
  const form = part("form");
  let detailsAreOwn = false;

  part("status").append(...settings.statuses.map((status) => make("option", { value: status }, title(status))), make("option", { value: OTHER }, "Other…"));
  part("merchant-id").textContent = settings.merchant.user_id;
  part("order").value = `D-${1000 + Math.floor(Math.random() * 9000)}`;

  const orderId = () => part("order").value.trim();

  /** Every event carries the whole order, so a change begins with what is known of it. */
  function takeOver() {
    const order = known.order(orderId());
    part("status").value = statusAfter(order?.status, settings);
    if (!detailsAreOwn) part("details").value = Object.keys(order?.details ?? {}).length > 0 ? JSON.stringify(order.details, null, 2) : "";
    showAll();
  }

  /** @returns {{event?: object, errors: Record<string, string>}} */
  function read() {
    const errors = {};
    const event = { order_id: orderId(), user_id: known.userId(), status: part("status").value };
    if (event.status === OTHER) event.status = part("other").value.trim();
    if (!event.order_id) errors.order = "Name the order.";
    if (!event.status) errors.status = "Name the status.";
    const text = part("details").value.trim();
    try {
      if (text) event.details = JSON.parse(text);
      if (text && Object.prototype.toString.call(event.details) !== "[object Object]") errors.details = "Details are a JSON object, like { \"carrier\": \"DHL\" }.";
    } catch (error) {
      errors.details = `Not JSON: ${error.message}.`;
    }
    const viewers = [part("merchant").checked && settings.merchant.user_id, part("courier").value.trim()].filter(Boolean);
    if (viewers.length > 0) event.viewers = viewers;
    return { event, errors };
  }

  function showAll() {
    part("other-field").hidden = part("status").value !== OTHER;
    part("kcat").textContent = kcatCommand(read().event, settings);
  }

  function showErrors(errors) {
    for (const field of FIELDS) {
      const message = part(`${field}-error`);
      message.textContent = errors[field] ?? "";
      message.hidden = !errors[field];
      inputOf(field).setAttribute("aria-invalid", Boolean(errors[field]));
    }
    part("error").textContent = errors.form ?? "";
    part("error").hidden = !errors.form;
    const first = FIELDS.find((field) => errors[field]);
    if (first) inputOf(first).focus();
  }

  function inputOf(field) {
    if (field === "viewers") return part("courier");
    return field === "status" && part("status").value === OTHER ? part("other") : part(field);
  }

  async function publish() {
    const { event, errors } = read();
    part("result").textContent = "";
    showErrors(errors);
    if (Object.keys(errors).length > 0) return;
    part("submit").setAttribute("aria-disabled", true);
    try {
      const { partition, offset } = await post(event);
      part("result").textContent = `${event.order_id} ${title(event.status)}: taken by the broker, partition ${partition}, offset ${offset}.`;
      part("status").value = statusAfter(event.status, settings);
      showAll();
    } catch (error) {
      showErrors(errorsByField(error.message));
    } finally {
      part("submit").setAttribute("aria-disabled", false);
    }
  }

  form.addEventListener("submit", (submission) => {
    submission.preventDefault();
    if (part("submit").getAttribute("aria-disabled") !== "true") publish();
  });
  form.addEventListener("input", ({ target }) => {
    if (target === part("details")) detailsAreOwn = target.value.trim() !== "";
    if (target === part("order")) takeOver();
    else showAll();
  });
  takeOver();

  return {
    setKnownOrders: (ids) => {
      const list = part("orders");
      if (ids.length === list.children.length && ids.every((id, index) => list.children[index].value === id)) return;
      list.replaceChildren(...ids.map((id) => make("option", { value: id })));
    },
  };
}

async function post(event) {
  let answer;
  try {
    answer = await fetch("/demo/events", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(event),
      signal: AbortSignal.timeout(ANSWER_TIMEOUT_MS),
    });
  } catch (error) {
    throw new Error(error.name === "TimeoutError" ? "The server did not answer within 10 s. The change may still come." : "The server could not be reached.");
  }
  const body = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Error(body.detail ?? body.title ?? `The server answered ${answer.status}.`);
  return body;
}

/** An error that names a field of the event stands by that field, any other below the form. */
function errorsByField(message) {
  const field = FIELDS.find((name) => message.includes(name === "order" ? "order_id" : name));
  return { [field ?? "form"]: message };
}

function statusAfter(status, { statuses, terminal }) {
  const at = statuses.indexOf(status);
  if (at < 0) return statuses[0];
  return terminal.includes(status) ? status : statuses[at + 1] ?? status;
}

function kcatCommand(event, { kafka_brokers, topic }) {
  const quoted = (text) => `'${text.replaceAll("'", `'\\''`)}'`;
  return `echo ${quoted(JSON.stringify(event))} |\n  kcat -P -b ${kafka_brokers} -t ${topic} -k ${quoted(event.order_id)}`;
}
