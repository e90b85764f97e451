// The folders: their order, their names in the reader's language, their counts.
import { computed, signal } from '@preact/signals';
import type { IconName } from '../ui/icons';
import * as api from '../api';
import { clean } from '../format';
import { lang, t } from '../i18n';
import { route } from '../router';

/** Folders with a role come first, in this order, and are called as the reader expects. */
const ROLES = {
  inbox: { icon: 'inbox', name: 'roleInbox' },
  drafts: { icon: 'drafts', name: 'roleDrafts' },
  sent: { icon: 'sent', name: 'roleSent' },
  archive: { icon: 'archive', name: 'roleArchive' },
  junk: { icon: 'junk', name: 'roleJunk' },
  trash: { icon: 'trash', name: 'roleTrash' },
} as const satisfies Record<string, { icon: IconName; name: string }>;
export type Role = keyof typeof ROLES;

/** Deeper folders are drawn at this depth; a stranger's tree must not push names off the page. */
const MAX_DEPTH = 5;

export type Folder = api.Mailbox & {
  role: Role | null;
  label: string;
  icon: IconName;
  depth: number;
  /** As it stands in the address bar. */
  slug: string;
};

const mailboxes = signal<api.Mailbox[] | null>(null);

export const loaded = computed(() => mailboxes.value !== null);

/** In the order of the sidebar, children under their parents. */
export const folders = computed<Folder[]>(() => tree(mailboxes.value ?? []));

/** The folder of the current route; the inbox when the address names none we have. */
export const current = computed<Folder | undefined>(() => {
  const wanted = route.value.folder;
  const all = folders.value;
  return all.find((folder) => folder.slug === wanted || folder.id === wanted) ?? all[0];
});

export async function loadMailboxes(): Promise<void> {
  mailboxes.value = await api.getMailboxes();
}

export function byId(id: string): Folder | undefined {
  return folders.value.find((folder) => folder.id === id);
}

export function byRole(role: Role): Folder | undefined {
  return folders.value.find((folder) => folder.role === role);
}

/** Counts at once what we just did; the server's own numbers follow and win. */
export function adjustCounts(id: string, letters: number, unread: number): void {
  const all = mailboxes.value ?? [];
  const at = all.findIndex((box) => box.id === id);
  const box = all[at];
  if (!box) return;
  const totalEmails = Math.max(0, box.totalEmails + letters);
  const unreadEmails = Math.max(0, box.unreadEmails + unread);
  mailboxes.value = all.with(at, { ...box, totalEmails, unreadEmails });
}

function tree(boxes: readonly api.Mailbox[]): Folder[] {
  const ids = new Set(boxes.map((box) => box.id));
  const children = new Map<string | null, api.Mailbox[]>();
  for (const box of boxes) {
    const parent = box.parentId !== null && ids.has(box.parentId) ? box.parentId : null;
    children.set(parent, [...(children.get(parent) ?? []), box]);
  }
  const compare = new Intl.Collator(lang.value, { numeric: true }).compare;
  const roles = Object.keys(ROLES);
  const rank = (box: api.Mailbox) => (asRole(box.role) ? roles.indexOf(box.role ?? '') : 99);
  const ordered: Folder[] = [];
  const seen = new Set<string>();
  const walk = (parent: string | null, depth: number) => {
    const level = (children.get(parent) ?? []).toSorted(
      (a, b) => rank(a) - rank(b) || a.sortOrder - b.sortOrder || compare(a.name, b.name),
    );
    for (const box of level) {
      if (seen.has(box.id)) continue;
      seen.add(box.id);
      ordered.push(asFolder(box, Math.min(depth, MAX_DEPTH)));
      walk(box.id, depth + 1);
    }
  };
  walk(null, 0);
  return ordered;
}

function asFolder(box: api.Mailbox, depth: number): Folder {
  const role = asRole(box.role);
  return {
    ...box,
    role,
    depth,
    label: role ? t(ROLES[role].name) : clean(box.name) || box.id,
    icon: role ? ROLES[role].icon : 'folder',
    slug: role ?? box.id,
  };
}

function asRole(role: string | null): Role | null {
  return role !== null && Object.hasOwn(ROLES, role) ? (role as Role) : null;
}
