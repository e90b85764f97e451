// Where the reader is, kept in the address bar after '#': '#/inbox', '#/inbox/e42'. After the
// hash, so that the server needs to know one page only. Folders with a role go by the role,
// because that reads better and survives a rebuilt mailbox.
import { signal } from '@preact/signals';

/** `folder` is a role or a mailbox id; `letter` an email id. */
export type Route = { folder: string; letter: string | null };

export const HOME: Route = { folder: 'inbox', letter: null };

export const route = signal<Route>(parse(location.hash));

/** Call once: follows the back and forward buttons and hand-typed addresses. */
export function startRouter(): void {
  addEventListener('popstate', follow);
  addEventListener('hashchange', follow);
}

export function href({ folder, letter }: Route): string {
  const path = [folder, letter].filter((part) => part !== null).map(encodeURIComponent);
  return `#/${path.join('/')}`;
}

/** Goes there. A letter opened from a list remembers it, so that `closeLetter` can step back. */
export function go(to: Route): void {
  const here = route.value;
  if (here.folder === to.folder && here.letter === to.letter) return;
  const walking = here.letter !== null && to.letter !== null && here.folder === to.folder;
  if (walking) {
    // From letter to letter is one step for the back button, not one per letter.
    history.replaceState(history.state, '', href(to));
  } else {
    const fromList = to.letter !== null && here.folder === to.folder;
    history.pushState({ fromList }, '', href(to));
  }
  route.value = to;
}

/** From the letter to its list. */
export function closeLetter(): void {
  const { folder, letter } = route.value;
  if (letter === null) return;
  if ((history.state as { fromList?: boolean } | null)?.fromList) {
    history.back();
    return;
  }
  replace({ folder, letter: null });
}

/** Changes the address without a new step in the history. */
export function replace(to: Route): void {
  history.replaceState(null, '', href(to));
  route.value = to;
}

function follow(): void {
  route.value = parse(location.hash);
}

function parse(hash: string): Route {
  const [folder, letter] = hash.replace(/^#\/?/, '').split('/').map(decode);
  return folder ? { folder, letter: letter || null } : HOME;
}

function decode(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return '';
  }
}
