// A modal: the browser's own <dialog> keeps the focus inside, closes on Escape and gives the
// focus back. A click beside it closes it too.
import type { ComponentChildren } from 'preact';
import { useLayoutEffect, useRef } from 'preact/hooks';
import { t } from '../i18n';
import { IconButton } from './Button';

type Props = {
  title: string;
  onClose: () => void;
  children: ComponentChildren;
  class?: string;
  /** A question has its own buttons and no cross. */
  question?: boolean;
};

export function Dialog({ title, onClose, children, class: name, question }: Props) {
  const box = useRef<HTMLDialogElement>(null);
  // Before the next key press, which is meant for the dialog already.
  useLayoutEffect(() => {
    const dialog = box.current;
    dialog?.showModal();
    return () => dialog?.close();
  }, []);
  return (
    // oxlint-disable-next-line jsx-a11y/no-noninteractive-element-interactions -- Escape does the same
    <dialog
      ref={box}
      class={`dialog ${name ?? ''}`}
      role={question ? 'alertdialog' : undefined}
      aria-labelledby="dialog-title"
      onClose={onClose}
      onMouseDown={(event) => {
        if (event.target === box.current) onClose();
      }}
    >
      <div class="dialog-box">
        <div class="dialog-head">
          <h2 id="dialog-title">{title}</h2>
          {!question && <IconButton icon="close" label={t('close')} onClick={onClose} edge="end" />}
        </div>
        {children}
      </div>
    </dialog>
  );
}
