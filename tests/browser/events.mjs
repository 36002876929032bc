// A browser's own EventSource, which comes back by itself: prints what it is told, message by message, until it gives up for
// good. Arguments: a page of the same origin, and the address of the events.
export default async function ({ page, args: [origin, address] }) {
  await page.goto(origin);
  const told = await page.evaluate(
    (address) =>
      new Promise((done) => {
        const told = [];
        const source = new EventSource(address);
        source.onmessage = (event) => told.push({ ...JSON.parse(event.data), last_event_id: event.lastEventId });
        source.onerror = () => {
          told.push({ type: "error", comes_back: source.readyState !== EventSource.CLOSED });
          if (source.readyState === EventSource.CLOSED) done(told);
        };
      }),
    address,
  );
  for (const message of told) console.log(JSON.stringify(message));
}
