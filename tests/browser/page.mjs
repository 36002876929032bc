// The demo page in a real Chromium, against a running `ordercast dev --no-simulator`:
//
//     node run.mjs ./page.mjs http://127.0.0.1:8080/
//
// It looks only at what a person could see (and at the hooks that name it). One line per check; the first that fails ends it.

import assert from "node:assert/strict";

const CSP =
  "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const order = `T-${Date.now().toString(36).toUpperCase()}`;
const complaints = [];

let address;
let page;
const view = (name) => page.locator(`[data-view="${name}"]`);
const shown = (name, status) => view(name).locator(`[data-order-id="${order}"]${status ? `[data-status="${status}"]` : ""}`);
const bothShow = (status) => Promise.all(["customer", "merchant"].map((name) => shown(name, status).waitFor()));
const bothAre = (state) => Promise.all(["customer", "merchant"].map((name) => page.locator(`[data-view="${name}"][data-state="${state}"]`).waitFor()));
const steps = () => shown("customer").locator("[data-step=done], [data-step=current]").evaluateAll((items) => items.map((item) => item.dataset.status));
const result = (text) => page.locator("#publish-result", { hasText: text }).waitFor();

async function publish(status) {
  await page.locator("#publish-status").selectOption(status);
  await page.locator("#publish-submit").click();
}

