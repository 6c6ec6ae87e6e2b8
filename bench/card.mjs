// Looks at a card as its readers do: in Chromium at three widths, light and dark, and printed.
//
//   node bench/card.mjs CARD.html [FOLDER]
//
// Needs `playwright-core` (npm install it anywhere and set NODE_PATH=that/node_modules), Chromium (CHROMIUM, by default
// /usr/bin/chromium) and `pdftotext` of poppler-utils. Leaves screenshots and card.pdf in FOLDER if there is one. Prints each
// fault and exits with 1 if there is any.

import { execFileSync } from "node:child_process";
import { mkdtempSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";

const [card, folder = mkdtempSync(join(tmpdir(), "card-"))] = process.argv.slice(2);
if (!card) {
  console.error("usage: node bench/card.mjs CARD.html [FOLDER]");
  process.exit(2);
}
const { chromium } = createRequire(join(process.env.NODE_PATH ?? process.cwd(), "x.js"))("playwright-core");

const LEAST_FONT = 11;
const faults = [];

/** What is wrong with the open page: run inside it. */
function look(leastFont) {
  const faults = [];
  const wide = document.documentElement.scrollWidth - document.documentElement.clientWidth;
  if (wide > 0) faults.push(`the page is ${wide} pixels wider than the window`);
  for (const svg of document.querySelectorAll("svg")) {
    const name = svg.getAttribute("aria-label");
    const frame = svg.getBoundingClientRect();
    const scale = frame.width / svg.viewBox.baseVal.width;
    const texts = [...svg.querySelectorAll("text")];
    const boxes = texts.map((it) => it.getBoundingClientRect());
    texts.forEach((text, at) => {
      const font = parseFloat(getComputedStyle(text).fontSize) * scale;
      if (font < leastFont) faults.push(`${name}: "${text.textContent}" is ${font.toFixed(1)} pixels high`);
      const box = boxes[at];
      if (box.left < frame.left - 1 || box.right > frame.right + 1 || box.top < frame.top - 1 || box.bottom > frame.bottom + 1)
        faults.push(`${name}: "${text.textContent}" leaves the plot`);
      for (let other = 0; other < at; other++) {
        const it = boxes[other];
        const across = Math.min(box.right, it.right) - Math.max(box.left, it.left);
        const down = Math.min(box.bottom, it.bottom) - Math.max(box.top, it.top);
        if (across > 0.5 && down > 1.5) faults.push(`${name}: "${text.textContent}" lies on "${texts[other].textContent}"`);
      }
    });
  }
  for (const box of document.querySelectorAll(".scroll")) {
    const hidden = box.scrollWidth - box.clientWidth;
    const hint = box.previousElementSibling;
    const told = hint?.classList.contains("hint") && hint.getClientRects().length > 0;
    if (box.clientWidth > 0 && hidden > 1 && !told) faults.push(`"${box.textContent.trim().slice(0, 40)}" scrolls and does not say so`);
  }
  for (const text of document.querySelectorAll("p, td, th, dd, dt, li, summary, span, pre")) {
    const font = parseFloat(getComputedStyle(text).fontSize);
    if (text.textContent.trim() && font < leastFont) faults.push(`"${text.textContent.trim().slice(0, 40)}" is ${font} pixels high`);
  }
  if (/\bNaN\b|\bInfinity\b|[^a-z]inf[^a-z]/.test(document.body.innerText)) faults.push("a number is none");
  return faults;
}

const letters = (text) => text.replace(/[^\p{L}\p{N}]+/gu, "");

const flags = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"];
const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: flags });
try {
  const page = await browser.newPage();
  for (const scheme of ["light", "dark"]) {
    await page.emulateMedia({ colorScheme: scheme, media: "screen" });
    for (const width of [390, 768, 1280]) {
      await page.setViewportSize({ width, height: 900 });
      await page.goto(pathToFileURL(resolve(card)).href);
      for (const open of [false, true]) {
        await page.evaluate((open) => document.querySelectorAll("details").forEach((it) => (it.open = open)), open);
        for (const it of await page.evaluate(look, LEAST_FONT)) faults.push(`${width} ${scheme}${open ? ", all open" : ""}: ${it}`);
        await page.screenshot({ path: join(folder, `${width}-${scheme}${open ? "-open" : ""}.png`), fullPage: true });
      }
    }
  }

  await page.emulateMedia({ colorScheme: "dark", media: null });
  await page.goto(pathToFileURL(resolve(card)).href);
  const pdf = join(folder, "card.pdf");
  await page.pdf({ path: pdf, format: "A4" });
  const printed = letters(execFileSync("pdftotext", ["-raw", pdf, "-"], { encoding: "utf8", maxBuffer: 1 << 28 }));
  const parts = await page.evaluate(() =>
    [...document.querySelectorAll("details :is(p:not(.hint), td, th, dd, dt, li, pre)")].map((it) => it.textContent.trim().split(/\s+/)),
  );
  const words = new Set(parts.flat().map(letters).filter((it) => it));
  for (const it of words) if (!printed.includes(it)) faults.push(`printed: "${it}" is missing`);
  await page.emulateMedia({ media: "print" });
  await page.setViewportSize({ width: 703, height: 1000 });
  const over = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  if (over > 0) faults.push(`printed: ${over} pixels are cut off`);
} finally {
  await browser.close();
}
for (const it of [...new Set(faults)]) console.log(it);
console.log(`${folder}: ${faults.length ? `${new Set(faults).size} faults` : "no fault"}`);
process.exit(faults.length ? 1 : 0);
