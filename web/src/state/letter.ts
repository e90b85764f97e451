// The letter in the reading pane. What the list already knows is shown at once; the rest follows.
import { computed, signal } from '@preact/signals';
import * as api from '../api';
import { route } from '../router';
import * as emails from './emails';

const KEPT = 60;

export type Opened =
  | { is: 'none' }
  | { is: 'loading'; email: api.Email | undefined }
  | { is: 'there'; email: api.Email; letter: api.Letter }
  | { is: 'gone' }
  | { is: 'failed' };

type Fetched = { id: string; letter?: api.Letter; trouble?: api.Trouble };

const cache = new Map<string, api.Letter>();
const fetched = signal<Fetched | null>(null);

export const opened = computed<Opened>(() => {
  const id = route.value.letter;
  if (id === null) return { is: 'none' };
  const known = emails.row(id)?.value;
  const answer = fetched.value?.id === id ? fetched.value : undefined;
  const letter = answer?.letter ?? cache.get(id);
  if (letter) return { is: 'there', email: known ?? letter, letter };
  if (answer?.trouble === 'gone') return { is: 'gone' };
  if (answer?.trouble) return { is: 'failed' };
  return { is: 'loading', email: known };
});

/** Fetches the letter unless we have it; a letter never changes, only its flags and folder do. */
export async function fetchLetter(id: string): Promise<void> {
  const known = cache.get(id);
  if (known) {
    fetched.value = { id, letter: known };
    return;
  }
  fetched.value = null;
  try {
    const letter = await api.getLetter(id);
    emails.keep([letter]);
    cache.set(id, letter);
    const oldest = cache.keys().next().value;
    if (cache.size > KEPT && oldest !== undefined) cache.delete(oldest);
    if (route.peek().letter === id) fetched.value = { id, letter };
  } catch (error) {
    const trouble = error instanceof api.ApiError ? error.trouble : 'server';
    if (route.peek().letter === id) fetched.value = { id, trouble };
  }
}
