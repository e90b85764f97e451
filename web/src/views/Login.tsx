// Signing in; with `again` over the mail that is already on the screen.
import { useSignal } from '@preact/signals';
import { useEffect, useRef } from 'preact/hooks';
import { ApiError } from '../api';
import { t, tn } from '../i18n';
import { signIn, user } from '../state/session';
import { Icon } from '../ui/Icon';
import { Logo } from '../ui/Logo';
import { Postmark } from '../ui/Postmark';
import { LanguageSwitch } from './LanguageSwitch';

type Trouble = 'denied' | 'network' | 'server' | 'empty' | null;

export function Login({ again }: { again?: boolean }) {
  const name = useRef<HTMLInputElement>(null);
  const secret = useRef<HTMLInputElement>(null);
  const busy = useSignal(false);
  const trouble = useSignal<Trouble>(null);
  const waitS = useSignal(0);
  const visible = useSignal(false);

  useEffect(() => {
    if (name.current && !name.current.value) name.current.value = user.peek();
    (name.current?.value ? secret : name).current?.focus();
  }, []);
  useEffect(() => {
    if (waitS.value <= 0) return undefined;
    const tick = setTimeout(() => (waitS.value -= 1), 1000);
    return () => clearTimeout(tick);
  }, [waitS.value]);

  async function submit(event: SubmitEvent) {
    event.preventDefault();
    const address = name.current?.value.trim() ?? '';
    const password = secret.current?.value ?? '';
    if (busy.value || waitS.value > 0) return;
    trouble.value = address && password ? null : 'empty';
    if (trouble.value) {
      (address ? secret : name).current?.focus();
      return;
    }
    busy.value = true;
    try {
      await signIn(address, password);
    } catch (error) {
      const said = error instanceof ApiError ? error : new ApiError('server');
      if (said.trouble === 'throttled') waitS.value = Math.ceil(said.retryAfterS);
      else if (said.trouble === 'denied' || said.trouble === 'network') trouble.value = said.trouble;
      else trouble.value = 'server';
      secret.current?.select();
    } finally {
      busy.value = false;
    }
  }

  const words = message(trouble.value, waitS.value);
  return (
    <main class={again ? 'login login-again' : 'login'}>
      {!again && <Postmark />}
      <div class="login-card">
        <div class="login-brand">
          <Logo />
          <span>OpenPoczta</span>
        </div>
        <h1>{again ? t('signInAgain') : t('signIn')}</h1>
        <p class="login-lead">{again ? t('signInAgainLead') : t('signInLead')}</p>
        <form onSubmit={(event) => void submit(event)} noValidate>
          <div class="field">
            <label for="login-user">{t('user')}</label>
            <input
              id="login-user"
              ref={name}
              name="username"
              type="email"
              autocomplete="username"
              autocapitalize="none"
              spellcheck={false}
              aria-invalid={trouble.value === 'denied' || trouble.value === 'empty'}
              aria-describedby="login-trouble"
            />
          </div>
          <div class="field">
            <label for="login-password">{t('password')}</label>
            <div class="field-with-button">
              <input
                id="login-password"
                ref={secret}
                name="password"
                type={(visible.value ? 'text' : 'password') as 'password'}
                autocomplete="current-password"
                aria-invalid={trouble.value === 'denied' || trouble.value === 'empty'}
                aria-describedby="login-trouble"
              />
              <button
                type="button"
                class="icon-button"
                aria-label={visible.value ? t('hidePassword') : t('showPassword')}
                onClick={() => (visible.value = !visible.value)}
              >
                <Icon name={visible.value ? 'eyeOff' : 'eye'} />
              </button>
            </div>
          </div>
          <p id="login-trouble" class="login-trouble" role="alert">
            {words}
          </p>
          <button type="submit" class="button button-main" aria-disabled={busy.value || waitS.value > 0}>
            {busy.value ? t('signingIn') : t('signIn')}
          </button>
        </form>
      </div>
      {!again && <LanguageSwitch />}
    </main>
  );
}

function message(trouble: Trouble, waitS: number): string {
  if (waitS > 0) return tn('throttled', waitS);
  switch (trouble) {
    case 'denied':
      return t('wrongPassword');
    case 'empty':
      return t('fillBoth');
    case 'network':
      return t('networkTrouble');
    case 'server':
      return t('serverTrouble');
    default:
      return '';
  }
}
