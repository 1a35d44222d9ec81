// Drives the real console of a real hub in Debian's Chromium, as people would: by keyboard, at 1280 and 400 px,
// dark and light, with and without scripts. Closes with a line "N passed, N failed".
import { strict as assert } from "node:assert";
import { mkdir, readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";
import { startHub } from "./hub.mjs";

const shots = process.env.WARDLINE_SCREENSHOTS ?? fileURLToPath(new URL("../../target/screenshots", import.meta.url));
const axe = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const WAIT = 20_000;

const hub = await startHub();
let origin = new URL(hub.link).origin;
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync"],
});

// Whatever any page asks of anybody else, and whatever it complains about, is a failure at the end.
const strangers = new Set();
const complaints = [];
let expectLoss = false;
async function visitor(options = {}) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, ...options });
  await context.route("**/*", (route) => {
    if (new URL(route.request().url()).origin === origin) return route.continue();
    strangers.add(route.request().url());
    return route.abort();
  });
  const page = await context.newPage();
  page.setDefaultTimeout(WAIT);
  page.on("pageerror", (error) => complaints.push(`${page.url()}: ${error}`));
  page.on("console", (message) => {
    if (message.type() !== "error" || expectLoss) return;
    complaints.push(`${page.url()}: ${message.text()}`);
  });
  return page;
}

/** True if the device is simulated: only such ones are ordered about here. */
const isSimulated = async (page) => (await page.locator("#tags", { hasText: "Simulated" }).count()) > 0;

let passed = 0;
let failed = 0;
let skipped = 0;
async function check(name, work) {
  try {
    if ((await work()) === "skip") {
      skipped += 1;
      console.log(`skipped  ${name}: needs the preview or a simulated device`);
      return;
    }
    passed += 1;
    console.log(`ok       ${name}`);
  } catch (error) {
    failed += 1;
    console.log(`FAILED   ${name}\n         ${String(error.stack ?? error).split("\n").slice(0, 12).join("\n         ")}`);
  }
}

/** Presses Tab until what has the focus fits; nobody needs a mouse. */
async function tabTo(page, what, fits, most = 120) {
  for (let i = 0; i < most; i += 1) {
    if (await page.evaluate(fits)) return;
    await page.keyboard.press("Tab");
  }
  throw new Error(`${what} cannot be reached with the Tab key`);
}

/** Waits until what has the focus fits: a page puts it where it belongs with its first frame, after "load". */
const focused = (page, selector) => page.waitForFunction((fits) => document.activeElement?.matches(fits), selector);

async function noSidewaysScroll(page) {
  const { wide, seen } = await page.evaluate(() => ({
    wide: document.documentElement.scrollWidth,
    seen: document.documentElement.clientWidth,
  }));
  assert.ok(wide <= seen, `${page.url()} is ${wide} px wide on ${seen} px`);
}

async function accessible(page) {
  await page.evaluate(axe); // through the debugger: the page's own policy forbids scripts that are not the hub's
  const result = await page.evaluate(() => window.axe.run(document, { resultTypes: ["violations"] }));
  const found = result.violations.map((v) => `${v.id}: ${v.nodes.map((n) => n.target.join(" ")).slice(0, 3).join(", ")}`);
  assert.deepEqual(found, [], page.url());
}

const main = await visitor();

await check("a stranger is sent to the sign-in page, which says how to get in", async () => {
  await main.goto(`${origin}/findings`);
  assert.equal(new URL(main.url()).pathname, "/signin");
  assert.match(await main.textContent("main"), /wardline hub link/);
});

await check("a used or wrong code gets a plain answer", async () => {
  await main.fill("#code", `${origin}/signin/00000000000000000000`);
  await main.keyboard.press("Enter");
  await main.getByRole("button", { name: "Sign in" }).press("Enter");
  await main.waitForURL(/refused/);
  assert.match(await main.textContent("h1"), /can no longer be used/);
});

await check("the link signs in with one key", async () => {
  await main.goto(hub.link);
  await focused(main, "button[type=submit]");
  await main.keyboard.press("Enter");
  await main.waitForURL(`${origin}/findings`);
  assert.equal(await main.textContent("h1"), "Findings");
});

await check("the link works once only", async () => {
  const other = await visitor();
  await other.goto(hub.link);
  await other.getByRole("button", { name: "Sign in" }).click();
  await other.waitForURL(/refused/);
  await other.context().close();
});

await check("the list says what happened in words and is live", async () => {
  await main.waitForSelector("#live[data-state=on]");
  assert.equal((await main.textContent("#live")).trim(), "Live");
  const first = await main.textContent("#rows tr");
  assert.match(first, /Critical|High|Medium|Low|Information/);
  assert.match(first, /Killed|Stopped|Would have|Withheld|Recorded|failed/);
  for (const simulated of await main.$$("#rows tr:has(.wl-tag--sim)")) {
    assert.match(await simulated.textContent(), /Simulated/);
  }
});

