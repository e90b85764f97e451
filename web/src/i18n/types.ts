// The types of the string tables, all derived from the English one.
import type { en } from './en';

type English = typeof en;
export type Key = keyof English;

/** Keys whose string changes with a number. */
export type PluralKey = { [K in Key]: English[K] extends string ? never : K }[Key];
export type TextKey = Exclude<Key, PluralKey>;

/** A whole language; `Forms` are the plural categories Intl.PluralRules has for it. */
export type Table<Forms extends Intl.LDMLPluralRule> = {
  readonly [K in Key]: K extends PluralKey ? { readonly [F in Forms]: string } : string;
};

/** The placeholders of a string: 'To: {names}' has 'names'. */
type Holes<S> = S extends `${string}{${infer Name}}${infer Rest}` ? Name | Holes<Rest> : never;
type PluralText<K extends PluralKey> = English[K] extends { other: infer S } ? S : never;

export type TextVars<K extends TextKey> =
  Holes<English[K]> extends never ? [] : [vars: Record<Holes<English[K]>, string | number>];
export type PluralVars<K extends PluralKey> =
  Exclude<Holes<PluralText<K>>, 'n'> extends never
    ? []
    : [vars: Record<Exclude<Holes<PluralText<K>>, 'n'>, string>];
