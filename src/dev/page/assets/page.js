/**
 * The demo page: reads its settings, opens one connection per view and hands what comes to the parts that draw it.
 * It decides nothing about orders or connections; `ordercast.js` does. Served by `ordercast dev` alone.
 */

import { OrdercastClient } from "./ordercast.js";
import { announcement, connectionText, doubtText } from "./connection.js";
import { drawCards, drawTable } from "./orders.js";
import { setUpPublishing } from "./publish.js";
import { openWireLog } from "./wire.js";
import { title } from "./words.js";

const VIEWS = { customer: drawCards, merchant: drawTable };
const element = (id) => document.getElementById(id);

/** The demo's own switch in front of every socket: while cut, a new connection fails as on a dead network. */
const network = { cut: false };

function DemoSocket(url, protocols) {
  if (!network.cut) return new WebSocket(url, protocols);
  const socket = { close() {}, send() {} };
  setTimeout(() => socket.onclose?.({ code: 1006, reason: "" }), 50);
  return socket;
}

const demoFetch = (...request) => (network.cut ? Promise.reject(new TypeError("the network is cut")) : fetch(...request));

/** What the views may use: `?transport=sse`, or whatever gets through. */
const transports = { websocket: ["websocket"], sse: ["sse"], poll: ["poll"] }[new URLSearchParams(location.search).get("transport")];

async function readSettings() {
  const answer = await fetch("/demo/settings.json", { cache: "no-store" });
  if (!answer.ok) throw new Error(`/demo/settings.json answers ${answer.status}`);
  return answer.json();
}

function showFacts(settings) {
  element("fact-brokers").textContent = settings.kafka_brokers;
  element("fact-topic").textContent = settings.topic;
  element("fact-metrics").href = new URL("/metrics", settings.operations_url);
  element("fact-ready").href = new URL("/health/ready", settings.operations_url);
  element("facts").hidden = false;
}

/** Announces what changed within the same moment together, and of each subject only the newest. */
function announcer() {
  const waiting = new Map();
  let timer;
  return (subject, text) => {
    waiting.set(subject, `${subject}: ${text}.`);
    timer ??= setTimeout(() => {
      timer = undefined;
      element("announcer").textContent = [...waiting.values()].join(" ");
      waiting.clear();
    }, 300);
  };
}

function openView(name, settings, { wire, announce, onOrders }) {
  const root = element(name);
  const part = (hook) => root.querySelector(`[data-${hook}]`);
  const connectAgain = root.querySelector("[data-action=connect]");
  const draw = VIEWS[name](root, settings, name === "customer" ? announce : () => {});
  const givenToken = name === "customer" ? new URLSearchParams(location.search).get("token") : null;
  let drawing = 0;

  const redraw = () => {
    drawing ||= requestAnimationFrame(() => {
      drawing = 0;
      const known = client.state.since !== null || client.state.name === "live";
      part("empty").hidden = client.orders.size > 0;
      part("empty").textContent = known ? "No orders yet. Publish one: it shows here the moment the broker has it." : "Waiting for the first snapshot.";
      draw([...client.orders.values()]);
    });
  };
  const showState = () => {
    const { state } = client;
    root.dataset.state = state.name;
    part("connection").textContent = connectionText(state, Date.now(), client.transport);
    part("doubt").textContent = doubtText(state);
    connectAgain.hidden = state.name !== "stopped";
  };

  const client = new OrdercastClient({
    url: `${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/order-status`,
    token: givenToken ?? (async () => (await readSettings())[name].token),
    WebSocket: DemoSocket,
    fetch: demoFetch,
    ...(transports && { transports }),
    onFrame: (frame) => wire.add(name, frame),
    onOrders: () => {
      redraw();
      onOrders();
    },
    onState: (state) => {
      wire.addState(name, state);
      part("who").textContent = client.userId ?? (givenToken ? "" : settings[name].user_id);
      announce(title(name), announcement(state));
      showState();
      redraw();
    },
  });
  connectAgain.addEventListener("click", () => client.connect());
  setInterval(() => client.state.name === "reconnecting" && showState(), 250);
  client.connect();
  return client;
}

function setUpDisturbing(clients) {
  const drop = document.querySelector("[data-action=drop]");
  const cut = document.querySelector("[data-action=cut]");
  const transport = element("transport");
  const reconnect = () => clients.forEach((client) => client.reconnect());
  drop.addEventListener("click", reconnect);
  transport.value = transports ? transports[0] : "";
  transport.addEventListener("change", () => {
    const query = new URLSearchParams(location.search);
    if (transport.value) query.set("transport", transport.value);
    else query.delete("transport");
    location.search = query;
  });
  cut.addEventListener("click", () => {
    network.cut = !network.cut;
    cut.toggleAttribute("data-on", network.cut);
    cut.textContent = network.cut ? "Restore the network" : "Cut the network";
    reconnect();
  });
}

async function start() {
  const settings = await readSettings();
  showFacts(settings);
  const wire = openWireLog(element("wire"));
  const announce = announcer();
  const clients = {};
  const publishing = setUpPublishing(element("publish"), settings, {
    userId: () => clients.customer?.userId ?? settings.customer.user_id,
    order: (id) => Object.values(clients).map((client) => client.orders.get(id)).find(Boolean),
  });
  const onOrders = () => publishing.setKnownOrders([...new Set(Object.values(clients).flatMap((client) => [...client.orders.keys()]))]);
  for (const name of Object.keys(VIEWS)) clients[name] = openView(name, settings, { wire, announce, onOrders });
  setUpDisturbing(Object.values(clients));
}

start().catch((error) => {
  element("alarm").textContent = `The page could not start: ${error.message}. Reload it once the server is there.`;
  element("alarm").hidden = false;
});
