/**
 * Ordercast in the browser: keeps the orders a viewer may see true to the last frame of one connection, reconnects by
 * itself, and says honestly when what it holds may be out of date. Where no WebSocket gets through it takes a stream of
 * server-sent events, or polls. It draws nothing; beyond its life, it remembers for some minutes which of these works.
 *
 *     const client = new OrdercastClient({
 *       url: "wss://shop.example/order-status",
 *       token: async () => (await fetch("/token")).text(),
 *       onOrders: (orders) => draw([...orders.values()]),
 *       onState: (state) => say(state.name),
 *     });
 *     client.connect();
 *
 * @typedef {object} Step         One entry of a timeline.
 * @property {string} status
 * @property {number} version
 * @property {string} occurred_at RFC 3339.
 * @property {boolean} [gap]      Steps before this one were skipped and are being asked for.
 *
 * @typedef {object} Order        `rev` is opaque: it names this state of the order.
 * @property {string} order_id
 * @property {string} status
 * @property {number} version
 * @property {string} rev
 * @property {boolean} terminal
 * @property {string} occurred_at
 * @property {object} details
 * @property {Step[]} timeline    Oldest first, at most 50.
 *
 * @typedef {object} State        What may be said about the orders now. Times are milliseconds since 1970.
 * @property {"connecting"|"live"|"stale"|"reconnecting"|"stopped"} name
 * @property {number|null} since  Not live: since when the orders may be out of date; null if they were never live.
 * @property {string[]} [reasons] stale: why, in the server's words.
 * @property {number} [attempt]   connecting, reconnecting: failed attempts in a row.
 * @property {number} [at]        reconnecting: when the next attempt begins.
 * @property {number} [code]      reconnecting, stopped: the close code, where there was one.
 * @property {string} [reason]    reconnecting, stopped: why, as one word.
 */

/** Of a server that has spoken: see `isStopCode`. */
const STOP_CODES = new Set([1002, 1003, 1007, 1009, 1010]);
const FIRST_BACKOFF_MS = 500;
const MAX_BACKOFF_MS = 20_000;
/** A session that lived this long proves that connecting works: the backoff starts anew. */
const PROVEN_SESSION_MS = 30_000;
/** From asking for the token to `welcome`. */
const OPEN_TIMEOUT_MS = 20_000;
/** The same where there is another transport to try. */
const FALLBACK_TIMEOUT_MS = 8_000;
/** What the client falls back to, from the best on. */
const TRANSPORTS = ["websocket", "sse", "poll"];
/** How long one that works is begun with, and then a better one is tried. */
const REMEMBERED_MS = 600_000;
const MEMORY = "ordercast.transport";
/** When a better one is tried again that has worked before. */
const SOON_MS = 5_000;
/** A poll is answered within this time, whatever happens. */
const POLL_MS = 25_000;
/** After a wake-up the server answers a ping within this time, or the socket is dead. */
const PROBE_TIMEOUT_MS = 5_000;
/** Missed steps of several orders are asked for together. */
const GAP_SYNC_DELAY_MS = 1_000;
/** The server's limits for one `sync`; who knows more starts with a full snapshot. */
const MAX_SYNC_ORDERS = 2_000;
const MAX_MESSAGE_BYTES = 64 * 1024;
const MAX_TIMELINE_STEPS = 50;

/**
 * Whether a close code forbids to come back. Every code not named here, known or not, means: reconnect.
 *
 * @param {number} code
 * @param {boolean} [heard]  The server has said `welcome` or `closing` on this connection. Where it has not, codes below 4500 may
 *        be made up by a gateway that took the connection before it asked the server, and forbid nothing.
 */
export function isStopCode(code, heard = true) {
  return (heard && STOP_CODES.has(code)) || (code >= 4500 && code <= 4999);
}

/** A connection over HTTP, for the client much as a WebSocket is: `onmessage`, `onclose`, `close`. */
class HttpConnection {
  onmessage = null;
  onclose = null;
  #asking;

