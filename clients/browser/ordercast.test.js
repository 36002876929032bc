// The rules of the client, driven by a fake socket and a fake clock. `node --test`

import assert from "node:assert/strict";
import { test } from "node:test";
import { OrdercastClient, isStopCode } from "./ordercast.js";

/** Timers, clock, chance and wake-up events that move only when a test says so. */
class FakeEnv extends EventTarget {
  time = Date.parse("2026-11-21T09:30:00Z");
  timers = [];
  chance = 0.5;
  Date = { now: () => this.time };
  Math = { random: () => this.chance };
  document = Object.assign(new EventTarget(), { visibilityState: "visible" });

  setTimeout(run, ms = 0) {
    const timer = { at: this.time + ms, run };
    this.timers.push(timer);
    return timer;
  }

  clearTimeout(timer) {
    this.timers = this.timers.filter((other) => other !== timer);
  }

  async pass(ms) {
    const until = this.time + ms;
    for (;;) {
      await settle();
      const next = this.timers.filter((timer) => timer.at <= until).sort((a, b) => a.at - b.at)[0];
      if (!next) break;
      this.time = Math.max(this.time, next.at);
      this.clearTimeout(next);
      next.run();
    }
    this.time = until;
    await settle();
  }

  /** The machine sleeps: the clock goes on, no timer fires. */
  sleep(ms) {
    this.time += ms;
  }
}

const settle = () => new Promise((resolve) => setImmediate(resolve));

const order = (id, version = 1, more = {}) => ({
  order_id: id, status: "created", version, rev: `r-${id}-${version}`, terminal: false, occurred_at: "2026-11-21T09:00:00.000Z",
  details: {}, timeline: [{ status: "created", version, occurred_at: "2026-11-21T09:00:00.000Z" }], ...more,
});

const update = (id, version, status, previous_version) => {
  const { timeline, ...fields } = order(id, version, { status });
  return { type: "order_status", ...fields, event_id: `e-${version}`, previous_version, previous_status: "created" };
};

async function start(options = {}) {
  const env = options.env ?? new FakeEnv();
  const sockets = [];
  class FakeSocket {
    sent = [];
    closed = false;
    constructor(url, protocols) {
      Object.assign(this, { url, protocols });
      sockets.push(this);
    }
    send(text) {
      this.sent.push(JSON.parse(text));
    }
    close() {
      this.closed = true;
    }
    says(...messages) {
      for (const message of messages) this.onmessage?.({ data: JSON.stringify(message) });
    }
    welcomes(...orders) {
      this.says(
        { type: "welcome", session_id: "s", user_id: "u-42", heartbeat_ms: 25_000, protocol: 1 },
        { type: "snapshot", partial: false, first: true, complete: true, orders, removed: [] },
      );
    }
    breaks(code = 1006, reason = "") {
      this.onclose?.({ code, reason });
    }
  }
  const states = [];
  const client = new OrdercastClient({
    url: "ws://shop.test/order-status", token: "t-1", WebSocket: FakeSocket, env,
    onState: (state) => states.push(state.name), ...options,
  });
  client.connect();
  await settle();
  return { env, client, states, sockets, get socket() { return sockets.at(-1); } };
}

