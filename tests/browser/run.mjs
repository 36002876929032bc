// Starts a fresh Chromium, gives it to a script beside this file, and ends it. Called by tests/it/parts/browser.rs:
//
//   node run.mjs SCRIPT [ARGUMENT]...
//
// SCRIPT exports `default async ({ browser, page, args })`; what it throws fails the test, what it prints goes to the test.
import { chromium } from 'playwright-core';

const [script, ...args] = process.argv.slice(2);
const { default: test } = await import(new URL(script, import.meta.url));

const browser = await chromium.launch({
  executablePath: process.env.ORDERCAST_TEST_CHROMIUM ?? '/usr/bin/chromium',
  args: [
    '--no-first-run',
    '--disable-quic',
    '--disable-background-networking',
    '--disable-component-update',
    '--disable-sync',
  ],
});
try {
  const page = await browser.newPage();
  page.setDefaultTimeout(20_000);
  page.on('pageerror', (error) => console.error('page error:', error.stack));
  page.on('console', (message) => console.error('console:', message.text()));
  await test({ browser, page, args });
} catch (error) {
  console.error(error);
  process.exitCode = 1;
} finally {
  await browser.close();
}