  /** @param {{url: string, token: string, shown: () => object, fetch: typeof fetch, env: object}} client */
  constructor(client) {
    this.client = client;
    this.ask();
  }

  /** Says what is shown now, and is told what differs. Takes the place of an answer that is under way. */
  ask() {
    this.#asking?.abort();
    const { signal } = (this.#asking = new this.client.env.AbortController());
    this.run(signal).catch(() => signal.aborted || this.ends({ code: 1006, reason: "connection_lost" }));
  }

  close() {
    this.#asking.abort();
  }

  /** Sends what is shown, and answers what comes; null where the server refuses. */
  async post(path, body, signal) {
    const { url, token, env, fetch } = this.client;
    const address = new URL(url);
    address.protocol = address.protocol === "wss:" ? "https:" : "http:";
    address.pathname = address.pathname.replace(/\/$/, "") + path;
    const answer = await fetch(address.href, {
      method: "POST",
      // In a header the token stays out of addresses, and so out of every access log on the way.
      headers: { "Content-Type": "application/json", Authorization: `Bearer ${token}` },
      body: JSON.stringify(body),
      cache: "no-store",
      signal,
    });
    if (answer.status === 200) return answer;
    // Something in between has no such code.
    const { code } = await answer.json();
    const codes = { expired_token: 4005, invalid_token: 4500, missing_token: 4500 };
    const seconds = Number(answer.headers.get("Retry-After"));
    const afterMs = seconds > 0 ? seconds * (1000 + 1000 * env.Math.random()) : undefined;
    this.ends({ code: codes[code], reason: code ?? "connection_lost", afterMs, heard: code !== undefined });
    return null;
  }

  says(text) {
    this.onmessage?.({ data: text });
  }

  ends(how) {
    this.onclose?.(how);
  }
}

/** Server-sent events, read by `fetch`: EventSource can neither say what is shown nor keep the token out of its address. */
class EventStream extends HttpConnection {
  async run(signal) {
    const { orders } = this.client.shown();
    const answer = await this.post("/events", orders ? { orders } : {}, signal);
    if (!answer) return;
    const reader = answer.body.getReader();
    const decoder = new TextDecoder();
    for (let text = ""; ; ) {
      const { value, done } = await reader.read();
      if (done) return this.ends({ code: 1006, reason: "connection_lost" });
      text += decoder.decode(value, { stream: true });
      for (let end; (end = text.indexOf("\n\n")) >= 0; text = text.slice(end + 2)) {
        const data = text.slice(0, end).split("\n").filter((line) => line.startsWith("data: "));
        if (data.length > 0) this.says(data.map((line) => line.slice(6)).join("\n"));
      }
    }
  }
}

/** Long polling. The server keeps nothing: what is shown is compared with each poll, the first of which waits for no news. */
class Polling extends HttpConnection {
  async run(signal) {
    for (let wait_ms = 0; !signal.aborted; wait_ms = POLL_MS) {
      const answer = await this.post("/poll", { ...this.client.shown(), wait_ms }, signal);
      if (!answer) return;
      const { frames } = await answer.json();
      if (wait_ms === 0) this.says(JSON.stringify({ type: "welcome", heartbeat_ms: POLL_MS }));
      frames.forEach((frame) => this.says(JSON.stringify(frame)));
      // That nothing differs says that all of it is there.
      if (!frames.some((frame) => frame.type === "snapshot")) this.says(JSON.stringify(NOTHING_DIFFERS));
    }
  }
}

const NOTHING_DIFFERS = { type: "snapshot", partial: true, first: true, complete: true, orders: [], removed: [] };

export class OrdercastClient {
  #options;
  #env;
  /** @type {Map<string, Order>} */
  #orders = new Map();
  /** @type {State} */
  #state = Object.freeze({ name: "stopped", since: null, reason: "not_started" });
  #socket = null;
  /** Grows with every attempt and ending: an answer that belongs to an earlier one is void. */
  #run = 0;
  #attempt = 0;
  #serverChoseDelay = false;
  #reconnectTimer;
  #watchTimer;
  #gapTimer;
  #framesSeen = 0;
  #seenAt = 0;
  #heartbeatMs = 25_000;
  /** The `welcome` of the open session, and when it came. */
  #welcome = null;
  #welcomedAt = 0;
  #userId;
  /** @type {string|null} */
  #older = null;
  /** The server itself has spoken on this connection, and not only something in between. */
  #heard = false;
  /** The first snapshot of the session, or one under way, has not come to its end. */
  #incomplete = true;
  #staleReasons = null;
  #doubtSince = null;
  #wasLive = false;
  #token = "";
  #expiredToken = null;
  #listeners = [];
  /** @type {"websocket"|"sse"|"poll"} */
  #transport;
  /** The transports on which the server has spoken in this client's life, and how often the present one has failed since. */
  #proved = new Set();
  #failures = 0;
  #betterTimer;
  #probe = null;