/** The same where requests can be made: `requests` are those that were, to be answered by the test. */
async function startWithFetch(options = {}, stored = new Map()) {
  const requests = [];
  const fetch = (url, { headers, body, signal }) =>
    new Promise((resolve, reject) => {
      signal.addEventListener("abort", () => reject(new Error("aborted")));
      const headersOf = (more) => ({ get: (name) => more[name] ?? null });
      const chunks = [];
      let wants;
      const push = (chunk) => (wants ? wants(chunk) : chunks.push(chunk));
      const read = () => new Promise((took, broke) => {
        signal.addEventListener("abort", () => broke(new Error("aborted")));
        if (chunks.length > 0) return took(chunks.shift());
        wants = (chunk) => { wants = undefined; took(chunk); };
      });
      requests.push({
        path: new URL(url).pathname, url, headers, signal, body: JSON.parse(body),
        breaks: () => reject(new TypeError("network")),
        answers: (json, status = 200, more = {}) => resolve({ status, headers: headersOf(more), json: async () => json }),
        streams: () => resolve({ status: 200, headers: headersOf({}), body: { getReader: () => ({ read }) } }),
        says: (text) => push({ value: new TextEncoder().encode(text), done: false }),
        ends: () => push({ done: true }),
      });
    });
  const sessionStorage = { getItem: (key) => stored.get(key) ?? null, setItem: (key, value) => stored.set(key, value) };
  const env = Object.assign(new FakeEnv(), { fetch, AbortController, sessionStorage });
  const started = await start({ ...options, env });
  return { ...started, env, requests, stored, get request() { return requests.at(-1); }, get socket() { return started.sockets.at(-1); } };
}

const event = (message) => `data: ${JSON.stringify(message)}\n\n`;
const welcome = { type: "welcome", session_id: "s", user_id: "u-42", heartbeat_ms: 25_000, protocol: 1 };
const full = (...orders) => ({ type: "snapshot", partial: false, first: true, complete: true, orders, removed: [] });

const shown = (client) => Object.fromEntries([...client.orders].map(([id, { status, version }]) => [id, `${status} ${version}`]));

test("token_travels_as_subprotocol_and_not_in_the_address", async () => {
  const { socket } = await start();
  assert.equal(socket.url, "ws://shop.test/order-status");
  assert.deepEqual(socket.protocols, ["ordercast.v1", "bearer.t-1"]);
});

test("is_live_only_after_the_whole_first_snapshot", async () => {
  const { client, socket } = await start();
  socket.says({ type: "welcome", user_id: "u-42", heartbeat_ms: 25_000 });
  assert.equal(client.state.name, "connecting");
  socket.says({ type: "snapshot", partial: false, first: true, complete: false, orders: [order("A")], removed: [] });
  assert.equal(client.state.name, "connecting");
  socket.says({ type: "snapshot", partial: false, first: false, complete: true, orders: [order("B")], removed: [] });
  assert.deepEqual(client.state, { name: "live", since: null });
  assert.deepEqual(shown(client), { A: "created 1", B: "created 1" });
  assert.equal(client.userId, "u-42");
});

test("full_snapshot_clears_and_partial_snapshot_merges", async () => {
  const { client, socket } = await start();
  socket.welcomes(order("A"), order("B"));
  socket.says({ type: "snapshot", partial: true, first: true, complete: true, orders: [order("B", 2), order("C")], removed: ["A"] });
  assert.deepEqual(shown(client), { B: "created 2", C: "created 1" });
  socket.says({ type: "snapshot", partial: false, first: true, complete: true, orders: [order("D")], removed: [] });
  assert.deepEqual(shown(client), { D: "created 1" });
});

test("update_replaces_the_order_without_comparing_and_adds_its_step", async () => {
  const { client, socket } = await start();
  socket.welcomes(order("A", 3, { details: { carrier: "DHL" } }));
  socket.says(update("A", 2, "packed"));
  const { status, version, details, timeline, type } = client.orders.get("A");
  assert.deepEqual([status, version, details, type], ["packed", 2, {}, undefined]);
  assert.deepEqual(timeline.map((step) => step.status), ["created", "packed"]);
  socket.says({ type: "snapshot", partial: true, first: true, complete: true, orders: [order("A", 4)], removed: [] });
  assert.deepEqual(client.orders.get("A").timeline.map((step) => step.version), [4], "a snapshot's timeline replaces");
});

test("removed_deletes", async () => {
  const changes = [];
  const { client, socket } = await start({ onOrders: (_, changed) => changes.push(changed) });
  socket.welcomes(order("A"));
  socket.says({ type: "removed", order_id: "A" }, { type: "removed", order_id: "never-shown" });
  assert.equal(client.orders.size, 0);
  assert.deepEqual(changes, [["A"], ["A"]]);
});

