// All shortcuts, read from their table, and the switch that turns them off.
import { t } from '../i18n';
import { helpOpen, keysOn, setKeysOn, SHORTCUTS } from '../keys';
import { Dialog } from '../ui/Dialog';

export function Help() {
  return (
    <Dialog title={t('help')} onClose={() => (helpOpen.value = false)} class="help">
      <div class="help-groups">
        {(['keysMove', 'keysDo'] as const).map((group) => (
          <section key={group}>
            <h3>{t(group)}</h3>
            <ul>
              {SHORTCUTS.filter((row) => row.group === group).map((row) => (
                <li key={row.label}>
                  <span>{t(row.label)}</span>
                  <span class="help-keys">
                    {row.keys.map((key) => (
                      <kbd key={key}>{/^[A-Z]$/.test(key) ? `⇧ ${key}` : key}</kbd>
                    ))}
                  </span>
                </li>
              ))}
            </ul>
          </section>
        ))}
      </div>
      <label class="help-switch">
        <input
          type="checkbox"
          checked={keysOn.value}
          onChange={(event) => setKeysOn(event.currentTarget.checked)}
        />
        {t('keysOn')}
      </label>
    </Dialog>
  );
}
