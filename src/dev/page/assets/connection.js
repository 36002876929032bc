/** The state of a connection in plain words. Pure; called by `page.js`. */

import { clock } from "./words.js";

const STALE_REASONS = {
  kafka_unavailable: "broker unavailable",
  catching_up: "still catching up",
  open_transaction: "a transaction in the event log is not finished",
  database_unavailable: "database unavailable",
  log_regression: "the event log was replaced",
  log_gap: "events are missing from the log",
};

const END_REASONS = {
  asked_to_reconnect: "dropped on request",
  client_closed: "closed by this page",
  complete: "all its orders are finished",
  connection_lost: "connection lost",
  disconnected: "ended by an operator",
  heartbeat_timeout: "the server heard nothing",
  internal_error: "error in the server",
  invalid_token: "token not accepted",
  missing_token: "no token",
  replaced: "opened in another place",
  revoked: "access was revoked",
  server_restart: "server restarting",
  silent: "nothing heard",
  slow_consumer: "this page read too slowly",
  snapshot_unavailable: "orders could not be read",
  token_expired: "token expired",
  token_unavailable: "no token to be had",
  too_many_errors: "too many refused messages",
  too_many_messages: "too many messages",
  too_many_sessions: "too many open pages",
  unreadable_frame: "unreadable frame",
  woke_up: "back after a pause",
};

const plain = (words, reason) => words[reason] ?? String(reason).replaceAll("_", " ");

const TRANSPORTS = { sse: ", by server-sent events", poll: ", by polling" };

export function connectionText(state, now, transport) {
  switch (state.name) {
    case "live":
      return `Live${TRANSPORTS[transport] ?? ""}`;
    case "stale": {
      const reasons = state.reasons.map((reason) => plain(STALE_REASONS, reason)).join(", ");
      return `May be out of date since ${clock(state.since)}: ${reasons}`;
    }
    case "connecting":
      return state.since === null ? "Connecting…" : "Reconnecting…";
    case "reconnecting": {
      const seconds = Math.ceil((state.at - now) / 1000);
      const when = seconds > 0 ? `Reconnecting in ${seconds} s` : "Reconnecting…";
      return `${when}: ${plain(END_REASONS, state.reason)}`;
    }
    default:
      return `Stopped: ${plain(END_REASONS, state.reason)}`;
  }
}

/** What stands above orders without a connection; empty where there is nothing to add. */
export function doubtText({ name, since }) {
  if (name === "live" || name === "stale" || since === null) return "";
  return `Last known at ${clock(since)}`;
}

/** As `connectionText`, without the countdown: it is read aloud once. */
export function announcement(state) {
  return connectionText(state, Infinity).replace("…", "");
}