test("skipped_steps_are_marked_and_asked_for_once", async () => {
  const { env, client, socket } = await start();
  socket.welcomes(order("A"), order("B"));
  socket.says(update("A", 2, "paid", 1));
  await env.pass(2_000);
  assert.deepEqual(socket.sent, [], "no step is missing");
  socket.says(update("A", 5, "shipped", 4), update("A", 7, "delivered", 6));
  assert.deepEqual(client.orders.get("A").timeline.map((step) => step.gap ?? false), [false, false, true, true]);
  await env.pass(2_000);
  assert.deepEqual(socket.sent, [{ type: "sync", orders: { B: "r-B-1" } }]);
});

test("stale_names_reasons_and_since_until_fresh", async () => {
  const { client, socket } = await start();
  socket.welcomes();
  socket.says({ type: "stale", since: "2026-11-21T09:29:00.000Z", reasons: ["kafka_unavailable"] });
  assert.deepEqual(client.state, { name: "stale", reasons: ["kafka_unavailable"], since: Date.parse("2026-11-21T09:29:00Z") });
  socket.says({ type: "fresh" });
  assert.equal(client.state.name, "live");
});

test("lost_connection_keeps_the_orders_says_since_when_and_syncs_what_it_shows", async () => {
  const { env, client, sockets, states } = await start();
  sockets[0].welcomes(order("A", 2), order("B"));
  const seen = env.time;
  await env.pass(3_000);
  sockets[0].breaks();
  assert.deepEqual(client.state, {
    name: "reconnecting", attempt: 1, at: env.time + 250, code: 1006, reason: "connection_lost", since: seen,
  });
  await env.pass(250);
  assert.equal(sockets[1].url, "ws://shop.test/order-status?sync=wait");
  assert.deepEqual(shown(client), { A: "created 2", B: "created 1" });
  sockets[1].says({ type: "welcome", user_id: "u-42", heartbeat_ms: 25_000 });
  assert.deepEqual(sockets[1].sent, [{ type: "sync", orders: { A: "r-A-2", B: "r-B-1" } }]);
  assert.equal(client.state.since, seen, "still in doubt before the answer");
  sockets[1].says({ type: "snapshot", partial: true, first: true, complete: true, orders: [order("C")], removed: ["B"] });
  assert.deepEqual(shown(client), { A: "created 2", C: "created 1" });
  assert.deepEqual(states, ["connecting", "live", "reconnecting", "connecting", "live"]);
});

test("more_orders_than_a_sync_holds_start_with_a_full_snapshot", async () => {
  const { env, sockets } = await start();
  sockets[0].welcomes(...Array.from({ length: 2_001 }, (_, index) => order(`A-${index}`)));
  sockets[0].breaks();
  await env.pass(500);
  assert.equal(sockets[1].url, "ws://shop.test/order-status");
  sockets[1].says({ type: "welcome", user_id: "u-42", heartbeat_ms: 25_000 });
  assert.deepEqual(sockets[1].sent, []);
});

test("another_user_never_sees_the_orders_of_the_one_before", async () => {
  const { env, client, sockets } = await start();
  sockets[0].welcomes(order("A"));
  sockets[0].breaks();
  await env.pass(500);
  sockets[1].says({ type: "welcome", user_id: "u-7", heartbeat_ms: 25_000 });
  assert.equal(client.orders.size, 0);
  assert.deepEqual(sockets[1].sent, [{ type: "sync" }]);
});

