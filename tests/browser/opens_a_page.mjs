// The least a browser must do: fetch a page from a server, run its script, show the result.
export default async function ({ page, args: [address] }) {
  await page.goto(address);
  console.log(await page.textContent('h1'));
}
