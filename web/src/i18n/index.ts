// Speaks the reader's language: t('archive'), tn('letters', 5). Adding a language is a table
// beside en.ts and a row in LANGUAGES.
import { computed, effect, signal } from '@preact/signals';
import { en } from './en';
import { pl } from './pl';
import type { PluralKey, PluralVars, TextKey, TextVars } from './types';

export const LANGUAGES = {
  pl: { name: 'Polski', short: 'PL', table: pl },
  en: { name: 'English', short: 'EN', table: en },
} as const;
export type Lang = keyof typeof LANGUAGES;

const STORE = 'op.lang';

export const lang = signal<Lang>(firstLang());

/** The locale for dates and numbers: the reader's own variant (en-GB, en-US) when there is one. */
export const locale = computed(
  () => navigator.languages.find((tag) => isLang(tag, lang.value)) ?? lang.value,
);

const plural = computed(() => new Intl.PluralRules(lang.value));
const numbers = computed(() => new Intl.NumberFormat(locale.value));

/** Call once: keeps <html lang> and the stored choice in step with `lang`. */
export function startI18n(): void {
  effect(() => {
    document.documentElement.lang = lang.value;
  });
}

export function setLang(next: Lang): void {
  lang.value = next;
  try {
    localStorage.setItem(STORE, next);
  } catch {
    // Storage may be forbidden; then the choice lasts until the page is closed.
  }
}

/** A string of the current language with its placeholders filled in. */
export function t<K extends TextKey>(key: K, ...vars: TextVars<K>): string {
  return fill(LANGUAGES[lang.value].table[key], vars[0]);
}

/** A string that counts: picks the plural form for `n` and fills in {n} and the rest. */
export function tn<K extends PluralKey>(key: K, n: number, ...vars: PluralVars<K>): string {
  const forms: Partial<Record<Intl.LDMLPluralRule, string>> = LANGUAGES[lang.value].table[key];
  const text = forms[plural.value.select(n)] ?? forms.other ?? '';
  return fill(text, { ...vars[0], n });
}

export function number(n: number): string {
  return numbers.value.format(n);
}

function fill(text: string, vars: Record<string, string | number> | undefined): string {
  if (!vars) return text;
  return text.replace(/\{(\w+)\}/g, (hole, name: string) => {
    const value = vars[name];
    return typeof value === 'number' ? number(value) : (value ?? hole);
  });
}

function firstLang(): Lang {
  let stored: string | null = null;
  try {
    stored = localStorage.getItem(STORE);
  } catch {
    // See setLang.
  }
  if (stored === 'pl' || stored === 'en') return stored;
  const wanted = navigator.languages.find((tag) => isLang(tag, 'pl') || isLang(tag, 'en'));
  return wanted && isLang(wanted, 'pl') ? 'pl' : 'en';
}

function isLang(tag: string, language: Lang): boolean {
  return tag === language || tag.startsWith(`${language}-`);
}