test("stop_codes_stop_and_all_others_reconnect", async () => {
  for (const code of [1002, 1003, 1007, 1009, 1010, 4500, 4503, 4504, 4510, 4513, 4999]) {
    assert.equal(isStopCode(code), true, `${code}`);
    const { env, client, sockets } = await start();
    sockets[0].welcomes();
    sockets[0].breaks(code, "why");
    await env.pass(60_000);
    assert.deepEqual([client.state.name, client.state.code, client.state.reason, sockets.length], ["stopped", code, "why", 1]);
  }
  for (const code of [1000, 1001, 1005, 1006, 1008, 1011, 1012, 1013, 1014, 3000, 4008, 4011, 4012, 4013, 4014, 4499, 5000]) {
    assert.equal(isStopCode(code), false, `${code}`);
    const { env, sockets } = await start();
    sockets[0].welcomes();
    sockets[0].breaks(code);
    await env.pass(500);
    assert.equal(sockets.length, 2, `${code} reconnects`);
  }
});

test("a_stop_code_that_a_gateway_made_up_before_the_server_spoke_reconnects", async () => {
  for (const code of [1002, 1003, 1007, 1009, 1010]) {
    assert.equal(isStopCode(code, false), false, `${code}`);
    const { env, client, sockets } = await start();
    sockets[0].welcomes(order("A"));
    sockets[0].breaks(1012);
    await env.pass(500);
    sockets[1].breaks(code);
    assert.deepEqual([client.state.name, client.state.code], ["reconnecting", code], "of the connection before it was heard");
    await env.pass(1_000);
    sockets[2].says({ type: "closing", code, reason: "why", retry: false });
    assert.deepEqual([client.state.name, client.state.code, client.state.reason], ["stopped", code, "why"], "it was told");
  }
  for (const code of [4500, 4503, 4999]) {
    assert.equal(isStopCode(code, false), true, `${code}`);
    const { client, sockets } = await start();
    sockets[0].breaks(code);
    assert.equal(client.state.name, "stopped", `${code}: nothing in between makes it up`);
  }
});

test("token_is_taken_without_the_white_space_around_it", async () => {
  const { socket } = await start({ token: async () => " t-1\r\n" });
  assert.deepEqual(socket.protocols, ["ordercast.v1", "bearer.t-1"]);
  const { client, sockets } = await start({ token: " \n" });
  assert.deepEqual([client.state.name, client.state.reason, sockets.length], ["stopped", "missing_token", 0]);
});

test("backoff_is_jittered_doubles_to_twenty_seconds_and_starts_anew_after_a_session_of_thirty", async () => {
  const { env, client, sockets } = await start();
  env.chance = 1;
  const delays = [];
  const breakNow = async () => {
    sockets.at(-1).breaks();
    delays.push(client.state.at - env.time);
    await env.pass(delays.at(-1));
  };
  for (let attempt = 0; attempt < 7; attempt += 1) await breakNow();
  assert.deepEqual(delays.splice(0), [500, 1_000, 2_000, 4_000, 8_000, 16_000, 20_000]);
  sockets.at(-1).welcomes();
  await env.pass(29_000);
  await breakNow();
  assert.deepEqual(delays.splice(0), [20_000], "a short session proves nothing");
  sockets.at(-1).welcomes();
  await env.pass(31_000);
  await breakNow();
  assert.deepEqual(delays.splice(0), [500]);
  env.chance = 0;
  await breakNow();
  assert.deepEqual(delays, [0], "full jitter reaches down to nothing");
});

test("closing_frame_ends_the_session_and_sets_the_delay", async () => {
  const { env, client, sockets } = await start();
  sockets[0].welcomes(order("A"));
  sockets[0].says({ type: "closing", code: 1012, reason: "server_restart", retry: true, reconnect_after_ms: 3_120 });
  const { name, at, reason } = client.state;
  assert.deepEqual([name, at - env.time, reason], ["reconnecting", 3_120, "server_restart"]);
  assert.equal(sockets[0].closed, true);
  sockets[0].breaks(4503);
  env.dispatchEvent(new Event("online"));
  await env.pass(3_119);
  assert.equal(sockets.length, 1, "a wake-up does not shorten the server's delay");
  await env.pass(1);
  assert.equal(sockets.length, 2);
});

