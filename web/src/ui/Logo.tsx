// The mark of OpenPoczta: an envelope on a stamp, with the amber dot of a new letter.

export function Logo() {
  return (
    <svg class="logo" viewBox="0 0 32 32" aria-hidden="true" focusable="false">
      <rect class="logo-ground" width="32" height="32" rx="8" />
      <path class="logo-paper" d="M7 11.5a2 2 0 0 1 2-2h14a2 2 0 0 1 2 2V21a2 2 0 0 1-2 2H9a2 2 0 0 1-2-2z" />
      <path class="logo-fold" d="M7.6 11.2 16 17.5l8.4-6.3" />
      <circle class="logo-dot" cx="24.5" cy="9.5" r="4" />
    </svg>
  );
}
