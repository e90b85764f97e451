// One row: who, when, about what, and the first words. The row is a link; star and the buttons
// that appear on hover stand beside it, not inside.
import type { Email } from '../api';
import { clean, fullDate, personName, personNames, shortDate } from '../format';
import { t } from '../i18n';
import { openLetter } from '../keys';
import { href, route } from '../router';
import * as actions from '../state/actions';
import { isStarred, isUnread, row } from '../state/emails';
import * as list from '../state/list';
import { byRole, current } from '../state/mailboxes';
import { Avatar } from '../ui/Avatar';
import { IconButton } from '../ui/Button';
import { Icon } from '../ui/Icon';

type Props = {
  id: string;
  position: number;
  total: number;
  /** The one row that Tab stops at. */
  tabStop: boolean;
};

export function LetterRow({ id, position, total, tabStop }: Props) {
  const email = row(id)?.value;
  if (!email) return <WaitingRow position={position} />;
  const unread = isUnread(email);
  const starred = isStarred(email);
  const here = route.value.letter === id;
  const names = ['row'];
  if (unread) names.push('unread');
  if (here) names.push('here');
  if (list.cursor.value === id) names.push('at-cursor');
  if (list.fresh.value.has(id)) names.push('fresh');
  return (
    <li
      class={names.join(' ')}
      style={{ '--at': String(position) }}
      aria-setsize={total}
      aria-posinset={position + 1}
    >
      <a
        class="row-link"
        href={href({ folder: current.value?.slug ?? 'inbox', letter: id })}
        tabIndex={tabStop ? 0 : -1}
        aria-current={here ? 'true' : undefined}
        draggable={false}
        onFocus={() => (list.cursor.value = id)}
        onClick={(event) => {
          if (event.ctrlKey || event.metaKey || event.shiftKey) return;
          event.preventDefault();
          openLetter(id);
        }}
      >
        <Text email={email} unread={unread} starred={starred} />
      </a>
      <Tools email={email} unread={unread} />
      <IconButton
        icon="star"
        class={starred ? 'star starred' : 'star'}
        label={starred ? t('unstar') : t('star')}
        keyHint="s"
        pressed={starred}
        skipTab
        edge="end"
        onClick={() => void actions.setStarred([id], !starred)}
      />
    </li>
  );
}

/** Grey bars in the place of a letter that is on its way. */
export function WaitingRow({ position }: { position: number }) {
  return (
    <li class="row waiting" style={{ '--at': String(position) }} aria-hidden="true">
      <span class="avatar" />
      <span class="bar bar-who" />
      <span class="bar bar-subject" />
      <span class="bar bar-preview" />
    </li>
  );
}

function Text({ email, unread, starred }: { email: Email; unread: boolean; starred: boolean }) {
  const outgoing = current.value?.role === 'sent' || current.value?.role === 'drafts';
  const shown = outgoing ? email.to?.[0] : email.from?.[0];
  return (
    <>
      <Avatar who={shown} />
      <span class="row-who">
        {unread && <span class="sr-only">{t('isUnread')} </span>}
        {starred && <span class="sr-only">{t('isStarred')} </span>}
        <bdi>{who(email, outgoing)}</bdi>
      </span>
      {email.hasAttachment && (
        <span class="row-clip">
          <Icon name="clip" />
          <span class="sr-only">{t('hasAttachment')}</span>
        </span>
      )}
      <time class="row-date" dateTime={email.receivedAt} title={fullDate(email.receivedAt)}>
        {shortDate(email.receivedAt)}
      </time>
      <bdi class="row-subject">{clean(email.subject) || t('noSubject')}</bdi>
      <bdi class="row-preview">{clean(email.preview)}</bdi>
    </>
  );
}

/** What one does most, without opening: shown on hover where there is a mouse. */
function Tools({ email, unread }: { email: Email; unread: boolean }) {
  const role = current.value?.role;
  const ids = [email.id];
  return (
    <div class="row-tools">
      {byRole('archive') && role !== 'archive' && (
        <IconButton
          icon="archive"
          label={t('archive')}
          keyHint="e"
          skipTab
          onClick={() => void actions.moveToRole(ids, 'archive')}
        />
      )}
      <IconButton
        icon="trash"
        label={role === 'trash' ? t('removeForGood') : t('remove')}
        keyHint="#"
        skipTab
        onClick={() => void actions.remove(ids)}
      />
      <IconButton
        icon={unread ? 'mailOpen' : 'mail'}
        label={unread ? t('markRead') : t('markUnread')}
        keyHint={unread ? 'I' : 'U'}
        skipTab
        edge="end"
        onClick={() => void actions.setSeen(ids, unread)}
      />
    </div>
  );
}

function who(email: Email, outgoing: boolean): string {
  if (outgoing) {
    return email.to?.length ? t('toPrefix', { names: personNames(email.to) }) : t('noRecipient');
  }
  const sender = email.from?.[0];
  return sender ? personName(sender) : t('noSender');
}