await check("a new finding appears by itself; scroll and focus stay", async () => {
  if (!hub.order) return "skip";
  await main.setViewportSize({ width: 1280, height: 420 });
  await main.locator("#rows tr:last-child th a").focus();
  await main.evaluate(() => document.activeElement.scrollIntoView({ block: "center" }));
  const where = () => main.evaluate(() => ({
    focus: document.activeElement.getAttribute("href"),
    top: Math.round(document.activeElement.getBoundingClientRect().top),
  }));
  const [before, count] = [await where(), await main.locator("#rows tr").count()];
  hub.order("finding");
  await main.waitForFunction((n) => document.querySelectorAll("#rows tr").length === n + 1, count);
  await main.waitForSelector("#announce:not(:empty)");
  const after = await where();
  assert.equal(after.focus, before.focus);
  assert.ok(Math.abs(after.top - before.top) <= 2, `what was read moved from ${before.top} to ${after.top}`);
  assert.match(await main.textContent("#announce"), /1 new finding/);
  assert.match(await main.textContent("#rows tr:first-child"), /Windows recovery switched off/);
  await main.setViewportSize({ width: 1280, height: 900 });
});

await check("filters narrow the list and can be shared as an address", async () => {
  await main.goto(`${origin}/findings?severity=critical`);
  for (const row of await main.$$("#rows tr")) assert.match(await row.textContent(), /Critical/);
  await main.selectOption("#f-state", "closed");
  await main.getByRole("button", { name: "Filter" }).press("Enter");
  await main.waitForURL(/state=closed/);
  assert.match(await main.textContent("main"), /No finding fits these filters/);
});

await check("a wrong address gets a page that says what to do", async () => {
  expectLoss = true; // Chromium itself notes the 404
  await main.goto(`${origin}/findings/ffffffffffffffffffffffffffffffff`);
  assert.match(await main.textContent("main"), /There is no finding .+Check the address/s);
  await main.goto(`${origin}/nowhere`);
  assert.match(await main.textContent("main"), /There is nothing at \/nowhere/);
  await accessible(main);
  expectLoss = false;
});

let finding;
let device;
await check("a finding tells what, where, what was done and how fast, then why", async () => {
  await main.goto(`${origin}/findings`);
  const killed = main.locator("#rows tr", { hasText: "Killed" }).first();
  const row = (await killed.count()) ? killed : main.locator("#rows tr").first();
  await row.locator("th a").click();
  await main.waitForSelector("h1");
  finding = main.url();
  const text = await main.textContent("main");
  assert.match(await main.textContent(".wl-lede"), /^On .+ (started|was started|was running|connected|created|changed|deleted|renamed)/);
  for (const part of ["What you can do", "Process tree", "Why it matched", "Timeline", "Rule", "Evidence", "ATT&CK"]) {
    assert.ok(text.includes(part), `the page lacks ${part}`);
  }
  assert.ok((await main.locator(".wl-tree .wl-proc").count()) >= 2, "the tree has a root and the process");
  assert.equal(await main.locator(".wl-proc--hit").count(), 1, "exactly one process matched");
  assert.ok((await main.locator(".wl-timeline li").count()) >= 3);
  assert.ok((await main.locator(".wl-why tbody tr").count()) >= 1);
  assert.match(await main.textContent("pre.wl-source"), /detection:/);
  device = await main.locator(".wl-lede a").getAttribute("href");
});

await check("the evidence is an OCSF Detection Finding", async () => {
  const answer = await main.request.get(`${finding}/evidence.json`);
  assert.equal(answer.status(), 200);
  assert.equal((await answer.json()).class_uid, 2004);
});

await check("a finding is acknowledged and closed with a reason, by keyboard", async () => {
  const summary = () => document.activeElement.matches("summary") && document.activeElement.textContent;
  await main.goto(finding);
  await tabTo(main, "Acknowledge", `(${summary})() === "Acknowledge"`);
  await main.keyboard.press("Enter");
  await main.keyboard.press("Tab");
  await main.keyboard.type("I am looking at it");
  await main.keyboard.press("Tab");
  await main.keyboard.press("Enter");
  await main.waitForURL(/done=acknowledged/);
  assert.match(await main.textContent("#handling"), /Acknowledged/);
  assert.match(await main.textContent("#handling"), /I am looking at it/);
});

