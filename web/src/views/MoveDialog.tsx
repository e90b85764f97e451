// Choose a folder: type a part of its name, or walk with the arrows, then Enter.
import { useSignal } from '@preact/signals';
import { useEffect, useLayoutEffect, useRef } from 'preact/hooks';
import { t } from '../i18n';
import { moveTo, toMove } from '../state/actions';
import { current, type Folder, folders } from '../state/mailboxes';
import { Dialog } from '../ui/Dialog';
import { Icon } from '../ui/Icon';

export function MoveDialog({ ids }: { ids: readonly string[] }) {
  const wanted = useSignal('');
  const at = useSignal(0);
  const input = useRef<HTMLInputElement>(null);
  const found = folders.value
    .filter((folder) => folder.id !== current.value?.id && matches(folder.label, wanted.value))
    .toSorted((a, b) => unlikely(a) - unlikely(b));
  const chosen = found[Math.min(at.value, found.length - 1)];

  useLayoutEffect(() => input.current?.focus(), []);
  useEffect(() => {
    document.getElementById(optionId(chosen))?.scrollIntoView({ block: 'nearest' });
  }, [chosen?.id]);

  function choose(folder: Folder | undefined) {
    if (!folder) return;
    close();
    void moveTo(ids, folder);
  }
  function onKeyDown(event: KeyboardEvent) {
    const by = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (by !== undefined) at.value = Math.max(0, Math.min(found.length - 1, at.value + by));
    else if (event.key === 'Enter') choose(chosen);
    else return;
    event.preventDefault();
  }

  return (
    <Dialog title={t('moveTitle')} onClose={close} class="move">
      <input
        ref={input}
        class="move-filter"
        type="text"
        role="combobox"
        placeholder={t('moveFilter')}
        aria-label={t('moveFilter')}
        aria-expanded="true"
        aria-controls="move-folders"
        aria-activedescendant={chosen ? optionId(chosen) : undefined}
        autocomplete="off"
        spellcheck={false}
        onInput={(event) => {
          wanted.value = event.currentTarget.value;
          at.value = 0;
        }}
        onKeyDown={onKeyDown}
      />
      <ul id="move-folders" class="move-list" role="listbox" aria-label={t('folders')}>
        {found.map((folder) => (
          // oxlint-disable-next-line jsx-a11y/click-events-have-key-events -- the input above has the keys
          <li
            key={folder.id}
            id={optionId(folder)}
            role="option"
            tabIndex={-1}
            aria-selected={folder.id === chosen?.id}
            class={`folder depth-${folder.depth}`}
            onClick={() => choose(folder)}
          >
            <Icon name={folder.icon} />
            <bdi class="folder-name">{folder.label}</bdi>
          </li>
        ))}
      </ul>
      {found.length === 0 && <p class="move-none">{t('moveNone')}</p>}
    </Dialog>
  );
}

function close() {
  toMove.value = null;
}

function optionId(folder: Folder | undefined): string {
  return `move-${folder?.id ?? 'none'}`;
}

/** Hardly anybody moves a letter to drafts or sent: they come last. */
function unlikely(folder: Folder): number {
  return folder.role === 'drafts' || folder.role === 'sent' ? 1 : 0;
}

/** Without case and accents, so that "wysl" finds "Wysłane". */
function matches(label: string, wanted: string): boolean {
  return plain(label).includes(plain(wanted.trim()));
}

function plain(text: string): string {
  return text
    .toLowerCase()
    .replaceAll('ł', 'l')
    .normalize('NFD')
    .replace(/\p{M}/gu, '');
}