test("expired_token_is_replaced_before_reconnecting", async () => {
  const tokens = ["old", "old", "new"];
  const { env, client, sockets } = await start({ token: async () => tokens.shift() });
  sockets[0].says({ type: "closing", code: 4005, reason: "token_expired", retry: true });
  await env.pass(250);
  assert.deepEqual([sockets.length, client.state.name], [1, "reconnecting"], "the expired token is not tried again");
  await env.pass(500);
  assert.deepEqual(sockets[1].protocols, ["ordercast.v1", "bearer.new"]);
});

test("expired_fixed_token_stops_and_connect_starts_again", async () => {
  const { client, sockets } = await start({ token: "fixed" });
  sockets[0].welcomes(order("A"));
  sockets[0].breaks(4005, "token_expired");
  assert.deepEqual([client.state.name, client.state.reason], ["stopped", "token_expired"]);
  client.connect();
  await settle();
  assert.equal(sockets.length, 2);
});

test("token_that_cannot_be_had_is_asked_for_again", async () => {
  let asked = 0;
  const { env, client, sockets } = await start({
    token: () => {
      asked += 1;
      if (asked === 1) throw new Error("offline");
      return "t-2";
    },
  });
  assert.deepEqual([client.state.name, client.state.reason], ["reconnecting", "token_unavailable"]);
  await env.pass(500);
  assert.equal(sockets.length, 1);
});

test("no_token_stops_without_connecting", async () => {
  const { client, sockets } = await start({ token: "" });
  assert.deepEqual([client.state.name, client.state.reason, sockets.length], ["stopped", "missing_token", 0]);
});

test("socket_silent_for_two_heartbeats_is_dead", async () => {
  const { env, client, sockets } = await start();
  sockets[0].welcomes();
  await env.pass(40_000);
  sockets[0].says({ type: "heartbeat" });
  await env.pass(49_999);
  assert.equal(client.state.name, "live");
  await env.pass(1);
  assert.deepEqual([client.state.name, client.state.reason, sockets[0].closed], ["reconnecting", "silent", true]);
});

test("attempt_that_gets_no_answer_is_given_up", async () => {
  const { env, sockets } = await start();
  await env.pass(20_250);
  assert.deepEqual([sockets[0].closed, sockets.length], [true, 2]);
});

test("wake_up_after_missed_heartbeats_or_offline_reconnects_at_once", async () => {
  for (const wake of [
    (env) => env.sleep(26_000) ?? env.document.dispatchEvent(new Event("visibilitychange")),
    (env) => env.dispatchEvent(new Event("online")),
    (env) => env.document.dispatchEvent(new Event("resume")),
    (env) => env.dispatchEvent(Object.assign(new Event("pageshow"), { persisted: true })),
  ]) {
    const { env, client, sockets } = await start();
    sockets[0].welcomes();
    wake(env);
    assert.deepEqual([client.state.name, client.state.reason], ["reconnecting", "woke_up"]);
    await env.pass(250);
    assert.equal(sockets.length, 2);
  }
});

test("shown_again_page_asks_its_socket_and_believes_only_an_answer", async () => {
  for (const answers of [true, false]) {
    const { env, client, sockets } = await start();
    sockets[0].welcomes();
    env.document.dispatchEvent(new Event("visibilitychange"));
    assert.deepEqual(sockets[0].sent, [{ type: "ping" }]);
    if (answers) sockets[0].says({ type: "pong" });
    await env.pass(5_000);
    assert.equal(client.state.name, answers ? "live" : "reconnecting");
  }
});

test("wake_up_shortens_a_long_backoff", async () => {
  const { env, client, sockets } = await start();
  for (let attempt = 0; attempt < 6; attempt += 1) {
    sockets.at(-1).breaks();
    await env.pass(client.state.at - env.time);
  }
  sockets.at(-1).breaks();
  const before = sockets.length;
  env.dispatchEvent(new Event("online"));
  await env.pass(250);
  assert.equal(sockets.length, before + 1);
});

