// Polski | English.
import { LANGUAGES, lang, setLang, t, type Lang } from '../i18n';

export function LanguageSwitch() {
  return (
    <div class="languages" role="group" aria-label={t('language')}>
      {(Object.keys(LANGUAGES) as Lang[]).map((code) => (
        <button
          key={code}
          type="button"
          lang={code}
          aria-pressed={lang.value === code}
          onClick={() => setLang(code)}
        >
          {LANGUAGES[code].name}
        </button>
      ))}
    </div>
  );
}
