// The webmail in Chromium, on the real server: signs in, reads, stars, moves, deletes, gets a letter live,
// opens letters that mean harm. Screenshots go to out/. Prints a line `ok …` or `FAIL …` for each check.

import { spawn } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import path from 'node:path';
import assert from 'node:assert/strict';
import { chromium } from 'playwright-core';

const here = path.dirname(fileURLToPath(import.meta.url));
const out = path.join(here, 'out');
const binary = process.env.OPENPOCZTA ?? path.join(here, '../../target/debug/openpoczta');
const PORTS = [1125, 1124, 1587, 1143, 1110, 8080];
const PATIENCE_MS = 15_000;

let failed = 0;

/** Runs a check and prints its line. The next ones run all the same. */
async function check(name, run) {
  const began = performance.now();
  const took = () => `(${((performance.now() - began) / 1000).toFixed(1)} s)`;
  try {
    await run();
    console.log(`ok   browser: ${name} ${took()}`);
  } catch (error) {
    failed += 1;
    console.log(`FAIL browser: ${name} ${took()}\n${error.stack ?? error}`);
  }
}

// --- The server -------------------------------------------------------------------------------

async function isFree(port) {
  return new Promise((resolve) => {
    const probe = createServer();
    probe.once('error', () => resolve(false));
    probe.listen(port, '127.0.0.1', () => probe.close(() => resolve(true)));
  });
}

async function freeOffset() {
  for (;;) {
    const offset = 2000 + Math.floor(Math.random() * 22_000);
    const free = await Promise.all(PORTS.map((port) => isFree(port + offset)));
    if (free.every(Boolean)) return offset;
  }
}

