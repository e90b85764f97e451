// What a reader should know before reading: junk, and pictures that were kept away.
import type { Letter } from '../api';
import { decimal } from '../format';
import { t } from '../i18n';
import * as actions from '../state/actions';
import { current } from '../state/mailboxes';
import { Icon } from '../ui/Icon';

export function LetterBars({ letter }: { letter: Letter }) {
  return (
    <>
      {current.value?.role === 'junk' && <JunkBar letter={letter} />}
      {letter.hasRemoteImages && (
        <p class="bar-note">
          <Icon name="imageOff" />
          <span>{t('imagesBlocked')}</span>
        </p>
      )}
    </>
  );
}

function JunkBar({ letter }: { letter: Letter }) {
  const verdict = score(letter['header:X-Spam-Status:asText']);
  return (
    <div class="bar-note bar-junk" role="note">
      <Icon name="junk" />
      <p>
        <strong>{t('junkTitle')}</strong> {t('junkText')}{' '}
        {verdict && (
          <span class="bar-why">
            {t('junkScore', { score: decimal(verdict.score), limit: decimal(verdict.limit) })}
          </span>
        )}
      </p>
      <button
        type="button"
        class="button button-small"
        onClick={() => void actions.moveToRole([letter.id], 'inbox')}
      >
        {t('notJunk')}
      </button>
    </div>
  );
}

/** The points in `Yes, score=7.2 required=5.0 tests=...`; nothing when they would not explain it. */
function score(header: string | null | undefined): { score: number; limit: number } | undefined {
  const points = /\bscore=(-?[\d.]+)/.exec(header ?? '')?.[1];
  const required = /\brequired=(-?[\d.]+)/.exec(header ?? '')?.[1];
  if (points === undefined || required === undefined) return undefined;
  const verdict = { score: Number(points), limit: Number(required) };
  return verdict.score >= verdict.limit ? verdict : undefined;
}
