// Checks the string tables beyond what their types can: each language has every key, all plural
// forms its Intl.PluralRules knows and the same {placeholders}; no key is unused; and no view
// shows words that are not in a table.
import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { transformWithOxc } from 'vite';

const src = fileURLToPath(new URL('../src', import.meta.url));
/** Words that are the same in every language. */
const SAME_EVERYWHERE = new Set(['OpenPoczta', 'Enter', 'j', 'k']);

const en = await table('en');
const languages = { en, pl: await table('pl') };
const sources = readdirSync(src, { recursive: true })
  .filter((name) => /\.tsx?$/.test(name) && !name.startsWith('i18n'))
  .map((name) => ({ name, text: readFileSync(`${src}/${name}`, 'utf8') }));

const faults = [
  ...Object.entries(languages).flatMap(([code, strings]) => [...tableFaults(code, strings)]),
  ...unusedKeys(),
  ...sources.filter(({ name }) => name.endsWith('.tsx')).flatMap((file) => [...strayWords(file)]),
];
for (const fault of faults) console.error(fault);
console.log(`${Object.keys(en).length} strings in ${Object.keys(languages).length} languages, ${faults.length} faults`);
process.exit(faults.length === 0 ? 0 : 1);

async function table(code) {
  const file = `${src}/i18n/${code}.ts`;
  const { code: script } = await transformWithOxc(readFileSync(file, 'utf8'), file);
  const module = await import(`data:text/javascript,${encodeURIComponent(script)}`);
  return module[code];
}

function* tableFaults(code, strings) {
  const categories = new Intl.PluralRules(code).resolvedOptions().pluralCategories.toSorted();
  for (const key of new Set([...Object.keys(en), ...Object.keys(strings)])) {
    const [mine, master] = [strings[key], en[key]];
    if (mine === undefined || master === undefined) {
      yield `${code}: ${key} is ${mine === undefined ? 'missing' : 'not in English'}`;
      continue;
    }
    const forms = typeof mine === 'string' ? [mine] : Object.values(mine);
    if (typeof mine !== typeof master) yield `${code}: ${key} counts in one language only`;
    if (forms.some((form) => form.trim() === '')) yield `${code}: ${key} is empty`;
    if (typeof mine !== 'string' && Object.keys(mine).toSorted().join() !== categories.join()) {
      yield `${code}: ${key} needs the forms ${categories.join(', ')}`;
    }
    const wanted = holes(master.other ?? master);
    // "one" may leave out the number: "Moved to {folder}".
    for (const form of forms) {
      const odd = [...holes(form)].filter((hole) => !wanted.has(hole));
      const lost = [...wanted].filter((hole) => hole !== 'n' && !holes(form).has(hole));
      if (odd.length + lost.length > 0) yield `${code}: ${key} has other placeholders: ${form}`;
    }
  }
}

function holes(text) {
  return new Set([...text.matchAll(/\{(\w+)\}/g)].map((hit) => hit[1]));
}

function* unusedKeys() {
  const all = sources.map(({ text }) => text).join('\n');
  for (const key of Object.keys(en)) {
    if (!all.includes(`'${key}'`)) yield `en: ${key} is used nowhere`;
  }
}

/** Text between tags, and labels written out, that holds letters. */
function* strayWords({ name, text }) {
  const between = [...text.matchAll(/>\s*([^<>{}=;()]*\p{L}[^<>{}=;()]*?)\s*<\//gu)];
  const labels = [...text.matchAll(/\b(?:aria-label|title|placeholder|alt|label)="([^"]*\p{L}[^"]*)"/gu)];
  for (const [, words] of [...between, ...labels]) {
    if (!SAME_EVERYWHERE.has(words)) yield `${name}: "${words}" is not in the string tables`;
  }
}