  /**
   * @param {object} options
   * @param {string} options.url            `ws:` or `wss:` address of `/order-status`.
   * @param {string | (() => string | Promise<string>)} options.token  A function is asked before every connection; after
   *        `token_expired` it must give a new one. A fixed string cannot, so its expiry stops the client.
   * @param {(orders: ReadonlyMap<string, Order>, changed: string[]) => void} [options.onOrders]  All orders, and the ids that came, changed or went.
   * @param {(older: string|null) => void} [options.onOlder]  The list is too long to be shown whole, or not any more: see `older`.
   * @param {(frame: {direction: "in"|"out", at: number, text: string, message: object}) => void} [options.onFrame]
   * @param {(state: State) => void} [options.onState]
   * @param {("websocket"|"sse"|"poll")[]} [options.transports]  What may be used, the best first; all of them if it is not said.
   * @param {typeof WebSocket} [options.WebSocket]
   * @param {typeof fetch} [options.fetch]
   * @param {object} [options.env]          What is taken from the surroundings (timers, clock, chance, wake-up events); tests pass a fake.
   */
  constructor(options) {
    this.#env = options.env ?? globalThis;
    this.#options = { WebSocket: this.#env.WebSocket, fetch: this.#env.fetch?.bind(this.#env), ...options };
    const { WebSocket, fetch, transports = TRANSPORTS } = this.#options;
    const canFetch = fetch && this.#env.AbortController;
    this.#options.transports = transports.filter((name) => (name === "websocket" ? WebSocket : canFetch));
    this.#transport = this.#remembered() ?? this.#options.transports[0];
  }

  /** @returns {ReadonlyMap<string, Order>} */
  get orders() {
    return this.#orders;
  }

  get state() {
    return this.#state;
  }

  /** What the client is connected by, or tries to be. */
  get transport() {
    return this.#transport;
  }

  /** The viewer the server recognised; null for a link, undefined before the first `welcome`. */
  get userId() {
    return this.#userId;
  }

  /**
   * Where the rest of a list is that is too long to be shown whole: a path to `GET` from the same host with the same token
   * (`{orders, next}`, newest first). null: there is no more.
   *
   * @returns {string|null}
   */
  get older() {
    return this.#older;
  }

