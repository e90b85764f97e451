// What a reader can do with letters. Each action shows at once, tells the server, and puts
// things back, with a word, when the server refused.
import { signal } from '@preact/signals';
import * as api from '../api';
import { t, tn } from '../i18n';
import { closeLetter, go, route } from '../router';
import * as emails from './emails';
import { refreshAll } from './events';
import { fetchLetter, opened } from './letter';
import * as list from './list';
import { adjustCounts, byId, byRole, current, type Folder, type Role } from './mailboxes';
import { narrow } from './screen';
import * as toast from './toast';

/** Letters the reader has asked to delete for good, until she says yes or no. */
export const toDestroy = signal<readonly string[] | null>(null);
/** Letters waiting for a folder to be chosen. */
export const toMove = signal<readonly string[] | null>(null);

export async function setSeen(ids: readonly string[], on: boolean): Promise<void> {
  const changing = ids.filter((id) => {
    const email = emails.row(id)?.peek();
    return email !== undefined && emails.isUnread(email) === on;
  });
  const count = (seen: boolean) => {
    for (const id of changing) {
      emails.patchKeyword(id, '$seen', seen);
      for (const box of boxesOf(id)) adjustCounts(box, 0, seen ? -1 : 1);
    }
  };
  await keyword('$seen', changing, on, count);
}

export async function setStarred(ids: readonly string[], on: boolean): Promise<void> {
  await keyword('$flagged', ids, on, (starred) => {
    for (const id of ids) emails.patchKeyword(id, '$flagged', starred);
  });
}

export async function toggleStar(id: string): Promise<void> {
  const email = emails.row(id)?.peek();
  if (email) await setStarred([id], !emails.isStarred(email));
}

export async function toggleSeen(id: string): Promise<void> {
  const email = emails.row(id)?.peek();
  if (email) await setSeen([id], emails.isUnread(email));
}

/** To the folder with that role: archive, junk, or inbox for what is not junk. */
export async function moveToRole(ids: readonly string[], role: Role): Promise<void> {
  const target = byRole(role);
  if (target) await moveTo(ids, target);
  else toast.show({ text: t('noSuchFolder'), bad: true });
}

export async function moveTo(ids: readonly string[], target: Folder): Promise<void> {
  const moving = ids.filter((id) => !boxesOf(id).includes(target.id));
  if (moving.length === 0) return;
  const before = new Map(moving.map((id) => [id, emails.row(id)?.peek().mailboxIds ?? {}]));
  takeAway(moving, target.id);
  const done = await change(() => api.updateEmails(updates(moving, () => only(target.id))));
  if (!done) return;
  toast.show({
    text: tn('moved', moving.length, { folder: target.label }),
    undo: () => void moveBack(before),
  });
}

/** To the trash; from the trash for good, after a question. */
export async function remove(ids: readonly string[]): Promise<void> {
  const trash = byRole('trash');
  if (trash && current.peek()?.role !== 'trash') await moveTo(ids, trash);
  else toDestroy.value = ids;
}

/** Deletes for good; the question has been answered. */
export async function destroy(ids: readonly string[]): Promise<void> {
  takeAway(ids, null);
  if (await change(() => api.destroyEmails(ids))) {
    toast.show({ text: tn('destroyed', ids.length) });
  }
}

/** Fetches the letter in the address; once it is there, it is read. */
export async function read(id: string): Promise<void> {
  await fetchLetter(id);
  if (route.peek().letter !== id || opened.peek().is !== 'there') return;
  list.cursor.value = id;
  await setSeen([id], true);
}

async function moveBack(before: Map<string, Record<string, true>>): Promise<void> {
  const ids = [...before.keys()];
  await change(() => api.updateEmails(updates(ids, (id) => ({ mailboxIds: before.get(id) ?? {} }))));
  await refreshAll();
}

/** Takes letters off the screen and out of the counts, and goes on to the next one. */
function takeAway(ids: readonly string[], to: string | null): void {
  for (const id of ids) {
    const email = emails.row(id)?.peek();
    if (!email) continue;
    const unread = emails.isUnread(email) ? 1 : 0;
    for (const box of Object.keys(email.mailboxIds)) adjustCounts(box, -1, -unread);
    if (to !== null) {
      adjustCounts(to, 1, unread);
      emails.keep([{ ...email, mailboxIds: { [to]: true } }]);
    }
  }
  const open = route.peek().letter;
  const position = list.positionOf(open);
  const cursor = list.cursor.peek();
  list.drop(ids);
  if (cursor !== null && ids.includes(cursor)) list.focusRow.value += 1;
  if (open === null || !ids.includes(open)) return;
  const next = list.idAt(position) ?? list.idAt(position - 1);
  if (narrow.peek() || position < 0 || next === undefined) closeLetter();
  else go({ folder: route.peek().folder, letter: next });
}

async function keyword(
  name: string,
  ids: readonly string[],
  on: boolean,
  show: (on: boolean) => void,
): Promise<void> {
  if (ids.length === 0) return;
  show(on);
  const update = updates(ids, () => ({ [`keywords/${name}`]: on ? true : null }));
  if (!(await change(() => api.updateEmails(update)))) show(!on);
}

/** Tells the server. When it refuses: says so, shows the truth again, and returns false. */
async function change(tell: () => Promise<void>): Promise<boolean> {
  list.startWrite();
  try {
    await tell();
    return true;
  } catch (error) {
    toast.show({ text: sorry(error), bad: true });
    void refreshAll();
    return false;
  } finally {
    list.endWrite();
  }
}

function sorry(error: unknown): string {
  const trouble = error instanceof api.ApiError ? error.trouble : 'server';
  if (trouble === 'network') return t('networkTrouble');
  if (trouble === 'gone') return t('letterGone');
  return t('actionFailed');
}

function updates(
  ids: readonly string[],
  patch: (id: string) => api.Patch,
): Record<string, api.Patch> {
  return Object.fromEntries(ids.map((id) => [id, patch(id)]));
}

function only(mailboxId: string): api.Patch {
  return { mailboxIds: { [mailboxId]: true } };
}

function boxesOf(id: string): string[] {
  return Object.keys(emails.row(id)?.peek().mailboxIds ?? {}).filter((box) => byId(box));
}
