// The whole page, by the state of the session.
import { t } from '../i18n';
import { phase, startSession } from '../state/session';
import { Sprite } from '../ui/Icon';
import { Logo } from '../ui/Logo';
import { Login } from './Login';
import { Mail } from './Mail';

export function App() {
  return (
    <>
      <Sprite />
      <Body />
    </>
  );
}

function Body() {
  switch (phase.value) {
    case 'starting':
      return (
        <div class="splash" role="status" aria-label={t('loading')}>
          <Logo />
        </div>
      );
    case 'unreachable':
      return (
        <main class="splash">
          <Logo />
          <p>{t('networkTrouble')}</p>
          <button type="button" class="button" onClick={() => void startSession()}>
            {t('retry')}
          </button>
        </main>
      );
    case 'out':
      return <Login />;
    default:
      return (
        <>
          <div class="shell" inert={phase.value === 'expired'}>
            <Mail />
          </div>
          {phase.value === 'expired' && <Login again />}
        </>
      );
  }
}
