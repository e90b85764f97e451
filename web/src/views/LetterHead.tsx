// Subject, sender, recipients, date; the full list of addresses on request; attachments.
import { useSignal } from '@preact/signals';
import { type Address, type Attachment, blobUrl, type Email, type Letter } from '../api';
import { clean, fileSize, fullDate, mediumDate, personName, personNames } from '../format';
import { t, tn } from '../i18n';
import * as actions from '../state/actions';
import { isStarred } from '../state/emails';
import { user } from '../state/session';
import { Avatar } from '../ui/Avatar';
import { IconButton } from '../ui/Button';
import { Icon } from '../ui/Icon';
import type { IconName } from '../ui/icons';

/** Recipients named in the short line. */
const NAMED = 2;

export function LetterHead({ email, letter }: { email: Email; letter: Letter | undefined }) {
  const open = useSignal(false);
  const sender = email.from?.[0];
  const starred = isStarred(email);
  return (
    <header class="letter-head">
      <div class="letter-title">
        <h2>
          <bdi>{clean(email.subject) || t('noSubject')}</bdi>
        </h2>
        <IconButton
          icon="star"
          class={starred ? 'star starred' : 'star'}
          label={starred ? t('unstar') : t('star')}
          keyHint="s"
          pressed={starred}
          edge="end"
          onClick={() => void actions.setStarred([email.id], !starred)}
        />
      </div>
      <div class="letter-who">
        <Avatar who={sender} large />
        <div class="letter-lines">
          <p class="letter-from">
            <bdi class="letter-name">{sender ? personName(sender) : t('noSender')}</bdi>
            {sender?.name && <bdi class="letter-address">{clean(sender.email)}</bdi>}
          </p>
          <button
            type="button"
            class="letter-to"
            aria-expanded={open.value}
            title={open.value ? t('hideDetails') : t('showDetails')}
            onClick={() => (open.value = !open.value)}
          >
            <bdi>{recipients([...(email.to ?? []), ...(letter?.cc ?? [])])}</bdi>
            <Icon name="chevron" />
          </button>
        </div>
        <time class="letter-date" dateTime={email.receivedAt} title={fullDate(email.receivedAt)}>
          {mediumDate(email.receivedAt)}
        </time>
      </div>
      {open.value && <Details email={email} letter={letter} />}
    </header>
  );
}

export function Attachments({ parts: all }: { parts: readonly Attachment[] }) {
  const parts = all.filter((part) => !isShownInside(part));
  if (parts.length === 0) return null;
  return (
    <div class="attachments">
      <p class="attachments-count">{tn('attachments', parts.length)}</p>
      <ul>
        {parts.map((part) => {
          const name = clean(part.name) || t('attachmentName');
          const size = fileSize(part.size);
          return (
            <li key={part.blobId}>
              <a
                class="chip"
                href={blobUrl(part, name)}
                download={name}
                title={name}
              >
                <Icon name={fileIcon(part.type)} />
                <span class="sr-only">{t('download')}</span>
                <bdi class="chip-name">{name}</bdi>
                <span class="chip-size">{size}</span>
                <Icon name="download" />
              </a>
            </li>
          );
        })}
      </ul>
    </div>
  );
}

function Details({ email, letter }: { email: Email; letter: Letter | undefined }) {
  const rows: [string, readonly Address[] | null | undefined][] = [
    [t('fieldFrom'), email.from],
    [t('fieldReplyTo'), letter?.replyTo],
    [t('fieldTo'), email.to],
    [t('fieldCc'), letter?.cc],
  ];
  return (
    <dl class="details">
      {rows.map(
        ([label, who]) =>
          who &&
          who.length > 0 && (
            <div key={label}>
              <dt>{label}</dt>
              <dd>
                {who.map((one) => (
                  <span class="person" key={one.email}>
                    {one.name && <bdi>{clean(one.name)} </bdi>}
                    <bdi class="person-address">{clean(one.email)}</bdi>
                  </span>
                ))}
              </dd>
            </div>
          ),
      )}
      <div>
        <dt>{t('fieldDate')}</dt>
        <dd>{fullDate(letter?.sentAt ?? email.receivedAt)}</dd>
      </div>
      <div>
        <dt>{t('fieldSize')}</dt>
        <dd>{fileSize(email.size)}</dd>
      </div>
    </dl>
  );
}

/** to me, Jan Kowalski and 3 others */
function recipients(who: readonly Address[]): string {
  if (who.length === 0) return t('noRecipient');
  const ordered = who.toSorted((a, b) => Number(mine(b)) - Number(mine(a)));
  const named = ordered
    .slice(0, NAMED)
    .map((one) => (mine(one) ? { name: t('toMe'), email: one.email } : one));
  const rest = who.length - named.length;
  const names = t('toNames', { names: personNames(named) });
  return rest > 0 ? `${names} ${tn('andMore', rest)}` : names;
}

function mine(one: Address): boolean {
  return one.email.toLowerCase() === user.value.toLowerCase();
}

/** A picture in the text of the letter; the server counts it with the files (RFC 8621 §4.1.4). */
function isShownInside({ cid, disposition, type }: Attachment): boolean {
  return cid !== null && disposition !== 'attachment' && type.startsWith('image/');
}

function fileIcon(type: string): IconName {
  const name = type.toLowerCase();
  if (name.startsWith('image/')) return 'image';
  if (name === 'text/calendar') return 'calendar';
  if (name === 'message/rfc822') return 'mail';
  if (/zip|tar|compressed/.test(name)) return 'archive';
  return 'file';
}
