// The short notice at the bottom.
import { t } from '../i18n';
import { hideToast, keepToast, letToastGo, toast, undoLast } from '../state/toast';
import { IconButton } from '../ui/Button';

export function ToastView() {
  const shown = toast.value;
  return (
    // oxlint-disable-next-line jsx-a11y/no-noninteractive-element-interactions -- it only stays longer
    <div role="status" onMouseEnter={keepToast} onMouseLeave={letToastGo} onFocusIn={keepToast} onFocusOut={letToastGo}>
      {shown && (
        <div class={shown.bad ? 'toast toast-bad' : 'toast'}>
          <bdi class="toast-text">{shown.text}</bdi>
          {shown.undo && (
            <button type="button" class="toast-undo" onClick={undoLast}>
              {t('undo')}
            </button>
          )}
          <IconButton icon="close" label={t('close')} onClick={hideToast} edge="end" />
        </div>
      )}
    </div>
  );
}
