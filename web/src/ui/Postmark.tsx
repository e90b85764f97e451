// The rings and waves that cancel a stamp: the picture behind quiet places.

const WAVES = [-84, -42, 0, 42, 84];

export function Postmark() {
  return (
    <svg class="postmark" viewBox="0 0 640 320" aria-hidden="true" focusable="false">
      <circle cx="160" cy="160" r="148" />
      <circle cx="160" cy="160" r="104" />
      {WAVES.map((y) => (
        <path key={y} d={`M328 ${160 + y}q26-26 52 0t52 0 52 0 52 0 52 0 52 0`} />
      ))}
    </svg>
  );
}