test("own_close_is_final_and_silences_everything", async () => {
  const { env, client, sockets } = await start();
  sockets[0].welcomes(order("A"));
  client.close();
  assert.deepEqual([client.state.name, client.state.reason, sockets[0].closed], ["stopped", "client_closed", true]);
  sockets[0].says(update("A", 2, "packed", 1));
  env.dispatchEvent(new Event("online"));
  await env.pass(120_000);
  assert.deepEqual([shown(client), sockets.length, env.timers.length], [{ A: "created 1" }, 1, 0]);
});

test("close_while_the_token_is_being_fetched_opens_no_socket", async () => {
  let give;
  const { client, sockets } = await start({ token: () => new Promise((resolve) => (give = resolve)) });
  client.close();
  give("late");
  await settle();
  assert.deepEqual([client.state.name, sockets.length], ["stopped", 0]);
});

test("unreadable_frame_starts_afresh", async () => {
  const { client, sockets } = await start();
  sockets[0].welcomes();
  sockets[0].onmessage({ data: "{" });
  assert.deepEqual([client.state.name, client.state.reason], ["reconnecting", "unreadable_frame"]);
});

test("throwing_listener_does_not_disturb_the_client", async () => {
  const { env, client, socket } = await start({
    onOrders: () => {
      throw new Error("mine");
    },
  });
  socket.welcomes(order("A"));
  assert.equal(client.state.name, "live");
  await assert.rejects(env.pass(0), /mine/);
});

test("every_frame_is_told_in_both_directions", async () => {
  const frames = [];
  const { env, sockets } = await start({ onFrame: ({ direction, message }) => frames.push(`${direction} ${message.type}`) });
  sockets[0].welcomes(order("A"));
  sockets[0].breaks();
  await env.pass(500);
  sockets[1].says({ type: "welcome", user_id: "u-42", heartbeat_ms: 25_000 }, { type: "a_type_of_tomorrow" });
  assert.deepEqual(frames, ["in welcome", "in snapshot", "in welcome", "out sync", "in a_type_of_tomorrow"]);
});

test("says_where_the_rest_of_a_long_list_is_until_there_is_none", async () => {
  const heard = [];
  const { env, client, sockets } = await start({ onOlder: (older) => heard.push(older) });
  const page = (fields) => ({ type: "snapshot", partial: false, first: true, complete: true, orders: [], removed: [], ...fields });
  sockets[0].says({ type: "welcome", user_id: "u-42", heartbeat_ms: 25_000 });
  assert.equal(client.older, null);
  sockets[0].says(page({ complete: false, orders: [order("A")] }), page({ first: false, truncated: true, older: "/orders?after=1:A" }));
  assert.equal(client.older, "/orders?after=1:A");
  sockets[0].says(page({ partial: true, orders: [order("B")] }));
  assert.equal(client.older, "/orders?after=1:A", "a later partial snapshot says nothing of the list");
  sockets[0].breaks();
  await env.pass(500);
  sockets[1].says({ type: "welcome", user_id: "u-42", heartbeat_ms: 25_000 });
  assert.equal(client.older, "/orders?after=1:A");
  sockets[1].says(page({ partial: true }));
  assert.equal(client.older, null, "the answer to a sync is the first of the session");
  sockets[1].says(page({ partial: true, truncated: true, older: "/orders?after=2:B" }), page({}));
  assert.deepEqual(heard, ["/orders?after=1:A", null, "/orders?after=2:B", null]);
});

test("falls_back_to_a_stream_of_events_where_no_websocket_gets_through", async () => {
  const all = await startWithFetch();
  all.socket.breaks();
  await all.env.pass(500);
  const { request } = all;
  assert.deepEqual([request.url, request.headers.Authorization, request.body], ["http://shop.test/order-status/events", "Bearer t-1", {}]);
  assert.ok(!request.url.includes("t-1"), "no token in the address");
  request.streams();
  request.says("retry: 2500\n\n" + event(welcome).slice(0, 30));
  await all.env.pass(1);
  request.says(event(welcome).slice(30) + event(full(order("A"))));
  await all.env.pass(1);
  assert.deepEqual([all.client.state.name, all.client.transport, all.client.userId], ["live", "sse", "u-42"]);
  request.says(`data: {"type":"order_status","order_id":"A","status":"packed","version":2,\ndata: "details":{},"previous_version":1}\n\n`);
  await all.env.pass(1);
  assert.deepEqual(shown(all.client), { A: "packed 2" });
  request.ends();
  await all.env.pass(1000);
  assert.deepEqual([all.request.path, all.request.body], ["/order-status/events", { orders: {} }], "what it shows stands in the request");
});

