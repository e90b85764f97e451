// The letters of the open folder as one long list of positions, of which only the pages around
// the viewport are fetched. Folders may hold 100,000 letters. Knows nothing of pixels: the view
// tells which rows it shows, and asks by how many rows they moved.
import { signal } from '@preact/signals';
import * as api from '../api';
import { tn } from '../i18n';
import * as emails from './emails';
import { spoken } from './toast';

const PAGE = 50;
/** While the reader scrolls fast, pages that only fly by are not asked for. */
const SETTLE_MS = 60;
/** How long a letter that has just arrived is marked. */
const FRESH_MS = 4000;

export const status = signal<'loading' | 'ready' | 'failed'>('loading');
export const total = signal(0);
/** Changes whenever a position may show another letter. */
export const version = signal(0);
/** The letter the keyboard stands on. */
export const cursor = signal<string | null>(null);
/** Raised when the focus shall go to the row of the cursor. */
export const focusRow = signal(0);
export const fresh = signal<ReadonlySet<string>>(new Set());

let mailboxId = '';
let ids: (string | undefined)[] = [];
let shown = { start: 0, end: 0 };
let shift = 0;
/** Raised by everything that makes answers on their way outdated. */
let epoch = 0;
let settle = 0;
/** When the sight moved last, by the page's own clock. */
let movedMs = 0;
let writing = 0;
let refreshing = false;
let refreshAgain = false;
const asked = new Set<number>();

export function idAt(position: number): string | undefined {
  return ids[position];
}

/** The position of a letter, -1 when it is not in the part we know. */
export function positionOf(id: string | null): number {
  return id === null ? -1 : ids.indexOf(id);
}

/** Shows another folder, from the top. */
export async function openFolder(id: string): Promise<void> {
  if (id === mailboxId) return;
  mailboxId = id;
  epoch += 1;
  emails.trimRows();
  ids = [];
  asked.clear();
  shown = { start: 0, end: 0 };
  shift = 0;
  cursor.value = null;
  total.value = 0;
  status.value = 'loading';
  version.value += 1;
  await reload();
}

/** Fetches the folder's first page again after a failure. */
export async function reload(): Promise<void> {
  const mine = mailboxId;
  status.value = 'loading';
  try {
    for (;;) {
      const asOf = epoch;
      const [page] = await api.getPages(mine, [0], PAGE);
      if (mine !== mailboxId) return;
      if (asOf !== epoch || !page) continue;
      adopt([page], 0);
      status.value = 'ready';
      return;
    }
  } catch {
    if (mine === mailboxId) status.value = 'failed';
  }
}

/** The view says which rows it shows; whatever is missing is fetched. */
export function setShown(start: number, end: number): void {
  const moved = start !== shown.start || end !== shown.end;
  shown = { start, end };
  const now = performance.now();
  const flying = now - movedMs < SETTLE_MS;
  if (moved) movedMs = now;
  if (missingPages().length === 0) return;
  clearTimeout(settle);
  if (flying) settle = window.setTimeout(() => void fetchMissing(), SETTLE_MS);
  else void fetchMissing();
}

/** Waits until the letter at `position` is known. */
export async function ensure(position: number): Promise<string | undefined> {
  if (ids[position] === undefined && position >= 0 && position < total.value) {
    await fetchPages([Math.floor(position / PAGE) * PAGE]);
  }
  return ids[position];
}

/**
 * Something changed on the server: asks again for the pages in sight and for the top. The rows
 * the reader looks at stay where they are; see `takeShift`.
 */
export async function refresh(): Promise<void> {
  if (status.value === 'failed') await reload();
  if (status.value !== 'ready') return;
  if (refreshing || writing > 0) {
    refreshAgain = true;
    return;
  }
  refreshing = true;
  try {
    do {
      refreshAgain = false;
      await refreshOnce();
    } while (again());
  } catch {
    // The event stream notices a lost server and says so; then we are called again.
  } finally {
    refreshing = false;
  }
}

/** By how many rows the list moved under the reader; asking takes the answer away. */
export function takeShift(): number {
  const rows = shift;
  shift = 0;
  return rows;
}

/** Takes letters out of the list at once, before the server has answered. */
export function drop(gone: readonly string[]): void {
  epoch += 1;
  asked.clear();
  let removed = 0;
  for (const id of gone) {
    const position = ids.indexOf(id);
    if (position < 0) continue;
    if (cursor.value === id) cursor.value = ids[position + 1] ?? ids[position - 1] ?? null;
    ids.splice(position, 1);
    if (position < shown.start) shift -= 1;
    removed += 1;
  }
  total.value -= removed;
  version.value += 1;
}

/** A change of ours is on its way: what the server tells until it is there is outdated. */
export function startWrite(): void {
  writing += 1;
  outdate();
}

