// The page that `ordercast load --html` writes, opened as a file: curves, light and dark, on a phone, a silent console.
import assert from "node:assert/strict";

export default async function ({ browser, args: [address] }) {
  const page = await browser.newPage({ viewport: { width: 400, height: 800 } });
  page.setDefaultTimeout(20_000);
  const complaints = [];
  page.on("console", (message) => complaints.push(message.text()));
  page.on("pageerror", (error) => complaints.push(error.message));
  page.on("request", (request) => request.url() === address || request.url().startsWith("data:") || complaints.push(request.url()));
  await page.goto(address);
  assert.equal(await page.locator("script").count(), 0);
  const curves = page.locator("svg.curves polyline");
  assert.ok((await curves.count()) >= 3, "to the client, to the broker, and the floor");
  const colours = [];
  for (const colorScheme of ["light", "dark"]) {
    await page.emulateMedia({ colorScheme });
    assert.ok((await page.evaluate(() => document.documentElement.scrollWidth)) <= 400, colorScheme);
    colours.push(await page.evaluate(() => getComputedStyle(document.body).backgroundColor));
  }
  assert.notEqual(colours[0], colours[1]);
  const box = await curves.first().boundingBox();
  assert.ok(box.width > 100 && box.height > 0, JSON.stringify(box));
  assert.ok((await page.locator("pre").last().textContent()).includes("load steady"));
  assert.deepEqual(complaints, []);
  console.log("ok");
}
