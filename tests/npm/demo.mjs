// Two people on the demo page, in two separate browsers: one plays and talks, the other sees it live.
// It judges nothing: it prints what each page showed, and the test in Rust decides.

import { join } from "node:path";
import { chromium } from "playwright-core";

const { url, browser: how, pictures } = JSON.parse(process.argv[2]);
const browser = await chromium.launch({ headless: true, ...how });
const troubles = [];
const LIMIT = { timeout: 15_000 };
let cut = false;

async function visitor(options) {
  const context = await browser.newContext(options);
  const page = await context.newPage();
  page.on("pageerror", (why) => troubles.push(`error: ${why}`));
  page.on("console", (line) => line.type() === "error" && !cut && troubles.push(`console: ${line.text()}`));
  page.on("request", (request) => {
    const { origin } = new URL(request.url().replace(/^ws/, "http"));
    const inline = request.url().startsWith("data:");
    if (!inline && origin !== new URL(url).origin) troubles.push(`elsewhere: ${request.url()}`);
  });
  await page.goto(url);
  return page;
}

async function enter(page, name) {
  await page.fill("#name", name);
  await page.click("#enter");
  await page.locator("#status", { hasText: "live" }).waitFor(LIMIT);
}

const rows = (page, list) => page.locator(`${list} > li`);
const row = (page, list, text) => rows(page, list).filter({ hasText: text }).first();
const texts = (page, list) => rows(page, list).allInnerTexts();
const picture = (page, name) => page.screenshot({ path: join(pictures, `${name}.png`) });

try {
  const desk = await visitor({ viewport: { width: 1280, height: 800 }, colorScheme: "light" });
  const phone = await visitor({ viewport: { width: 390, height: 844 }, colorScheme: "dark", hasTouch: true, isMobile: true, deviceScaleFactor: 2 });
  await picture(phone, "demo-phone-entrance");
  await enter(desk, "ada");
  await enter(phone, "grace");
  await desk.locator("#presence", { hasText: "2 here" }).waitFor(LIMIT);
  await phone.locator("#presence", { hasText: "2 here" }).waitFor(LIMIT);

  await desk.locator("#playfield .star").first().click({ force: true });
  await desk.locator("#playfield .star").first().waitFor(LIMIT);
  await desk.focus("#playfield");
  await desk.keyboard.press("Space");
  const collected = await desk.innerText("#points");
  await desk.click("#save-score");
  await row(desk, "#scores", "ada").waitFor(LIMIT);
  await row(phone, "#scores", "ada").waitFor(LIMIT);

  const hostile = '<img src=x onerror="document.title=1"> & co';
  await desk.locator("#chat-input").pressSequentially("h");
  await phone.locator("#typing", { hasText: "typing" }).waitFor(LIMIT);
  await desk.fill("#chat-input", "hello from the desk");
  await desk.keyboard.press("Enter");
  await row(phone, "#messages", "hello from the desk").waitFor(LIMIT);
  await phone.fill("#chat-input", hostile);
  await phone.click("#chat-send");
  await row(desk, "#messages", "& co").waitFor(LIMIT);

  const live = { scores: await texts(phone, "#scores"), messages: await texts(desk, "#messages") };
  await picture(desk, "demo-desk");
  await phone.screenshot({ path: join(pictures, "demo-phone.png"), fullPage: true });

  await desk.reload();
  await row(desk, "#scores", "ada").waitFor(LIMIT);
  await row(desk, "#messages", "& co").waitFor(LIMIT);
  const again = { scores: await texts(desk, "#scores"), messages: await texts(desk, "#messages") };

  // The link is cut; what was said meanwhile is there after it comes back, once.
  cut = true;
  await desk.context().setOffline(true);
  await desk.evaluate(() => page.link.socket.close(4002, "cut"));
  await desk.locator("#status", { hasText: "reconnecting" }).waitFor(LIMIT);
  await phone.fill("#chat-input", "said while you were away");
  await phone.click("#chat-send");
  await row(phone, "#messages", "said while you were away").waitFor(LIMIT);
  await desk.context().setOffline(false);
  await row(desk, "#messages", "said while you were away").waitFor(LIMIT);
  const resumed = await texts(desk, "#messages");

  const title = await desk.title();
  console.log(JSON.stringify({ collected, live, again, resumed, title, hostile, troubles }));
} finally {
  await browser.close();
}
