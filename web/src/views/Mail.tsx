// Three columns on a wide screen: folders, letters, the letter. On a phone one at a time.
import { t } from '../i18n';
import { helpOpen } from '../keys';
import { route } from '../router';
import { toDestroy, toMove } from '../state/actions';
import { offline } from '../state/events';
import { compact, drawerOpen } from '../state/screen';
import { phase } from '../state/session';
import { spoken } from '../state/toast';
import { Icon } from '../ui/Icon';
import { DestroyDialog } from './DestroyDialog';
import { Folders } from './Folders';
import { Help } from './Help';
import { LetterPane } from './LetterPane';
import { ListPane } from './ListPane';
import { MoveDialog } from './MoveDialog';
import { ToastView } from './ToastView';

export function Mail() {
  const drawer = compact.value && drawerOpen.value;
  return (
    <div class="mail" data-pane={route.value.letter === null ? 'list' : 'letter'} data-drawer={drawer}>
      <a
        class="skip"
        href="#letters"
        onClick={(event) => {
          event.preventDefault();
          document.querySelector<HTMLElement>('.row-link[tabindex="0"], #letters')?.focus();
        }}
      >
        {t('skipToLetters')}
      </a>
      <Folders />
      {drawer && <div class="backdrop" aria-hidden="true" onClick={() => (drawerOpen.value = false)} />}
      <main class="panes" inert={drawer}>
        <ListPane />
        <LetterPane />
      </main>
      <div class="notices">
        <div role="status">
          {offline.value && phase.value === 'in' && (
            <p class="offline">
              <Icon name="offline" />
              {t('offline')}
            </p>
          )}
        </div>
        <ToastView />
      </div>
      <p class="sr-only" role="status">
        {spoken.value}
      </p>
      {helpOpen.value && <Help />}
      {toMove.value && <MoveDialog ids={toMove.value} />}
      {toDestroy.value && <DestroyDialog ids={toDestroy.value} />}
    </div>
  );
}
