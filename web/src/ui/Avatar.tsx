// The round badge of a sender: initials on a colour that stays the same for the address.
import type { Address } from '../api';
import { initials, tint } from '../format';

export function Avatar({ who, large }: { who: Address | undefined; large?: boolean }) {
  return (
    <span class={`avatar tint-${tint(who)} ${large ? 'avatar-large' : ''}`} aria-hidden="true">
      {initials(who)}
    </span>
  );
}
