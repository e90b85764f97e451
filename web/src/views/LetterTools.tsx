// The bar above the letter: one row per button.
import { number, t } from '../i18n';
import { back, step } from '../keys';
import * as actions from '../state/actions';
import { isUnread, row } from '../state/emails';
import * as list from '../state/list';
import { byRole, current } from '../state/mailboxes';
import { narrow } from '../state/screen';
import { IconButton } from '../ui/Button';

export function LetterTools({ id }: { id: string }) {
  const role = current.value?.role;
  const email = row(id)?.value;
  const unread = email ? isUnread(email) : false;
  const ids = [id];
  return (
    <div class="letter-tools" role="toolbar" aria-label={t('letterTools')}>
      {narrow.value && (
        <IconButton icon="back" label={t('back')} keyHint="u" edge="start" onClick={back} />
      )}
      {byRole('archive') && role !== 'archive' && (
        <IconButton
          icon="archive"
          label={t('archive')}
          keyHint="e"
          edge={narrow.value ? undefined : 'start'}
          onClick={() => void actions.moveToRole(ids, 'archive')}
        />
      )}
      {role === 'junk' ? (
        <IconButton
          icon="notJunk"
          label={t('notJunk')}
          keyHint="!"
          onClick={() => void actions.moveToRole(ids, 'inbox')}
        />
      ) : (
        byRole('junk') && (
          <IconButton
            icon="junk"
            label={t('junk')}
            keyHint="!"
            onClick={() => void actions.moveToRole(ids, 'junk')}
          />
        )
      )}
      <IconButton
        icon="trash"
        label={role === 'trash' ? t('removeForGood') : t('remove')}
        keyHint="#"
        onClick={() => void actions.remove(ids)}
      />
      <span class="tools-rule" />
      <IconButton
        icon={unread ? 'mailOpen' : 'mail'}
        label={unread ? t('markRead') : t('markUnread')}
        keyHint={unread ? 'I' : 'U'}
        onClick={() => void actions.setSeen(ids, unread)}
      />
      <IconButton
        icon="move"
        label={t('moveTo')}
        keyHint="v"
        onClick={() => (actions.toMove.value = ids)}
      />
      <Place id={id} />
    </div>
  );
}

/** 3 of 62, and one step either way. */
function Place({ id }: { id: string }) {
  // Positions are not signals themselves; the version tells when they moved.
  const position = list.version.value >= 0 ? list.positionOf(id) : -1;
  const total = list.total.value;
  if (position < 0) return null;
  return (
    <div class="place">
      <span class="place-words">
        {t('place', { n: number(position + 1), total: number(total) })}
      </span>
      <IconButton
        icon="up"
        label={t('newerLetter')}
        keyHint="k"
        disabled={position === 0}
        onClick={() => void step(-1)}
      />
      <IconButton
        icon="down"
        label={t('olderLetter')}
        keyHint="j"
        edge="end"
        disabled={position >= total - 1}
        onClick={() => void step(1)}
      />
    </div>
  );
}
