// Every row we have seen, one signal each, so that a change of one letter redraws one row.
import { type Signal, signal } from '@preact/signals';
import type { Email } from '../api';

const KEPT = 4000;

const rows = new Map<string, Signal<Email>>();

export function row(id: string): Signal<Email> | undefined {
  return rows.get(id);
}

export function keep(emails: readonly Email[]): void {
  for (const email of emails) {
    const known = rows.get(email.id);
    if (known) known.value = email;
    else rows.set(email.id, signal(email));
  }
}

/** Forgets rows when there are too many; call when another folder is opened. */
export function trimRows(): void {
  if (rows.size > KEPT) rows.clear();
}

export function isUnread(email: Email): boolean {
  return !email.keywords['$seen'];
}

export function isStarred(email: Email): boolean {
  return email.keywords['$flagged'] === true;
}

/** Sets or clears a keyword in what we show; the server is told elsewhere. */
export function patchKeyword(id: string, keyword: string, on: boolean): void {
  const known = rows.get(id);
  if (!known) return;
  const { [keyword]: _, ...others } = known.value.keywords;
  known.value = { ...known.value, keywords: on ? { ...others, [keyword]: true } : others };
}
