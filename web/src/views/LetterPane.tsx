// The right column: what can be done with the letter, who wrote it, and the letter itself in a
// frame that may neither run scripts nor reach this page.
import { useSignal } from '@preact/signals';
import { useEffect, useRef } from 'preact/hooks';
import { letterUrl } from '../api';
import { clean } from '../format';
import { lang, t } from '../i18n';
import { back, keysOn } from '../keys';
import { route } from '../router';
import { read } from '../state/actions';
import { opened } from '../state/letter';
import { dark, narrow } from '../state/screen';
import { signIns } from '../state/session';
import { Postmark } from '../ui/Postmark';
import { EmptyView } from './EmptyView';
import { LetterBars } from './LetterBars';
import { Attachments, LetterHead } from './LetterHead';
import { LetterTools } from './LetterTools';

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
              <button type="button" class="button" onClick={() => void read(id)}>
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
                </>
              )}
              <Frame id={id} subject={clean(email.subject) || t('noSubject')} />
            </article>
          )}
        </>
      )}
    </section>
  );
}

/**
 * Asked for at once, while the head of the letter is still on its way. Each letter has a frame of
 * its own: a frame that changes its address adds a step to "back".
 */
function Frame({ id, subject }: { id: string; subject: string }) {
  const theme = dark.value ? 'dark' : 'light';
  const shown = useSignal(false);
  return (
    <iframe
      key={`${theme}-${lang.value}-${signIns.value}`}
      class={shown.value ? 'letter-frame' : 'letter-frame letter-frame-waiting'}
      title={t('letterBody', { subject })}
      sandbox="allow-popups allow-popups-to-escape-sandbox"
      referrerpolicy="no-referrer"
      src={letterUrl(id, theme, lang.value)}
      onLoad={() => (shown.value = true)}
    />
  );
}

function NoLetter() {
  return (
    <div class="no-letter">
      <Postmark />
      <p class="empty-title">{t('pickLetter')}</p>
      {keysOn.value && (
        <ul class="pick-keys">
          <li>
            <kbd>j</kbd> <kbd>k</kbd> {t('pickWalk')}
          </li>
          <li>
            <kbd>Enter</kbd> {t('pickOpen')}
          </li>
          <li>
            <kbd>?</kbd> {t('pickHelp')}
          </li>
        </ul>
      )}
    </div>
  );
}