await check("an isolation is ordered by keyboard alone, needs a reason, and is shown until confirmed", async () => {
  await main.goto(`${origin}${device}`);
  if (!(await isSimulated(main))) return "skip";
  await tabTo(main, "Isolate this device", () => document.activeElement.textContent === "Isolate this device");
  await main.keyboard.press("Enter");
  assert.match(await main.textContent("details[open]:visible"), /everything except this hub/);
  await main.keyboard.press("Tab");
  await main.keyboard.press("ArrowUp"); // 15 minutes
  await main.keyboard.press("Tab");
  await main.keyboard.press("Tab");
  await main.keyboard.press("Enter"); // without a reason the form does not go
  await focused(main, "#isolate-reason");
  await main.keyboard.type("Stop the spread while we look");
  await main.keyboard.press("Tab");
  await main.keyboard.press("Enter");
  await main.waitForURL(/done=ordered/);
  assert.match(await main.textContent("#orders"), /Isolate for 15 minutes/);
  await main.evaluate(() => { window.untouched = true; });
  await main.waitForSelector("#orders :text('Confirmed by device')");
  await main.waitForSelector("#tags :text('Isolated')");
  assert.ok(await main.evaluate(() => window.untouched), "the state came without a reload");
  await main.locator("summary", { hasText: "Release this device" }).waitFor();
  await main.locator("summary", { hasText: "Isolate this device" }).waitFor({ state: "hidden" });
  await main.waitForFunction(() =>
    document.getElementById("say").textContent.includes("Isolate for 15 minutes: Confirmed by device"));
});

await check("an isolated device can be released", async () => {
  await main.goto(`${origin}${device}`);
  if (!(await isSimulated(main))) return "skip";
  assert.match(await main.textContent("#now-line"), /cut off from everything except this hub until/);
  await tabTo(main, "Release this device", () => document.activeElement.textContent === "Release this device");
  await main.keyboard.press("Enter");
  await main.keyboard.press("Tab");
  await main.keyboard.type("Clean: the process was stopped in time");
  await main.keyboard.press("Tab");
  await main.keyboard.press("Enter");
  await main.waitForURL(/done=ordered/);
  await main.waitForFunction(() => !document.querySelector("#tags").textContent.includes("Isolated"));
});

await check("a typed reason survives what comes in live", async () => {
  if (!hub.order) return "skip";
  await main.goto(finding);
  await main.locator("summary", { hasText: "Close" }).click();
  await main.fill("#close-reason", "half a sent");
  hub.order("finding");
  await main.waitForResponse((answer) => answer.url() === finding && answer.request().headers()["hx-request"] === "true");
  assert.equal(await main.inputValue("#close-reason"), "half a sent");
});

await check("a device shows what it sees and where its events went", async () => {
  await main.goto(`${origin}/devices`);
  assert.match(await main.textContent("#count"), /\d+ devices?: \d+ online/);
  await main.goto(`${origin}${device}`);
  const text = await main.textContent("main");
  for (const part of ["What it can see", "Produced by its sensors", "Acknowledged by this hub", "Lost in the kernel or while reading", "Last heartbeat"]) {
    assert.ok(text.includes(part), `the page lacks ${part}`);
  }
  assert.ok(!text.includes("fewer events than"), "the hub lacks events that the device takes for acknowledged");
  const numbers = await main.$$eval(".wl-account tbody tr td", (cells) =>
    cells.map((cell) => Number(cell.textContent.replaceAll(",", ""))));
  const produced = numbers.pop();
  const sum = numbers.reduce((a, b) => a + b, 0);
  const explained = (await main.textContent("#accounting")).match(/more (were on their way|are accounted for)/);
  assert.ok(sum === produced || explained, `${numbers.join(" + ")} is not ${produced}, and nothing says why`);
});

await check("the mode of a device is changed with a reason", async () => {
  await main.goto(`${origin}${device}`);
  if (!(await isSimulated(main))) return "skip";
  await main.locator("summary", { hasText: "Change what it does" }).press("Enter");
  await main.getByLabel("Monitor:").check();
  await main.fill("#mode-reason", "Pilot week");
  await main.getByRole("button", { name: "Change", exact: true }).press("Enter");
  await main.waitForURL(/done=policy/);
  await main.waitForFunction(() => /reports attacks and stops nothing/.test(document.querySelector("#now-line").textContent));
});

await check("actions and the audit log tell who did what and why", async () => {
  await main.goto(`${origin}/actions`);
  if (hub.order) assert.match(await main.textContent("main"), /Isolate for 15 minutes[^]*Stop the spread while we look/);
  await main.goto(`${origin}/audit?check=1`);
  assert.match(await main.textContent("#chain"), /entries are as they were written/);
  assert.match(await main.textContent("main"), /Signed in/);
});

