// How dates, sizes and names are written for people. Everything here is for display only and
// makes text from strangers safe to look at; Preact does the HTML escaping.
import { computed } from '@preact/signals';
import type { Address } from './api';
import { locale } from './i18n';

const DAY_MS = 86_400_000;

const dates = computed(() => {
  const tag = locale.value;
  const of = (options: Intl.DateTimeFormatOptions) => new Intl.DateTimeFormat(tag, options);
  return {
    time: of({ hour: 'numeric', minute: '2-digit' }),
    weekday: of({ weekday: 'short' }),
    day: of({ day: 'numeric', month: 'short' }),
    year: of({ day: 'numeric', month: 'short', year: 'numeric' }),
    full: of({ dateStyle: 'full', timeStyle: 'short' }),
    relative: new Intl.RelativeTimeFormat(locale.value, { numeric: 'auto' }),
    list: new Intl.ListFormat(locale.value, { type: 'unit', style: 'short' }),
  };
});

/** Short, for a list: today 14:32, then yesterday, Mon, 12 Nov, 12 Nov 2023. */
export function shortDate(iso: string | null, now = new Date()): string {
  const date = parse(iso);
  if (!date) return '';
  const days = daysBetween(date, now);
  if (days === 0) return dates.value.time.format(date);
  if (days === 1) return dates.value.relative.format(-1, 'day');
  if (days > 1 && days < 7) return dates.value.weekday.format(date);
  if (date.getFullYear() === now.getFullYear()) return dates.value.day.format(date);
  return dates.value.year.format(date);
}

/** For the head of a letter: a day as in the list, always with the time. */
export function mediumDate(iso: string | null, now = new Date()): string {
  const date = parse(iso);
  if (!date) return '';
  const short = shortDate(iso, now);
  const time = dates.value.time.format(date);
  return short === time ? time : `${short}, ${time}`;
}

/** Written out: Wednesday, 19 November 2025 at 14:32. */
export function fullDate(iso: string | null): string {
  const date = parse(iso);
  return date ? dates.value.full.format(date) : '';
}

/** 820 B, 14 kB, 1.2 MB, in powers of 1000 as Intl names them. */
export function fileSize(sizeBytes: number): string {
  const units = ['byte', 'kilobyte', 'megabyte', 'gigabyte'] as const;
  let value = sizeBytes;
  let unit = 0;
  while (value >= 999.5 && unit < units.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return new Intl.NumberFormat(locale.value, {
    style: 'unit',
    unit: units[unit] ?? 'byte',
    unitDisplay: unit === 0 ? 'narrow' : 'short',
    maximumFractionDigits: value < 10 && unit > 0 ? 1 : 0,
  }).format(value);
}

export function decimal(value: number): string {
  return new Intl.NumberFormat(locale.value, { maximumFractionDigits: 1 }).format(value);
}

/**
 * Text from a stranger without what could disturb the line around it: control characters and
 * the marks that turn the reading direction (they can make `exe.fdp` look like a PDF).
 */
export function clean(text: string | null | undefined): string {
  return (text ?? '')
    .replace(/[\p{Cc}\u2028\u2029]+/gu, ' ')
    .replace(/[\u061c\u200b\u200e\u200f\u202a-\u202e\u2060-\u2069\ufeff]/g, '')
    .trim();
}

/** The name of a person, or the address when there is none. */
export function personName(who: Address): string {
  return clean(who.name) || clean(who.email);
}

export function personNames(who: readonly Address[]): string {
  return dates.value.list.format(who.map(personName));
}

/** One or two letters for the round badge. */
export function initials(who: Address | undefined): string {
  if (!who) return '?';
  const words = personName(who)
    .replace(/@.*$/, '')
    .split(/[^\p{L}\p{N}]+/u)
    .filter(Boolean);
  const first = words[0] ?? '';
  const last = words.length > 1 ? (words.at(-1) ?? '') : '';
  return (letterOf(first) + letterOf(last)).toLocaleUpperCase(locale.value) || '?';
}

/** A steady number 0-7 for an address: the colour of its badge. */
export function tint(who: Address | undefined): number {
  let hash = 7;
  for (const char of (who?.email ?? '').toLowerCase()) {
    hash = (hash * 31 + (char.codePointAt(0) ?? 0)) % 65_521;
  }
  return hash % 8;
}

function letterOf(word: string): string {
  return [...word][0] ?? '';
}

function parse(iso: string | null): Date | undefined {
  if (!iso) return undefined;
  const date = new Date(iso);
  return Number.isNaN(date.getTime()) ? undefined : date;
}

/** Whole calendar days from `date` to `now`, in the reader's time zone; negative in the future. */
function daysBetween(date: Date, now: Date): number {
  return Math.round((midnight(now) - midnight(date)) / DAY_MS);
}

function midnight(date: Date): number {
  return new Date(date.getFullYear(), date.getMonth(), date.getDate()).getTime();
}