const checks = {
  "the page forbids everything that is not its own": async () => {
    const answer = await page.goto(address.href);
    assert.equal(answer.status(), 200);
    assert.equal(answer.headers()["content-security-policy"], CSP);
  },

  "both views become live": async () => {
    await bothAre("live");
    assert.equal(await view("customer").locator("[data-connection]").textContent(), "Live");
  },

  "a change published by the form shows on both views": async () => {
    await page.locator("#publish-order").fill(order);
    await page.locator("#publish-details").fill('{"carrier": "Test Post", "note": "<b>not markup</b>"}');
    await publish("created");
    await result("partition");
    await bothShow("created");
    await shown("customer").getByText("Test Post").waitFor();
    await shown("customer").getByText("<b>not markup</b>").waitFor();
  },

  "the form offers the next status, and Enter moves the same order on": async () => {
    await page.locator("#publish-order").press("Enter");
    await bothShow("paid");
    assert.deepEqual(await steps(), ["created", "paid"]);
    assert.equal(await shown("customer").locator('[aria-current="step"]').getAttribute("data-status"), "paid");
    assert.equal(await shown("customer").count(), 1);
  },

  "what is wrong is said by its field, and nothing is sent": async () => {
    let sent = 0;
    const count = (request) => (sent += request.method() === "POST");
    page.on("request", count);
    await page.locator("#publish-details").fill("{oops");
    await publish("packed");
    await page.locator("#publish-details-error", { hasText: "Not JSON" }).waitFor();
    assert.equal(await page.evaluate(() => document.activeElement.id), "publish-details");
    assert.equal(sent, 0);
    page.off("request", count);
    await page.locator("#publish-details").fill("");
  },

  "a merchant who is no longer named loses the order": async () => {
    await page.locator("#publish-merchant").uncheck();
    await publish("packed");
    await shown("customer", "packed").waitFor();
    await shown("merchant").waitFor({ state: "detached" });
    await page.locator("#publish-merchant").check();
  },

  "a dropped connection is said, and comes back": async () => {
    await page.evaluate(() => {
      window.seenStates = [];
      for (const section of document.querySelectorAll("[data-view]")) {
        const note = () => window.seenStates.push(`${section.dataset.view} ${section.dataset.state}`);
        new MutationObserver(note).observe(section, { attributeFilter: ["data-state"] });
      }
    });
    await page.locator("[data-action=drop]").click();
    await bothAre("live");
    const seen = await page.evaluate(() => window.seenStates);
    for (const name of ["customer", "merchant"]) assert.ok(seen.includes(`${name} reconnecting`), `${name} said: ${seen}`);
    await shown("customer", "packed").waitFor();
  },

  "while the network is cut the old picture is marked, and afterwards the truth is there": async () => {
    await page.locator("[data-action=cut]").click();
    await page.locator('[data-view="customer"]:not([data-state="live"])').waitFor();
    await publish("shipped");
    await result("Shipped");
    assert.equal(await shown("customer").getAttribute("data-status"), "packed");
    assert.match(await view("customer").locator("[data-connection]").textContent(), /^Reconnecting/);
    assert.match(await view("customer").locator("[data-doubt]").textContent(), /^Last known at/);
    await page.locator("[data-action=cut]").click();
    await bothAre("live");
    await bothShow("shipped");
    assert.deepEqual(await steps(), ["created", "paid", "packed", "shipped"]);
  },

  "a finished order settles with its whole timeline": async () => {
    await publish("delivered");
    await bothShow("delivered");
    const settled = page.locator(`[data-settled] [data-order-id="${order}"]`);
    await settled.locator("summary").click();
    await settled.locator('[data-step="current"][data-status="delivered"]').waitFor();
    assert.deepEqual(await steps(), ["created", "paid", "packed", "shipped", "delivered"]);
  },

  "the frame log tells what went over the wire": async () => {
    await page.locator("#wire-fold > summary").click();
    const frame = page.locator('#wire-frames [data-frame="order_status"][data-direction="in"]').first();
    await frame.locator("summary").click();
    await frame.locator("pre", { hasText: order }).waitFor();
    await page.locator('#wire-frames [data-frame="sync"][data-direction="out"]').first().waitFor();
    await page.locator("#wire-pause").click();
    await page.locator("#wire-clear").click();
    await page.locator("#wire-frames > li").first().waitFor({ state: "detached" });
    await page.locator("#wire-pause").click();
  },

  "both views show the same by server-sent events and by polling": async () => {
    for (const [transport, words] of [["sse", "Live, by server-sent events"], ["poll", "Live, by polling"]]) {
      await page.locator("#transport").selectOption(transport);
      await page.waitForURL(`**/*transport=${transport}`);
      await bothAre("live");
      assert.equal(await view("customer").locator("[data-connection]").textContent(), words);
      await page.locator("#publish-order").fill(`${order}-${transport}`);
      for (const status of ["created", "paid"]) {
        await publish(status);
        for (const name of ["customer", "merchant"]) await view(name).locator(`[data-order-id="${order}-${transport}"][data-status="${status}"]`).waitFor();
      }
    }
    await page.locator("#transport").selectOption("");
    await page.waitForURL((url) => !url.search.includes("transport"));
    await bothAre("live");
  },

  "every control has a name": async () => {
    const devtools = await page.context().newCDPSession(page);
    const { nodes } = await devtools.send("Accessibility.getFullAXTree");
    const controls = nodes.filter((node) => !node.ignored && node.properties?.some((it) => it.name === "focusable" && it.value.value) && node.role.value !== "RootWebArea");
    assert.ok(controls.length > 10, `${controls.length} controls`);
    assert.deepEqual(controls.filter((node) => !node.name?.value).map((node) => node.role.value), []);
  },

  "nothing scrolls sideways at phone width": async () => {
    await page.setViewportSize({ width: 360, height: 800 });
    for (const scheme of ["light", "dark"]) {
      await page.emulateMedia({ colorScheme: scheme });
      assert.ok((await page.evaluate(() => document.documentElement.scrollWidth)) <= 360);
    }
    await page.setViewportSize({ width: 1280, height: 900 });
  },

  "a token that is not accepted stops the view and says so": async () => {
    await page.goto(new URL("?token=not.a.token", address).href);
    await page.locator('[data-view="customer"][data-state="stopped"]').waitFor();
    assert.equal(await view("customer").locator("[data-connection]").textContent(), "Stopped: token not accepted");
    await page.locator('[data-view="merchant"][data-state="live"]').waitFor();
  },

  "the console is silent and nobody else was asked": async () => {
    assert.deepEqual(complaints, []);
  },
};

export default async function test({ browser, args }) {
  address = new URL(args[0]);
  page = await browser.newPage({ viewport: { width: 1280, height: 900 } });
  page.setDefaultTimeout(20_000);
  page.on("console", (message) => ["error", "warning"].includes(message.type()) && complaints.push(`console: ${message.text()}`));
  page.on("pageerror", (error) => complaints.push(`error: ${error.message}`));
  const asked = (url) => url.startsWith("data:") || new URL(url).host === address.host || complaints.push(`asked ${url}`);
  page.on("request", (request) => asked(request.url()));
  page.on("websocket", (socket) => asked(socket.url()));

  for (const [name, check] of Object.entries(checks)) {
    try {
      await check();
      console.log(`ok      ${name}`);
    } catch (error) {
      throw new Error(`${name}\n${complaints.join("\n")}`, { cause: error });
    }
  }
}
