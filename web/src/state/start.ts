// What follows from what: signed in -> folders and events; folder in the address -> its list;
// letter in the address -> the letter, read from then on; counts -> the title of the window.
import { computed, effect } from '@preact/signals';
import { route } from '../router';
import { read } from './actions';
import { startEvents } from './events';
import * as list from './list';
import { byRole, current, loadMailboxes } from './mailboxes';
import { drawerOpen } from './screen';
import { phase } from './session';

const PRODUCT = 'OpenPoczta';

/** Call once. */
export function startMail(): void {
  const inside = computed(() => phase.value === 'in' || phase.value === 'expired');
  const folderId = computed(() => current.value?.id);
  const letterId = computed(() => route.value.letter);

  effect(() => {
    if (!inside.value) return;
    void loadMailboxes().catch(() => (list.status.value = 'failed'));
    startEvents();
  });
  effect(() => {
    const id = folderId.value;
    if (id === undefined) return;
    drawerOpen.value = false;
    void list.openFolder(id);
  });
  effect(() => {
    const id = letterId.value;
    if (!inside.value || id === null) return;
    void read(id);
  });
  effect(() => {
    const unread = byRole('inbox')?.unreadEmails ?? 0;
    const place = inside.value ? current.value?.label : undefined;
    const title = place === undefined ? PRODUCT : `${place} – ${PRODUCT}`;
    document.title = unread > 0 && inside.value ? `(${unread}) ${title}` : title;
  });
}
