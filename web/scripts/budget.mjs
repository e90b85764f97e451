// Fails when what a first visit loads is over budget: everything index.html names, by brotli as
// the server sends it. Run after `vite build`.
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { brotliCompressSync, constants } from 'node:zlib';

const BUDGET_BYTES = { js: 60 * 1024, css: 12 * 1024 };

const dist = fileURLToPath(new URL('../dist', import.meta.url));
const page = readFileSync(`${dist}/index.html`, 'utf8');
const files = [...page.matchAll(/(?:src|href)="(\/assets\/[^"]+\.(?:js|css))"/g)].map((hit) => hit[1]);

const used = { js: 0, css: 0 };
for (const file of new Set(files)) {
  const size = brotli(readFileSync(dist + file));
  used[file.endsWith('.js') ? 'js' : 'css'] += size;
  console.log(`${file}  ${kilobytes(size)} br`);
}

let over = used.js === 0 || used.css === 0;
if (over) console.error('dist/index.html names no script or no style: was the page built?');
for (const [kind, budget] of Object.entries(BUDGET_BYTES)) {
  console.log(`${kind}: ${kilobytes(used[kind])} of ${kilobytes(budget)}`);
  if (used[kind] > budget) {
    console.error(`${kind} is over its budget by ${kilobytes(used[kind] - budget)}`);
    over = true;
  }
}
process.exit(over ? 1 : 0);

function brotli(bytes) {
  return brotliCompressSync(bytes, {
    params: {
      [constants.BROTLI_PARAM_QUALITY]: constants.BROTLI_MAX_QUALITY,
      [constants.BROTLI_PARAM_SIZE_HINT]: bytes.length,
    },
  }).length;
}

function kilobytes(bytes) {
  return `${(bytes / 1024).toFixed(1)} KB`;
}
