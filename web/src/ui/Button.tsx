// A button that is only an icon: named for everyone, with its key beside the name on hover.
import { keysOn } from '../keys';
import { Icon } from './Icon';
import type { IconName } from './icons';

type Props = {
  icon: IconName;
  label: string;
  onClick: () => unknown;
  /** The shortcut that does the same. */
  keyHint?: string;
  pressed?: boolean;
  disabled?: boolean;
  /** Inside a row the arrow and letter keys do the work; Tab goes from row to row. */
  skipTab?: boolean;
  class?: string;
  /** Which edge the hint must not cross. */
  edge?: 'start' | 'end' | undefined;
};

export function IconButton(props: Props) {
  const { icon, label, onClick, keyHint, pressed, disabled, skipTab, edge } = props;
  const hint = keyHint !== undefined && keysOn.value ? keyHint : undefined;
  const words = hint === undefined ? label : `${label} · ${hint}`;
  return (
    <button
      type="button"
      class={`icon-button ${props.class ?? ''}`}
      aria-label={label}
      aria-pressed={pressed}
      aria-keyshortcuts={hint === undefined ? undefined : ariaKey(hint)}
      aria-disabled={disabled ? 'true' : undefined}
      tabIndex={skipTab ? -1 : undefined}
      data-hint={skipTab ? undefined : words}
      title={skipTab ? words : undefined}
      data-edge={edge}
      onClick={(event) => {
        event.stopPropagation();
        if (!disabled) onClick();
      }}
    >
      <Icon name={icon} />
    </button>
  );
}

function ariaKey(key: string): string {
  return /^[A-Z]$/.test(key) ? `Shift+${key}` : key;
}
