// The long list. Only the rows in sight are in the page, each at its place in a box as tall as
// all of them; the row under the cursor always stays, because the focus is on it.
import { useSignal } from '@preact/signals';
import { useEffect, useLayoutEffect, useRef } from 'preact/hooks';
import { t } from '../i18n';
import { route } from '../router';
import * as list from '../state/list';
import { current } from '../state/mailboxes';
import { LetterRow, WaitingRow } from './LetterRow';

/** Rows drawn above and below the sight, so that a slow scroll never shows a gap. */
const SPARE_ROWS = 6;
type Range = { start: number; end: number };

/** While the first page is on its way. */
const WAITING_ROWS = 12;
/** Before the first row is drawn. */
const GUESSED_ROW_PX = 84;

export function LetterList() {
  const box = useRef<HTMLDivElement>(null);
  const range = useSignal({ start: 0, end: 20 });
  const wantFocus = useRef(false);
  const folderId = current.value?.id;
  const version = list.version.value;
  const total = list.total.value;

  function measure() {
    const view = box.current;
    if (!view) return;
    const height = rowHeight(view);
    const first = Math.floor(view.scrollTop / height);
    const last = Math.ceil((view.scrollTop + view.clientHeight) / height);
    list.setShown(first, last);
    const start = Math.max(0, first - SPARE_ROWS);
    const end = last + SPARE_ROWS;
    if (start !== range.value.start || end !== range.value.end) range.value = { start, end };
  }

  useLayoutEffect(() => {
    if (box.current) box.current.scrollTop = 0;
  }, [folderId]);
  useLayoutEffect(() => {
    // New letters above must not push away what is being read.
    const rows = list.takeShift();
    if (rows !== 0 && box.current) box.current.scrollTop += rows * rowHeight(box.current);
    measure();
  }, [version]);
  useEffect(() => {
    if (!box.current) return undefined;
    const watch = new ResizeObserver(measure);
    watch.observe(box.current);
    return () => watch.disconnect();
  }, []);

  useEffect(() => {
    if (list.focusRow.value > 0) wantFocus.current = true;
  }, [list.focusRow.value]);
  useEffect(() => {
    const id = list.cursor.value;
    const position = list.positionOf(id);
    if (!box.current || position < 0) return;
    reveal(box.current, position);
    if (!wantFocus.current) return;
    const link = box.current.querySelector<HTMLElement>('.row-link[tabindex="0"]');
    link?.focus({ preventScroll: true });
    // Not on the screen yet (a phone still shows the letter): try again when it is.
    wantFocus.current = document.activeElement !== link;
  }, [list.cursor.value, list.focusRow.value, route.value.letter]);

  const loading = list.status.value === 'loading';
  const rows = loading ? WAITING_ROWS : total;
  const tabStop = Math.max(0, list.positionOf(list.cursor.value));
  return (
    <div class="letters" id="letters" ref={box} onScroll={measure} tabIndex={-1} aria-busy={loading}>
      <ul
        class="letters-all"
        // oxlint-disable-next-line jsx-a11y/no-redundant-roles -- Safari drops the role with the bullets
        role="list"
        aria-label={t('letterList', { folder: current.value?.label ?? '' })}
        style={{ '--rows': String(rows) }}
      >
        {positions(range.value, rows, tabStop).map((position) => {
          const id = loading ? undefined : list.idAt(position);
          return id === undefined ? (
            <WaitingRow key={`at-${position}`} position={position} />
          ) : (
            <LetterRow
              key={id}
              id={id}
              position={position}
              total={total}
              tabStop={position === tabStop}
            />
          );
        })}
      </ul>
    </div>
  );
}

/** The rows to draw: those in range, and the one that Tab stops at wherever it is. */
function positions({ start, end }: Range, rows: number, tabStop: number): number[] {
  const all: number[] = [];
  for (let position = start; position < Math.min(end, rows); position += 1) all.push(position);
  if (tabStop < start) all.unshift(tabStop);
  else if (tabStop >= end && tabStop < rows) all.push(tabStop);
  return all;
}

/** Scrolls just so far that the row is in sight. */
function reveal(view: HTMLElement, position: number): void {
  const height = rowHeight(view);
  const top = position * height;
  if (top < view.scrollTop) view.scrollTop = top;
  else if (top + height > view.scrollTop + view.clientHeight) {
    view.scrollTop = top + height - view.clientHeight;
  }
}

/** Rows are measured in rem, so that they grow with the reader's font size: ask the page. */
function rowHeight(view: HTMLElement): number {
  return view.querySelector<HTMLElement>('.row')?.getBoundingClientRect().height || GUESSED_ROW_PX;
}
