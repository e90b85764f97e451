// The one question this page asks: what it deletes here cannot be brought back.
import { t } from '../i18n';
import { destroy, toDestroy } from '../state/actions';
import { Dialog } from '../ui/Dialog';

export function DestroyDialog({ ids }: { ids: readonly string[] }) {
  return (
    <Dialog title={t('destroyTitle')} onClose={close} question>
      <p class="dialog-text">{t('destroyText')}</p>
      <div class="dialog-buttons">
        <button type="button" class="button" onClick={close}>
          {t('cancel')}
        </button>
        <button
          type="button"
          class="button button-danger"
          onClick={() => {
            close();
            void destroy(ids);
          }}
        >
          {t('removeForGood')}
        </button>
      </div>
    </Dialog>
  );
}

function close() {
  toDestroy.value = null;
}