export function endWrite(): void {
  writing -= 1;
  outdate();
  if (writing > 0 || !refreshAgain) return;
  refreshAgain = false;
  void refresh();
}

function outdate(): void {
  epoch += 1;
  asked.clear();
}

/** Asked to refresh meanwhile, and nothing of ours is on its way. */
function again(): boolean {
  return refreshAgain && writing === 0;
}

async function refreshOnce(): Promise<void> {
  const mine = epoch;
  const { start, end } = shown;
  const anchor = ids[start];
  const positions = new Set([0]);
  for (let p = pageOf(start); p <= end; p += PAGE) positions.add(p);
  const pages = await api.getPages(mailboxId, [...positions], PAGE);
  if (mine !== epoch || writing > 0) {
    refreshAgain = true;
    return;
  }
  const first = pages[0];
  if (!first) return;
  const moved = start === 0 ? 0 : movedBy(anchor, start, pages, first.total);
  announce(first);
  adopt(pages, moved);
}

/** How far the first row in sight moved: looked up, or else guessed from the new total. */
function movedBy(
  anchor: string | undefined,
  start: number,
  pages: readonly api.Page[],
  newTotal: number,
): number {
  for (const page of pages) {
    const at = anchor === undefined ? -1 : page.ids.indexOf(anchor);
    if (at >= 0) return page.position + at - start;
  }
  return newTotal - total.value;
}

/** Puts fetched pages in place of all we knew, keeping the old rest where it surely still fits. */
function adopt(pages: readonly api.Page[], moved: number): void {
  const newTotal = pages[0]?.total ?? 0;
  const old = ids;
  const arrived = newTotal - total.value;
  const next: (string | undefined)[] = [];
  next.length = newTotal;
  if (arrived >= 0 && arrived <= PAGE) {
    for (let p = 0; p + arrived < newTotal; p += 1) next[p + arrived] = old[p];
  }
  const placed = new Set<string>();
  for (const page of pages) {
    emails.keep(page.emails);
    page.ids.forEach((id, i) => {
      next[page.position + i] = id;
      placed.add(id);
    });
  }
  // A letter stands once: where the fetched pages put it.
  const inPages = (p: number) =>
    pages.some((page) => p >= page.position && p < page.position + page.ids.length);
  for (let p = 0; p < next.length; p += 1) {
    const id = next[p];
    if (id !== undefined && placed.has(id) && !inPages(p)) next[p] = undefined;
  }
  next.length = newTotal;
  ids = next;
  asked.clear();
  shift += moved;
  total.value = newTotal;
  version.value += 1;
  setShown(shown.start + moved, shown.end + moved);
}

function announce(first: api.Page): void {
  const known = new Set(ids.slice(0, PAGE * 2));
  const top = ids[0];
  const until = top === undefined ? first.ids.length : first.ids.indexOf(top);
  const arrived = first.ids.slice(0, Math.max(0, until)).filter((id) => !known.has(id));
  if (arrived.length === 0) return;
  fresh.value = new Set([...fresh.value, ...arrived]);
  spoken.value = tn('newLetters', arrived.length);
  window.setTimeout(() => {
    fresh.value = new Set([...fresh.value].filter((id) => !arrived.includes(id)));
  }, FRESH_MS);
}

function missingPages(): number[] {
  const missing: number[] = [];
  const last = Math.min(shown.end, total.value - 1);
  for (let page = pageOf(shown.start); page <= last; page += PAGE) {
    const from = Math.max(page, shown.start);
    const to = Math.min(page + PAGE - 1, last);
    let known = true;
    for (let p = from; p <= to && known; p += 1) known = ids[p] !== undefined;
    if (!known && !asked.has(page)) missing.push(page);
  }
  return missing;
}

async function fetchMissing(): Promise<void> {
  const missing = missingPages();
  if (missing.length > 0) await fetchPages(missing);
}

async function fetchPages(positions: readonly number[]): Promise<void> {
  const mine = epoch;
  for (const position of positions) asked.add(position);
  try {
    const pages = await api.getPages(mailboxId, positions, PAGE);
    if (mine !== epoch) {
      void fetchMissing();
      return;
    }
    place(pages);
  } catch {
    // Left open: scrolling or the next event asks again.
  } finally {
    for (const position of positions) asked.delete(position);
  }
}

function place(pages: readonly api.Page[]): void {
  for (const page of pages) {
    emails.keep(page.emails);
    if (page.total !== total.value) {
      // The folder changed since: put the whole right, not a page of it.
      void refresh();
      return;
    }
    page.ids.forEach((id, i) => {
      ids[page.position + i] = id;
    });
  }
  version.value += 1;
}

function pageOf(position: number): number {
  return Math.floor(Math.max(0, position) / PAGE) * PAGE;
}
