// The folders with their counts, and below them who is signed in.
import { t, tn } from '../i18n';
import { helpOpen } from '../keys';
import { go, href } from '../router';
import { current, type Folder, folders } from '../state/mailboxes';
import { compact, drawerOpen } from '../state/screen';
import { signOut, user } from '../state/session';
import { Avatar } from '../ui/Avatar';
import { IconButton } from '../ui/Button';
import { Icon } from '../ui/Icon';
import { Logo } from '../ui/Logo';
import { LanguageSwitch } from './LanguageSwitch';

export function Folders() {
  const hidden = compact.value && !drawerOpen.value;
  return (
    <header class="folders" inert={hidden}>
      <div class="brand">
        <Logo />
        <span class="brand-name">OpenPoczta</span>
        {compact.value && (
          <IconButton
            icon="close"
            label={t('closeFolders')}
            edge="end"
            onClick={() => (drawerOpen.value = false)}
          />
        )}
      </div>
      <nav class="folder-nav" aria-label={t('folders')}>
        <ul>
          {folders.value.map((folder, i, all) => (
            <Row key={folder.id} folder={folder} parted={i > 0 && !folder.role && Boolean(all[i - 1]?.role)} />
          ))}
        </ul>
      </nav>
      <Account />
    </header>
  );
}

function Row({ folder, parted }: { folder: Folder; parted: boolean }) {
  const here = current.value?.id === folder.id;
  // Of drafts one wants to know how many there are; elsewhere, what is still to be read.
  const count = folder.role === 'drafts' ? folder.totalEmails : folder.unreadEmails;
  const spokenCount = folder.role === 'drafts' ? tn('letters', count) : tn('unread', count);
  return (
    <li class={parted ? 'parted' : undefined}>
      <a
        class={`folder depth-${folder.depth}`}
        href={href({ folder: folder.slug, letter: null })}
        aria-current={here ? 'page' : undefined}
        title={`${folder.label}: ${tn('letters', folder.totalEmails)}, ${tn('unread', folder.unreadEmails)}`}
        onClick={(event) => {
          if (event.ctrlKey || event.metaKey || event.shiftKey) return;
          event.preventDefault();
          drawerOpen.value = false;
          go({ folder: folder.slug, letter: null });
        }}
      >
        <Icon name={folder.icon} />
        <bdi class="folder-name">{folder.label}</bdi>
        {count > 0 && (
          <span class={folder.role === 'inbox' ? 'count count-main' : 'count'}>
            <span aria-hidden="true">{short(count)}</span>
            <span class="sr-only">{spokenCount}</span>
          </span>
        )}
      </a>
    </li>
  );
}

function Account() {
  const who = { name: null, email: user.value };
  return (
    <div class="account">
      <div class="account-who">
        <Avatar who={who} />
        <bdi class="account-name" title={user.value}>
          {user.value}
        </bdi>
        <IconButton icon="logOut" label={t('logOut')} edge="end" onClick={() => void signOut()} />
      </div>
      <div class="account-tools">
        <LanguageSwitch />
        <IconButton
          icon="help"
          label={t('help')}
          keyHint="?"
          edge="end"
          onClick={() => (helpOpen.value = true)}
        />
      </div>
    </div>
  );
}

/** Counts beside a name stay short: 1,234 becomes 999+. */
function short(count: number): string {
  return count > 999 ? '999+' : String(count);
}
