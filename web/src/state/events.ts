// Listens to the server and keeps the screen true: after every `state` event, and after every
// time we were cut off, folders and list are asked for again.
import { effect, signal } from '@preact/signals';
import * as api from '../api';
import * as list from './list';
import { loadMailboxes } from './mailboxes';
import { phase, signIns, signInAgain } from './session';

const FIRST_RETRY_MS = 1000;
const LAST_RETRY_MS = 30_000;
/** A short hiccup is not worth a word. */
const PATIENCE_MS = 1500;
/** Several events in a row (a burst of new mail) become one round of questions. */
const GATHER_MS = 80;

export const offline = signal(false);

let source: EventSource | null = null;
let listened = false;
let retryMs = FIRST_RETRY_MS;
let retry = 0;
let patience = 0;
let gather = 0;

/** Call once, after the first sign-in. */
export function startEvents(): void {
  effect(() => {
    // Signed in, or signed in again: the old stream went with the old session.
    if (signIns.value > 0) connect();
  });
  addEventListener('online', connectNow);
  addEventListener('offline', lost);
  document.addEventListener('visibilitychange', () => {
    if (!document.hidden && offline.value) connectNow();
  });
}

/** Asks for folders and list again. */
export async function refreshAll(): Promise<void> {
  await Promise.all([loadMailboxes().catch(() => undefined), list.refresh()]);
}

function connect(): void {
  clearTimeout(retry);
  source?.close();
  const stream = api.openEvents();
  source = stream;
  stream.addEventListener('open', () => {
    clearTimeout(patience);
    patience = 0;
    retryMs = FIRST_RETRY_MS;
    offline.value = false;
    // What happened while nobody listened is known only by asking.
    if (listened) void refreshAll();
    listened = true;
  });
  stream.addEventListener('state', (event) => {
    const types = api.changedTypes((event as MessageEvent<string>).data);
    if (types.length === 0) return;
    clearTimeout(gather);
    gather = window.setTimeout(() => void refreshAll(), GATHER_MS);
  });
  stream.addEventListener('error', lost);
}

/** Cut off. We reconnect ourselves: the browser gives up for good on some answers. */
function lost(): void {
  source?.close();
  source = null;
  if (patience === 0) {
    patience = window.setTimeout(() => {
      offline.value = true;
    }, PATIENCE_MS);
  }
  clearTimeout(retry);
  const jitter = 0.75 + Math.random() / 2;
  retry = window.setTimeout(() => void probe(), retryMs * jitter);
  retryMs = Math.min(retryMs * 2, LAST_RETRY_MS);
}

function connectNow(): void {
  retryMs = FIRST_RETRY_MS * 2;
  clearTimeout(retry);
  void probe();
}

/** An event stream does not tell why it failed, so ask first: no server, or no session? */
async function probe(): Promise<void> {
  if (phase.value === 'expired') {
    lost();
    return;
  }
  try {
    await api.session();
  } catch (error) {
    if (!(error instanceof api.ApiError && error.trouble === 'signedOut')) {
      lost();
      return;
    }
    clearTimeout(patience);
    patience = 0;
    offline.value = false;
    void signInAgain();
    return;
  }
  connect();
}