test("falls_back_to_polls_where_a_stream_is_held_back", async () => {
  const all = await startWithFetch();
  all.socket.breaks();
  await all.env.pass(500);
  all.request.streams();
  await all.env.pass(8_500);
  assert.deepEqual([all.request.path, all.request.body, all.client.transport], ["/order-status/poll", { wait_ms: 0 }, "poll"]);
  all.request.answers({ frames: [full(order("A"))], poll_again: true });
  await all.env.pass(1);
  assert.equal(all.client.state.name, "live");
  assert.deepEqual(all.request.body, { orders: { A: "r-A-1" }, wait_ms: 25_000 });
  all.request.answers({ frames: [{ type: "stale", since: "2026-11-21T09:30:00Z", reasons: ["log_gap"] }], poll_again: true });
  await all.env.pass(1);
  assert.equal(all.client.state.name, "stale");
  assert.deepEqual(all.request.body, { orders: { A: "r-A-1" }, stale: ["log_gap"], wait_ms: 25_000 });
  all.request.answers({ frames: [], poll_again: true });
  await all.env.pass(1);
  assert.equal(all.client.state.name, "stale", "nothing differs, and that it is stale does not, either");
  all.request.answers({ frames: [{ type: "fresh" }], poll_again: true });
  await all.env.pass(1);
  assert.equal(all.client.state.name, "live");
  await all.env.pass(60_000);
  assert.equal(all.client.state.name === "live", false, "a poll that is not answered is a dead connection");
});

test("a_gap_is_asked_for_by_the_next_request", async () => {
  const all = await startWithFetch({ transports: ["sse", "poll"] });
  all.request.streams();
  all.request.says(event(welcome) + event(full(order("A"), order("B"))));
  await all.env.pass(1);
  const { timeline, ...fields } = order("A", 4);
  all.request.says(event({ type: "order_status", ...fields, previous_version: 3 }));
  await all.env.pass(1);
  assert.ok(all.client.orders.get("A").timeline.at(-1).gap);
  const before = all.request;
  await all.env.pass(1_100);
  assert.deepEqual([all.request.body, before.signal.aborted], [{ orders: { A: "", B: "r-B-1" } }, true]);
  assert.equal(all.client.state.name, "live", "nothing is in doubt meanwhile");
});

test("refusals_over_http_say_when_to_come_back_or_that_nobody_is_to", async () => {
  const all = await startWithFetch({ transports: ["poll"], token: async () => "t-1" });
  all.request.answers({ code: "not_ready" }, 503, { "Retry-After": "2" });
  await all.env.pass(1);
  assert.deepEqual([all.client.state.name, all.client.state.reason], ["reconnecting", "not_ready"]);
  assert.equal(all.client.state.at - all.env.time, 2_999, "two seconds, and half of two more");
  await all.env.pass(3_000);
  all.request.answers({ code: "expired_token" }, 401);
  await all.env.pass(1);
  assert.deepEqual([all.client.state.name, all.client.state.code], ["reconnecting", 4005]);
  const other = await startWithFetch({ transports: ["poll"] });
  other.request.answers({ code: "invalid_token" }, 401);
  await other.env.pass(1);
  assert.deepEqual([other.client.state.name, other.client.state.code], ["stopped", 4500]);
  const last = await startWithFetch({ transports: ["poll"] });
  last.request.answers({ frames: [{ type: "closing", code: 4503, reason: "revoked", retry: false }], poll_again: false });
  await last.env.pass(1);
  assert.deepEqual([last.client.state.name, last.client.state.reason, last.requests.length], ["stopped", "revoked", 1]);
});

