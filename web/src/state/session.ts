// Who is signed in. `expired` keeps everything on the screen and asks for the password on top;
// calls that were refused wait in `signInAgain` and go on afterwards.
import { signal } from '@preact/signals';
import * as api from '../api';

export type Phase = 'starting' | 'unreachable' | 'out' | 'in' | 'expired';

export const phase = signal<Phase>('starting');
export const user = signal('');
/** Counts sign-ins, so that what the browser loaded under the old cookie is loaded anew. */
export const signIns = signal(0);

let account = '';
let waiting: (() => void)[] = [];

/** Call once, at the start. */
export async function startSession(): Promise<void> {
  api.onSignedOut(signInAgain);
  phase.value = 'starting';
  try {
    enter(await api.session());
  } catch (error) {
    const signedOut = error instanceof api.ApiError && error.trouble === 'signedOut';
    phase.value = signedOut ? 'out' : 'unreachable';
  }
}

/** Fails with an ApiError: denied, throttled, network or server. */
export async function signIn(name: string, password: string): Promise<void> {
  const session = await api.login(name, password);
  if (phase.value === 'expired' && session.account !== account) {
    // Somebody else sits here now: nothing of the last reader may stay in memory.
    location.replace('/');
    return;
  }
  enter(session);
}

export async function signOut(): Promise<void> {
  try {
    await api.logout();
  } finally {
    location.replace('/');
  }
}

/** Shows the sign-in view over the current state and waits for it. */
export function signInAgain(): Promise<void> {
  phase.value = 'expired';
  return new Promise((resolve) => waiting.push(resolve));
}

function enter(session: api.Session): void {
  account = session.account;
  user.value = session.user;
  signIns.value += 1;
  phase.value = 'in';
  const go = waiting;
  waiting = [];
  for (const resolve of go) resolve();
}
