// Every keyboard shortcut, one row each: the keys, when they count, what they do. The help view
// and aria-keyshortcuts read the same table. They are Gmail's keys, because hands know them.
import { signal } from '@preact/signals';
import type { TextKey, TextVars } from './i18n/types';
import { closeLetter, go, route } from './router';
import * as actions from './state/actions';
import * as list from './state/list';
import { current } from './state/mailboxes';
import { drawerOpen } from './state/screen';
import { phase } from './state/session';
import { undoLast } from './state/toast';

/** Strings without placeholders. */
type Label = { [K in TextKey]: [] extends TextVars<K> ? K : never }[TextKey];

type Shortcut = {
  keys: readonly string[];
  group: 'keysMove' | 'keysDo';
  label: Label;
  run: () => unknown;
};

export const helpOpen = signal(false);
/** Shortcuts of one letter get in the way of some who dictate: they can be turned off. */
export const keysOn = signal(stored());

export const SHORTCUTS: readonly Shortcut[] = [
  { keys: ['j'], group: 'keysMove', label: 'keyNext', run: () => step(1) },
  { keys: ['k'], group: 'keysMove', label: 'keyPrevious', run: () => step(-1) },
  { keys: ['Enter', 'o'], group: 'keysMove', label: 'keyOpen', run: openCursor },
  { keys: ['Escape', 'u'], group: 'keysMove', label: 'keyBack', run: back },
  { keys: ['?'], group: 'keysMove', label: 'keyHelp', run: () => (helpOpen.value = true) },
  { keys: ['e'], group: 'keysDo', label: 'archive', run: () => move('archive') },
  { keys: ['#', 'Delete'], group: 'keysDo', label: 'remove', run: () => target(actions.remove) },
  { keys: ['!'], group: 'keysDo', label: 'junk', run: () => move('junk') },
  { keys: ['v'], group: 'keysDo', label: 'moveTo', run: chooseFolder },
  { keys: ['s'], group: 'keysDo', label: 'keyStar', run: star },
  { keys: ['I'], group: 'keysDo', label: 'markRead', run: () => seen(true) },
  { keys: ['U'], group: 'keysDo', label: 'markUnread', run: () => seen(false) },
  { keys: ['z'], group: 'keysDo', label: 'keyUndo', run: undoLast },
];

/** Call once. */
export function startKeys(): void {
  addEventListener('keydown', (event) => {
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
    if (phase.value !== 'in' || isTyping(event.target)) return;
    if (event.key !== 'Escape' && event.key !== 'Delete' && !keysOn.value) return;
    const shortcut = SHORTCUTS.find(({ keys }) => keys.includes(event.key));
    if (!shortcut) return;
    // Enter on a link or button is theirs.
    if (event.key === 'Enter' && event.target !== document.body) return;
    event.preventDefault();
    shortcut.run();
  });
}

export function setKeysOn(on: boolean): void {
  keysOn.value = on;
  try {
    localStorage.setItem('op.keys', on ? 'on' : 'off');
  } catch {
    // Storage may be forbidden; then the choice lasts until the page is closed.
  }
}

/** To the next (+1, older) or previous letter: the open one when there is one, else the cursor. */
export async function step(by: 1 | -1): Promise<void> {
  const { folder, letter } = route.value;
  const from = list.positionOf(letter ?? list.cursor.value);
  const id = await list.ensure(from < 0 ? 0 : from + by);
  if (id === undefined) return;
  list.cursor.value = id;
  if (letter !== null) go({ folder, letter: id });
  list.focusRow.value += 1;
}

export function openLetter(id: string): void {
  const folder = current.value?.slug;
  if (folder === undefined) return;
  list.cursor.value = id;
  go({ folder, letter: id });
}

export function back(): void {
  if (drawerOpen.value) {
    drawerOpen.value = false;
    return;
  }
  if (route.value.letter === null) return;
  closeLetter();
  list.focusRow.value += 1;
}

function openCursor(): void {
  const id = list.cursor.value;
  if (id !== null && list.positionOf(id) >= 0) openLetter(id);
}

/** The letter a shortcut means: the open one, or the one under the cursor. */
function target<T>(run: (ids: readonly string[]) => T): T | undefined {
  const id = route.value.letter ?? list.cursor.value;
  return id === null ? undefined : run([id]);
}

function move(role: 'archive' | 'junk'): void {
  const here = current.value?.role;
  if (role === 'junk' && here === 'junk') target((ids) => actions.moveToRole(ids, 'inbox'));
  else target((ids) => actions.moveToRole(ids, role));
}

function chooseFolder(): void {
  target((ids) => (actions.toMove.value = ids));
}

function star(): void {
  target(([id]) => id !== undefined && void actions.toggleStar(id));
}

function seen(on: boolean): void {
  target((ids) => void actions.setSeen(ids, on));
}

function isTyping(at: EventTarget | null): boolean {
  if (!(at instanceof HTMLElement)) return false;
  return (
    at.closest('input:not([type=checkbox]), textarea, select, dialog, [contenteditable]') !==
    null
  );
}

function stored(): boolean {
  try {
    return localStorage.getItem('op.keys') !== 'off';
  } catch {
    return true;
  }
}