test("one_that_has_worked_gets_a_second_chance_and_is_begun_with_the_next_time", async () => {
  const all = await startWithFetch();
  all.socket.breaks();
  await all.env.pass(500);
  all.request.streams();
  all.request.says(event(welcome) + event(full()));
  await all.env.pass(1);
  all.request.ends();
  await all.env.pass(1_000);
  all.request.breaks();
  await all.env.pass(1_000);
  assert.deepEqual([all.client.transport, all.sockets.length], ["sse", 1], "a server that restarts is no proxy");
  all.request.breaks();
  await all.env.pass(500);
  assert.equal(all.client.transport, "poll");
  const next = await startWithFetch({}, all.stored);
  assert.deepEqual([next.client.transport, next.sockets.length], ["sse", 0]);
  const forbidden = { getItem: () => { throw new Error("no"); }, setItem: () => { throw new Error("no"); } };
  const shy = await start({ env: Object.assign(new FakeEnv(), { sessionStorage: forbidden }) });
  shy.socket.welcomes(order("A"));
  assert.equal(shy.client.state.name, "live", "a page that may store nothing");
});

test("where_nothing_gets_through_it_waits_longer_and_longer_and_begins_with_the_best", async () => {
  const all = await startWithFetch();
  const cycle = async () => {
    all.socket.breaks();
    await all.env.pass(500);
    all.request.breaks();
    await all.env.pass(500);
    all.request.breaks();
    await settle();
    const wait = all.client.state.at - all.env.time;
    await all.env.pass(wait);
    return wait;
  };
  assert.deepEqual([await cycle(), await cycle(), await cycle()], [250, 500, 1_000]);
  assert.deepEqual([all.sockets.length, all.client.transport], [4, "websocket"]);
});

test("after_a_network_that_was_down_the_best_one_is_back_soon", async () => {
  const all = await startWithFetch();
  all.socket.welcomes(order("A"));
  for (const breaks of [() => all.socket.breaks(), () => all.socket.breaks(), () => all.socket.breaks()]) {
    breaks();
    await all.env.pass(2_000);
  }
  assert.equal(all.client.transport, "sse");
  all.request.streams();
  all.request.says(event(welcome) + event({ ...full(order("A")), partial: true }));
  await all.env.pass(5_001);
  all.socket.says(welcome);
  assert.deepEqual([all.client.transport, JSON.parse(all.stored.get("ordercast.transport")).transport], ["websocket", "websocket"]);
});

test("tries_the_better_one_later_beside_what_works", async () => {
  const all = await startWithFetch();
  all.socket.breaks();
  await all.env.pass(500);
  all.request.streams();
  all.request.says(event(welcome) + event(full(order("A"))));
  const beat = async (ms) => {
    for (let passed = 0; passed < ms; passed += 20_000) {
      all.request.says(event({ type: "heartbeat" }));
      await all.env.pass(Math.min(20_000, ms - passed));
    }
  };
  await beat(600_001);
  assert.equal(all.sockets.length, 2);
  all.socket.breaks();
  await beat(600_001);
  assert.deepEqual([all.sockets.length, all.client.transport, all.client.state.name], [3, "sse", "live"]);
  const stream = all.request;
  assert.ok(all.socket.url.endsWith("?sync=wait"));
  all.socket.says(welcome);
  assert.deepEqual([all.client.transport, stream.signal.aborted], ["websocket", true]);
  assert.deepEqual(all.socket.sent, [{ type: "sync", orders: { A: "r-A-1" } }]);
  all.socket.says({ type: "snapshot", partial: true, first: true, complete: true, orders: [], removed: [] });
  assert.equal(all.client.state.name, "live");
  all.client.close();
  assert.ok(all.socket.closed);
});