  /** Starts, or starts again after a stop. The orders held are kept and brought up to date. */
  connect() {
    if (this.#state.name !== "stopped") return;
    this.#attempt = 0;
    this.#expiredToken = null;
    this.#listen();
    this.#open();
  }

  /** Ends for good; `connect` starts again. */
  close() {
    if (this.#state.name !== "stopped") this.#stop({ code: 1000, reason: "client_closed" });
  }

  /** Takes the socket for dead and connects again at once (within the first backoff). */
  reconnect() {
    if (this.#state.name === "stopped") return;
    this.#attempt = 0;
    this.#ended({ reason: "asked_to_reconnect" });
  }

  async #open() {
    const run = ++this.#run;
    this.#incomplete = true;
    this.#staleReasons = null;
    this.#welcome = null;
    this.#heard = false;
    this.#setState({ name: "connecting", attempt: this.#attempt });
    this.#watch(this.#options.transports.length > 1 ? FALLBACK_TIMEOUT_MS : OPEN_TIMEOUT_MS);

    let token;
    try {
      token = await (typeof this.#options.token === "function" ? this.#options.token() : this.#options.token);
    } catch {
      if (run === this.#run) this.#ended({ reason: "token_unavailable" });
      return;
    }
    if (run !== this.#run) return;
    // What was read from an answer or a file often ends with a line break, which no subprotocol can hold.
    if (typeof token === "string") token = token.trim();
    if (!token) return this.#stop({ reason: "missing_token" });
    if (token === this.#expiredToken) return this.#ended({ code: 4005, reason: "token_expired" });
    this.#token = token;

    let socket;
    try {
      socket = this.#connection();
    } catch {
      // Only a character that no token has makes the constructor throw.
      return this.#stop({ reason: "invalid_token" });
    }
    this.#use(socket);
  }

  #connection() {
    const { url, WebSocket } = this.#options;
    const token = this.#token;
    if (this.#transport !== "websocket") {
      const Connection = this.#transport === "sse" ? EventStream : Polling;
      return new Connection({ url, token, shown: () => this.#shown(), fetch: this.#options.fetch, env: this.#env });
    }
    const address = new URL(url);
    if (this.#syncOf(this.#orders)) address.searchParams.set("sync", "wait");
    // As a subprotocol the token stays out of addresses, and so out of every access log on the way.
    return new WebSocket(address.href, ["ordercast.v1", `bearer.${token}`]);
  }

  #use(socket) {
    this.#socket = socket;
    socket.onmessage = (event) => this.#onMessage(event.data);
    socket.onclose = ({ code, reason, afterMs, heard }) => {
      this.#heard ||= heard ?? false;
      this.#ended({ code, reason: reason || "connection_lost", afterMs });
    };
  }

  /** What a request says of the screen. An order with a gap is to come whole: it is named with no state that there is. */
  #shown() {
    const orders = this.#syncOf(this.#orders) && Object.fromEntries(this.#revs(this.#orders));
    return { ...(orders && { orders }), ...(this.#staleReasons && { stale: this.#staleReasons }) };
  }

  #revs(entries) {
    return Array.from(entries, ([id, order]) => [id, order.timeline.some((step) => step.gap) ? "" : order.rev]);
  }

  #onMessage(text) {
    this.#framesSeen += 1;
    this.#seenAt = this.#now();
    let message;
    try {
      message = JSON.parse(text);
    } catch {
      return this.#ended({ reason: "unreadable_frame" });
    }
    this.#emit("onFrame", { direction: "in", at: this.#seenAt, text, message });
    switch (message?.type) {
      case "welcome":
        return this.#onWelcome(message);
      case "snapshot":
        return this.#onSnapshot(message);
      case "order_status":
        return this.#onOrderStatus(message);
      case "removed":
        if (this.#orders.delete(message.order_id)) this.#ordersChanged([message.order_id]);
        return;
      case "stale":
        this.#staleReasons = message.reasons ?? [];
        this.#doubtSince = Date.parse(message.since) || this.#seenAt;
        return this.#judge();
      case "fresh":
        this.#staleReasons = null;
        return this.#judge();
      case "closing":
        // No update follows, so nothing is live from here on; the Close frame may take its time.
        this.#heard = true;
        return this.#ended({ code: message.code, reason: message.reason, afterMs: message.reconnect_after_ms });
    }
  }

  #onWelcome(message) {
    this.#welcome = message;
    this.#heard = true;
    this.#worked();
    this.#welcomedAt = this.#seenAt;
    this.#heartbeatMs = message.heartbeat_ms;
    // A request has said it.
    const sync = this.#transport === "websocket" && this.#syncOf(this.#orders);
    if ("user_id" in message) {
      const isOther = this.#userId !== undefined && this.#userId !== message.user_id;
      this.#userId = message.user_id;
      if (isOther) {
        // Another viewer's orders are nothing to compare with.
        const gone = [...this.#orders.keys()];
        this.#orders.clear();
        this.#ordersChanged(gone);
        if (sync) this.#send({ type: "sync" });
      } else if (sync) {
        this.#send(sync);
      }
    }
    this.#watch(2 * this.#heartbeatMs);
  }

  /** A full snapshot begins by forgetting everything; a partial one touches only what it names. */
  #onSnapshot(message) {
    const before = new Map(this.#orders);
    // Only an answer says whether the list was cut; of later partial ones those alone that say so are known to be one.
    const answers = !message.partial || this.#incomplete || message.truncated;
    if (message.complete && answers) this.#setOlder(message.truncated ? message.older ?? null : null);
    if (!message.partial && message.first) this.#orders.clear();
    for (const order of message.orders ?? []) this.#orders.set(order.order_id, order);
    for (const id of message.removed ?? []) this.#orders.delete(id);
    const ids = new Set([...before.keys(), ...this.#orders.keys()]);
    this.#ordersChanged([...ids].filter((id) => before.get(id) !== this.#orders.get(id)));
    this.#incomplete = !message.complete;
    this.#judge();
  }

  /** Replaces the order as it is told, whatever its version; its step goes behind the steps that are known. */
  #onOrderStatus({ type, previous_status, previous_version, ...order }) {
    const known = this.#orders.get(order.order_id);
    const gap = previous_version != null && previous_version !== known?.version;
    const step = { status: order.status, version: order.version, occurred_at: order.occurred_at, ...(gap && { gap }) };
    const timeline = [...(known?.timeline ?? []), step].slice(-MAX_TIMELINE_STEPS);
    this.#orders.set(order.order_id, { ...order, timeline });
    this.#ordersChanged([order.order_id]);
    if (gap) this.#askForMissedSteps();
  }

  /** A `sync` that does not name the orders with a gap brings them with their whole timeline. */
  #askForMissedSteps() {
    this.#gapTimer ??= this.#env.setTimeout(() => {
      this.#gapTimer = undefined;
      if (this.#transport !== "websocket") return this.#socket.ask();
      const whole = [...this.#orders].filter(([, order]) => !order.timeline.some((step) => step.gap));
      const sync = this.#syncOf(whole);
      if (sync && whole.length < this.#orders.size) this.#send(sync);
    }, GAP_SYNC_DELAY_MS);
  }

  /** The `sync` that names these `[id, order]` pairs; null when nothing is shown, or more than one message holds. */
  #syncOf(entries) {
    const revs = Array.from(entries, ([id, order]) => [id, order.rev]);
    if (this.#orders.size === 0 || revs.length > MAX_SYNC_ORDERS) return null;
    const sync = { type: "sync", orders: Object.fromEntries(revs) };
    return new TextEncoder().encode(JSON.stringify(sync)).length <= MAX_MESSAGE_BYTES ? sync : null;
  }

  /** What may be said while a session is open: live only after a complete snapshot and without a `stale`. */
  #judge() {
    if (this.#incomplete) return this.#setState({ name: "connecting", attempt: this.#attempt });
    this.#wasLive = true;
    if (this.#staleReasons) return this.#setState({ name: "stale", reasons: this.#staleReasons });
    this.#doubtSince = null;
    this.#setState({ name: "live" });
  }

  /** The one way out of a connection or an attempt: stops, or sets the next attempt. */
  #ended({ code, reason, afterMs }) {
    const noNewToken = code === 4005 && typeof this.#options.token !== "function";
    if (isStopCode(code, this.#heard) || noNewToken) return this.#stop({ code, reason });
    if (code === 4005) this.#expiredToken = this.#token;
    const proven = this.#welcome && this.#now() - this.#welcomedAt >= PROVEN_SESSION_MS;
    // Only of a connection that was tried can it be said that it does not get through.
    const fallsBack = this.#socket && !this.#heard && this.#fallBack();
    this.#leaveSocket();
    if (proven) this.#attempt = 0;
    if (fallsBack) this.#attempt -= 1;
    this.#serverChoseDelay = afterMs !== undefined;
    this.#retryLater({ code, reason, delay: fallsBack ? this.#env.Math.random() * FIRST_BACKOFF_MS : afterMs });
  }

  /** A word of the server has come. */
  #worked() {
    this.#proved.add(this.#transport);
    this.#failures = 0;
    const [best, ...others] = this.#options.transports;
    this.#env.clearTimeout(this.#betterTimer);
    // Who has no choice has found nothing out.
    if (others.length === 0) return;
    if (this.#transport !== best) {
      // Where the best has worked before, it was the whole network that was down.
      const after = this.#proved.has(best) ? SOON_MS : REMEMBERED_MS;
      this.#betterTimer = this.#env.setTimeout(() => this.#tryBetter(), after);
      if (this.#proved.has(best)) return;
    }
    const until = this.#now() + REMEMBERED_MS;
    try {
      this.#env.sessionStorage?.setItem(MEMORY, JSON.stringify({ transport: this.#transport, until }));
    } catch {
      // A page that may store nothing finds it out anew.
    }
  }

  #remembered() {
    try {
      const { transport, until } = JSON.parse(this.#env.sessionStorage?.getItem(MEMORY));
      return until > this.#now() && this.#options.transports.includes(transport) ? transport : undefined;
    } catch {
      return undefined;
    }
  }

  /**
   * The server has not said a word on this connection: the next one is another transport. One that has worked is given a second
   * chance, because servers restart. Says whether to try at once: behind the last, it begins anew with the first, and waits.
   */
  #fallBack() {
    const { transports } = this.#options;
    this.#failures += 1;
    if (transports.length === 1 || (this.#proved.has(this.#transport) && this.#failures < 2)) return false;
    const next = transports.indexOf(this.#transport) + 1;
    this.#transport = transports[next % transports.length];
    this.#failures = 0;
    return next < transports.length;
  }

  /** Opens a WebSocket beside what there is, and takes it over once the server speaks on it. */
  #tryBetter() {
    const { transports } = this.#options;
    if (!this.#welcome || transports[0] !== "websocket") return;
    const used = this.#transport;
    this.#transport = "websocket";
    let probe;
    try {
      probe = this.#connection();
    } catch {
      return;
    } finally {
      this.#transport = used;
    }
    this.#probe = probe;
    const over = () => {
      this.#leaveProbe();
      this.#betterTimer = this.#env.setTimeout(() => this.#tryBetter(), REMEMBERED_MS);
    };
    this.#betterTimer = this.#env.setTimeout(over, FALLBACK_TIMEOUT_MS);
    probe.onclose = over;
    probe.onmessage = (event) => {
      if (!event.data.includes('"welcome"')) return over();
      const before = this.#socket;
      before.onmessage = before.onclose = null;
      before.close(1000);
      this.#probe = null;
      this.#transport = "websocket";
      this.#incomplete = true;
      this.#use(probe);
      this.#judge();
      this.#onMessage(event.data);
    };
  }

  #leaveProbe() {
    this.#env.clearTimeout(this.#betterTimer);
    const probe = this.#probe;
    this.#probe = null;
    if (!probe) return;
    probe.onmessage = probe.onclose = null;
    probe.close(1000);
  }

  #retryLater({ code, reason, delay = this.#backoff() }) {
    this.#env.clearTimeout(this.#reconnectTimer);
    this.#attempt += 1;
    this.#reconnectTimer = this.#env.setTimeout(() => this.#open(), delay);
    this.#setState({ name: "reconnecting", attempt: this.#attempt, at: this.#now() + delay, code, reason });
  }

  /** Full jitter: anything up to 0.5 s, doubling to 20 s. */
  #backoff() {
    return this.#env.Math.random() * Math.min(MAX_BACKOFF_MS, FIRST_BACKOFF_MS * 2 ** this.#attempt);
  }

  #stop({ code, reason }) {
    this.#leaveSocket();
    for (const [target, type, listener] of this.#listeners.splice(0)) target.removeEventListener(type, listener);
    this.#setState({ name: "stopped", code, reason });
  }

  #leaveSocket() {
    this.#run += 1;
    if (this.#wasLive) this.#doubtSince ??= this.#seenAt;
    this.#welcome = null;
    for (const timer of [this.#reconnectTimer, this.#watchTimer, this.#gapTimer]) this.#env.clearTimeout(timer);
    this.#gapTimer = undefined;
    this.#leaveProbe();
    const socket = this.#socket;
    this.#socket = null;
    if (!socket) return;
    socket.onmessage = socket.onclose = null;
    socket.close(1000);
  }

  /** Takes the connection for dead when no frame comes within `ms`; afterwards, within two heartbeats of the last one. */
  #watch(ms) {
    this.#env.clearTimeout(this.#watchTimer);
    const seen = this.#framesSeen;
    this.#watchTimer = this.#env.setTimeout(() => {
      const left = this.#seenAt + 2 * this.#heartbeatMs - this.#now();
      if (seen === this.#framesSeen || left <= 0) return this.#ended({ reason: "silent" });
      this.#watch(left);
    }, ms);
  }

  /** A page that was suspended or offline cannot trust its socket; one that was merely hidden asks it. */
  #listen() {
    const add = (target, type, listener) => {
      target?.addEventListener?.(type, listener);
      if (target?.removeEventListener) this.#listeners.push([target, type, listener]);
    };
    const { document } = this.#env;
    add(this.#env, "online", () => this.#onWake({ suspended: true }));
    add(this.#env, "pageshow", (event) => event.persisted && this.#onWake({ suspended: true }));
    add(document, "resume", () => this.#onWake({ suspended: true }));
    add(document, "visibilitychange", () => document.visibilityState === "visible" && this.#onWake({ suspended: false }));
  }

  #onWake({ suspended }) {
    if (this.#state.name === "reconnecting") {
      // Still with jitter, and never earlier than the server asked for: a whole office may come back at once.
      if (this.#serverChoseDelay) return;
      this.#attempt = 0;
      return this.#retryLater(this.#state);
    }
    const silent = this.#now() - this.#seenAt > this.#heartbeatMs;
    if (suspended || (this.#welcome && silent)) return this.#ended({ reason: "woke_up" });
    if (!this.#welcome) return;
    if (this.#transport === "websocket") this.#send({ type: "ping" });
    else this.#socket.ask();
    this.#watch(PROBE_TIMEOUT_MS);
  }

  #send(message) {
    const text = JSON.stringify(message);
    this.#socket.send(text);
    this.#emit("onFrame", { direction: "out", at: this.#now(), text, message });
  }

  #setOlder(older) {
    if (older === this.#older) return;
    this.#older = older;
    this.#emit("onOlder", older);
  }

  #ordersChanged(changed) {
    if (changed.length > 0) this.#emit("onOrders", this.#orders, changed);
  }

  #setState(state) {
    const next = Object.freeze({ ...state, since: state.name === "live" ? null : this.#doubtSince });
    if (JSON.stringify(next) === JSON.stringify(this.#state)) return;
    this.#state = next;
    this.#emit("onState", next);
  }

  /** A listener that throws is reported like any uncaught error, and disturbs nobody else. */
  #emit(listener, ...values) {
    try {
      this.#options[listener]?.(...values);
    } catch (error) {
      this.#env.setTimeout(() => {
        throw error;
      });
    }
  }

  #now() {
    return this.#env.Date.now();
  }
}