await check("the live indicator tells the truth when the hub is away, and the page catches up", async () => {
  if (!hub.order) return "skip";
  await main.goto(`${origin}/findings`);
  await main.waitForSelector("#live[data-state=on]");
  expectLoss = true;
  hub.order("restart");
  await main.waitForSelector("#live[data-state=lost]");
  assert.equal((await main.textContent("#live")).trim(), "Reconnecting");
  await main.waitForSelector("#live[data-state=on]");
  expectLoss = false;
});

await check("the theme is chosen with a button and kept", async () => {
  await main.goto(`${origin}/findings`);
  const dark = () => main.evaluate(() => getComputedStyle(document.documentElement).getPropertyValue("--wl-page"));
  const light = await dark();
  await main.getByRole("button", { name: /^Colours/ }).press("Enter");
  await main.waitForSelector("html[data-theme=dark]");
  assert.notEqual(await dark(), light);
  await main.goto(`${origin}/devices`);
  assert.equal(await main.getAttribute("html", "data-theme"), "dark");
  await main.getByRole("button", { name: /^Colours/ }).press("Enter");
  await main.waitForSelector("html[data-theme=light]");
  await main.getByRole("button", { name: /^Colours/ }).press("Enter");
  await main.waitForSelector("html[data-theme=system]");
});

const cookies = await main.context().storageState();
await main.goto("about:blank");

await check("everything basic works without scripts", async () => {
  const plain = await visitor({ javaScriptEnabled: false, storageState: cookies });
  await plain.goto(finding);
  assert.ok((await plain.locator(".wl-proc").count()) >= 2);
  await plain.locator("summary", { hasText: "Close" }).click();
  await plain.fill("#close-reason", "Dealt with");
  await plain.getByRole("button", { name: "Close", exact: true }).click();
  await plain.waitForURL(/done=closed/);
  assert.match(await plain.textContent("#handling"), /Closed/);
  await plain.context().close();
});

await mkdir(shots, { recursive: true });
const pages = [["findings", `${origin}/findings`], ["finding", finding], ["devices", `${origin}/devices`],
  ["device", `${origin}${device}`], ["actions", `${origin}/actions`], ["audit", `${origin}/audit?check=1`]];
for (const colorScheme of ["light", "dark"]) {
  for (const width of [1280, 400]) {
    const page = await visitor({ colorScheme, viewport: { width, height: 900 }, storageState: cookies });
    for (const [name, url] of pages) {
      await check(`${name}, ${colorScheme}, ${width} px: fits, is accessible`, async () => {
        await page.goto(url);
        await page.waitForSelector("#live[data-state=on]");
        await page.screenshot({ path: `${shots}/${name}-${colorScheme}-${width}.png`, fullPage: true });
        await page.evaluate(() => document.querySelectorAll("details").forEach((d) => { d.open = true; }));
        await noSidewaysScroll(page);
        await accessible(page);
      });
    }
    await page.context().close();
    const stranger = await visitor({ colorScheme, viewport: { width, height: 900 } });
    await check(`sign-in, ${colorScheme}, ${width} px: fits, is accessible`, async () => {
      await stranger.goto(`${origin}/signin`);
      await stranger.screenshot({ path: `${shots}/signin-${colorScheme}-${width}.png`, fullPage: true });
      await noSidewaysScroll(stranger);
      await accessible(stranger);
    });
    await stranger.context().close();
  }
}

await check("signing out ends the session", async () => {
  await main.goto(`${origin}/findings`);
  await main.getByRole("button", { name: "Sign out" }).press("Enter");
  await main.waitForURL(`${origin}/signin`);
  await main.goto(`${origin}/findings`);
  assert.equal(new URL(main.url()).pathname, "/signin");
});

await check("an empty list explains itself until the first finding comes", async () => {
  if (!hub.order) return "skip";
  const empty = await startHub("--empty");
  origin = new URL(empty.link).origin;
  const page = await visitor();
  await page.goto(empty.link);
  await focused(page, "button[type=submit]");
  await page.keyboard.press("Enter");
  await page.waitForSelector("#live[data-state=on]");
  assert.match(await page.textContent("#empty"), /wardline drill[^]*wardline demo/);
  await page.screenshot({ path: `${shots}/empty-light-1280.png`, fullPage: true });
  empty.order("finding");
  await page.waitForSelector("#rows tr");
  assert.equal(await page.locator("#empty").count(), 0);
  await page.context().close();
  await empty.stop();
});

await check("no page asked anybody else for anything", async () => assert.deepEqual([...strangers], []));
await check("no page complained", async () => assert.deepEqual(complaints, []));

await browser.close();
await hub.stop();
if (skipped) console.log(`${skipped} skipped`);
console.log(`${passed} passed, ${failed} failed`);
process.exitCode = failed ? 1 : 0;
