// The middle column: which folder, how much is in it, and its letters.
import { t, tn } from '../i18n';
import * as list from '../state/list';
import { current } from '../state/mailboxes';
import { compact, drawerOpen } from '../state/screen';
import { IconButton } from '../ui/Button';
import { EmptyView } from './EmptyView';
import { LetterList } from './LetterList';

export function ListPane() {
  const folder = current.value;
  return (
    <section class="list-pane" aria-labelledby="list-title">
      <header class="list-head">
        {compact.value && (
          <IconButton
            icon="menu"
            label={t('openFolders')}
            edge="start"
            onClick={() => (drawerOpen.value = true)}
          />
        )}
        <div class="list-heading">
          <h1 id="list-title">
            <bdi>{folder?.label ?? t('loading')}</bdi>
          </h1>
          {folder && (
            <p class="list-counts">
              {tn('letters', folder.totalEmails)}
              {folder.unreadEmails > 0 && (
                <span class="list-unread">{tn('unread', folder.unreadEmails)}</span>
              )}
            </p>
          )}
        </div>
      </header>
      <Content />
    </section>
  );
}

function Content() {
  if (list.status.value === 'failed') {
    return (
      <EmptyView icon="offline" title={t('listFailed')} lead={t('networkTrouble')}>
        <button type="button" class="button" onClick={() => void list.reload()}>
          {t('retry')}
        </button>
      </EmptyView>
    );
  }
  if (list.status.value === 'ready' && list.total.value === 0) return <EmptyFolder />;
  return <LetterList />;
}

function EmptyFolder() {
  switch (current.value?.role) {
    case 'inbox':
      return <EmptyView icon="inbox" title={t('emptyInbox')} lead={t('emptyInboxLead')} />;
    case 'junk':
      return <EmptyView icon="notJunk" title={t('emptyJunk')} lead={t('emptyJunkLead')} />;
    case 'trash':
      return <EmptyView icon="trash" title={t('emptyTrash')} lead={t('emptyTrashLead')} />;
    default:
      return (
        <EmptyView
          icon={current.value?.icon ?? 'folder'}
          title={t('emptyFolder')}
          lead={t('emptyFolderLead')}
        />
      );
  }
}
