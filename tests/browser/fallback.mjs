// The client for browsers behind networks that let not everything through. Arguments: the client's file, a token, and pairs of an
// origin and the transport that gets through there. Prints what each came to, once all of them show the order A-1.
import { readFile } from 'node:fs/promises';

export default async function ({ browser, args: [file, token, ...ways] }) {
  const body = await readFile(file, 'utf8');
  const watch = async (origin, wanted) => {
    const page = await browser.newPage();
    page.setDefaultTimeout(60_000);
    await page.route('**/ordercast.js', (route) => route.fulfill({ contentType: 'text/javascript', body }));
    await page.goto(origin);
    await page.evaluate(
      async ([address, token]) => {
        const { OrdercastClient } = await import('/ordercast.js');
        window.states = [];
        window.client = new OrdercastClient({
          url: address,
          token,
          onState: (state) => window.states.push(`${state.name} by ${window.client?.transport}`),
        });
        window.client.connect();
      },
      [`${origin.replace('http', 'ws')}/order-status`, token],
    );
    await page.waitForFunction(
      (wanted) => client.state.name === 'live' && client.transport === wanted && client.orders.get('A-1')?.version > 1,
      wanted,
    );
    // Before a proxy cuts it, and after.
    const version = await page.evaluate(() => client.orders.get('A-1').version);
    await page.waitForFunction((version) => client.orders.get('A-1').version > version + 20, version);
    console.log(JSON.stringify({ wanted, states: await page.evaluate(() => states) }));
    await page.close();
  };
  const all = [];
  for (let way = 0; way < ways.length; way += 2) all.push(watch(ways[way], ways[way + 1]));
  await Promise.all(all);
}
