// What the device is like: narrow like a phone, dark, and whether the drawer is open.
import { type ReadonlySignal, signal } from '@preact/signals';

/** The same widths as in styles/layout.css. */
export const narrow = media('(max-width: 759px)');
/** Folders are a drawer. */
export const compact = media('(max-width: 1079px)');
export const dark = media('(prefers-color-scheme: dark)');

export const drawerOpen = signal(false);

function media(query: string): ReadonlySignal<boolean> {
  const list = matchMedia(query);
  const matches = signal(list.matches);
  list.addEventListener('change', () => {
    matches.value = list.matches;
  });
  return matches;
}