async function startServer() {
  const offset = await freeOffset();
  const child = spawn(binary, ['demo', '--base-port-offset', String(offset)], {
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  const ended = new Promise((resolve) => child.once('exit', resolve));
  for await (const line of createInterface({ input: child.stdout })) {
    if (!line.startsWith('ready ')) throw new Error(`the server said: ${line}`);
    const words = line.split(' ').slice(1).map((word) => word.split(/=(.*)/s).slice(0, 2));
    return { ...Object.fromEntries(words), stop: () => (child.kill('SIGTERM'), ended) };
  }
  throw new Error('the server did not get ready');
}

/** One letter over LMTP. */
async function deliver(server, letter) {
  const [host, port] = server.lmtp.split(':');
  const socket = connect(Number(port), host);
  const lines = createInterface({ input: socket })[Symbol.asyncIterator]();
  const expect = async (code) => {
    for (;;) {
      const { value } = await lines.next();
      if (value?.[3] === '-') continue;
      assert.match(String(value), new RegExp(`^${code}`));
      return;
    }
  };
  await expect(220);
  const dialogue = [
    ['LHLO e2e.example.test', 250],
    ['MAIL FROM:<mallory@example.test>', 250],
    ['RCPT TO:<alice@example.test>', 250],
    ['DATA', 354],
    [`${letter.replaceAll('\n', '\r\n')}\r\n.`, 250],
    ['QUIT', 221],
  ];
  for (const [line, code] of dialogue) {
    socket.write(`${line}\r\n`);
    await expect(code);
  }
  socket.end();
}

// --- The browser ------------------------------------------------------------------------------

/** A page that writes down everything that must not happen. */
async function openPage(browser, server, options) {
  const context = await browser.newContext({ locale: 'en-GB', ...options });
  const page = await context.newPage();
  page.setDefaultTimeout(PATIENCE_MS);
  const trouble = { console: [], origins: [], violations: [] };
  await page.exposeFunction('violated', (what) => trouble.violations.push(what));
  await page.addInitScript(() => {
    addEventListener('securitypolicyviolation', (event) => {
      globalThis.violated(`${event.violatedDirective} ${event.blockedURI}`);
    });
  });
  page.on('console', (message) => {
    const text = message.text();
    if (message.type() !== 'error') return;
    // "Am I signed in?" and a wrong password are answered 401, and Chromium itself writes a line for each.
    const asked = new URL(message.location().url || server.http).pathname;
    if (/^\/auth\/(session|login)$/.test(asked) && /status of 401/.test(text)) return;
    (/Content Security Policy/i.test(text) ? trouble.violations : trouble.console).push(text);
  });
  page.on('pageerror', (error) => trouble.console.push(String(error)));
  page.on('dialog', (dialog) => {
    trouble.console.push(`a dialog: ${dialog.message()}`);
    void dialog.dismiss();
  });
  const home = new URL(server.http).origin;
  context.on('request', (request) => {
    const url = request.url();
    if (!url.startsWith(`${home}/`) && !/^(data|blob|about):/.test(url)) trouble.origins.push(url);
  });
  return { context, page, trouble };
}

async function signIn(page, server, password = 'secret') {
  await page.goto(server.http);
  await page.fill('#login-user', 'alice@example.test');
  await page.fill('#login-password', password);
  await page.click('form button[type=submit]');
}

const row = (page, subject) => page.locator('li.row', { hasText: subject }).first();
const rowLink = (page, subject) => row(page, subject).locator('a.row-link');
const frame = (page) => page.frameLocator('iframe.letter-frame');
const folder = (page, name) => page.locator('.folder-nav a', { hasText: name });
const shot = (page, name) => page.screenshot({ path: path.join(out, `${name}.png`) });

/** Opens a letter of the list, wherever in it. */
async function open(page, subject) {
  const list = page.locator('#letters');
  await list.evaluate((box) => box.scrollTo(0, 0));
  for (let tries = 0; tries < 40 && (await row(page, subject).count()) === 0; tries += 1) {
    await list.evaluate((box) => box.scrollBy(0, box.clientHeight * 0.8));
    await page.waitForTimeout(100);
  }
  await rowLink(page, subject).click();
  await page.locator('.letter-title', { hasText: subject }).waitFor();
  await page.locator('iframe.letter-frame:not(.letter-frame-waiting)').waitFor();
}

async function desktop(browser, server) {
  const { context, page, trouble } = await openPage(browser, server, {
    viewport: { width: 1280, height: 900 },
  });

  await check('a wrong password is told', async () => {
    await signIn(page, server, 'wrong');
    await page.locator('#login-trouble', { hasText: 'do not match' }).waitFor();
    await shot(page, 'desktop-login');
  });

  await check('signing in shows folders and letters', async () => {
    await signIn(page, server);
    await row(page, 'This letter took the whole way').waitFor();
    for (const name of ['Inbox', 'Sent', 'Drafts', 'Junk', 'Trash', 'Archive', 'Góry i pagórki']) {
      await folder(page, name).first().waitFor();
    }
    assert.ok((await page.locator('li.row:not(.waiting)').count()) > 8);
    await page.locator('.folder-nav .count-main').waitFor();
    await shot(page, 'desktop-inbox');
  });

  await check('a letter of a thread opens in a frame without rights', async () => {
    await open(page, 'Góry w sobotę');
    await frame(page).getByText('Kozica przyszła sama').waitFor();
    const sandbox = await page.locator('iframe.letter-frame').getAttribute('sandbox');
    assert.ok(sandbox !== null && !/allow-(scripts|same-origin|forms|top-navigation)/.test(sandbox), sandbox);
    const picture = frame(page).locator('img').first();
    await picture.waitFor();
    assert.equal(await picture.evaluate((img) => img.naturalWidth), 280, 'the inline picture is shown');
    await shot(page, 'desktop-letter');
  });

  await check('a newsletter shows that its pictures were kept away', async () => {
    await open(page, 'fog, more fog');
    await page.locator('.bar-note', { hasText: 'Remote images are blocked' }).waitFor();
    await frame(page).getByText('We followed a bank of it').waitFor();
    await shot(page, 'desktop-newsletter');
  });

  await check('an attachment can be fetched', async () => {
    await open(page, 'Faktura 7/2026');
    const chip = page.locator('.attachments a.chip').first();
    const [download] = await Promise.all([page.waitForEvent('download'), chip.click()]);
    assert.equal(download.suggestedFilename(), 'Faktura 7-2026 żarówka.pdf');
    const chunks = [];
    for await (const chunk of await download.createReadStream()) chunks.push(chunk);
    assert.ok(Buffer.concat(chunks).toString('latin1').startsWith('%PDF-1.4'));
  });

  await check('a letter that arrives is there without a reload', async () => {
    await page.evaluate(() => (globalThis.notReloaded = true));
    const began = performance.now();
    await deliver(server, 'From: Ned Plover <ned@example.test>\nSubject: Hot off the wire\n\nfresh');
    await row(page, 'Hot off the wire').waitFor({ timeout: 5000 });
    const tookMs = performance.now() - began;
    assert.ok(await page.evaluate(() => globalThis.notReloaded));
    console.log(`browser: a letter was in the list ${tookMs.toFixed(0)} ms after its LMTP session began`);
  });

  await check('a star stays after a reload', async () => {
    await open(page, 'Hot off the wire');
    const star = page.locator('.letter-head .star');
    assert.equal(await star.getAttribute('aria-pressed'), 'false');
    await Promise.all([page.waitForResponse((r) => r.url().endsWith('/rpc')), star.click()]);
    assert.equal(await star.getAttribute('aria-pressed'), 'true');
    await page.reload();
    await page.locator('.letter-head .star[aria-pressed=true]').waitFor();
  });

  await check('a letter moves to a folder', async () => {
    await open(page, 'Hot off the wire');
    await page.getByRole('toolbar').getByRole('button', { name: 'Move to…' }).click();
    await page.getByRole('combobox').fill('Arch');
    await shot(page, 'desktop-move');
    await page.keyboard.press('Enter');
    await page.locator('.toast', { hasText: 'Moved to Archive' }).waitFor();
    await row(page, 'Hot off the wire').waitFor({ state: 'detached' });
    await folder(page, 'Archive').first().click();
    await row(page, 'Hot off the wire').waitFor();
  });

  await check('a deleted letter lies in the trash', async () => {
    await open(page, 'Hot off the wire');
    await page.getByRole('toolbar').getByRole('button', { name: 'Delete', exact: true }).click();
    await row(page, 'Hot off the wire').waitFor({ state: 'detached' });
    await folder(page, 'Trash').first().click();
    await row(page, 'Hot off the wire').waitFor();
    await open(page, 'Hot off the wire');
    await page.getByRole('toolbar').getByRole('button', { name: 'Delete for good' }).click();
    await page.getByRole('alertdialog').getByRole('button', { name: 'Delete for good' }).click();
    await row(page, 'Hot off the wire').waitFor({ state: 'detached' });
  });

  await check('a click on Junk catches the next copy', async () => {
    const offer = (number) =>
      `From: Offers <offer${number}@offers.test>\nTo: alice@example.test\nSubject: Offer number ${number}\n\n` +
      `Dear customer ${number}, the warehouse has ${number * 37} lamps left that nobody wanted before. ` +
      'We send one of them to everybody who answers until the end of the week, for the price of the stamp. ' +
      'Write the address and the colour of the lamp, and it is on its way on the same day.\n';
    await folder(page, 'Inbox').first().click();
    await deliver(server, offer(1));
    await open(page, 'Offer number 1');
    await page.getByRole('toolbar').getByRole('button', { name: 'Junk', exact: true }).click();
    await row(page, 'Offer number 1').waitFor({ state: 'detached' });
    await folder(page, 'Junk').first().click();
    // It is learned a moment after the answer.
    let copies = 1;
    do {
      copies += 1;
      await page.waitForTimeout(300);
      await deliver(server, offer(copies));
      await page.waitForTimeout(300);
    } while (copies < 20 && (await row(page, `Offer number ${copies}`).count()) === 0);
    await row(page, `Offer number ${copies}`).waitFor();
    await row(page, 'Offer number 1').waitFor();
    await shot(page, 'desktop-junk');
  });

  await check('the phishing sample is in Junk, inert', async () => {
    await folder(page, 'Junk').first().click();
    await open(page, 'PILNE');
    await frame(page).getByText('nazwisko panieńskie kota').first().waitFor();
    await shot(page, 'desktop-phishing');
    await inert(page);
  });

  await check('desktop: no console error, no CSP violation, no foreign request', async () => {
    assert.deepEqual(trouble, { console: [], origins: [], violations: [] });
  });
  await context.close();
}

const RUN = "top.ran=1;parent.ran=1;document.title='ran';alert(1)";
const HOSTILE = [
  ['script element', `<script>${RUN}</script><script src="//evil.example.test/x.js"></script>`],
  ['handlers', `<img src=x onerror="${RUN}"><body onload="${RUN}"><svg onload="${RUN}"><details open ontoggle="${RUN}">`],
  ['frames', `<iframe srcdoc="<script>${RUN}</script>"></iframe><iframe src="javascript:${RUN}"></iframe><object data="/"></object><embed src="/">`],
  ['redirects', '<meta http-equiv="refresh" content="0;url=https://evil.example.test/"><base href="https://evil.example.test/" target="_top"><link rel="stylesheet" href="https://evil.example.test/x.css">'],
  ['styles', '<style>@import url(https://evil.example.test/i.css); p { background: url(https://evil.example.test/b.png) }</style><p style="background:url(https://evil.example.test/c.png)">styled</p>'],
  ['forms', '<form action="https://evil.example.test/" id=f><input autofocus onfocus="' + RUN + '"><button form=f>go</button></form>'],
  ['pictures', '<img src="https://evil.example.test/a.png" srcset="https://evil.example.test/b.png 2x"><picture><source srcset="https://evil.example.test/c.png"></picture><video poster="https://evil.example.test/d.png" autoplay></video>'],
  ['<img src=x onerror=top.ran=1> subject', '<math><mtext><table><mglyph><style><!--</style><img title="--&gt;&lt;img src=1 onerror=top.ran=1&gt;">'],
];

/** Nothing of a letter reached the page. */
async function inert(page) {
  assert.equal(await page.evaluate(() => globalThis.ran), undefined);
  assert.doesNotMatch(await page.title(), /ran|hacked/);
  assert.equal(page.frames().length, 2, 'the page and the letter, no frame in the letter');
}

async function phone(browser, server) {
  const { context, page, trouble } = await openPage(browser, server, {
    viewport: { width: 390, height: 844 },
    deviceScaleFactor: 2,
    isMobile: true,
    hasTouch: true,
  });
  const fits = async () => {
    const width = await page.evaluate(() => document.documentElement.scrollWidth);
    assert.ok(width <= 390, `the page is ${width} wide`);
  };

  await check('phone: sign in, list', async () => {
    await page.goto(server.http);
    await page.locator('#login-user').waitFor();
    await shot(page, 'phone-login');
    await signIn(page, server);
    await row(page, 'This letter took the whole way').waitFor();
    await fits();
    await shot(page, 'phone-inbox');
  });

  await check('phone: a letter and back', async () => {
    await open(page, 'Góry w sobotę');
    await frame(page).getByText('Kozica przyszła sama').waitFor();
    await fits();
    await shot(page, 'phone-letter');
    await page.getByRole('toolbar').getByRole('button', { name: 'Back to the list' }).click();
    await rowLink(page, 'Góry w sobotę').waitFor();
  });

  await check('phone: folders in a drawer', async () => {
    await page.getByRole('button', { name: 'Show folders' }).click();
    await folder(page, 'Junk').first().waitFor();
    await page.waitForTimeout(400);
    await shot(page, 'phone-folders');
    await folder(page, 'Junk').first().click();
    await row(page, 'PILNE').waitFor();
    await fits();
  });

  await check('phone: no console error, no CSP violation, no foreign request', async () => {
    assert.deepEqual(trouble, { console: [], origins: [], violations: [] });
  });
  await context.close();
}

async function hostile(browser, server) {
  const { context, page, trouble } = await openPage(browser, server, {
    viewport: { width: 1280, height: 900 },
  });
  await check('hostile letters run nothing', async () => {
    await signIn(page, server);
    await folder(page, 'Inbox').first().waitFor();
    for (const [subject, html] of HOSTILE) {
      await deliver(server, `From: mallory@example.test\nSubject: ${subject}\nMIME-Version: 1.0\nContent-Type: text/html; charset=utf-8\n\n${html}\n<p>the end</p>`);
      await row(page, subject.slice(0, 20)).waitFor();
      await open(page, subject.slice(0, 20));
      await frame(page).getByText('the end').waitFor();
      await page.waitForTimeout(150);
      await inert(page);
    }
  });

  await check('hostile letters: no console error, no CSP violation, no foreign request', async () => {
    assert.deepEqual(trouble, { console: [], origins: [], violations: [] });
  });
  await context.close();
}

mkdirSync(out, { recursive: true });
const server = await startServer();
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  args: [
    '--no-sandbox',
    '--disable-gpu',
    '--disable-quic',
    '--no-first-run',
    '--disable-background-networking',
    '--disable-component-update',
    '--disable-sync',
    '--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1',
  ],
});
try {
  await desktop(browser, server);
  await phone(browser, server);
  await hostile(browser, server);
} finally {
  await browser.close();
  await server.stop();
}
process.exitCode = failed > 0 ? 1 : 0;
