// The right column: what can be done with the letter, who wrote it, and the letter itself in a
// frame that may neither run scripts nor reach this page.
import { useEffect, useRef } from 'preact/hooks';
import { useSignal } from '@preact/signals';
import { type Letter, letterUrl } from '../api';
import { clean } from '../format';
import { t } from '../i18n';
import { back, SHORTCUTS } from '../keys';
import { fetchLetter, opened } from '../state/letter';
import { route } from '../router';
import { dark, narrow } from '../state/screen';
import { signIns } from '../state/session';
import { EmptyView } from './EmptyView';
import { LetterBars } from './LetterBars';
import { Attachments, LetterHead } from './LetterHead';
import { LetterTools } from './LetterTools';
import { Postmark } from './Login';

export function LetterPane() {
  const pane = useRef<HTMLElement>(null);
  const id = route.value.letter;
  const state = opened.value;
  const email = 'email' in state ? state.email : undefined;
  const letter = 'letter' in state ? state.letter : undefined;

  useEffect(() => {
    // On a phone the list is gone from sight, so the focus comes along.
    if (id !== null && narrow.value) pane.current?.focus();
  }, [id, narrow.value]);

  return (
    <section class="letter-pane" aria-label={t('letterPane')} ref={pane} tabIndex={-1}>
      {id === null ? (
        <NoLetter />
      ) : (
        <>
          <LetterTools id={id} />
          {state.is === 'gone' && (
            <EmptyView icon="mailOpen" title={t('letterGone')} lead={t('letterGoneLead')}>
              <button type="button" class="button" onClick={back}>
                {t('back')}
              </button>
            </EmptyView>
          )}
          {state.is === 'failed' && (
            <EmptyView icon="offline" title={t('letterFailed')} lead={t('networkTrouble')}>
              <button type="button" class="button" onClick={() => void fetchLetter(id)}>
                {t('retry')}
              </button>
            </EmptyView>
          )}
          {email && (
            <article class="letter" key={id}>
              <LetterHead email={email} letter={letter} />
              {letter && (
                <>
                  <LetterBars letter={letter} />
                  <Attachments parts={letter.attachments} />
                  <Frame letter={letter} />
                </>
              )}
            </article>
          )}
        </>
      )}
    </section>
  );
}

/** A new frame for each letter: a frame that changes its address adds a step to "back". */
function Frame({ letter }: { letter: Letter }) {
  const theme = dark.value ? 'dark' : 'light';
  const shown = useSignal(false);
  const subject = clean(letter.subject) || t('noSubject');
  return (
    <iframe
      key={`${theme}-${signIns.value}`}
      class={shown.value ? 'letter-frame' : 'letter-frame letter-frame-waiting'}
      title={t('letterBody', { subject })}
      sandbox="allow-popups allow-popups-to-escape-sandbox"
      referrerpolicy="no-referrer"
      src={letterUrl(letter.id, theme)}
      onLoad={() => (shown.value = true)}
    />
  );
}

function NoLetter() {
  const key = (label: string) => SHORTCUTS.find((row) => row.label === label)?.keys[0] ?? '';
  const hint = t('pickLetterKeys', {
    next: key('keyNext'),
    previous: key('keyPrevious'),
    open: key('keyOpen'),
    help: key('keyHelp'),
  });
  return (
    <div class="no-letter">
      <Postmark />
      <p class="empty-title">{t('pickLetter')}</p>
      <p class="empty-lead">{hint}</p>
    </div>
  );
}
